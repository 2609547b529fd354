// Proves F1 (exclusion whatever is killed when), F3 (the dead are replaced, so nobody waits for ever), F5 (a killed waiter
// does not block the queue) and F8 (what the dead left is swept) of FileLock.
//
// HOLDFAST_CHURN_SEED     repeats the random choices of a run (not its schedule)
// HOLDFAST_CHURN_SECONDS  how long each of these tests churns: 3600 for a soak
#include <gtest/gtest.h>

#include <iostream>
#include <string>
#include <holdfast/testing/gtest.hpp>

#include "kill_churn.hpp"

namespace {
using namespace holdfast::test;
using namespace std::chrono_literals;
using holdfast::harness::TempDir;

constexpr Hostility hostile{.per_mille = 150, .longest_us = 4000};

void expect_held(const ChurnReport& report) {
  std::cout << report << '\n';
  EXPECT_TRUE(report.ok()) << report;
  EXPECT_GT(report.kills_inside, 0U) << "nobody was killed inside: nothing was proved";
  EXPECT_GT(report.history.recoveries, 0U);
  testing::Test::RecordProperty("longest_gap_us", static_cast<int>(report.history.longest_gap_ns / 1000));
}

std::string name_of_kind(const testing::TestParamInfo<const char*>& kind) { return kind.param; }

class KillChurn : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(, KillChurn, testing::Values("file_lock", "file_lock_unfair", "file_lock_mixed"),
                         name_of_kind);

TEST_P(KillChurn, HoldsUnderAHostileSchedule) {
  const TempDir dir;
  const auto report = kill_churn(dir / "run", {.kind = GetParam(),
                                               .duration = churn_duration(2000ms),
                                               .hold = 500us,
                                               .hostility = hostile,
                                               .seed = churn_seed()});
  expect_held(report);
  EXPECT_GT(report.stops, 0U) << "the hostile scheduler was not there";
}

TEST_P(KillChurn, HoldsAtFullSpeed) {
  const TempDir dir;
  expect_held(kill_churn(dir / "run", {.kind = GetParam(), .duration = churn_duration(1000ms), .seed = churn_seed()}));
}

// Most often nobody is in the way, then all at once somebody is: what is saved as long as one is alone has to be undone.
TEST_P(KillChurn, HoldsWhereTheLockIsOftenFree) {
  const TempDir dir;
  expect_held(kill_churn(dir / "run", {.kind = GetParam(),
                                       .processes = 3,
                                       .duration = churn_duration(1500ms),
                                       .hold = 100us,
                                       .think = 500us,
                                       .hostility = {.per_mille = 50, .longest_us = 2000},
                                       .seed = churn_seed()}));
}

// A forked child must not inherit anything that looks like its parent's life, in whatever moment the fork comes: the children
// of the killed live to the end of the run, and nobody may ever wait for them.
TEST_P(KillChurn, HoldsWhereProcessesForkWhileTheirThreadsLock) {
  const TempDir dir;
  expect_held(kill_churn(dir / "run", {.kind = GetParam(),
                                       .processes = 4,
                                       .threads = 2,
                                       .duration = churn_duration(1500ms),
                                       .longest_pause = 40ms,
                                       .hold = 500us,
                                       .children = 4,
                                       .hostility = hostile,
                                       .seed = churn_seed()}));
}

TEST_P(KillChurn, HoldsForProcessesOfSeveralThreads) {
  const TempDir dir;
  expect_held(kill_churn(dir / "run", {.kind = GetParam(),
                                       .processes = 4,
                                       .threads = 3,
                                       .duration = churn_duration(1500ms),
                                       .hold = 500us,
                                       .hostility = hostile,
                                       .seed = churn_seed()}));
}

// The same run, so that its verdict means something: a wrong lock is caught by it, a right one passes.
TEST(KillChurnControl, RejectsTheNaiveLock) {
  TempDir dir;
  dir.allow_leftovers();
  for (int round = 1; round <= 20; ++round) {
    const auto report = kill_churn(dir / std::to_string(round), {.kind = "naive",
                                                                 .duration = 2000ms,
                                                                 .hostility = hostile,
                                                                 .seed = churn_seed(),
                                                                 .leave_zombies = false,
                                                                 .until_first_overlap = true});
    if (report.history.overlaps != 0) return RecordProperty("caught_in_round", round);
  }
  FAIL() << "a lock that is known to be wrong was accepted";
}

TEST(KillChurnControl, AcceptsTheLockOfTheKernel) {
  const TempDir dir;
  const auto report =
      kill_churn(dir / "run", {.kind = "flock", .duration = 1500ms, .hostility = hostile, .seed = churn_seed()});
  EXPECT_TRUE(report.ok()) << report;
  EXPECT_GT(report.kills_inside, 0U);
}
}  // namespace
