// transfer_benchmark_worker - one end of one transport: sends or receives what the benchmarks measure, one window after the
// other, and tells by shared memory. A message that is not the expected one, whole, ends it with an exception.
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>
#include <holdfast/testing/worker.hpp>

#include "../benchmarks/processes.hpp"
#include "../benchmarks/results.hpp"
#include "../benchmarks/transfer_page.hpp"
#include "../benchmarks/transports.hpp"
#include "../benchmarks/turns.hpp"

namespace {
using namespace holdfast::benchmarks;
using namespace std::chrono_literals;
using holdfast::harness::Scenario;
using holdfast::harness::signal_test_ready;
using holdfast::harness::WorkerContext;

std::uint64_t now() { return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()); }

/// The arguments that all scenarios begin with: DIRECTORY NAME KIND PAGE_FILE PROCESSOR SLOTS SIZE RECEIVERS.
struct Task {
  explicit Task(WorkerContext& context)
      : place{context.argument(0), context.argument(1)},
        kind{context.argument(2)},
        page{context.argument(3)},
        shape{number(context, 5), number(context, 6), number(context, 7)} {
    cpu_set_t processors;
    CPU_ZERO(&processors);
    CPU_SET(number(context, 4), &processors);
    if (::sched_setaffinity(0, sizeof processors, &processors) != 0)
      throw std::system_error{errno, std::generic_category(), "sched_setaffinity"};
  }
  static std::size_t number(WorkerContext& context, std::size_t index) {
    return static_cast<std::size_t>(context.number(index));
  }
  /// False: it is over.
  [[nodiscard]] bool wait_for_window(std::uint32_t window) const {
    Turns::wait_for(page->phase, window);
    return page->phase.load() != TransferPage::over;
  }
  void sender_is_there(std::uint32_t senders) const {
    Turns::add_one(page->made);
    Turns::wait_for(page->made, senders);
  }
  void finish_window() const { Turns::add_one(page->finished); }

  Place place;
  std::string kind;
  SharedPage<TransferPage> page;
  Shape shape;
};

[[noreturn, gnu::cold]] void fail_expectation(std::uint64_t expected, std::span<const std::byte> message) {
  throw std::runtime_error{"message " + std::to_string(expected) + " came as " + std::to_string(message.size()) +
                           " bytes, the first of them number " + std::to_string(number_of(message)) +
                           (is_whole(message) ? ", whole" : ", torn")};
}
void expect(std::uint64_t expected, std::span<const std::byte> message, std::size_t size) {
  if (message.size() != size || number_of(message) != expected || !is_whole(message))
    fail_expectation(expected, message);
}

// What is measured stands in functions of its own: among all the other transports, compilers inline what they happen to.
template <class Sender>
[[gnu::noinline]] void send_all(Sender& sender, std::uint64_t next, std::uint64_t until) {
  for (; next < until; ++next) sender.send([next](std::span<std::byte> message) { fill(message, next); });
}
struct Received {
  std::uint64_t next, messages;
};
template <bool may_miss, class Receiver>
[[gnu::noinline]] Received receive_all(Receiver& receiver, std::uint64_t next, std::uint64_t until, std::size_t size) {
  std::uint64_t messages = 0;
  while (next < until)
    receiver.receive([&](std::span<const std::byte> message) {
      if constexpr (may_miss) next = std::max(next, number_of(message));
      expect(next++, message, size);
      ++messages;
    });
  return {next, messages};
}

/// Nanoseconds of a line's way to the other processor and back. Whoever waits for one who failed is ended by the driver.
constexpr std::uint64_t throws = 500;
std::uint64_t throw_ball(TransferPage& page) {
  const auto began = now();
  for (std::uint64_t i = 0; i < throws; ++i) {
    const auto number = page.ball_there.number.load(std::memory_order_relaxed) + 1;
    page.ball_there.number.store(number, std::memory_order_release);
    while (page.ball_back.number.load(std::memory_order_acquire) != number) continue;
  }
  return (now() - began) / throws;
}
void return_ball(TransferPage& page) {
  for (std::uint64_t i = 0; i < throws; ++i) {
    const auto number = page.ball_back.number.load(std::memory_order_relaxed) + 1;
    while (page.ball_there.number.load(std::memory_order_acquire) != number) continue;
    page.ball_back.number.store(number, std::memory_order_release);
  }
}

int send(WorkerContext& context) {
  const Task task{context};
  auto& page = *task.page;
  return with_transport(task.kind, [&]<class Transport>(std::type_identity<Transport>) {
    typename Transport::Sender sender{task.place, task.shape};
    task.sender_is_there(1);
    signal_test_ready();
    std::uint64_t next = 0;
    for (std::uint32_t window = 1; task.wait_for_window(window); ++window) {
      const auto until = page.until.load();
      while (page.awake.number.load() < task.shape.receivers * window) std::this_thread::yield();
      const bool two = task.shape.receivers == 1;
      if (two) page.distance_before.store(throw_ball(page));
      page.began.store(now());
      send_all(sender, next, until);
      next = until;
      page.written.store(now());
      if (two) {
        // Threads of a transport may have something to send still.
        while (page.has_all.number.load() < window) std::this_thread::yield();
        page.distance_after.store(throw_ball(page));
      }
      task.finish_window();
    }
    return 0;
  });
}

/// receive ... WHO
int receive(WorkerContext& context) {
  const Task task{context};
  const auto who = Task::number(context, 8);
  auto& page = *task.page;
  auto& own = page.receivers.at(who);
  const bool may_miss = task.kind == "data_block_overwrite";
  return with_transport(task.kind, [&]<class Transport>(std::type_identity<Transport>) {
    Turns::wait_for(page.made, 1);
    typename Transport::Receiver receiver{task.place, task.shape, who};
    signal_test_ready();
    std::uint64_t next = 0;
    for (std::uint32_t window = 1; task.wait_for_window(window); ++window) {
      const auto until = page.until.load();
      const bool two = task.shape.receivers == 1;
      page.awake.number.fetch_add(1);
      if (two) return_ball(page);
      const auto received = may_miss ? receive_all<true>(receiver, next, until, task.shape.size)
                                     : receive_all<false>(receiver, next, until, task.shape.size);
      next = received.next;
      own.last_took.store(now());
      own.received.store(received.messages);
      page.has_all.number.fetch_add(1);
      if (two) return_ball(page);
      task.finish_window();
    }
    return 0;
  });
}

/// A display: takes the newest, a thousand times a second.
int display(WorkerContext& context) {
  const Task task{context};
  auto& page = *task.page;
  Turns::wait_for(page.made, 1);
  LatestReceiver receiver{task.place};
  signal_test_ready();
  std::uint64_t next = 0;
  for (std::uint32_t window = 1; task.wait_for_window(window); ++window) {
    const auto until = page.until.load();
    timespec frame{};
    ::clock_gettime(CLOCK_MONOTONIC, &frame);
    while (next < until) {
      receiver.receive([&](std::span<const std::byte> message) {
        next = std::max(next, number_of(message));
        expect(next++, message, task.shape.size);
      });
      frame.tv_nsec += std::chrono::nanoseconds{1ms}.count();
      if (frame.tv_nsec >= std::chrono::nanoseconds{1s}.count()) {
        frame.tv_nsec -= std::chrono::nanoseconds{1s}.count();
        ++frame.tv_sec;
      }
      ::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &frame, nullptr);  // its rate is its load on the others
    }
    task.finish_window();
  }
  return 0;
}

/// The way to the other process, and the one back.
template <class Transport>
struct BothWays {
  BothWays(const Task& task, const std::string& out, const std::string& back)
      : sender{{task.place.directory, task.place.name + out}, task.shape},
        receiver{(task.sender_is_there(2), Place{task.place.directory, task.place.name + back}), task.shape, 0} {}
  typename Transport::Sender sender;
  typename Transport::Receiver receiver;
};

/// ping ... HOW - "busy": the other one looks for the message all the time. "asleep": it sleeps when the message is sent.
int ping(WorkerContext& context) {
  const Task task{context};
  const bool to_sleeper = context.argument(8) == "asleep";
  auto& page = *task.page;
  return with_transport(task.kind, [&]<class Transport>(std::type_identity<Transport>) {
    BothWays<Transport> ways{task, "-there", "-back"};
    signal_test_ready();
    std::vector<double> halves, wakes;
    std::uint64_t next = 0;
    for (std::uint32_t window = 1; task.wait_for_window(window); ++window) {
      const auto until = page.until.load();
      halves.assign(until - next, 0);
      wakes.assign(until - next, 0);
      while (page.awake.number.load() < window) std::this_thread::yield();
      const auto other = page.answers_pid.load();
      auto began = now();
      for (std::size_t i = 0; next < until; ++i, ++next) {
        if (to_sleeper) {
          while (!is_asleep(other)) std::this_thread::yield();
          began = now();
        }
        ways.sender.send([next](std::span<std::byte> message) { fill(message, next); });
        ways.receiver.receive([&](std::span<const std::byte> message) { expect(next, message, task.shape.size); });
        const auto ended = now();
        halves[i] = static_cast<double>(ended - began) / 2;
        if (to_sleeper) wakes[i] = static_cast<double>(page.arrived.number.load()) - static_cast<double>(began);
        began = ended;
      }
      page.half_median.store(median(halves));
      page.half_p99.store(percentile(halves, 99));
      page.wake_median.store(median(wakes));
      page.wake_p99.store(percentile(wakes, 99));
      task.finish_window();
    }
    return 0;
  });
}

/// Answers pings.
int pong(WorkerContext& context) {
  const Task task{context};
  const bool sleeps = context.argument(8) == "asleep";
  auto& page = *task.page;
  return with_transport(task.kind, [&]<class Transport>(std::type_identity<Transport>) {
    BothWays<Transport> ways{task, "-back", "-there"};
    page.answers_pid.store(::getpid());
    signal_test_ready();
    std::uint64_t next = 0;
    for (std::uint32_t window = 1; task.wait_for_window(window); ++window) {
      const auto until = page.until.load();
      page.awake.number.fetch_add(1);
      for (; next < until; ++next) {
        ways.receiver.receive([&](std::span<const std::byte> message) {
          if (sleeps) page.arrived.number.store(now());
          expect(next, message, task.shape.size);
        });
        ways.sender.send([next](std::span<std::byte> message) { fill(message, next); });
      }
      task.finish_window();
    }
    return 0;
  });
}

/// Sends in laps: the whole ring, and again when all receivers have read that. Nobody waits in the transport, so what is
/// told is the time of the producer's own calls.
int send_in_laps(WorkerContext& context) {
  const Task task{context};
  auto& page = *task.page;
  return with_transport(task.kind, [&]<class Transport>(std::type_identity<Transport>) {
    typename Transport::Sender sender{task.place, task.shape};
    task.sender_is_there(1);
    signal_test_ready();
    std::uint64_t next = 0;
    std::uint32_t laps = 0;
    for (std::uint32_t window = 1; task.wait_for_window(window); ++window) {
      const auto until = page.until.load();
      std::uint64_t spent = 0;
      while (next < until) {
        const auto began = now();
        for (const auto lap = next + task.shape.slots; next < lap; ++next)
          sender.send([next](std::span<std::byte> message) { fill(message, next); });
        spent += now() - began;
        Turns::reach(page.laps_written, ++laps);
        Turns::wait_for(page.laps_read, static_cast<std::uint32_t>(laps * task.shape.receivers));
      }
      page.spent.number.store(spent);
      task.finish_window();
    }
    return 0;
  });
}

/// receive_in_laps ... WHO
int receive_in_laps(WorkerContext& context) {
  const Task task{context};
  auto& page = *task.page;
  return with_transport(task.kind, [&]<class Transport>(std::type_identity<Transport>) {
    Turns::wait_for(page.made, 1);
    typename Transport::Receiver receiver{task.place, task.shape, Task::number(context, 8)};
    signal_test_ready();
    std::uint64_t next = 0;
    std::uint32_t laps = 0;
    for (std::uint32_t window = 1; task.wait_for_window(window); ++window) {
      const auto until = page.until.load();
      while (next < until) {
        Turns::wait_for(page.laps_written, ++laps);
        const auto lap = next + task.shape.slots;
        while (next < lap)
          receiver.receive([&](std::span<const std::byte> message) { expect(next++, message, task.shape.size); });
        Turns::add_one(page.laps_read);
      }
      task.finish_window();
    }
    return 0;
  });
}

constexpr Scenario scenarios[] = {
    {"send", send},
    {"receive", receive},
    {"display", display},
    {"ping", ping},
    {"pong", pong},
    {"send_in_laps", send_in_laps},
    {"receive_in_laps", receive_in_laps},
};
}  // namespace

int main(int argc, char** argv) { return holdfast::harness::run_worker(scenarios, argc, argv); }
