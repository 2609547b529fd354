// data_block_benchmark_worker - producers and consumers that are killed and that go on, and messages without system calls.
// Linked with nothing but what it needs: how fast it starts is measured.
#include <unistd.h>

#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <holdfast/data_block.hpp>
#include <holdfast/testing/journal.hpp>
#include <holdfast/testing/worker.hpp>

#include "../benchmarks/allocations.hpp"
#include "../benchmarks/system_call_filter.hpp"
#include "../benchmarks/transfer_page.hpp"
#include "../benchmarks/transports.hpp"

namespace {
using namespace holdfast::benchmarks;
using namespace std::chrono_literals;
using holdfast::DataBlockConsumer;
using holdfast::DataBlockProducer;
using holdfast::StartAt;
using holdfast::harness::Event;
using holdfast::harness::Journal;
using holdfast::harness::Scenario;
using holdfast::harness::signal_test_ready;
using holdfast::harness::WorkerContext;

constexpr std::size_t message_size = 4096;

void write_one(DataBlockProducer& producer) {
  auto slot = producer.acquire_write_slot();
  fill(slot.bytes(), slot.id());
  slot.commit(slot.bytes().size());
}

/// write_half NAME - commits a message, and is in the midst of the second when it says that it is ready.
int write_half(WorkerContext& context) {
  auto producer = DataBlockProducer::create(context.argument(0), {.slot_size = message_size});
  write_one(producer);
  auto slot = producer.acquire_write_slot();
  fill(slot.bytes().first(message_size / 2), ~std::uint64_t{0});
  signal_test_ready();
  return context.wait_for_release();
}

/// write_on NAME JOURNAL_FILE - takes the role over, and commits a message.
int write_on(WorkerContext& context) {
  auto journal = Journal::open(context.argument(1));
  journal.append(1, Event::arrived);
  auto producer = DataBlockProducer::attach(context.argument(0));
  write_one(producer);
  journal.append(1, Event::recovered);
  if (producer.outcome() != holdfast::LockOutcome::owner_died) throw std::runtime_error{"no news of a death"};
  return 0;
}

/// fill_and_wait NAME JOURNAL_FILE - commits a message; after its release fills the ring, and waits for one more slot.
int fill_and_wait(WorkerContext& context) {
  auto journal = Journal::open(context.argument(1));
  auto producer = DataBlockProducer::create(context.argument(0), {.slot_size = message_size});
  write_one(producer);
  signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  for (auto slot = producer.acquire_write_slot(0ns); slot; slot = producer.acquire_write_slot(0ns)) {
    fill(slot.bytes(), slot.id());
    slot.commit(message_size);
  }
  journal.append(0, Event::arrived);
  write_one(producer);
  journal.append(0, Event::recovered);
  return 0;
}

/// hold NAME - reads the oldest message, and does not come to an end.
int hold(WorkerContext& context) {
  auto consumer = DataBlockConsumer::attach(context.argument(0), {.start = StartAt::oldest()});
  const auto slot = consumer.acquire_consume_slot();
  if (!slot || !is_whole(slot.bytes())) throw std::runtime_error{"no message to hold"};
  signal_test_ready();
  return context.wait_for_release();
}

/// messages DIRECTORY NAME KIND COUNT - sends and receives that many. Ends with code 0, and the number of allocations on
/// standard output, if no system call was made, else tells the first one.
int messages(WorkerContext& context) {
  return with_transport(context.argument(2), [&]<class Transport>(std::type_identity<Transport>) -> int {
    constexpr std::uint64_t at_once = 8;
    const Place place{context.argument(0), context.argument(1)};
    const Shape shape;
    typename Transport::Sender sender{place, shape};
    typename Transport::Receiver receiver{place, shape, 0};
    std::optional<LatestReceiver> display;
    if (context.argument(2) == "data_block_display") display.emplace(place);
    std::uint64_t sent = 0, received = 0;
    bool whole = true;
    const auto read = [&](std::span<const std::byte> message) {
      whole = whole && number_of(message) == received && is_whole(message);
      ++received;
    };
    const auto transfer = [&](std::uint64_t until) {
      while (received < until) {
        for (const auto end = sent + at_once; sent < end; ++sent)
          sender.send([&](std::span<std::byte> message) { fill(message, sent); });
        if (display) display->receive([&](std::span<const std::byte> message) { whole = whole && is_whole(message); });
        while (received < sent) receiver.receive(read);
      }
    };
    const auto count = static_cast<std::uint64_t>(context.number(3));
    transfer(shape.slots * 2);
    const auto allocated_before = allocations();
    if (!forbid_system_calls()) return exit_without_filter;
    transfer(shape.slots * 2 + count);
    const auto allocated = std::to_string(allocations() - allocated_before);
    static_cast<void>(::write(STDOUT_FILENO, allocated.data(), allocated.size()));
    ::_exit(whole ? 0 : 1);  // an orderly end makes system calls
  });
}

constexpr Scenario scenarios[] = {
    {"write_half", write_half}, {"write_on", write_on}, {"fill_and_wait", fill_and_wait}, {"hold", hold},
    {"messages", messages},
};
}  // namespace

int main(int argc, char** argv) { return holdfast::harness::run_worker(scenarios, argc, argv); }
