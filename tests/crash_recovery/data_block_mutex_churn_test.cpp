// Proves M1 to M4 of DataBlockMutex where kills come at any moment: at random among processes that work on shared words, and
// after each single instruction of its functions.
//
// HOLDFAST_CHURN_SEED     repeats the random choices of a run (not its schedule)
// HOLDFAST_CHURN_SECONDS  how long the random tests churn: 3600 for a soak
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <numeric>
#include <random>
#include <string>
#include <vector>
#include <holdfast/data_block_mutex.hpp>
#include <holdfast/testing/gtest.hpp>

#include "../exclusion/lock_under_test.hpp"
#include "../exclusion/shared_section.hpp"
#include "../workers/data_block_mutex_workers.hpp"
#include "kill_churn.hpp"

namespace {
using namespace holdfast::test;
using namespace std::chrono_literals;
using holdfast::DataBlockMutex;
using holdfast::LockOutcome;
using holdfast::SharedMemory;
using holdfast::harness::Ready;
using holdfast::harness::SpawnWorkerWithReadySignal;
using holdfast::harness::TempDir;
using holdfast::harness::WorkerProcess;

class DataBlockMutexChurn : public testing::Test {
 protected:
  [[nodiscard]] WorkerProcess start(std::size_t account) {
    return SpawnWorkerWithReadySignal(DATA_BLOCK_MUTEX_WORKER, "churn", {segment_.name(), account, random_() >> 33U});
  }

  TestSegment segment_;
  SharedMemory memory_ = section_segment(segment_.name());
  SharedSection& section_ = memory_.as<SharedSection>();
  std::uint64_t seed_ = churn_seed();
  std::mt19937_64 random_{seed_};
};

// Workers increment two words and their own account, and a third of the kills hits whoever is inside: the words must be equal
// unless the news says that an owner died, no increment is ever lost, and somebody always gets in.
TEST_F(DataBlockMutexChurn, WordsThatBelongTogetherStayTogetherUnlessTheNewsSaysOtherwise) {
  constexpr std::size_t processes = 6;
  std::vector<WorkerProcess> workers, dead;
  for (std::size_t account = 0; account < processes; ++account) workers.push_back(start(account));
  for (auto& worker : workers) ASSERT_EQ(worker.wait_for_ready(), Ready::yes) << worker.report();

  std::uint64_t kills = 0, kills_inside = 0;
  constexpr std::uint64_t least_kills = 20;
  const holdfast::Deadline end{churn_duration(4s)}, at_the_latest{churn_duration(4s) + 60s};  // on a busy machine
  while (!end.passed() || ((kills < least_kills || kills_inside == 0) && !at_the_latest.passed())) {
    const auto goal = shared(section_.progress).load() + random_() % 30;
    ASSERT_TRUE(wait_until([&] { return shared(section_.progress).load() >= goal; }))
        << "wedged after " << kills << " kills, seed " << seed_ << ": " << to_string(mutex_of(memory_).holder());
    auto victim = workers.begin() + static_cast<std::ptrdiff_t>(random_() % workers.size());
    if (random_() % 3 == 0) {
      std::uint64_t inside = 0;
      EXPECT_TRUE(wait_until([&] { return (inside = shared(section_.inside).load()) != 0; }));
      const auto found = std::find_if(workers.begin(), workers.end(), [&](const WorkerProcess& worker) {
        return static_cast<std::uint64_t>(worker.pid()) == inside;
      });
      if (found != workers.end()) victim = found;
    }
    ASSERT_TRUE(victim->is_running()) << "it ended by itself, seed " << seed_ << ": " << victim->report();
    victim->kill();
    ++kills;
    kills_inside += shared(section_.inside).load() == static_cast<std::uint64_t>(victim->pid());
    dead.push_back(std::move(*victim));
    if (random_() % 2 == 0) dead.clear();                                 // the others stay zombies for a while
    *victim = start(static_cast<std::size_t>(victim - workers.begin()));  // takes its account over
  }
  for (auto& worker : workers) worker.release();
  holdfast::harness::ExpectWorkersOk(workers, 30s);

  auto mutex = mutex_of(memory_);
  ASSERT_TRUE(mutex.try_lock_for(10s));
  const auto sum = std::accumulate(section_.accounts.begin(), section_.accounts.end(), std::uint64_t{0});
  if (mutex.outcome() == LockOutcome::clean) {
    EXPECT_EQ(section_.first, sum) << "seed " << seed_;
    EXPECT_EQ(section_.second, sum) << "seed " << seed_;
  }
  mutex.unlock();
  std::cout << kills << " kills, " << kills_inside << " of them inside, " << sum << " increments, seed " << seed_
            << '\n';
  EXPECT_GE(kills, least_kills);
  EXPECT_GT(kills_inside, 0U) << "nobody was killed inside: nothing was proved";
  EXPECT_GT(sum, kills);
}

// ---- the run that FileLock has to go through, too: objects come and go, and with the last of them the segment ----------

void expect_held(const Churn& churn) {
  const TempDir dir;
  const auto report = kill_churn(dir / "run", churn);
  std::cout << report << '\n';
  EXPECT_TRUE(report.ok()) << report;
  EXPECT_GT(report.kills_inside, 0U) << "nobody was killed inside: nothing was proved";
  EXPECT_GT(report.history.recoveries, 0U);
  const auto segment = "/dev/shm/holdfast." + DataBlockMutexUnderTest::segment_of(dir / "run" / "locks" / "resource");
  const bool left = std::filesystem::remove(segment);
  EXPECT_TRUE(!left || churn.children != 0) << "the last one has removed it";
}

TEST(DataBlockMutexKillChurn, HoldsAtFullSpeed) {
  expect_held({.kind = "data_block_mutex", .duration = churn_duration(1500ms), .seed = churn_seed()});
}

TEST(DataBlockMutexKillChurn, HoldsUnderAHostileSchedule) {
  expect_held({.kind = "data_block_mutex",
               .duration = churn_duration(1500ms),
               .hold = 500us,
               .hostility = {.per_mille = 150, .longest_us = 4000},
               .seed = churn_seed()});
}

// Most often nobody is in the way, so that the last object is often gone, and the next one makes the segment anew.
TEST(DataBlockMutexKillChurn, HoldsWhereTheMutexIsOftenFree) {
  expect_held({.kind = "data_block_mutex",
               .processes = 3,
               .duration = churn_duration(1500ms),
               .hold = 100us,
               .think = 500us,
               .seed = churn_seed()});
}

TEST(DataBlockMutexKillChurn, HoldsForProcessesOfSeveralThreads) {
  expect_held({.kind = "data_block_mutex",
               .processes = 4,
               .threads = 3,
               .duration = churn_duration(1500ms),
               .hold = 200us,
               .seed = churn_seed()});
}

// The children of the killed live to the very end, with copies of all that their parents had open and mapped: the segment is
// in use as long as they live, but nobody waits for them.
TEST(DataBlockMutexKillChurn, HoldsWhereProcessesForkWhileTheirThreadsLock) {
  expect_held({.kind = "data_block_mutex",
               .processes = 4,
               .threads = 2,
               .duration = churn_duration(1500ms),
               .longest_pause = 40ms,
               .hold = 200us,
               .children = 4,
               .seed = churn_seed()});
}

// ---- after each instruction ----------------------------------------------------------------------------------------

/// A worker that goes through the functions of the mutex one instruction at a time, and can be killed after each.
class Traced {
 public:
  explicit Traced(const std::vector<holdfast::harness::Argument>& arguments)
      : worker_{start_mutex_worker("go_through", arguments, functions_found_at_start)},
        thread_{static_cast<pid_t>(worker_.pid())} {
    traced_ = ::ptrace(PTRACE_SEIZE, thread_, nullptr, PTRACE_O_EXITKILL) == 0;
    worker_.release();
  }
  [[nodiscard]] bool may_be_traced() const noexcept { return traced_; }

  /// Up to the signal that says that it begins.
  void go_to_start() {
    int status = wait();
    while (WIFSTOPPED(status) && WSTOPSIG(status) != SIGUSR2) {
      ::ptrace(PTRACE_CONT, thread_, nullptr, nullptr);
      status = wait();
    }
    ASSERT_TRUE(WIFSTOPPED(status)) << worker_.report();
  }
  /// As many instructions as that, or fewer to its end. Returns how many they were.
  long step(long instructions) {
    for (long done = 0; done < instructions; ++done) {
      if (::ptrace(PTRACE_SINGLESTEP, thread_, nullptr, nullptr) != 0) return done;
      const int status = wait();
      if (!WIFSTOPPED(status) || WSTOPSIG(status) == SIGUSR1) return done;
    }
    return instructions;
  }
  void kill() { worker_.kill(); }
  [[nodiscard]] std::int64_t pid() const { return worker_.pid(); }
  [[nodiscard]] std::string report() const { return worker_.report(); }

 private:
  /// Or the dynamic linker's search for each of them would be among the instructions.
  inline static const holdfast::harness::WorkerOptions functions_found_at_start{.environment = {{"LD_BIND_NOW", "1"}}};

  int wait() const {
    int status = 0;
    while (::waitpid(thread_, &status, __WALL) < 0)
      if (errno != EINTR) return 0;
    return status;
  }
  WorkerProcess worker_;
  pid_t thread_;
  bool traced_ = false;
};

class DataBlockMutexSteps : public testing::Test {
 protected:
  /// Runs it once to the end, then kills it after so many instructions: after each, or evenly spread, others in each run.
  template <class Prepare, class Judge>
  void kill_after_each_instruction(Prepare prepare, Judge judge) {
    constexpr long never = 10'000'000, most_instructions = 200'000;
    long length = 0;
    {
      prepare();
      Traced all{arguments()};
      if (!all.may_be_traced()) GTEST_SKIP() << "NOT TESTED: this machine does not permit to trace a process";
      ASSERT_NO_FATAL_FAILURE(all.go_to_start());
      length = all.step(never);
      ASSERT_LT(length, never);
      ASSERT_EQ(shared(section_.step).load(), 3U) << all.report();
      all.kill();
      judge(all);
    }
    const long kills = std::clamp(most_instructions / (length + 1), 100L, 500L);
    const long stride = std::max(1L, length / kills);
    const long first = static_cast<long>(churn_seed() % static_cast<std::uint64_t>(stride));
    for (long instructions = first; instructions <= length; instructions += stride) {
      SCOPED_TRACE("killed after instruction " + std::to_string(instructions) + " of " + std::to_string(length));
      section_.step = 0;
      prepare();
      Traced victim{arguments()};
      ASSERT_NO_FATAL_FAILURE(victim.go_to_start());
      victim.step(instructions);
      victim.kill();
      ASSERT_NO_FATAL_FAILURE(judge(victim)) << victim.report();
      if (HasFailure()) return;
    }
    std::cout << "killed after each " << stride << ". of " << length << " instructions\n";
  }
  [[nodiscard]] std::vector<holdfast::harness::Argument> arguments() const {
    std::vector<holdfast::harness::Argument> all{segment_.name()};
    all.insert(all.end(), how_.begin(), how_.end());
    return all;
  }
  /// Takes the mutex over and gives it back; the next one has it without news.
  void take_over() { ASSERT_TRUE(mutex_.try_lock_for(10s)) << "wedged: " << to_string(mutex_.holder()); }
  void repair() {
    mutex_.declare_repaired();
    mutex_.unlock();
    ASSERT_EQ(mutex_.lock(), LockOutcome::clean);
    mutex_.unlock();
  }

  TestSegment segment_;
  SharedMemory memory_ = section_segment(segment_.name());
  SharedSection& section_ = memory_.as<SharedSection>();
  DataBlockMutex mutex_ = mutex_of(memory_);
  std::vector<holdfast::harness::Argument> how_;  ///< to go through it, see go_through() of the worker
};

TEST_F(DataBlockMutexSteps, WhoeverIsKilledEnteringInsideOrLeavingIsReplacedAndNamedIfItWasInside) {
  how_ = {"again"};
  std::uint64_t clean = 0, named = 0, nobody_inside = 0;
  kill_after_each_instruction([] {},
                              [&](const Traced& dead) {
                                ASSERT_NO_FATAL_FAILURE(take_over());
                                const auto previous = mutex_.previous_owner();
                                const auto step = section_.step;
                                if (mutex_.outcome() == LockOutcome::clean) {
                                  EXPECT_TRUE(step == 0 || step >= 2) << "it was inside, step " << step;
                                  EXPECT_FALSE(previous);
                                  ++clean;
                                } else {
                                  EXPECT_NE(step, 3U) << "it had given it back";
                                  EXPECT_FALSE(mutex_.news().empty());
                                  EXPECT_TRUE(previous || step != 1) << "it was inside";
                                  EXPECT_TRUE(!previous || previous->pid() == dead.pid()) << mutex_.news();
                                  EXPECT_EQ(mutex_.first_lost_owner(), previous);
                                  ++(previous ? named : nobody_inside);
                                }
                                repair();
                              });
  std::cout << clean << " had nothing or had given it back, " << named << " were inside, " << nobody_inside
            << " were entering or leaving\n";
  EXPECT_GT(named, 0U);
}

TEST_F(DataBlockMutexSteps, WhoeverIsKilledBeforeTheRepairIsDoneLeavesTheNewsOfTheFirstDeath) {
  how_ = {"news"};
  std::int64_t first = 0;
  std::uint64_t before = 0, after = 0;
  kill_after_each_instruction(
      [&] {
        auto lost = start_mutex_worker("hold_section", {segment_.name()});
        first = lost.pid();
        lost.kill();
      },
      [&](const Traced& dead) {
        ASSERT_NO_FATAL_FAILURE(take_over());
        const auto previous = mutex_.previous_owner(), lost = mutex_.first_lost_owner();
        const auto step = section_.step;
        if (step == 0) {  // it did not have it yet, or did not know
          EXPECT_EQ(mutex_.outcome(), LockOutcome::owner_died);
          ASSERT_TRUE(lost) << mutex_.news();
          EXPECT_EQ(lost->pid(), first);
          EXPECT_TRUE(!previous || previous->pid() == first || previous->pid() == dead.pid()) << mutex_.news();
          ++before;
        } else if (step == 1) {  // in declare_repaired()
          EXPECT_EQ(mutex_.outcome(), LockOutcome::owner_died);
          ASSERT_TRUE(lost && previous) << mutex_.news();
          EXPECT_TRUE(lost->pid() == first || lost->pid() == dead.pid()) << mutex_.news();
          EXPECT_EQ(previous->pid(), dead.pid());
        } else {
          EXPECT_TRUE(step == 2 || mutex_.outcome() == LockOutcome::clean) << "it had given it back";
          EXPECT_TRUE(!previous || previous->pid() == dead.pid()) << mutex_.news();
          EXPECT_TRUE(!lost || lost->pid() == dead.pid()) << "the first death was repaired: " << mutex_.news();
          ++after;
        }
        repair();
      });
  EXPECT_GT(before, 0U);
  EXPECT_GT(after, 0U);
}
// The first who comes makes the mutex. Killed at it, it leaves something that the next one recognises.
TEST_F(DataBlockMutexSteps, WhoeverIsKilledMakingAMutexIsInNobodysWay) {
  constexpr std::size_t places = 600;
  const TestSegment many;
  auto memory = SharedMemory::create(many.name(), places * 2 * DataBlockMutex::footprint);
  std::size_t place = 0, offset = 0;
  kill_after_each_instruction(
      [&] {
        ASSERT_LT(++place, places);
        offset = place * 2 * DataBlockMutex::footprint;
        how_ = {"make", many.name(), offset};
      },
      [&](const Traced&) {
        auto mutex = DataBlockMutex::in(memory, offset, 10s);
        ASSERT_EQ(mutex.lock(), LockOutcome::clean);
        EXPECT_TRUE(mutex.holder());
        mutex.unlock();
      });
}
}  // namespace
