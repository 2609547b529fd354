// Proves what becomes of a DataBlockMutex when its owner forks, becomes another program, or ends only its thread, and when its
// object or its segment is dropped while it is held.
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>
#include <holdfast/data_block_mutex.hpp>
#include <holdfast/testing/gtest.hpp>

#include "../workers/data_block_mutex_workers.hpp"

namespace {
using namespace std::chrono_literals;
using holdfast::DataBlockMutex;
using holdfast::errc;
using holdfast::Liveness;
using holdfast::LockOutcome;
using holdfast::ProcessIdentity;
using holdfast::SharedMemory;
using holdfast::harness::ExpectWorkerOk;
using holdfast::harness::SpawnWorker;
using holdfast::harness::WorkerProcess;
using holdfast::test::code_of;
using holdfast::test::DataBlockMutexTest;
using holdfast::test::TestSegment;
using holdfast::test::wait_for_output;
using holdfast::test::wait_until;

/// By another thread, so that it is no deadlock.
bool is_busy(DataBlockMutex& mutex) {
  bool locked = false;
  std::jthread{[&] {
    locked = mutex.try_lock();
    if (locked) mutex.unlock();
  }}.join();
  return !locked;
}

bool contains(const std::string& text, const std::string& words) { return text.find(words) != std::string::npos; }

bool lives(std::int64_t pid) {
  try {
    return ProcessIdentity::of(pid).liveness() == Liveness::alive;
  } catch (const holdfast::Error&) {
    return false;
  }
}

class DataBlockMutexFork : public DataBlockMutexTest {
 protected:
  void run(const char* scenario) const {
    auto worker = SpawnWorker(DATA_BLOCK_MUTEX_WORKER, scenario, {segment_.name()});
    ExpectWorkerOk(worker);
    EXPECT_FALSE(segment_.exists()) << "the last one has removed it";
  }
  /// The pid that a worker printed for its child.
  [[nodiscard]] static std::int64_t child_of(const WorkerProcess& worker) {
    EXPECT_TRUE(wait_for_output(worker, "child ")) << worker.report();
    EXPECT_TRUE(wait_until([&] { return contains(worker.output().substr(worker.output().find("child ")), "\n"); }));
    const auto output = worker.output();
    return std::stoll(output.substr(output.find("child ") + 6));
  }
};

TEST_F(DataBlockMutexFork, AChildOwnsNothingAndChangesNothing) { run("child_owns_nothing"); }
TEST_F(DataBlockMutexFork, ChildrenContendThroughTheirCopies) { run("children_contend"); }

TEST_F(DataBlockMutexFork, AChildLocksAfterItsParentAndIsNamed) {
  auto parent = spawn("child_locks_after_parent");
  const auto child = child_of(parent);
  const auto holder = DataBlockMutex::holder(segment_.name());
  ASSERT_TRUE(holder && holder->owner);
  EXPECT_EQ(holder->owner->pid(), child);
  EXPECT_EQ(holder->liveness, Liveness::alive);
  finish(parent);
}

TEST_F(DataBlockMutexFork, AChildThatLivesDoesNotKeepItsKilledParentsMutex) {
  auto mutex = open();
  auto owner = spawn("hold_with_child");
  const auto child = child_of(owner);
  ASSERT_FALSE(mutex.try_lock());
  owner.kill();
  EXPECT_TRUE(mutex.try_lock()) << "at once";
  EXPECT_TRUE(lives(child));
  expect_news(mutex, owner);
  EXPECT_TRUE(contains(mutex.news(), "died")) << mutex.news();
  mutex.unlock();
}

TEST_F(DataBlockMutexFork, AChildThatOutlivesItsKilledParentIsToldOfItsDeath) {
  auto mutex = open();
  auto owner = spawn("hold_with_child");
  const auto child = child_of(owner);
  owner.kill();
  ASSERT_TRUE(lives(child));
  owner.release();  // for the child: it waits on the same channel
  const auto pid = std::to_string(owner.pid());
  EXPECT_TRUE(wait_until([&] {
    return contains(owner.output(), "locked, after the death of " + pid + ", first " + pid + "\n");
  })) << owner.report();
  EXPECT_TRUE(wait_until([&] { return !lives(child); }));
  ASSERT_TRUE(mutex.try_lock()) << "the child gave it back";
  expect_news(mutex, owner);  // and did not repair
  mutex.declare_repaired();
  mutex.unlock();
}

TEST_F(DataBlockMutexFork, AnOwnerThatBecomesAnotherProgramHasLostIt) {
  auto mutex = open();
  auto owner = spawn("hold_then_exec", {"sleep"});
  auto waiter = spawn_waiter();
  EXPECT_FALSE(mutex.try_lock());
  owner.release();
  expect_news(waiter, owner);
  EXPECT_TRUE(lives(owner.pid()));
  finish(waiter);
  ASSERT_TRUE(mutex.try_lock());
  expect_news(mutex, owner);
  // The kernel gives up the mutex a moment before it closes the descriptors, by which a program that was replaced is known.
  EXPECT_TRUE(wait_until([&] { return contains(mutex.news(), "became another program"); })) << mutex.news();
  mutex.declare_repaired();
  mutex.unlock();
}

TEST_F(DataBlockMutexFork, AProgramIsToldThatItsFormerImageHasLostIt) {
  auto mutex = open();
  auto owner = spawn("hold_then_exec", {"itself"});
  finish(owner);
  const auto pid = std::to_string(owner.pid());
  EXPECT_TRUE(contains(owner.output(), "locked, after the death of " + pid + ", first " + pid + "\n"))
      << owner.report();
}

// ---- threads -------------------------------------------------------------------------------------------------------

class DataBlockMutexThreadEnd : public DataBlockMutexTest {};

TEST_F(DataBlockMutexThreadEnd, CountsAsTheDeathOfTheOwnerForAWaiterAlreadyAsleep) {
  auto mutex = open();
  auto owner = spawn("end_thread_while_holding");
  auto waiter = spawn_waiter();
  owner.release();
  expect_news(waiter, owner);
  EXPECT_TRUE(lives(owner.pid()));
  finish(waiter);
  ASSERT_TRUE(mutex.try_lock());
  expect_news(mutex, owner);
  EXPECT_EQ(mutex.previous_owner()->liveness(), Liveness::alive);
  EXPECT_TRUE(contains(mutex.news(), "lives, but its thread that had the mutex has ended")) << mutex.news();
  mutex.declare_repaired();
  mutex.unlock();
  finish(owner);
}

TEST_F(DataBlockMutexThreadEnd, IsToldToOtherThreadsOfTheSameProcess) {
  auto mutex = open();
  std::jthread{[&] { mutex.lock(); }}.join();
  EXPECT_FALSE(mutex.owns_lock());
  ASSERT_EQ(mutex.lock(), LockOutcome::owner_died);
  EXPECT_EQ(mutex.previous_owner(), ProcessIdentity::self());
  EXPECT_TRUE(contains(mutex.news(), "lives, but its thread that had the mutex has ended")) << mutex.news();
  mutex.declare_repaired();
  mutex.unlock();
  EXPECT_EQ(mutex.lock(), LockOutcome::clean);
  mutex.unlock();
}

// The C library gives the memory of a thread that has ended to the next one.
TEST_F(DataBlockMutexThreadEnd, IsNotUndoneByTheNextThread) {
  auto mutex = open();
  for (int i = 0; i < 20; ++i) {
    std::jthread{[&] { mutex.lock(); }}.join();
    std::jthread{[&] {
      EXPECT_FALSE(mutex.owns_lock());
      EXPECT_EQ(code_of([&] { mutex.declare_repaired(); }), std::errc::operation_not_permitted);
      EXPECT_EQ(code_of([&] { mutex.unlock(); }), std::errc::operation_not_permitted);
    }}.join();
    ASSERT_EQ(mutex.lock(), LockOutcome::owner_died);
    EXPECT_EQ(mutex.previous_owner(), ProcessIdentity::self()) << "it was inside: " << mutex.news();
    mutex.declare_repaired();
    mutex.unlock();
  }
}

TEST_F(DataBlockMutexThreadEnd, LeavesTheMutexesOfOtherThreadsAlone) {
  auto mutex = open();
  mutex.lock();
  const TestSegment other;
  auto lost = DataBlockMutex::create(other.name());
  std::jthread{[&] { lost.lock(); }}.join();
  EXPECT_TRUE(mutex.owns_lock());
  EXPECT_TRUE(is_busy(mutex));
  EXPECT_EQ(lost.lock(), LockOutcome::owner_died);
  EXPECT_TRUE(mutex.owns_lock());
  lost.declare_repaired();
  lost.unlock();
  mutex.unlock();
}

// ---- dropped while held --------------------------------------------------------------------------------------------

class DataBlockMutexDropped : public DataBlockMutexTest {};

TEST_F(DataBlockMutexDropped, ASegmentIsNotDetachedWhileAMutexInItIsHeld) {
  auto memory = SharedMemory::create(segment_.name(), 4096);
  auto mutex = DataBlockMutex::in(memory, 0), other = DataBlockMutex::in(memory, 1024);
  for (auto* one : {&mutex, &other}) {
    one->lock();
    EXPECT_EQ(code_of([&] { memory.detach(); }), errc::in_use);
    EXPECT_EQ(memory.size(), 4096U) << "it is as it was";
    EXPECT_TRUE(one->owns_lock());
    one->unlock();
  }
  std::jthread{[&] {
    mutex.lock();
    std::jthread{[&] {
      EXPECT_EQ(code_of([&] { memory.detach(); }), errc::in_use) << "held by another thread";
    }}.join();
    mutex.unlock();
  }}.join();
  memory.detach();
  EXPECT_EQ(mutex.lock(), LockOutcome::clean) << "it keeps the memory mapped";
  mutex.unlock();
}

TEST_F(DataBlockMutexDropped, ASegmentMayBeDetachedWhileAnotherProcessHasTheMutex) {
  auto owner = spawn_owner();
  auto memory = SharedMemory::attach(segment_.name());
  EXPECT_EQ(code_of([&] { memory.detach(); }), std::error_code{});
  finish(owner);
}

TEST_F(DataBlockMutexDropped, ASegmentIsNotDetachedWhileAThreadOfThisProcessWaitsForAMutexInIt) {
  auto owner = spawn_owner();
  auto memory = SharedMemory::attach(segment_.name());
  auto mutex = DataBlockMutex::in(memory, 0);
  std::jthread waiter{[&] {
    mutex.lock();
    mutex.unlock();
  }};
  EXPECT_TRUE(wait_until([&] { return mutex.holder()->since != std::chrono::system_clock::time_point{}; }));
  EXPECT_EQ(code_of([&] { memory.detach(); }), errc::in_use);
  finish(owner);
  waiter.join();
  EXPECT_EQ(code_of([&] { memory.detach(); }), std::error_code{});
}

TEST_F(DataBlockMutexDropped, ADestroyedSegmentKeepsItsMemoryAsLongAsAMutexInItIsHeld) {
  auto owner_memory = std::optional{SharedMemory::create(segment_.name(), 4096)};
  auto mutex = DataBlockMutex::in(*owner_memory, 0);
  mutex.lock();
  owner_memory.reset();
  auto memory = SharedMemory::attach(segment_.name(), 0s);
  auto other = DataBlockMutex::in(memory, 0);
  EXPECT_TRUE(mutex.owns_lock());
  EXPECT_TRUE(is_busy(other));
  mutex.unlock();
  EXPECT_EQ(other.lock(), LockOutcome::clean);
  other.unlock();
}

/// "destroy" or "assign".
class DataBlockMutexDroppedBy : public DataBlockMutexDropped, public testing::WithParamInterface<const char*> {};
INSTANTIATE_TEST_SUITE_P(, DataBlockMutexDroppedBy, testing::Values("destroy", "assign"),
                         [](const testing::TestParamInfo<const char*>& how) { return how.param; });

TEST_P(DataBlockMutexDroppedBy, AHeldObjectStaysLockedUntilItsThreadEndsWhichIsToldAsADeath) {
  const TestSegment other;
  auto mutex = open();
  auto owner = spawn("drop_while_holding", {GetParam(), other.name()});
  EXPECT_FALSE(mutex.try_lock()) << "unlocking silently would hide a half-done change";
  EXPECT_TRUE(contains(owner.errors(), segment_.name())) << "it says so: " << owner.report();
  const auto holder = mutex.holder();
  ASSERT_TRUE(holder && holder->owner);
  EXPECT_EQ(holder->owner->pid(), owner.pid());
  auto waiter = spawn_waiter();
  owner.release();
  expect_news(waiter, owner);
  EXPECT_TRUE(wait_for_output(owner, "thread ended\n")) << owner.report();
  finish(waiter);
  finish(owner);
  ASSERT_TRUE(mutex.try_lock());
  expect_news(mutex, owner);
  mutex.declare_repaired();
  mutex.unlock();
}

TEST_P(DataBlockMutexDroppedBy, AHeldObjectWhoseProcessIsKilledIsToldAsADeath) {
  const TestSegment other;
  auto mutex = open();
  auto owner = spawn("drop_while_holding", {GetParam(), other.name()});
  owner.kill();
  ASSERT_TRUE(mutex.try_lock());
  expect_news(mutex, owner);
  mutex.declare_repaired();
  mutex.unlock();
}

// ---- the robust list of a thread -----------------------------------------------------------------------------------

class DataBlockMutexRobustList : public DataBlockMutexTest {
 protected:
  /// As a library does that has robust locks of its own.
  static void replace_robust_list() {
    static robust_list_head own{{&own.list}, 0, nullptr};
    ASSERT_EQ(::syscall(SYS_set_robust_list, &own, sizeof own), 0);
  }
};

TEST_F(DataBlockMutexRobustList, OfAnotherLibraryIsRefusedBecauseDeathsWouldGoUnseen) {
  auto mutex = open();
  std::jthread{[&] {
    ASSERT_NO_FATAL_FAILURE(replace_robust_list());
    for (const auto& lock :
         std::vector<std::function<void()>>{[&] { mutex.lock(); }, [&] { static_cast<void>(mutex.try_lock()); },
                                            [&] { static_cast<void>(mutex.try_lock_for(1h)); },
                                            [&] { static_cast<void>(mutex.try_lock_until(std::stop_token{})); }}) {
      EXPECT_EQ(code_of(lock), errc::deaths_unseen);
      EXPECT_FALSE(mutex.owns_lock());
    }
  }}.join();
  EXPECT_EQ(mutex.lock(), LockOutcome::clean) << "nothing was taken, and this thread has the list of the C library";
  mutex.unlock();
}
}  // namespace
