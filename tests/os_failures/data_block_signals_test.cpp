// Signals that come all the time, while calls of SharedMemory, DataBlockMutex and DataBlock make, or wait: each of them interrupts
// a system call. Nobody gives up early, waits for ever, or fails.
#include <signal.h>
#include <time.h>

#include <atomic>
#include <future>
#include <thread>
#include <holdfast/data_block.hpp>

#include "../shared_memory/segments.hpp"

using namespace segments;
using holdfast::AcquireStatus;
using holdfast::DataBlockConsumer;
using holdfast::DataBlockMutex;
using holdfast::DataBlockProducer;
using Clock = std::chrono::steady_clock;

namespace {
std::atomic<unsigned long> handled{0};

/// To the thread that makes it, every 300 microseconds, without SA_RESTART.
class SignalStorm {
 public:
  SignalStorm() {
    struct ::sigaction action {};
    action.sa_handler = [](int) { handled.fetch_add(1, std::memory_order_relaxed); };
    EXPECT_EQ(::sigaction(SIGALRM, &action, &before_), 0);
    ::sigevent event{};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = SIGALRM;
    event._sigev_un._tid = ::gettid();
    EXPECT_EQ(::timer_create(CLOCK_MONOTONIC, &event, &timer_), 0);
    const ::itimerspec often{{0, 300'000}, {0, 300'000}};
    EXPECT_EQ(::timer_settime(timer_, 0, &often, nullptr), 0);
  }
  SignalStorm(const SignalStorm&) = delete;
  SignalStorm& operator=(const SignalStorm&) = delete;
  ~SignalStorm() {
    ::timer_delete(timer_);
    ::sigaction(SIGALRM, &before_, nullptr);
  }

 private:
  struct ::sigaction before_ {};
  ::timer_t timer_{};
};

class SignalsAllTheTime : public Segments {
 protected:
  static constexpr auto limit = 150ms;
  /// It takes as long as its deadline says, and signals came in all that time.
  void expect_waits(const std::function<void()>& call, int line = __builtin_LINE()) const {
    const SignalStorm storm;
    const auto signals = handled.load();
    const auto begin = Clock::now();
    call();
    const auto taken = Clock::now() - begin;
    EXPECT_GE(taken, limit) << "line " << line << ": it gave up early";
    EXPECT_LT(taken, 20s) << "line " << line;
    EXPECT_GT(handled.load() - signals, 10U) << "line " << line << ": no signals came";
  }
};
}  // namespace

TEST_F(SignalsAllTheTime, AttachingWaitsUntilItsDeadline) {
  expect_waits([&] {
    try {
      static_cast<void>(SharedMemory::attach(name_, limit));
      ADD_FAILURE() << "there is nothing to attach to";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), std::errc::no_such_file_or_directory) << error.what();
    }
  });
}

TEST_F(SignalsAllTheTime, ALargeSegmentIsMadeAllTheSame) {
  const SignalStorm storm;
  const auto signals = handled.load();
  auto memory = SharedMemory::create(name_, std::size_t{40} << 20U);
  EXPECT_GT(handled.load(), signals) << "no signals came";
  const auto last = memory.bytes().last(1000);
  EXPECT_TRUE(std::all_of(last.begin(), last.end(), [](auto byte) { return byte == std::byte{0}; }));
}

TEST_F(SignalsAllTheTime, AMutexIsWaitedForUntilTheDeadline) {
  auto mutex = DataBlockMutex::create(name_);
  std::promise<void> locked, done;
  std::jthread owner{[&] {
    mutex.lock();
    locked.set_value();
    done.get_future().wait();
    mutex.unlock();
  }};
  locked.get_future().wait();
  expect_waits([&] { EXPECT_FALSE(mutex.try_lock_for(limit)); });
  done.set_value();
}

TEST_F(SignalsAllTheTime, AMessageIsWaitedForUntilTheDeadline) {
  auto producer = DataBlockProducer::create(name_, {.slot_size = 100, .slot_count = 8});
  auto consumer = DataBlockConsumer::attach(name_);
  expect_waits([&] { EXPECT_EQ(consumer.acquire_consume_slot(limit).status(), AcquireStatus::timed_out); });
}

TEST_F(SignalsAllTheTime, RoomIsWaitedForUntilTheDeadline) {
  auto producer = DataBlockProducer::create(name_, {.slot_size = 100, .slot_count = 8});
  const auto consumer = DataBlockConsumer::attach(name_);
  for (int i = 0; i < 8; ++i) producer.acquire_write_slot(0ms).commit(1);
  expect_waits([&] { EXPECT_EQ(producer.acquire_write_slot(limit).status(), AcquireStatus::timed_out); });
}
