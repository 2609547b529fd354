// Proves M2 (the mutex of a dead owner goes to a waiter already asleep, or to whoever comes) and M3 (every owner from then on is
// told, until one declares the data repaired) of DataBlockMutex, by real processes that are killed, crash, stop and end.
#include <sys/ptrace.h>
#include <gtest/gtest.h>

#include <chrono>
#include <mutex>
#include <string>
#include <utility>
#include <vector>
#include <holdfast/data_block_mutex.hpp>
#include <holdfast/testing/gtest.hpp>

#include "../workers/data_block_mutex_workers.hpp"

namespace {
using namespace std::chrono_literals;
using holdfast::DataBlockLockGuard;
using holdfast::DataBlockMutex;
using holdfast::Liveness;
using holdfast::LockOutcome;
using holdfast::harness::ExpectWorkerOk;
using holdfast::harness::WorkerProcess;
using holdfast::test::DataBlockMutexTest;
using holdfast::test::sleeps_in_mutex;
using holdfast::test::state_of;
using holdfast::test::wait_for_output;
using holdfast::test::wait_until;

class DataBlockMutexRecovery : public DataBlockMutexTest {};

TEST_F(DataBlockMutexRecovery, AttacherAcquiresAfterCreator) {
  auto creator = spawn("create_then_hold");
  expect_locked(creator);
  auto attacher = spawn_waiter();
  EXPECT_EQ(attacher.output(), "") << "the creator has it";
  finish(creator);
  expect_locked(attacher);
  finish(attacher);
  EXPECT_FALSE(segment_.exists()) << "the last one has removed it";
}

TEST_F(DataBlockMutexRecovery, AttacherAcquiresAfterACreatorThatIsKilled) {
  auto creator = spawn("create_then_hold");
  auto attacher = spawn_waiter();
  creator.kill();
  expect_news(attacher, creator);
  finish(attacher);
}

/// By the way in which the owner ends. Nobody reaps it before the end of the test.
class DataBlockMutexZombie : public DataBlockMutexRecovery, public testing::WithParamInterface<const char*> {
 protected:
  [[nodiscard]] WorkerProcess spawn_owner() const { return spawn("end_while_holding", {GetParam()}); }
  /// By itself, or killed by this process.
  static void end(WorkerProcess& owner) {
    if (GetParam() == std::string{"SIGKILL"})
      owner.kill();
    else
      owner.release();
    ASSERT_TRUE(wait_until([&] { return state_of(owner) == 'Z'; })) << owner.report();
  }
};
INSTANTIATE_TEST_SUITE_P(, DataBlockMutexZombie, testing::Values("SIGKILL", "_exit"),
                         [](const testing::TestParamInfo<const char*>& way) {
                           return std::string{way.param} == "SIGKILL" ? "killed" : "exited";
                         });

TEST_P(DataBlockMutexZombie, ZombieOwnerRecoveryByAWaiterAlreadyAsleep) {
  auto owner = spawn_owner();
  auto waiter = spawn_waiter();
  ASSERT_EQ(waiter.output(), "") << "the owner must have it before it ends";
  ASSERT_NO_FATAL_FAILURE(end(owner));
  expect_news(waiter, owner);
  EXPECT_EQ(state_of(owner), 'Z');
  finish(waiter);
}

TEST_P(DataBlockMutexZombie, ZombieOwnerRecoveryByANewcomer) {
  auto owner = spawn_owner();
  auto newcomer = open();
  ASSERT_FALSE(newcomer.try_lock()) << "the owner must have it before it ends";
  EXPECT_EQ(newcomer.outcome(), LockOutcome::clean);
  ASSERT_NO_FATAL_FAILURE(end(owner));
  ASSERT_TRUE(newcomer.try_lock()) << "it is dead: there is nothing to wait for";
  expect_news(newcomer, owner);
  EXPECT_EQ(newcomer.previous_owner()->program(), "data_block_mute");
  EXPECT_EQ(newcomer.previous_owner()->liveness(), Liveness::dead);
  EXPECT_LT(std::chrono::system_clock::now() - newcomer.previous_owner()->started(), 60s);
  const auto words = newcomer.news();
  EXPECT_NE(words.find(std::to_string(owner.pid())), std::string::npos) << words;
  EXPECT_NE(words.find("died"), std::string::npos) << words;
  EXPECT_EQ(state_of(owner), 'Z');
  newcomer.unlock();
}

TEST_P(DataBlockMutexZombie, ZombieOwnerRecoveryByAProcessThatAttachesAfterwards) {
  auto owner = spawn_owner();
  ASSERT_NO_FATAL_FAILURE(end(owner));
  auto newcomer = spawn("hold_until_released");
  expect_locked(newcomer);  // without news: nobody was attached any more, so it has made the segment anew
  finish(newcomer);
}

TEST_F(DataBlockMutexRecovery, AnOwnerThatEndsInAnyWayWithoutUnlockingIsReplaced) {
  auto mutex = open();
  for (const char* const way : {"_exit", "exit", "abort", "SIGSEGV", "SIGKILL", "terminate", "thread_calls_exit"}) {
    SCOPED_TRACE(way);
    auto owner = spawn("end_while_holding", {way});
    auto waiter = spawn_waiter();
    owner.release();
    expect_news(waiter, owner);
    EXPECT_FALSE(owner.wait_for_exit().ok()) << "a worker that leaves early has not passed";
    finish(waiter);
    mutex.lock();
    expect_news(mutex, owner);
    mutex.declare_repaired();
    mutex.unlock();
  }
}

// ---- the news stays ------------------------------------------------------------------------------------------------

class DataBlockMutexNews : public DataBlockMutexTest {};

TEST_F(DataBlockMutexNews, IsNotSwallowedByALockGuard) {
  auto mutex = open();
  auto owner = spawn_owner();
  owner.kill();
  { const std::lock_guard guard{mutex}; }
  { const std::unique_lock guard{mutex, 10s}; }
  { const std::scoped_lock guard{mutex}; }
  auto other = spawn("hold_until_released");
  expect_news(other, owner);
  finish(other);
  EXPECT_EQ(mutex.lock(), LockOutcome::owner_died);
  expect_news(mutex, owner);
  mutex.declare_repaired();
  mutex.unlock();
  EXPECT_EQ(mutex.lock(), LockOutcome::clean);
  mutex.unlock();
}

TEST_F(DataBlockMutexNews, SurvivesASecondDeathBeforeTheRepair) {
  auto mutex = open();
  auto first = spawn_owner();
  auto second = spawn_waiter();
  first.kill();
  expect_news(second, first);
  auto third = spawn_waiter();
  second.kill();
  expect_news(third, second.pid(), first.pid());
  third.kill();
  ASSERT_EQ(mutex.lock(), LockOutcome::owner_died);
  expect_news(mutex, third.pid(), first.pid());
  const auto words = mutex.news();
  EXPECT_NE(words.find(std::to_string(first.pid())), std::string::npos) << words;
  EXPECT_NE(words.find(std::to_string(third.pid())), std::string::npos) << words;
  mutex.declare_repaired();
  mutex.unlock();
  auto after = spawn("hold_until_released");
  expect_locked(after);
  finish(after);
}

TEST_F(DataBlockMutexNews, NamesTheFirstAndTheLastAlsoAfterGuardsThatDroppedIt) {
  auto mutex = open();
  auto first = spawn_owner();
  first.kill();
  { const std::lock_guard guard{mutex}; }
  auto second = spawn_owner();
  expect_news(second, first);
  second.kill();
  const DataBlockLockGuard guard{mutex};
  EXPECT_EQ(guard.outcome(), LockOutcome::owner_died);
  expect_news(mutex, second.pid(), first.pid());
  mutex.declare_repaired();
}

TEST_F(DataBlockMutexNews, OfADeathAfterTheRepairNamesOnlyThatOne) {
  auto mutex = open();
  auto first = spawn_owner();
  first.kill();
  auto second = spawn("repair_then_hold");
  expect_news(second, first);
  second.kill();
  ASSERT_EQ(mutex.lock(), LockOutcome::owner_died);
  expect_news(mutex, second);
  mutex.declare_repaired();
  mutex.unlock();
}

TEST_F(DataBlockMutexNews, StaysInASegmentThatNobodyIsAttachedToAnyMore) {
  { const auto maker = DataBlockMutex::create(segment_.name(), {.lifetime = holdfast::Lifetime::until_removed}); }
  auto owner = spawn_owner();
  owner.kill();
  auto mutex = open();
  EXPECT_EQ(mutex.lock(), LockOutcome::owner_died);
  expect_news(mutex, owner);
  mutex.declare_repaired();
  mutex.unlock();
}

// A record of a process is not given to another one as long as it is needed to name the dead.
TEST_F(DataBlockMutexNews, KeepsItsNamesHoweverManyCome) {
  auto mutex = open();
  auto first = spawn_owner();
  first.kill();
  { const std::lock_guard guard{mutex}; }
  auto second = spawn_owner();
  second.kill();
  { const std::lock_guard guard{mutex}; }
  for (int i = 0; i < 3; ++i) {
    std::vector<WorkerProcess> visitors;
    for (int k = 0; k < 10; ++k) visitors.push_back(spawn("wait_for_a_while", {10'000}));
    for (auto& visitor : visitors) {
      ExpectWorkerOk(visitor);
      expect_news(visitor, second.pid(), first.pid());
    }
  }
  auto regular = spawn("attach_often", {256});  // the turn of each record has come
  ExpectWorkerOk(regular);
  mutex.lock();
  expect_news(mutex, second.pid(), first.pid());
  mutex.declare_repaired();
  mutex.unlock();
}

// ---- waiters -------------------------------------------------------------------------------------------------------

TEST_F(DataBlockMutexRecovery, DeathsInARowAreEachToldToTheNext) {
  constexpr std::size_t count = 5;
  std::vector<WorkerProcess> row;
  row.push_back(spawn_owner());
  for (std::size_t i = 1; i < count; ++i) row.push_back(spawn_waiter());
  const auto first = row.front().pid();
  std::vector<bool> is_dead(count);
  std::size_t dead = 0;
  for (std::size_t deaths = 0; deaths + 1 < count; ++deaths) {  // any of them may be next
    row[dead].kill();
    is_dead[dead] = true;
    const auto news =
        "locked, after the death of " + std::to_string(row[dead].pid()) + ", first " + std::to_string(first) + "\n";
    std::size_t next = count;
    ASSERT_TRUE(wait_until([&] {
      for (std::size_t i = 0; i < count; ++i)
        if (!is_dead[i] && row[i].output().starts_with(news)) next = i;
      return next < count;
    }));
    dead = next;
  }
  finish(row[dead]);
}

TEST_F(DataBlockMutexRecovery, KilledWaitersAreSkipped) {
  for (std::size_t victim = 0; victim < 3; ++victim) {
    SCOPED_TRACE("killed: number " + std::to_string(victim) + " of those who wait");
    auto owner = open();
    ASSERT_EQ(owner.lock(), LockOutcome::clean);
    std::vector<WorkerProcess> waiters;
    for (std::size_t i = 0; i < 3; ++i) waiters.push_back(spawn_waiter());
    waiters[victim].kill();
    owner.unlock();
    for (std::size_t i = 0; i < 3; ++i)
      if (i != victim) waiters[i].release();
    for (std::size_t i = 0; i < 3; ++i) {
      if (i == victim) continue;
      ExpectWorkerOk(waiters[i]);
      EXPECT_EQ(waiters[i].output(), "locked\n") << "a waiter died, no owner";
    }
  }
}

/// The kernel wakes one waiter. Killed before it has the mutex, it must not take the wake-up of the others with it.
class DataBlockMutexWakeUp : public DataBlockMutexRecovery {
 protected:
  /// Asleep in lock(). Once woken it stands still.
  class Waiter {
   public:
    explicit Waiter(WorkerProcess worker) : worker_{std::move(worker)}, pid_{static_cast<pid_t>(worker_.pid())} {
      traced_ = ::ptrace(PTRACE_SEIZE, pid_, nullptr, PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD) == 0 &&
                ::ptrace(PTRACE_INTERRUPT, pid_, nullptr, nullptr) == 0;
      if (!traced_) return;
      EXPECT_TRUE(wait_until([this] { return stands(); }));
      EXPECT_TRUE(wait_until([this] {
        if (state_of(worker_) == 'S') return true;
        if (stands()) ::ptrace(PTRACE_SYSCALL, pid_, nullptr, nullptr);
        return false;
      })) << worker_.report();
    }
    [[nodiscard]] bool is_traced() const noexcept { return traced_; }
    [[nodiscard]] bool stands() const { return state_of(worker_) == 't'; }
    void kill() { worker_.kill(); }

   private:
    WorkerProcess worker_;
    pid_t pid_;
    bool traced_ = false;
  };
};

TEST_F(DataBlockMutexWakeUp, IsNotLostWithAWaiterThatIsKilledWhileANewcomerHasTheMutex) {
  auto mutex = open();
  mutex.lock();
  Waiter woken{spawn_waiter()};
  if (!woken.is_traced()) GTEST_SKIP() << "NOT TESTED: this machine does not permit to trace a process";
  auto other = spawn_waiter();
  mutex.unlock();
  const bool quicker = mutex.try_lock();
  EXPECT_TRUE(wait_until([&] { return woken.stands(); }));
  woken.kill();
  if (quicker) mutex.unlock();
  expect_locked(other);
  if (HasFailure()) return other.kill();  // it waits for ever
  finish(other);
}

TEST_F(DataBlockMutexWakeUp, IsNotLostWithAWaiterThatIsKilledAfterItsOwnersDeath) {
  auto owner = spawn_owner();
  Waiter woken{spawn_waiter()};
  if (!woken.is_traced()) GTEST_SKIP() << "NOT TESTED: this machine does not permit to trace a process";
  auto other = spawn_waiter();
  owner.kill();
  EXPECT_TRUE(wait_until([&] { return woken.stands(); }));
  woken.kill();
  expect_news(other, owner);
  if (HasFailure()) return other.kill();
  finish(other);
}

// Whoever the kernel wakes for a dead owner may die before it has done anything about it.
TEST_F(DataBlockMutexRecovery, ARescuerThatDiesAsWellIsReplacedByTheNext) {
  auto owner = spawn_owner();
  auto rescuer = spawn_waiter();
  auto second = spawn_waiter();
  rescuer.stop();
  owner.kill();
  rescuer.kill();
  EXPECT_TRUE(wait_for_output(second, "locked, after the death of ")) << second.report();
  expect_news(second, owner);
  finish(second);
}

TEST_F(DataBlockMutexRecovery, AStoppedOwnerIsNotRobbed) {
  auto owner = spawn_owner();
  owner.stop();
  ASSERT_EQ(state_of(owner), 'T');
  auto waiter = spawn_waiter();
  auto mutex = open();
  EXPECT_FALSE(mutex.try_lock());
  EXPECT_FALSE(mutex.try_lock_for(100ms));
  const auto holder = mutex.holder();
  ASSERT_TRUE(holder && holder->owner);
  EXPECT_EQ(holder->owner->pid(), owner.pid());
  EXPECT_EQ(holder->liveness, Liveness::alive);
  EXPECT_EQ(waiter.output(), "");
  owner.resume();
  finish(owner);
  expect_locked(waiter);
  finish(waiter);
}

TEST_F(DataBlockMutexRecovery, AStoppedOwnerThatIsKilledIsReplaced) {
  auto owner = spawn_owner();
  auto waiter = spawn_waiter();
  owner.stop();
  owner.kill();
  expect_news(waiter, owner);
  finish(waiter);
}

TEST_F(DataBlockMutexRecovery, AWaiterThatTimesOutDoesNotBlockTheOthers) {
  auto owner = open();
  owner.lock();
  auto impatient = spawn("wait_for_a_while", {50});
  auto patient = spawn_waiter();
  EXPECT_TRUE(wait_for_output(impatient, "timed out\n")) << impatient.report();
  owner.unlock();
  expect_locked(patient);
  finish(patient);
  finish(impatient);
}
}  // namespace
