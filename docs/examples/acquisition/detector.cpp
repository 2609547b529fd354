// detector.cpp - a simulated detector: a frame per tick, read out straight into shared memory. A reader that is too slow
// costs frames, and is named; one that dies costs nothing. Ctrl-C ends the run.
#include <chrono>
#include <csignal>
#include <iostream>
#include <mutex>
#include <thread>

#include "frame.hpp"

using namespace holdfast;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

volatile std::sig_atomic_t run_is_over = 0;
void end_run(int) { run_is_over = 1; }

/// The first detector of a block names the run, for all that come after it.
std::uint64_t run_of(DataBlockProducer& producer) {
  const std::lock_guard guard{producer.zone_mutex()};  // whoever died inside: one word is there, or is not
  auto& run = *reinterpret_cast<std::uint64_t*>(producer.zone().data());
  if (run == 0) run = static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
  return run;
}

void read_out(Frame& frame, std::uint64_t run, std::uint64_t number) {
  frame.run = run;
  frame.number = number;
  for (std::size_t place = 0; place < frame.pixels.size(); ++place) frame.pixels[place] = pixel(number, place);
}

void acquire(DataBlockProducer& producer) {
  constexpr auto period = 1ms;
  const std::uint64_t run = run_of(producer);
  std::uint64_t number = producer.statistics().committed;  // a run goes on where the detector before this one died
  for (auto tick = Clock::now(); run_is_over == 0; tick += period) {
    std::this_thread::sleep_until(tick);  // the detector's own pace; nothing is waited for
    if (auto slot = producer.acquire_write_slot(tick + period)) {
      read_out(slot.as<Frame>(), run, number++);
      slot.commit(sizeof(Frame));  // not reached, by an exception or a kill: nothing becomes visible
      if (number % 50 == 0) std::cout << "exposed " << number << std::endl;
    } else if (const auto slowest = producer.statistics().slowest()) {
      std::cout << "a frame is lost: " << slowest->label << " is " << slowest->books.in_flight << " behind"
                << std::endl;
    }
  }
  std::cout << "exposed " << number << std::endl;
}

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::cerr << "detector BLOCK\n";
    return 2;
  }
  std::signal(SIGINT, end_run);
  std::signal(SIGTERM, end_run);
  auto producer = DataBlockProducer::create_or_attach(
      argv[1],
      {.slot_size = sizeof(Frame), .slot_count = 64, .schema = frame_schema, .zone_size = sizeof(std::uint64_t)});
  if (producer.outcome() == LockOutcome::owner_died)
    std::cout << "taking over from " << to_string(producer.previous_owner()) << std::endl;
  acquire(producer);
  if (auto slot = producer.acquire_write_slot(5s)) slot.commit(0);  // a message without bytes: the run is over
  return 0;
} catch (const Error& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
