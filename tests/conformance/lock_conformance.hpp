// lock_conformance.hpp - what every lock of holdfast has in common, as typed tests. A Place is where a lock stands:
//   using Lock = ...;   Lock open();   one more object for the same lock
#pragma once
#include <gtest/gtest.h>

#include <chrono>
#include <concepts>
#include <future>
#include <latch>
#include <mutex>
#include <optional>
#include <stop_token>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>
#include <holdfast/deadline.hpp>
#include <holdfast/error.hpp>
#include <holdfast/ownership.hpp>

#include "../exclusion/wait_until.hpp"

namespace conformance {
using namespace std::chrono_literals;
using holdfast::Deadline;
using holdfast::LockOutcome;

template <class T>
concept TimedLockable = requires(T lock, std::stop_token stop, std::chrono::steady_clock::time_point steady,
                                 std::chrono::system_clock::time_point system) {
  lock.lock();
  lock.unlock();
  { lock.try_lock() } -> std::same_as<bool>;
  { lock.try_lock_for(1ms) } -> std::same_as<bool>;
  { lock.try_lock_until(steady) } -> std::same_as<bool>;
  { lock.try_lock_until(system) } -> std::same_as<bool>;
  { lock.try_lock_until(stop) } -> std::same_as<bool>;
  { lock.try_lock_until(stop, Deadline{1ms}) } -> std::same_as<bool>;
};

/// Runs on another thread, to its end.
template <class Function>
auto elsewhere(Function function) {
  return std::async(std::launch::async, std::move(function)).get();
}

inline std::stop_token never_stopped() {
  static std::stop_source source;
  return source.get_token();
}

/// Another thread that has the lock until it is told to give it back.
template <class Lock>
class Owner {
 public:
  explicit Owner(Lock lock) : lock_{std::move(lock)} {
    std::promise<void> held;
    auto is_held = held.get_future();
    thread_ = std::jthread{[this, held = std::move(held)]() mutable {
      const std::lock_guard guard{lock_};
      held.set_value();
      released_.wait();
    }};
    is_held.wait();
  }
  void release() { released_.count_down(); }
  void join() { thread_.join(); }
  ~Owner() {
    if (!released_.try_wait()) release();
  }

 private:
  Lock lock_;
  std::latch released_{1};
  std::jthread thread_;
};

template <class Place>
class LockConformance : public testing::Test {
 protected:
  Place place_;
};
TYPED_TEST_SUITE_P(LockConformance);

TYPED_TEST_P(LockConformance, MeetsTimedLockableAndMoves) {
  using Lock = typename TypeParam::Lock;
  static_assert(TimedLockable<Lock>);
  static_assert(std::is_nothrow_move_constructible_v<Lock> && std::is_nothrow_move_assignable_v<Lock>);
  static_assert(!std::is_copy_constructible_v<Lock> && !std::is_copy_assignable_v<Lock>);
  auto lock = this->place_.open();
  EXPECT_FALSE(lock.owns_lock());
  EXPECT_EQ(lock.lock(), LockOutcome::clean);
  EXPECT_TRUE(lock.owns_lock());
  lock.unlock();
  EXPECT_FALSE(lock.owns_lock());
}

TYPED_TEST_P(LockConformance, IsBusyForAnotherThreadByEveryCall) {
  auto lock = this->place_.open();
  auto other = this->place_.open();
  const std::lock_guard guard{lock};
  elsewhere([&] {
    EXPECT_FALSE(other.try_lock());
    EXPECT_FALSE(other.try_lock_for(0s));
    EXPECT_FALSE(other.try_lock_for(-1h));
    EXPECT_FALSE(other.try_lock_for(2ms));
    EXPECT_FALSE(other.try_lock_until(std::chrono::steady_clock::now() + 2ms));
    EXPECT_FALSE(other.try_lock_until(std::chrono::system_clock::now() + 2ms));
    EXPECT_FALSE(other.try_lock_until(never_stopped(), Deadline{2ms}));
    EXPECT_FALSE(other.owns_lock());
  });
}

TYPED_TEST_P(LockConformance, TimesOutNotBeforeItsDeadline) {
  Owner owner{this->place_.open()};
  auto lock = this->place_.open();
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_FALSE(lock.try_lock_for(20ms));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 20ms);
}

TYPED_TEST_P(LockConformance, TakesWhatIsFreeAfterItsDeadlineToo) {
  auto lock = this->place_.open();
  EXPECT_TRUE(lock.try_lock_until(std::chrono::steady_clock::time_point{}));
  lock.unlock();
  EXPECT_TRUE(lock.try_lock_for(-1s));
  lock.unlock();
  EXPECT_TRUE(lock.try_lock_for(std::chrono::hours::max())) << "too far away means never";
  lock.unlock();
}

TYPED_TEST_P(LockConformance, ARequestedStopTakesNothingEvenIfItIsFree) {
  auto lock = this->place_.open();
  std::stop_source stop;
  stop.request_stop();
  EXPECT_FALSE(lock.try_lock_until(stop.get_token()));
  EXPECT_FALSE(lock.try_lock_until(stop.get_token(), Deadline{1h}));
  EXPECT_FALSE(lock.owns_lock());
  EXPECT_TRUE(lock.try_lock()) << "nothing was kept";
  lock.unlock();
}

TYPED_TEST_P(LockConformance, AStopEndsAWait) {
  Owner owner{this->place_.open()};
  auto lock = this->place_.open();
  std::jthread waiter{[&](const std::stop_token& stop) { EXPECT_FALSE(lock.try_lock_until(stop)); }};
  ASSERT_TRUE(holdfast::test::wait_until([&] { return this->place_.somebody_waits(); }));
  waiter.request_stop();
  waiter.join();
  EXPECT_FALSE(lock.owns_lock());
}

TYPED_TEST_P(LockConformance, AWaiterGetsItWhenItIsGivenBack) {
  Owner owner{this->place_.open()};
  auto lock = this->place_.open();
  std::jthread waiter{[&] {
    EXPECT_TRUE(lock.try_lock_until(never_stopped(), Deadline{30s}));
    EXPECT_EQ(lock.outcome(), LockOutcome::clean);
    lock.unlock();
  }};
  ASSERT_TRUE(holdfast::test::wait_until([&] { return this->place_.somebody_waits(); }));
  owner.release();
}

TYPED_TEST_P(LockConformance, ADeadlockWithOneselfIsAnErrorByEveryCall) {
  auto lock = this->place_.open();
  auto other = this->place_.open();
  const std::lock_guard guard{lock};
  const auto deadlocks = [](auto&& call) {
    try {
      call();
      return false;
    } catch (const holdfast::Error& error) {
      return error.code() == std::errc::resource_deadlock_would_occur && !error.subject().empty();
    }
  };
  for (auto* one : {&lock, &other}) {
    EXPECT_TRUE(deadlocks([&] { one->lock(); }));
    EXPECT_TRUE(deadlocks([&] { (void)one->try_lock(); }));
    EXPECT_TRUE(deadlocks([&] { (void)one->try_lock_for(1h); }));
    EXPECT_TRUE(deadlocks([&] { (void)one->try_lock_until(std::stop_token{}); }));
  }
  EXPECT_TRUE(lock.owns_lock()) << "the error changes nothing";
  EXPECT_FALSE(elsewhere([&] { return other.try_lock(); }));
}

TYPED_TEST_P(LockConformance, WorksWithTheGuardsOfTheStandard) {
  using Lock = typename TypeParam::Lock;
  auto lock = this->place_.open();
  { const std::lock_guard guard{lock}; }
  { const std::scoped_lock guard{lock}; }
  {
    const std::unique_lock guard{lock, 1s};
    EXPECT_TRUE(guard);
  }
  {
    std::unique_lock<Lock> guard{lock, std::defer_lock};
    EXPECT_TRUE(guard.try_lock_until(std::chrono::steady_clock::now() + 1s));
    std::unique_lock<Lock> moved{std::move(guard)};
    EXPECT_TRUE(moved.owns_lock());
    moved.unlock();
    EXPECT_FALSE(lock.owns_lock());
    moved.lock();
  }
  EXPECT_FALSE(lock.owns_lock());
}

TYPED_TEST_P(LockConformance, SeveralAreTakenInAnyOrderWithoutDeadlock) {
  using Lock = typename TypeParam::Lock;
  TypeParam second, third;
  std::latch together{3};
  int sum = 0;
  const auto work = [&](auto& a, auto& b, auto& c) {
    Lock one = a.open(), two = b.open(), three = c.open();
    together.arrive_and_wait();
    for (int i = 0; i < 30; ++i) {
      const std::scoped_lock all{one, two, three};
      ++sum;
    }
  };
  {
    const std::jthread x{[&] { work(this->place_, second, third); }};
    const std::jthread y{[&] { work(third, this->place_, second); }};
    const std::jthread z{[&] { work(second, third, this->place_); }};
  }
  EXPECT_EQ(sum, 90);
}

TYPED_TEST_P(LockConformance, MovesWhileItIsHeld) {
  auto lock = this->place_.open();
  lock.lock();
  auto moved = std::move(lock);
  EXPECT_TRUE(moved.owns_lock());
  auto other = this->place_.open();
  EXPECT_FALSE(elsewhere([&] { return other.try_lock(); }));
  TypeParam elsewhere_place;
  auto target = elsewhere_place.open();
  target = std::move(moved);
  EXPECT_TRUE(target.owns_lock());
  EXPECT_FALSE(elsewhere([&] { return other.try_lock(); }));
  target.unlock();
  EXPECT_TRUE(elsewhere([&] {
    const bool got = other.try_lock();
    if (got) other.unlock();
    return got;
  }));
}

TYPED_TEST_P(LockConformance, ThreadsSeeWhatTheLastOwnerWrote) {
  constexpr int threads = 4, times = 100;
  auto shared = this->place_.open();
  int sum = 0;  // plain: ThreadSanitizer sees whether unlock() synchronizes with lock()
  {
    std::vector<std::jthread> workers;
    for (int i = 0; i < threads; ++i)
      workers.emplace_back([&, own = this->place_.open(), mine = i % 2 == 0]() mutable {
        for (int k = 0; k < times; ++k) {
          const std::lock_guard guard{mine ? own : shared};
          ++sum;
        }
      });
  }
  EXPECT_EQ(sum, threads * times);
}

REGISTER_TYPED_TEST_SUITE_P(LockConformance, MeetsTimedLockableAndMoves, IsBusyForAnotherThreadByEveryCall,
                            TimesOutNotBeforeItsDeadline, TakesWhatIsFreeAfterItsDeadlineToo,
                            ARequestedStopTakesNothingEvenIfItIsFree, AStopEndsAWait, AWaiterGetsItWhenItIsGivenBack,
                            ADeadlockWithOneselfIsAnErrorByEveryCall, WorksWithTheGuardsOfTheStandard,
                            SeveralAreTakenInAnyOrderWithoutDeadlock, MovesWhileItIsHeld,
                            ThreadsSeeWhatTheLastOwnerWrote);
}  // namespace conformance
