// Proves M1 (exclusion) and M7 (waits that end) of DataBlockMutex: contention by processes and by threads, over a plain counter in
// shared memory and over the file and the journal of the suite that judges FileLock; and that the check rejects what does not
// exclude.
#include <time.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <latch>
#include <mutex>
#include <string>
#include <thread>
#include <vector>
#include <holdfast/data_block_mutex.hpp>
#include <holdfast/testing/gtest.hpp>

#include "../workers/data_block_mutex_workers.hpp"
#include "exclusion_suite.hpp"
#include "shared_section.hpp"

namespace {
using namespace holdfast::test;
using namespace std::chrono_literals;
using holdfast::DataBlockMutex;
using holdfast::Deadline;
using holdfast::LockOutcome;
using holdfast::SharedMemory;
using holdfast::harness::ExpectWorkersOk;
using holdfast::harness::TempDir;
using holdfast::harness::WorkerProcess;

class DataBlockMutexContention : public testing::Test {
 protected:
  /// Processes that are all ready before the first of them begins, or none of them.
  [[nodiscard]] std::vector<WorkerProcess> start(std::size_t processes, std::uint64_t increments, const char* lock,
                                                 const char* halt = "-") const {
    std::vector<WorkerProcess> workers;
    for (std::size_t i = 0; i < processes; ++i)
      workers.push_back(start_mutex_worker("increment", {segment_.name(), increments, lock, halt}));
    return workers;
  }
  void expect_no_increment_lost(std::size_t processes, std::uint64_t increments) {
    auto workers = start(processes, increments, "mutex");
    holdfast::harness::ReleaseTogether(workers);
    ExpectWorkersOk(workers);
    EXPECT_EQ(section_.counter, processes * increments);
    EXPECT_EQ(section_.overlaps, 0U);
  }

  TestSegment segment_;
  SharedMemory memory_ = section_segment(segment_.name());
  SharedSection& section_ = memory_.as<SharedSection>();
};

TEST_F(DataBlockMutexContention, TwoProcessesLoseNoIncrement) { expect_no_increment_lost(2, 50'000); }
TEST_F(DataBlockMutexContention, TenProcessesLoseNoIncrement) { expect_no_increment_lost(10, 5'000); }

TEST_F(DataBlockMutexContention, OneThatIsInsideKeepsTheOtherOut) {
  auto workers = start(2, 1, "mutex", "halt");
  auto& first = workers[0];
  auto& second = workers[1];
  first.release();
  ASSERT_TRUE(wait_for_output(first, "inside\n")) << first.report();
  second.release();
  ASSERT_TRUE(wait_until([&] { return sleeps_in_mutex(second.pid()); })) << second.report();
  EXPECT_EQ(second.output(), "");
  first.release();
  ASSERT_TRUE(wait_for_output(second, "inside\n")) << second.report();
  second.release();
  ExpectWorkersOk(workers);
  EXPECT_EQ(section_.counter, 2U);
  EXPECT_EQ(section_.overlaps, 0U);
}

// The first who comes makes it. The next mutex is made when all have used the one before.
TEST_F(DataBlockMutexContention, ProcessesThatComeTogetherMakeOneMutex) {
  constexpr std::uint64_t processes = 3, places = 2000;
  const TestSegment many;
  const auto made = SharedMemory::create(many.name(), places * DataBlockMutex::footprint);
  std::vector<WorkerProcess> workers;
  for (std::uint64_t i = 0; i < processes; ++i)
    workers.push_back(start_mutex_worker("make_with_others", {segment_.name(), many.name(), processes}));
  holdfast::harness::ReleaseTogether(workers);
  ExpectWorkersOk(workers);
  EXPECT_EQ(section_.counter, processes * places);
  EXPECT_EQ(section_.overlaps, 0U);
}

TEST_F(DataBlockMutexContention, ForkedChildrenThatComeTogetherMakeOneMutex) {
  constexpr std::uint64_t processes = 3, places = 200;
  const TestSegment many;
  const auto made = SharedMemory::create(many.name(), places * DataBlockMutex::footprint);
  auto parent = holdfast::harness::SpawnWorker(DATA_BLOCK_MUTEX_WORKER, "make_with_children",
                                               {segment_.name(), many.name(), processes});
  holdfast::harness::ExpectWorkerOk(parent);
  EXPECT_EQ(section_.counter, processes * places);
  EXPECT_EQ(section_.overlaps, 0U);
}

// What the tests above look for is found where nothing keeps the other out.
TEST_F(DataBlockMutexContention, TheCheckRejectsAMutexThatNeverLocks) {
  auto workers = start(2, 1, "nothing", "halt");
  for (auto& worker : workers) {
    worker.release();
    ASSERT_TRUE(wait_for_output(worker, "inside\n")) << worker.report();
  }
  for (auto& worker : workers) worker.release();
  ExpectWorkersOk(workers);
  EXPECT_EQ(section_.counter, 1U) << "an increment is lost";
  EXPECT_EQ(section_.overlaps, 1U);
}

TEST_F(DataBlockMutexContention, TheCheckRejectsAMutexThatNeverLocksAlsoWhereNobodyHalts) {
  constexpr std::uint64_t processes = 4, increments = 1'000'000;  // so long that they meet, also on a busy machine
  bool caught = false;
  for (int round = 0; round < 40 && !caught; ++round) {
    section_.counter = 0;
    section_.overlaps = 0;
    auto workers = start(processes, increments, "nothing");
    holdfast::harness::ReleaseTogether(workers);
    ExpectWorkersOk(workers);
    caught = section_.counter != processes * increments && section_.overlaps != 0;
  }
  EXPECT_TRUE(caught) << "a mutex that is known to be wrong was accepted";
}

// ---- the suite that judges FileLock --------------------------------------------------------------------------------

TEST(DataBlockMutexExclusion, TenProcessesWithTwentyIncrementsEachLoseNone) {
  const TempDir dir;
  const auto verdict = contend(dir / "run", {.kind = "data_block_mutex"});
  EXPECT_TRUE(verdict.ok()) << verdict;
  EXPECT_EQ(verdict.counted, 200U);
}

TEST(DataBlockMutexExclusion, HoldsUnderAHostileSchedule) {
  const TempDir dir;
  const auto verdict = contend(dir / "run", {.kind = "data_block_mutex", .hold = 100us, .hostility = {150, 4000}});
  EXPECT_TRUE(verdict.ok()) << verdict;
}

TEST(DataBlockMutexExclusion, IsBusyForAnotherProcessWhileOneHoldsIt) {
  const TempDir dir;
  EXPECT_EQ(second_contender_says(dir.path(), "data_block_mutex"), "busy");
}

// ---- threads -------------------------------------------------------------------------------------------------------

class DataBlockMutexCounterThreads : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(, DataBlockMutexCounterThreads, testing::Bool(),
                         [](const testing::TestParamInfo<bool>& one_object) {
                           return one_object.param ? "of_one_object" : "with_an_object_each";
                         });

TEST_P(DataBlockMutexCounterThreads, TenThreadsWithTwentyIncrementsEachLoseNone) {
  const TempDir dir;
  const auto verdict = contend_threads(dir / "run", {.kind = "data_block_mutex"}, GetParam());
  EXPECT_TRUE(verdict.ok()) << verdict;
  EXPECT_EQ(verdict.counted, 200U);
}

TEST_P(DataBlockMutexCounterThreads, TenThreadsLoseNoIncrementOfAPlainCounter) {
  constexpr int threads = 10, times = 2000;
  const TestSegment segment;
  auto memory = section_segment(segment.name());
  auto shared_object = mutex_of(memory);
  int sum = 0;
  std::latch together{threads};
  {
    std::vector<std::jthread> all;
    for (int i = 0; i < threads; ++i)
      all.emplace_back([&, own = mutex_of(memory)]() mutable {
        together.arrive_and_wait();
        for (int k = 0; k < times; ++k) {
          const std::lock_guard guard{GetParam() ? shared_object : own};
          ++sum;
        }
      });
  }
  EXPECT_EQ(sum, threads * times);
}

// ---- waits that end ------------------------------------------------------------------------------------------------

class DataBlockMutexTimed : public DataBlockMutexTest {
 protected:
  using Clock = std::chrono::steady_clock;
};

TEST_F(DataBlockMutexTimed, AWaitForAnotherProcessEndsAtItsDeadlineAndNotBefore) {
  auto owner = spawn_owner();
  auto mutex = open();
  const auto takes = [&](const auto& attempt) {
    const auto begin = Clock::now();
    EXPECT_FALSE(attempt());
    EXPECT_FALSE(mutex.owns_lock());
    return Clock::now() - begin;
  };
  // No upper limits where a busy machine could break them: that a wait ends at all is what the time limit of the test says.
  EXPECT_LT(takes([&] { return mutex.try_lock(); }), 5s);
  EXPECT_LT(takes([&] { return mutex.try_lock_for(0s); }), 5s);
  EXPECT_LT(takes([&] { return mutex.try_lock_for(-1h); }), 5s);
  EXPECT_LT(takes([&] { return mutex.try_lock_until(Clock::time_point{}); }), 5s);
  EXPECT_LT(takes([&] { return mutex.try_lock_until(std::chrono::system_clock::time_point{}); }), 5s);
  EXPECT_GE(takes([&] { return mutex.try_lock_for(1ns); }), 1ns);
  EXPECT_GE(takes([&] { return mutex.try_lock_for(30ms); }), 30ms);
  EXPECT_GE(takes([&] { return mutex.try_lock_until(Clock::now() + 30ms); }), 29ms);
  EXPECT_GE(takes([&] { return mutex.try_lock_until(std::chrono::system_clock::now() + 30ms); }), 25ms);
  const std::stop_source stop;
  EXPECT_GE(takes([&] { return mutex.try_lock_until(stop.get_token(), Deadline{130ms}); }), 130ms)
      << "longer than a step of a wait that may be stopped";
  finish(owner);
  EXPECT_TRUE(mutex.try_lock_for(-1h)) << "what is free is taken after the deadline, too";
  mutex.unlock();
}

TEST_F(DataBlockMutexTimed, ALongWaitGetsItWhenItIsGivenBack) {
  using std::chrono::hours;
  using std::chrono::nanoseconds;
  for (const auto& wait : std::vector<std::function<bool(DataBlockMutex&)>>{
           [](DataBlockMutex& mutex) { return mutex.try_lock_for(24h * 365 * 200); },
           [](DataBlockMutex& mutex) { return mutex.try_lock_for(hours::max()); },
           [](DataBlockMutex& mutex) { return mutex.try_lock_for(nanoseconds::max()); },
           [](DataBlockMutex& mutex) { return mutex.try_lock_until(Clock::time_point::max()); },
           [](DataBlockMutex& mutex) { return mutex.try_lock_until(std::chrono::system_clock::time_point::max()); },
           [](DataBlockMutex& mutex) { return mutex.try_lock_until(Deadline::never()); },
           [](DataBlockMutex& mutex) { return mutex.try_lock_until(std::stop_token{}); }}) {
    auto owner = spawn_owner();
    auto mutex = open();
    std::jthread waiter{[&] {
      EXPECT_TRUE(wait(mutex));
      EXPECT_EQ(mutex.outcome(), LockOutcome::clean);
      mutex.unlock();
    }};
    EXPECT_TRUE(wait_until([&] {
      const auto holder = DataBlockMutex::holder(segment_.name());
      return holder && holder->since != std::chrono::system_clock::time_point{};
    }));
    finish(owner);
  }
}

TEST_F(DataBlockMutexTimed, AStopEndsAWaitForAnotherProcess) {
  auto owner = spawn_owner();
  auto mutex = open();
  std::jthread waiter{[&](const std::stop_token& stop) { EXPECT_FALSE(mutex.try_lock_until(stop)); }};
  EXPECT_TRUE(wait_until([&] {
    const auto holder = DataBlockMutex::holder(segment_.name());
    return holder && holder->since != std::chrono::system_clock::time_point{};
  }));
  waiter.request_stop();
  waiter.join();
  EXPECT_FALSE(mutex.owns_lock());
  finish(owner);
}

TEST_F(DataBlockMutexTimed, AWaitIsAsleep) {
  auto owner = spawn_owner();
  auto mutex = open();
  const auto processor_time = [] {
    timespec used{};
    EXPECT_EQ(::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used), 0);
    return std::chrono::seconds{used.tv_sec} + std::chrono::nanoseconds{used.tv_nsec};
  };
  const std::stop_source stop;
  const auto before = processor_time();
  EXPECT_FALSE(mutex.try_lock_for(150ms));
  EXPECT_FALSE(mutex.try_lock_until(stop.get_token(), Deadline{150ms}));
  EXPECT_LT(processor_time() - before, 50ms);
  finish(owner);
}

// A wait that ends by its deadline, its stop request or with the mutex does not take the news from anybody.
TEST_F(DataBlockMutexTimed, ATimedWaitIsToldOfADeath) {
  auto owner = spawn_owner();
  auto mutex = open();
  std::jthread waiter{[&] {
    EXPECT_TRUE(mutex.try_lock_for(1h));
    expect_news(mutex, owner);
    mutex.declare_repaired();
    mutex.unlock();
  }};
  EXPECT_TRUE(wait_until([&] {
    const auto holder = DataBlockMutex::holder(segment_.name());
    return holder && holder->since != std::chrono::system_clock::time_point{};
  }));
  owner.kill();
}
}  // namespace
