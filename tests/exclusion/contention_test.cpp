// The scenarios of the multi-process validation: contention, simultaneous racers, stress, and the same work by threads.
// Proves F1 (exclusion), F5 (order) and F8 (nothing left behind) of FileLock.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <numeric>
#include <string>
#include <thread>
#include <vector>
#include <holdfast/file_lock.hpp>
#include <holdfast/testing/gtest.hpp>
#include <holdfast/testing/journal.hpp>

#include "counter_file.hpp"
#include "exclusion_suite.hpp"
#include "wait_until.hpp"

namespace {
using namespace holdfast::test;
using namespace std::chrono_literals;
using holdfast::FileLock;
using holdfast::harness::check_history;
using holdfast::harness::Journal;
using holdfast::harness::Ready;
using holdfast::harness::SpawnWorkerWithReadySignal;
using holdfast::harness::TempDir;
using holdfast::harness::WorkerProcess;

std::string name_of_kind(const testing::TestParamInfo<const char*>& kind) { return kind.param; }

class FileLockContention : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(, FileLockContention, testing::Values("file_lock", "file_lock_unfair"), name_of_kind);

TEST_P(FileLockContention, TenProcessesWithTwentyIncrementsEachLoseNone) {
  const TempDir dir;
  const auto verdict = contend(dir / "run", {.kind = GetParam()});
  EXPECT_TRUE(verdict.ok()) << verdict;
  EXPECT_EQ(verdict.counted, 200U);
}

TEST_P(FileLockContention, TenProcessesThatWorkInTheSectionLoseNone) {
  const TempDir dir;
  const auto verdict = contend(dir / "run", {.kind = GetParam(), .hold = 200us});
  EXPECT_TRUE(verdict.ok()) << verdict;
}

TEST_P(FileLockContention, HostileSchedulingLosesNone) {
  const TempDir dir;
  const auto verdict =
      contend(dir / "run", {.kind = GetParam(), .processes = 5, .increments = 10, .hostility = {150, 4000}});
  EXPECT_TRUE(verdict.ok()) << verdict;
}

TEST_P(FileLockContention, FiveIterationsOfFiveProcessesWithTenIncrementsLoseNone) {
  const TempDir dir;
  for (int iteration = 1; iteration <= 5; ++iteration) {
    const auto verdict = contend(dir / ("iteration-" + std::to_string(iteration)),
                                 {.kind = GetParam(), .processes = 5, .increments = 10});
    EXPECT_TRUE(verdict.ok()) << "iteration " << iteration << ": " << verdict;
    EXPECT_EQ(verdict.counted, 50U);
  }
}

TEST_P(FileLockContention, TenSimultaneousRacersAllGetIntoTheSectionOneByOne) {
  const TempDir dir;
  const auto verdict = contend(dir / "run", {.kind = GetParam(), .increments = 1});
  EXPECT_TRUE(verdict.ok()) << verdict;
  auto order = verdict.history.order;
  std::string text;
  for (const auto who : order) text += std::to_string(who) + ' ';
  RecordProperty("acquisition_order", text);
  RecordProperty("overtakes", static_cast<int>(verdict.history.overtakes));
  std::sort(order.begin(), order.end());
  std::vector<std::uint32_t> everybody(10);
  std::iota(everybody.begin(), everybody.end(), 0U);
  EXPECT_EQ(order, everybody);
}

// Order is strict from the moment a ticket is visible. So that nobody can doubt who arrived first, the next one starts only
// when the one before it is seen in the queue.
TEST(FileLockOrder, TenRacersEnterInTheOrderInWhichTheyQueuedUp) {
  const TempDir dir;
  constexpr std::uint32_t racers = 10;
  const Contention contention{.processes = racers, .increments = 1};
  const auto journal = Journal::create(dir / "journal", racers * 3);
  CounterFile{dir / "counter"}.create();
  FileLock lock{dir / "resource"};
  std::vector<WorkerProcess> workers;
  {
    const std::lock_guard guard{lock};
    for (std::uint32_t who = 0; who < racers; ++who) {
      auto& racer = workers.emplace_back(
          SpawnWorkerWithReadySignal(CONTENDER_WORKER, "increment", arguments_for(dir.path(), contention, who).pack()));
      ASSERT_EQ(racer.wait_for_ready(30s), Ready::yes) << racer.report();
      racer.release();
      ASSERT_TRUE(wait_for_queue(dir / "resource", who + 1)) << racer.report();
      ASSERT_EQ(lock.holder()->queue.back().pid(), racer.pid());
    }
  }
  holdfast::harness::ExpectWorkersOk(workers);
  const auto history = check_history(journal.entries());
  std::vector<std::uint32_t> in_order(racers);
  std::iota(in_order.begin(), in_order.end(), 0U);
  EXPECT_EQ(history.order, in_order);
  EXPECT_EQ(history.overtakes, 0U);
  EXPECT_EQ(history.overlaps, 0U);
}

class FileLockThreads : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(, FileLockThreads, testing::Values("file_lock", "file_lock_unfair"), name_of_kind);

TEST_P(FileLockThreads, TenThreadsOfOneObjectLoseNoIncrement) {
  const TempDir dir;
  const auto verdict = contend_threads(dir / "run", {.kind = GetParam()}, true);
  EXPECT_TRUE(verdict.ok()) << verdict;
  EXPECT_EQ(verdict.counted, 200U);
}

TEST_P(FileLockThreads, TenThreadsWithAnObjectEachLoseNoIncrement) {
  const TempDir dir;
  const auto verdict = contend_threads(dir / "run", {.kind = GetParam()}, false);
  EXPECT_TRUE(verdict.ok()) << verdict;
  EXPECT_EQ(verdict.counted, 200U);
}

// What the four scenarios have in common: while one is inside, another process finds the lock busy.
TEST_P(FileLockContention, IsBusyForAnotherProcessWhileOneHoldsIt) {
  const TempDir dir;
  EXPECT_EQ(second_contender_says(dir.path(), GetParam()), "busy");
}
}  // namespace
