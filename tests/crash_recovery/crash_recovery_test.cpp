// Proves F3 (who died is replaced, who lives is not, however slow), F5 (the dead do not block the queue), F7 (the next owner
// is told) and F8 (what the dead left is swept) of FileLock, by real processes that are killed, crash, stop and give up.
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>
#include <vector>
#include <holdfast/file_lock.hpp>
#include <holdfast/testing/gtest.hpp>

#include "../exclusion/wait_until.hpp"

namespace {
using namespace std::chrono_literals;
using holdfast::FileLock;
using holdfast::Liveness;
using holdfast::LockOutcome;
using holdfast::harness::Argument;
using holdfast::harness::Exit;
using holdfast::harness::ExpectWorkerOk;
using holdfast::harness::Ready;
using holdfast::harness::SpawnWorkerWithReadySignal;
using holdfast::harness::TempDir;
using holdfast::harness::WorkerProcess;
using holdfast::test::wait_for_output;
using holdfast::test::wait_for_queue;
using holdfast::test::wait_until;

/// The state letter in /proc: 'S' sleeps in the kernel, 'T' stopped, 'Z' zombie.
char state_of(const WorkerProcess& worker) {
  std::ifstream file{"/proc/" + std::to_string(worker.pid()) + "/stat"};
  std::string line;
  std::getline(file, line);
  const auto end_of_name = line.rfind(") ");
  return end_of_name == std::string::npos ? '?' : line[end_of_name + 2];
}

class FileLockCrashRecovery : public testing::TestWithParam<bool> {
 protected:
  [[nodiscard]] static bool fair() { return GetParam(); }
  [[nodiscard]] std::filesystem::path resource() const { return dir_ / "run.h5"; }
  [[nodiscard]] FileLock lock() const { return FileLock{resource(), {.fair = fair()}}; }

  [[nodiscard]] WorkerProcess spawn(const char* scenario, std::vector<Argument> more = {}) const {
    std::vector<Argument> arguments{resource(), fair() ? 1 : 0};
    arguments.insert(arguments.end(), more.begin(), more.end());
    auto worker = SpawnWorkerWithReadySignal(FILE_LOCK_WORKER, scenario, arguments);
    EXPECT_EQ(worker.wait_for_ready(), Ready::yes) << worker.report();
    return worker;
  }
  [[nodiscard]] WorkerProcess spawn_owner() const { return spawn("hold_until_released"); }

  /// A process that is asleep in lock(), behind so many others. Without fairness there is no queue to see it in.
  [[nodiscard]] WorkerProcess spawn_waiter(std::size_t others = 0) const {
    auto waiter = spawn("wait_then_hold");
    if (fair()) {
      EXPECT_TRUE(wait_for_queue(resource(), others + 1)) << waiter.report();
      EXPECT_EQ(FileLock::holder(resource())->queue.back().pid(), waiter.pid());
    }
    EXPECT_TRUE(wait_until([&] { return state_of(waiter) == 'S'; })) << waiter.report();
    return waiter;
  }

  static void expect_news(const WorkerProcess& waiter, const WorkerProcess& dead) {
    EXPECT_TRUE(
        wait_for_output(waiter, "locked, after the death of " + std::to_string(dead.pid()) + " (file_lock_worke)\n"))
        << waiter.report();
  }
  static void finish(WorkerProcess& worker) {
    if (HasFailure()) return worker.kill();  // it may wait for ever
    worker.release();
    ExpectWorkerOk(worker);
  }
  /// Nobody is left who could hold it: it is free, and the last object leaves nothing.
  void expect_free_and_tidy() const {
    {
      FileLock last = lock();
      ASSERT_TRUE(last.try_lock_for(10s));
    }
    EXPECT_TRUE(dir_.leftovers().empty()) << dir_.leftovers().front();
  }

  TempDir dir_;
};
INSTANTIATE_TEST_SUITE_P(, FileLockCrashRecovery, testing::Bool(),
                         [](const testing::TestParamInfo<bool>& fair) { return fair.param ? "fair" : "unfair"; });

TEST_P(FileLockCrashRecovery, AWaiterThatSleepsGetsTheLockOfAKilledOwnerWithTheNews) {
  auto owner = spawn_owner();
  auto waiter = spawn_waiter();
  ASSERT_EQ(waiter.output(), "") << "the owner must hold the lock before it is killed";
  owner.kill();
  expect_news(waiter, owner);
  finish(waiter);
  expect_free_and_tidy();
}

TEST_P(FileLockCrashRecovery, ANewcomerGetsTheLockOfAKilledOwnerAtOnceWithTheNews) {
  auto owner = spawn_owner();
  FileLock newcomer = lock();
  ASSERT_FALSE(newcomer.try_lock()) << "the worker must hold the lock before it is killed";
  EXPECT_EQ(newcomer.outcome(), LockOutcome::clean);
  EXPECT_FALSE(newcomer.previous_owner());

  owner.kill();
  ASSERT_TRUE(newcomer.try_lock()) << "it is dead: there is nothing to wait for";
  EXPECT_EQ(newcomer.outcome(), LockOutcome::owner_died);
  ASSERT_TRUE(newcomer.previous_owner());
  EXPECT_EQ(newcomer.previous_owner()->pid(), owner.pid());
  EXPECT_EQ(newcomer.previous_owner()->program(), "file_lock_worke");
  EXPECT_LT(std::chrono::system_clock::now() - newcomer.previous_owner()->started(), 60s);
  EXPECT_EQ(newcomer.previous_owner()->liveness(), Liveness::dead);
}

TEST_P(FileLockCrashRecovery, AZombieThatNobodyReapsIsDead) {
  auto owner = spawn_owner();
  owner.kill();
  ASSERT_EQ(state_of(owner), 'Z') << "not reaped yet, so that kill(pid, 0) would still find it";
  const auto holder = FileLock::holder(resource());
  ASSERT_TRUE(holder);
  EXPECT_EQ(holder->liveness, Liveness::dead);
  EXPECT_EQ(holder->owner->pid(), owner.pid());

  FileLock newcomer = lock();
  ASSERT_TRUE(newcomer.try_lock());
  EXPECT_EQ(newcomer.previous_owner()->pid(), owner.pid());
  EXPECT_EQ(state_of(owner), 'Z');
}

TEST_P(FileLockCrashRecovery, TheNewsIsToldOnce) {
  auto owner = spawn_owner();
  owner.kill();
  FileLock newcomer = lock();
  {
    const std::lock_guard guard{newcomer};
    EXPECT_EQ(newcomer.outcome(), LockOutcome::owner_died);
  }
  EXPECT_EQ(newcomer.outcome(), LockOutcome::clean) << "nothing is held";
  const std::lock_guard guard{newcomer};
  EXPECT_EQ(newcomer.outcome(), LockOutcome::clean);
  EXPECT_FALSE(newcomer.previous_owner());
}

TEST_P(FileLockCrashRecovery, AnOwnerThatEndsInAnyWayWithoutUnlockingIsReplaced) {
  for (const char* const way : {"_exit", "exit", "abort", "segfault", "terminate", "thread_calls_exit"}) {
    SCOPED_TRACE(way);
    auto owner = spawn("end_while_holding", {way});
    auto waiter = spawn_waiter();
    owner.release();
    expect_news(waiter, owner);
    EXPECT_FALSE(owner.wait_for_exit().ok()) << "a worker that leaves early has not passed";
    finish(waiter);
  }
  expect_free_and_tidy();
}

TEST_P(FileLockCrashRecovery, DeathsInARowAreEachToldToTheNext) {
  std::vector<WorkerProcess> row;
  row.push_back(spawn_owner());
  for (std::size_t i = 0; i < 4; ++i) row.push_back(spawn_waiter(i));
  if (fair()) {
    for (std::size_t i = 0; i + 1 < row.size(); ++i) {
      row[i].kill();
      expect_news(row[i + 1], row[i]);
    }
    finish(row.back());
  } else {  // any of them may be next
    std::size_t dead = 0;
    std::vector<bool> is_dead(row.size());
    for (std::size_t deaths = 0; deaths + 1 < row.size(); ++deaths) {
      row[dead].kill();
      is_dead[dead] = true;
      const auto news = "locked, after the death of " + std::to_string(row[dead].pid());
      std::size_t next = row.size();
      ASSERT_TRUE(wait_until([&] {
        for (std::size_t i = 0; i < row.size(); ++i)
          if (!is_dead[i] && row[i].output().starts_with(news)) next = i;
        return next < row.size();
      }));
      dead = next;
    }
    finish(row[dead]);
  }
  expect_free_and_tidy();
}

// The first in the queue dies together with the owner, before it could do anything about that.
TEST_P(FileLockCrashRecovery, ARescuerThatDiesAsWellIsReplacedByTheNext) {
  auto owner = spawn_owner();
  auto rescuer = spawn_waiter();
  auto second = spawn_waiter(1);
  rescuer.stop();
  owner.kill();
  rescuer.kill();
  expect_news(second, owner);
  finish(second);
  expect_free_and_tidy();
}

TEST_P(FileLockCrashRecovery, KilledWaitersAreSkipped) {
  for (std::size_t victim = 0; victim < 3; ++victim) {
    SCOPED_TRACE("killed: number " + std::to_string(victim) + " of the queue");
    FileLock owner = lock();
    ASSERT_TRUE(owner.try_lock_for(10s));
    std::vector<WorkerProcess> waiters;
    for (std::size_t i = 0; i < 3; ++i) waiters.push_back(spawn_waiter(i));
    waiters[victim].kill();
    ASSERT_TRUE(owner.unlock());
    std::vector<std::size_t> rest{0, 1, 2};
    std::erase(rest, victim);
    if (fair()) {
      for (const auto next : rest) {
        EXPECT_TRUE(wait_for_output(waiters[next], "locked\n")) << waiters[next].report();
        finish(waiters[next]);
      }
    } else {
      for (const auto next : rest) waiters[next].release();
      for (const auto next : rest) {
        ExpectWorkerOk(waiters[next]);
        EXPECT_EQ(waiters[next].output(), "locked\n");
      }
    }
  }
  expect_free_and_tidy();
}

TEST_P(FileLockCrashRecovery, AWholeQueueOfTheDeadDoesNotBlockANewcomer) {
  {
    FileLock owner = lock();
    ASSERT_TRUE(owner.try_lock());
    std::vector<WorkerProcess> waiters;
    for (std::size_t i = 0; i < 5; ++i) waiters.push_back(spawn_waiter(i));
    for (auto& waiter : waiters) waiter.kill();
    ASSERT_TRUE(owner.unlock());
    FileLock newcomer = lock();
    ASSERT_TRUE(newcomer.try_lock_for(10s));
    EXPECT_EQ(newcomer.outcome(), LockOutcome::clean) << "waiters died, no owner";
  }
  expect_free_and_tidy();
}

TEST_P(FileLockCrashRecovery, AWaiterThatTimesOutDoesNotBlockTheQueue) {
  FileLock owner = lock();
  ASSERT_TRUE(owner.try_lock());
  auto impatient = spawn("wait_for_a_while", {50});
  auto patient = spawn("wait_then_hold");
  ASSERT_TRUE(wait_for_output(impatient, "timed out\n")) << impatient.report();
  if (fair()) {
    ASSERT_TRUE(wait_for_queue(resource(), 1));
    EXPECT_EQ(owner.holder()->queue.front().pid(), patient.pid());
  }
  ASSERT_TRUE(owner.unlock());
  EXPECT_TRUE(wait_for_output(patient, "locked\n")) << patient.report();
  finish(patient);
  finish(impatient);
}

TEST_P(FileLockCrashRecovery, AStoppedOwnerIsNotRobbed) {
  auto owner = spawn_owner();
  owner.stop();
  ASSERT_EQ(state_of(owner), 'T');
  auto impatient = spawn("wait_for_a_while", {100});
  auto patient = spawn("wait_then_hold");
  FileLock newcomer = lock();
  EXPECT_FALSE(newcomer.try_lock());
  EXPECT_FALSE(newcomer.try_lock_for(100ms));
  ASSERT_TRUE(wait_for_output(impatient, "timed out\n")) << impatient.report();
  const auto holder = newcomer.holder();
  ASSERT_TRUE(holder);
  EXPECT_EQ(holder->owner->pid(), owner.pid());
  EXPECT_EQ(holder->liveness, Liveness::alive);
  EXPECT_EQ(patient.output(), "");

  owner.resume();
  finish(owner);  // its unlock() found everything as it was
  EXPECT_TRUE(wait_for_output(patient, "locked\n")) << patient.report();
  finish(patient);
  finish(impatient);
}

TEST_P(FileLockCrashRecovery, AStoppedOwnerThatIsKilledIsReplaced) {
  auto owner = spawn_owner();
  auto waiter = spawn_waiter();
  owner.stop();
  owner.kill();
  expect_news(waiter, owner);
  finish(waiter);
}

// What the dead leave on disk: an owner's lock, a waiter's ticket, the private directories of all of them.
TEST_P(FileLockCrashRecovery, TheNextObjectSweepsWhatTheDeadLeft) {
  std::vector<WorkerProcess> workers;
  workers.push_back(spawn("keep_object"));
  workers.push_back(spawn_owner());
  workers.push_back(spawn_waiter());
  workers.push_back(spawn_waiter(1));
  ASSERT_TRUE(wait_until([&] { return dir_.leftovers().size() >= 4; }))
      << "the lock and three private directories at least";
  for (auto worker = workers.rbegin(); worker != workers.rend(); ++worker) worker->kill();
  ASSERT_GE(dir_.leftovers().size(), 4U);
  expect_free_and_tidy();
}

// Without a death among the owners there is no recovery that would sweep: a new object has to.
TEST_P(FileLockCrashRecovery, ANewObjectSweepsAfterThoseWhoDiedWithoutTheLock) {
  auto idle = spawn("keep_object");
  idle.kill();
  ASSERT_FALSE(dir_.leftovers().empty());
  expect_free_and_tidy();
}

// Whether or not it would have waited there itself.
TEST_P(FileLockCrashRecovery, ANewObjectSweepsTheQueueOfThoseWhoDiedInIt) {
  {
    FileLock owner{resource()};
    ASSERT_TRUE(owner.try_lock());
    auto waiter = SpawnWorkerWithReadySignal(FILE_LOCK_WORKER, "wait_then_hold", {resource(), 1});
    ASSERT_TRUE(wait_for_queue(resource(), 1)) << waiter.report();
    waiter.kill();
  }
  ASSERT_FALSE(dir_.leftovers().empty());
  expect_free_and_tidy();
}

/// Order in the queue, so only where there is one.
class FileLockQueueRecovery : public FileLockCrashRecovery {};
INSTANTIATE_TEST_SUITE_P(, FileLockQueueRecovery, testing::Values(true),
                         [](const testing::TestParamInfo<bool>&) { return "fair"; });

TEST_P(FileLockQueueRecovery, AStoppedWaiterAtTheHeadKeepsItsPlace) {
  FileLock owner = lock();
  ASSERT_TRUE(owner.try_lock());
  auto head = spawn_waiter();
  auto second = spawn_waiter(1);
  head.stop();
  ASSERT_TRUE(owner.unlock());
  EXPECT_FALSE(owner.try_lock()) << "free, but those who wait are not passed";
  EXPECT_FALSE(owner.try_lock_for(100ms));
  EXPECT_EQ(second.output(), "");
  head.resume();
  EXPECT_TRUE(wait_for_output(head, "locked\n")) << head.report();
  EXPECT_EQ(second.output(), "");
  finish(head);
  EXPECT_TRUE(wait_for_output(second, "locked\n")) << second.report();
  finish(second);
}

TEST_P(FileLockQueueRecovery, AStoppedWaiterAtTheHeadThatIsKilledLosesItsPlace) {
  auto owner = spawn_owner();
  auto head = spawn_waiter();
  auto second = spawn_waiter(1);
  head.stop();
  finish(owner);
  EXPECT_EQ(second.output(), "");
  head.kill();
  EXPECT_TRUE(wait_for_output(second, "locked\n")) << second.report();
  finish(second);
  expect_free_and_tidy();
}

TEST_P(FileLockQueueRecovery, AStoppedHeadOfTheQueueRecoversAfterItsReturn) {
  auto owner = spawn_owner();
  auto head = spawn_waiter();
  auto second = spawn_waiter(1);
  head.stop();
  owner.kill();
  head.resume();
  expect_news(head, owner);
  EXPECT_EQ(second.output(), "");
  finish(head);
  EXPECT_TRUE(wait_for_output(second, "locked\n")) << "the second is told nothing of a death long repaired";
  finish(second);
}
}  // namespace
