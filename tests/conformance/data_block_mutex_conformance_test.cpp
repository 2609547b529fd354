// Proves what DataBlockMutex has in common with every lock, by threads, and what only DataBlockMutex has.
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <latch>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>
#include <holdfast/data_block_mutex.hpp>
#include <holdfast/file_lock.hpp>
#include <holdfast/testing/gtest.hpp>

#include "../exclusion/shared_section.hpp"
#include "../workers/data_block_mutex_workers.hpp"
#include "lock_conformance.hpp"
#include "shared_memory/layout.hpp"

namespace conformance {
using holdfast::DataBlockLockGuard;
using holdfast::DataBlockMutex;
using holdfast::errc;
using holdfast::FileLock;
using holdfast::Liveness;
using holdfast::ProcessIdentity;
using holdfast::SharedMemory;
using holdfast::harness::TempDir;
using holdfast::test::code_of;
using holdfast::test::DataBlockMutexTest;
using holdfast::test::TestSegment;
using holdfast::test::wait_until;
using TimePoint = std::chrono::system_clock::time_point;

/// In a segment of its own; each object is attached to it for itself.
struct StandAloneMutex {
  using Lock = DataBlockMutex;
  [[nodiscard]] DataBlockMutex open() const { return DataBlockMutex::create_or_attach(segment.name()); }
  [[nodiscard]] bool somebody_waits() const {
    const auto holder = DataBlockMutex::holder(segment.name());
    return holder && holder->since != TimePoint{};
  }
  TestSegment segment;
};
/// In the middle of a segment; all objects are made from one SharedMemory, so all see it at one address.
struct EmbeddedMutex {
  static constexpr std::size_t offset = 1024 + DataBlockMutex::alignment;
  using Lock = DataBlockMutex;
  [[nodiscard]] DataBlockMutex open() {
    const std::lock_guard guard{one_at_a_time};
    return DataBlockMutex::in(memory, offset);
  }
  [[nodiscard]] bool somebody_waits() {
    const auto holder = open().holder();
    return holder && holder->since != TimePoint{};
  }
  TestSegment segment;
  std::mutex one_at_a_time;  // members of a SharedMemory are for one thread at a time
  SharedMemory memory = SharedMemory::create(segment.name(), offset + DataBlockMutex::footprint);
};
// "Threads" in the name: the tsan run takes these.
INSTANTIATE_TYPED_TEST_SUITE_P(DataBlockMutexStandAloneThreads, LockConformance, StandAloneMutex);
INSTANTIATE_TYPED_TEST_SUITE_P(DataBlockMutexEmbeddedThreads, LockConformance, EmbeddedMutex);

// ---- the object ----------------------------------------------------------------------------------------------------

class DataBlockMutexObject : public DataBlockMutexTest {};

TEST_F(DataBlockMutexObject, IsForTheThreadAndTheObjectThatLockedIt) {
  auto mutex = open(), other = open();
  const auto refuses = [](DataBlockMutex& one) {
    return code_of([&] { one.unlock(); }) == std::errc::operation_not_permitted &&
           code_of([&] { one.declare_repaired(); }) == std::errc::operation_not_permitted && !one.owns_lock();
  };
  EXPECT_TRUE(refuses(mutex)) << "nobody has it";
  mutex.lock();
  EXPECT_TRUE(refuses(other)) << "it was locked through another object";
  EXPECT_TRUE(elsewhere([&] { return refuses(mutex) && refuses(other); })) << "by another thread";
  EXPECT_TRUE(mutex.owns_lock()) << "nobody has changed anything";
  EXPECT_FALSE(elsewhere([&] { return other.try_lock(); }));
  mutex.unlock();
  EXPECT_TRUE(refuses(mutex)) << "it has been given back";
}

TEST_F(DataBlockMutexObject, SaysWhatIsWrongWithAnUnlock) {
  auto mutex = open();
  try {
    mutex.unlock();
    FAIL();
  } catch (const holdfast::Error& error) {
    EXPECT_NE(std::string{error.what()}.find(segment_.name()), std::string::npos) << error.what();
    EXPECT_NE(std::string{error.subject()}.find(segment_.name()), std::string::npos) << error.subject();
  }
}

TEST_F(DataBlockMutexObject, AMovedFromOneHoldsNothingAndSaysSo) {
  auto mutex = open();
  mutex.lock();
  DataBlockMutex moved{std::move(mutex)};
  // NOLINTBEGIN(bugprone-use-after-move)
  EXPECT_FALSE(mutex.owns_lock());
  EXPECT_EQ(mutex.outcome(), LockOutcome::clean);
  for (const auto& use : std::vector<std::function<void()>>{
           [&] { mutex.lock(); }, [&] { static_cast<void>(mutex.try_lock()); },
           [&] { static_cast<void>(mutex.try_lock_for(1h)); },
           [&] { static_cast<void>(mutex.try_lock_until(std::stop_token{})); }, [&] { mutex.unlock(); },
           [&] { mutex.declare_repaired(); }, [&] { static_cast<void>(mutex.holder()); }})
    EXPECT_EQ(code_of(use), std::errc::operation_not_permitted);
  EXPECT_TRUE(moved.owns_lock());
  mutex = std::move(moved);
  // NOLINTEND(bugprone-use-after-move)
  EXPECT_TRUE(mutex.owns_lock());
  mutex.unlock();
}

TEST_F(DataBlockMutexObject, LeavesNoSegmentBehind) {
  {
    auto mutex = open();
    const std::lock_guard guard{mutex};
    EXPECT_TRUE(segment_.exists());
  }
  EXPECT_FALSE(segment_.exists());
}

TEST_F(DataBlockMutexObject, MayOutliveTheSegmentThatItWasMadeFrom) {
  std::optional<SharedMemory> memory{SharedMemory::create(segment_.name(), 4096)};
  auto mutex = DataBlockMutex::in(*memory, 0);
  memory.reset();
  EXPECT_EQ(mutex.lock(), LockOutcome::clean);
  EXPECT_TRUE(mutex.holder());
  mutex.unlock();
}

TEST_F(DataBlockMutexObject, SeveralStandInOneSegmentIndependently) {
  auto memory = SharedMemory::create(segment_.name(), 3 * DataBlockMutex::footprint);
  auto first = DataBlockMutex::in(memory, 0), second = DataBlockMutex::in(memory, DataBlockMutex::footprint),
       third = DataBlockMutex::in(memory, 2 * DataBlockMutex::footprint);
  const std::scoped_lock both{first, third};
  EXPECT_TRUE(elsewhere([&] {
    const bool free = second.try_lock();
    if (free) second.unlock();
    return free && !first.try_lock() && !third.try_lock();
  }));
}

TEST_F(DataBlockMutexObject, IsTakenTogetherWithAFileLock) {
  const TempDir dir;
  int sum = 0;  // plain: the lock and the mutex guard it together
  const auto work = [&](bool mutex_first) {
    auto mutex = open();
    FileLock lock{dir / "resource"};
    for (int i = 0; i < 30; ++i) {
      if (mutex_first) {
        const std::scoped_lock both{mutex, lock};
        ++sum;
      } else {
        const std::scoped_lock both{lock, mutex};
        ++sum;
      }
    }
  };
  {
    const std::jthread one{work, true};
    const std::jthread other{work, false};
  }
  EXPECT_EQ(sum, 60);
}

// ---- the guard and the news ----------------------------------------------------------------------------------------

class DataBlockMutexGuard : public DataBlockMutexTest {
 protected:
  /// A thread of this process ends with it. The process goes on, but the mutex is lost all the same.
  static void lose(DataBlockMutex& mutex) {
    std::jthread{[&] { mutex.lock(); }}.join();
  }
};

TEST_F(DataBlockMutexGuard, CarriesTheOutcome) {
  auto mutex = open();
  {
    const DataBlockLockGuard guard{mutex};
    EXPECT_EQ(guard.outcome(), LockOutcome::clean);
    EXPECT_FALSE(guard.previous_owner());
    EXPECT_TRUE(mutex.owns_lock());
  }
  EXPECT_FALSE(mutex.owns_lock());
  lose(mutex);
  {
    DataBlockLockGuard guard{mutex};
    EXPECT_EQ(guard.outcome(), LockOutcome::owner_died);
    EXPECT_EQ(guard.previous_owner(), ProcessIdentity::self());
    guard.declare_repaired();
    EXPECT_EQ(guard.outcome(), LockOutcome::owner_died) << "as it was when the lock was taken";
  }
  const DataBlockLockGuard guard{mutex};
  EXPECT_EQ(guard.outcome(), LockOutcome::clean);
}

TEST_F(DataBlockMutexGuard, TheNewsIsForTheOwner) {
  auto mutex = open(), other = open();
  lose(mutex);
  EXPECT_EQ(mutex.outcome(), LockOutcome::clean) << "not held";
  EXPECT_FALSE(mutex.previous_owner());
  mutex.lock();
  EXPECT_EQ(mutex.outcome(), LockOutcome::owner_died);
  EXPECT_EQ(other.outcome(), LockOutcome::clean) << "not held through this object";
  EXPECT_FALSE(other.previous_owner());
  EXPECT_EQ(elsewhere([&] { return mutex.outcome(); }), LockOutcome::clean) << "not held by that thread";
  mutex.unlock();
  EXPECT_EQ(mutex.outcome(), LockOutcome::clean);
}

TEST_F(DataBlockMutexGuard, TheNewsIsToldByEveryCallUntilItIsRepaired) {
  auto mutex = open();
  lose(mutex);
  const auto never = std::stop_source{}.get_token();
  for (const auto& lock : std::vector<std::function<bool()>>{
           [&] { return mutex.lock() == LockOutcome::owner_died; }, [&] { return mutex.try_lock(); },
           [&] { return mutex.try_lock_for(1h); }, [&] { return mutex.try_lock_until(never_stopped()); },
           [&] { return std::unique_lock{mutex}.release() == &mutex; }, [&] { return mutex.try_lock_for(-1h); }}) {
    ASSERT_TRUE(lock());
    EXPECT_EQ(mutex.outcome(), LockOutcome::owner_died);
    EXPECT_EQ(mutex.previous_owner(), ProcessIdentity::self());
    mutex.unlock();
  }
  mutex.lock();
  mutex.declare_repaired();
  EXPECT_EQ(mutex.outcome(), LockOutcome::clean);
  EXPECT_FALSE(mutex.previous_owner());
  EXPECT_FALSE(mutex.first_lost_owner());
  mutex.declare_repaired();  // nothing to repair: nothing happens
  mutex.unlock();
  EXPECT_EQ(mutex.lock(), LockOutcome::clean);
  mutex.unlock();
}

TEST_F(DataBlockMutexGuard, TheNewsMovesAlong) {
  auto mutex = open();
  lose(mutex);
  ASSERT_EQ(mutex.lock(), LockOutcome::owner_died);
  DataBlockMutex moved{std::move(mutex)};
  EXPECT_EQ(moved.outcome(), LockOutcome::owner_died);
  EXPECT_EQ(moved.previous_owner(), ProcessIdentity::self());
  moved.declare_repaired();
  moved.unlock();
}

// ---- condition variables -------------------------------------------------------------------------------------------

class DataBlockMutexThreads : public DataBlockMutexTest {};

TEST_F(DataBlockMutexThreads, ConditionVariableAnyWorksBetweenThreadsOfOneProcess) {
  auto mutex = open();
  std::condition_variable_any changed;
  constexpr int turns = 200;
  int turn = 0;
  const auto play = [&](int mine) {
    std::unique_lock lock{mutex};
    for (int i = 0; i < turns; ++i) {
      changed.wait(lock, [&] { return turn % 2 == mine; });
      ++turn;
      changed.notify_all();
    }
  };
  {
    const std::jthread even{play, 0};
    const std::jthread odd{play, 1};
  }
  EXPECT_EQ(turn, 2 * turns);
}

// Whoever wakes in wait() has locked again, and wait() has dropped what lock() returned.
TEST_F(DataBlockMutexThreads, ConditionVariableAnyDoesNotLoseTheNews) {
  auto mutex = open();
  std::condition_variable_any changed;
  bool lost = false;
  std::latch locked{1};  // from then on the mutex is free only while the waiter waits
  std::jthread waiter{[&] {
    std::unique_lock lock{mutex};
    locked.count_down();
    EXPECT_EQ(mutex.outcome(), LockOutcome::clean);
    changed.wait(lock, [&] { return lost; });
    EXPECT_EQ(mutex.outcome(), LockOutcome::owner_died);
    EXPECT_EQ(mutex.previous_owner(), ProcessIdentity::self());
    mutex.declare_repaired();
  }};
  locked.wait();
  std::jthread{[&] {
    mutex.lock();
    lost = true;
    changed.notify_all();  // and ends with it
  }}.join();
  waiter.join();
}

// ---- who has it ----------------------------------------------------------------------------------------------------

class DataBlockMutexHolder : public DataBlockMutexTest {};

TEST_F(DataBlockMutexHolder, IsNobodyWhileItIsFree) {
  EXPECT_FALSE(DataBlockMutex::holder(segment_.name())) << "there is no such segment";
  EXPECT_FALSE(segment_.exists()) << "looking makes nothing";
  const auto mutex = open();
  EXPECT_FALSE(mutex.holder());
  EXPECT_FALSE(DataBlockMutex::holder(segment_.name()));
  EXPECT_EQ(to_string(mutex.holder()), "free");
}

TEST_F(DataBlockMutexHolder, IsNamedWithTheNumberOfItsAcquisition) {
  auto mutex = open(), other = open();
  mutex.lock();
  const auto first = mutex.holder();
  ASSERT_TRUE(first && first->owner);
  EXPECT_EQ(first->owner, ProcessIdentity::self());
  EXPECT_EQ(first->liveness, Liveness::alive);
  EXPECT_NE(first->acquisition, 0U);
  EXPECT_EQ(first->since, TimePoint{}) << "nobody has waited: nobody knows";
  for (const auto& same : {mutex.holder(), other.holder(), DataBlockMutex::holder(segment_.name())}) {
    ASSERT_TRUE(same && same->owner);
    EXPECT_EQ(same->owner, ProcessIdentity::self());
    EXPECT_EQ(same->acquisition, first->acquisition);
  }
  mutex.unlock();
  other.lock();
  ASSERT_TRUE(mutex.holder());
  EXPECT_NE(mutex.holder()->acquisition, first->acquisition);
  other.unlock();
  EXPECT_FALSE(mutex.holder());
}

TEST_F(DataBlockMutexHolder, IsSeenByOthersAndForHowLongAtLeast) {
  auto owner = spawn_owner();
  const auto before = std::chrono::system_clock::now() - 1ms;
  auto waiter = spawn_waiter();
  const auto holder = DataBlockMutex::holder(segment_.name());
  ASSERT_TRUE(holder && holder->owner);
  EXPECT_EQ(holder->owner->pid(), owner.pid());
  EXPECT_EQ(holder->liveness, Liveness::alive);
  EXPECT_GE(holder->since, before) << "the first waiter came after that";
  EXPECT_LE(holder->since, std::chrono::system_clock::now() + 1ms);
  const auto words = to_string(holder);
  EXPECT_NE(words.find("by process " + std::to_string(owner.pid()) + " (data_block_mute"), std::string::npos) << words;

  finish(owner);
  expect_locked(waiter);
  const auto next = DataBlockMutex::holder(segment_.name());
  ASSERT_TRUE(next && next->owner);
  EXPECT_EQ(next->owner->pid(), waiter.pid());
  EXPECT_NE(next->acquisition, holder->acquisition);
  EXPECT_EQ(next->since, TimePoint{}) << "nobody waits for the new owner";
  finish(waiter);
}

TEST_F(DataBlockMutexHolder, ThatDiedIsShownAsDead) {
  const auto mutex = open();
  auto owner = spawn_owner();
  owner.kill();
  const auto holder = mutex.holder();
  ASSERT_TRUE(holder && holder->owner);
  EXPECT_EQ(holder->owner->pid(), owner.pid());
  EXPECT_EQ(holder->liveness, Liveness::dead);
}

// ---- where it stands -----------------------------------------------------------------------------------------------

class DataBlockMutexPlace : public DataBlockMutexTest {
 protected:
  SharedMemory memory_ = SharedMemory::create(segment_.name(), 4096);
};

TEST_F(DataBlockMutexPlace, IsWithinTheSegmentAndAligned) {
  for (const std::size_t offset :
       {std::size_t{1}, std::size_t{8}, std::size_t{32}, DataBlockMutex::alignment + 1, std::size_t{4096},
        4096 - DataBlockMutex::footprint + DataBlockMutex::alignment, ~std::size_t{0},
        ~std::size_t{0} - DataBlockMutex::alignment + 1, ~std::size_t{0} - DataBlockMutex::footprint + 1})
    EXPECT_EQ(code_of([&] { static_cast<void>(DataBlockMutex::in(memory_, offset)); }), std::errc::invalid_argument)
        << offset;
  EXPECT_EQ(code_of([&] { static_cast<void>(DataBlockMutex::in(memory_, 4096 - DataBlockMutex::footprint)); }),
            std::error_code{});
}

TEST_F(DataBlockMutexPlace, IsNotInASegmentAttachedReadOnly) {
  { auto mutex = DataBlockMutex::in(memory_, 0); }
  auto looking = SharedMemory::attach_read_only(segment_.name());
  EXPECT_EQ(code_of([&] { static_cast<void>(DataBlockMutex::in(looking, 0)); }), std::errc::permission_denied);
}

TEST_F(DataBlockMutexPlace, IsNotWhereSomethingElseIs) {
  for (const std::size_t at : {std::size_t{0}, std::size_t{7}, std::size_t{100}, DataBlockMutex::footprint - 1}) {
    memory_.bytes()[512 + at] = std::byte{42};
    EXPECT_EQ(code_of([&] { static_cast<void>(DataBlockMutex::in(memory_, 512)); }), errc::corrupt) << at;
    EXPECT_EQ(memory_.bytes()[512 + at], std::byte{42}) << "nothing was written there";
    memory_.bytes()[512 + at] = std::byte{0};
  }
  auto mutex = DataBlockMutex::in(memory_, 512);
  EXPECT_TRUE(mutex.try_lock());
  mutex.unlock();
}

TEST_F(DataBlockMutexPlace, IsNotMadeWhileAnotherProcessMakesIt) {
  const int maker = ::open(("/dev/shm/holdfast." + segment_.name()).c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(maker, 0);
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_start = static_cast<off_t>(holdfast::detail::first_mutex_byte + 512);
  lock.l_len = 1;
  ASSERT_EQ(::fcntl(maker, F_OFD_SETLK, &lock), 0);
  EXPECT_EQ(code_of([&] { static_cast<void>(DataBlockMutex::in(memory_, 512, std::chrono::milliseconds{20})); }),
            std::errc::timed_out);
  EXPECT_EQ(memory_.bytes()[512 + offsetof(holdfast::detail::SharedMutex, version)], std::byte{0}) << "left alone";
  ::close(maker);  // it has died
  EXPECT_TRUE(DataBlockMutex::in(memory_, 512).try_lock_for(std::chrono::milliseconds{0}));
}

TEST_F(DataBlockMutexPlace, IsNotOneOfAnotherVersion) {
  { auto mutex = DataBlockMutex::in(memory_, 512); }
  auto& version = memory_.bytes()[512 + offsetof(holdfast::detail::SharedMutex, version)];
  version = std::byte{2};
  EXPECT_EQ(code_of([&] { static_cast<void>(DataBlockMutex::in(memory_, 512)); }), errc::version_mismatch);
  version = std::byte{1};
  EXPECT_EQ(code_of([&] { static_cast<void>(DataBlockMutex::in(memory_, 512)); }), std::error_code{});
}

// The C library does what the type in it says. Of another type it is not robust, or unknown, or ends the program.
TEST_F(DataBlockMutexPlace, IsNotOneWhoseTypeWasWrittenOver) {
  { auto mutex = DataBlockMutex::in(memory_, 512); }
  auto& robust = memory_.as<holdfast::detail::SharedMutex>(512).robust;
  const auto sound = robust;
  for (const auto byte : {std::byte{0}, std::byte{0x80}, std::byte{0xff}}) {
    robust.fill(byte);
    EXPECT_EQ(code_of([&] { static_cast<void>(DataBlockMutex::in(memory_, 512)); }), errc::corrupt);
  }
  robust = sound;
  auto mutex = DataBlockMutex::in(memory_, 512);
  EXPECT_TRUE(mutex.try_lock());
  mutex.unlock();
}

TEST_F(DataBlockMutexPlace, IsFoundAgainByAllWhoNameTheSameOffset) {
  auto mutex = DataBlockMutex::in(memory_, 512);
  auto attached = SharedMemory::attach(segment_.name());
  auto same = DataBlockMutex::in(attached, 512), another = DataBlockMutex::in(attached, 1024);
  const std::lock_guard guard{mutex};
  EXPECT_TRUE(elsewhere([&] {
    const std::lock_guard free{another};
    return !same.try_lock();
  }));
}

// The first who comes makes it, and many may be the first.
TEST_F(DataBlockMutexPlace, IsMadeOnceByThreadsThatComeTogether) {
  constexpr std::ptrdiff_t threads = 8;
  for (std::size_t offset = 0; offset < 4096; offset += DataBlockMutex::footprint) {
    std::latch together{threads};
    int sum = 0;
    {
      std::vector<std::jthread> all;
      for (std::ptrdiff_t i = 0; i < threads; ++i)
        all.emplace_back([&, own = SharedMemory::attach(segment_.name())]() mutable {
          together.arrive_and_wait();
          auto mutex = DataBlockMutex::in(own, offset);
          const std::lock_guard guard{mutex};
          ++sum;
        });
    }
    EXPECT_EQ(sum, threads);
  }
}
}  // namespace conformance
