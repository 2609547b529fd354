// Proves what FileLock has in common with every lock, by threads, and what only FileLock has.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <holdfast/file_lock.hpp>
#include <holdfast/testing/gtest.hpp>

#include "lock_conformance.hpp"

namespace conformance {
using holdfast::FileLock;
using holdfast::harness::TempDir;

template <bool fair>
struct FileLockPlace {
  using Lock = FileLock;
  [[nodiscard]] FileLock open() const { return FileLock{dir / "resource", {.fair = fair}}; }
  /// A fair waiter is in the queue. Without fairness a wait leaves no trace, so the next best is that the lock is held.
  [[nodiscard]] bool somebody_waits() const {
    const auto holder = FileLock::holder(dir / "resource");
    return holder && (!fair || !holder->queue.empty());
  }
  TempDir dir;
};
// "Threads" in the name: the tsan run takes these.
INSTANTIATE_TYPED_TEST_SUITE_P(FileLockFairThreads, LockConformance, FileLockPlace<true>);
INSTANTIATE_TYPED_TEST_SUITE_P(FileLockUnfairThreads, LockConformance, FileLockPlace<false>);

TEST(FileLockObject, GivesTheLockBackWhenItIsDestroyed) {
  const TempDir dir;
  {
    FileLock lock{dir / "resource"};
    lock.lock();
    EXPECT_TRUE(FileLock::holder(dir / "resource"));
  }
  EXPECT_FALSE(FileLock::holder(dir / "resource"));
}

TEST(FileLockObject, MakesNothingBeforeItIsLocked) {
  const TempDir dir;
  const FileLock lock{dir / "resource"};
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

TEST(FileLockObject, SaysThatThereIsNothingToUnlock) {
  const TempDir dir;
  FileLock lock{dir / "resource"};
  std::error_code why;
  EXPECT_FALSE(lock.unlock(why));
  EXPECT_EQ(why, std::errc::operation_not_permitted);
  lock.lock();
  EXPECT_TRUE(lock.unlock(why));
  EXPECT_FALSE(why);
  EXPECT_FALSE(lock.unlock());
}

TEST(FileLockObject, MayBeUnlockedByAnotherThread) {
  const TempDir dir;
  FileLock lock{dir / "resource"};
  lock.lock();
  EXPECT_TRUE(elsewhere([&] { return lock.unlock(); }));
  EXPECT_TRUE(lock.try_lock()) << "no deadlock: this thread has it no more";
  lock.unlock();
}

TEST(FileLockObject, IsUsedAThousandTimesAndLeavesNothing) {
  const TempDir dir;
  {
    FileLock lock{dir / "resource"};
    for (int i = 0; i < 1000; ++i) {
      ASSERT_EQ(lock.lock(), LockOutcome::clean);
      ASSERT_TRUE(lock.unlock());
    }
  }
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

// R3: what tells where a channel does not, and nothing is known of the owner.
TEST(FileLockObject, HasTheKernelsLockOfItsMarkWhileItIsOwned) {
  const TempDir dir;
  FileLock lock{dir / "resource"};
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(lock.try_lock());
    int marks = 0;
    for (const auto& entry : std::filesystem::directory_iterator{dir / "resource.lock"}) {
      const int mark = ::open(entry.path().c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
      ASSERT_GE(mark, 0) << entry.path();
      EXPECT_EQ(::flock(mark, LOCK_EX | LOCK_NB), -1) << entry.path();
      ::close(mark);
      ++marks;
    }
    EXPECT_EQ(marks, 1);
    lock.unlock();
  }
}

TEST(FileLockHolder, IsNobodyWhileItIsFree) {
  const TempDir dir;
  EXPECT_FALSE(FileLock::holder(dir / "resource"));
  EXPECT_EQ(to_string(FileLock::holder(dir / "resource")), "free");
  EXPECT_TRUE(std::filesystem::is_empty(dir.path())) << "looking makes nothing";
}

TEST(FileLockHolder, TellsWhoHoldsItSinceWhenAndWhoWaits) {
  const TempDir dir;
  const auto before = std::chrono::system_clock::now() - 20ms;  // file systems count in ticks
  auto owner =
      holdfast::harness::SpawnWorkerWithReadySignal(FILE_LOCK_WORKER, "hold_until_released", {dir / "resource", 1});
  ASSERT_EQ(owner.wait_for_ready(), holdfast::harness::Ready::yes) << owner.report();
  auto waiter =
      holdfast::harness::SpawnWorkerWithReadySignal(FILE_LOCK_WORKER, "wait_then_hold", {dir / "resource", 1});
  ASSERT_TRUE(holdfast::test::wait_for_queue(dir / "resource", 1)) << waiter.report();

  const auto holder = FileLock{dir / "resource"}.holder();
  ASSERT_TRUE(holder && holder->owner);
  EXPECT_EQ(holder->owner->pid(), owner.pid());
  EXPECT_EQ(holder->liveness, holdfast::Liveness::alive);
  EXPECT_GE(holder->since, before);
  EXPECT_LE(holder->since, std::chrono::system_clock::now() + 20ms);
  ASSERT_EQ(holder->queue.size(), 1U);
  EXPECT_EQ(holder->queue.front().pid(), waiter.pid());
  const std::string words = to_string(holder);
  EXPECT_NE(words.find("by process " + std::to_string(owner.pid()) + " (file_lock_worke"), std::string::npos) << words;
  EXPECT_NE(words.find("1 waiting"), std::string::npos) << words;

  owner.release();
  waiter.release();
  holdfast::harness::ExpectWorkerOk(owner);
  holdfast::harness::ExpectWorkerOk(waiter);
}
}  // namespace conformance
