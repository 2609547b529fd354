// Proves that the tool turns red over mutexes in shared memory that are wrong in one way each, and nowhere else.
#include <string>

#include <holdfast/shared_memory.hpp>

#include "run_tool.hpp"

namespace {
using holdfast::SharedMemory;
using holdfast::harness::TempDir;
using holdfast::test::Finished;
using holdfast::test::lines;
using holdfast::test::only_json;
using holdfast::test::run;
using holdfast::test::Strings;

/// `holdfast validate DIRECTORY arguments...` with that mutex, and little of everything else.
Finished validate_with(const std::string& mutex, const Strings& more = {}) {
  const TempDir dir;
  Strings arguments{"validate", dir.path(), "--iterations", "1", "--kills", "3", "--attach-rounds", "4"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run(TOOL_WITH_WRONG_MUTEXES, arguments, {.environment = {{"HOLDFAST_TEST_MUTEX", mutex}}});
}

bool says(const Finished& run, const std::string& text) { return run.output.find(text) != std::string::npos; }

TEST(ToolMutexNegativeControl, NoMutexAtAllFails) {
  const auto run = validate_with("none", {"--json"});
  EXPECT_EQ(run.code, 1) << run;
  const auto json = only_json(run);
  EXPECT_EQ(json["verdict"], "fails");
  EXPECT_EQ(json["contention"]["lost"], 0) << "that is the lock on files";
  EXPECT_GT(json["mutex"]["contention"]["lost"], 0) << run;
  EXPECT_GT(json["mutex"]["contention"]["overlaps"], 0) << run;
  EXPECT_EQ(json["mutex"]["kill"]["recoveries"], 0);
  EXPECT_TRUE(json["mutex"]["kill"]["waiter_recovery_ms"]["median"].is_null()) << "nothing was recovered";
  EXPECT_EQ(lines(run.errors), 1) << "the reasons, in one line";
}

TEST(ToolMutexNegativeControl, AMutexThatItsOwnerTakesToTheGraveFailsAtTheKillOnly) {
  const auto run = validate_with("mortal", {"--processes", "3", "--deadline", "2s"});
  EXPECT_EQ(run.code, 1) << run;
  EXPECT_TRUE(says(run, "mutex, kill: the waiter did not get the lock of an owner that was killed")) << run;
  EXPECT_TRUE(says(run, "Recovery by a waiter asleep never")) << run;
  EXPECT_FALSE(says(run, "mutex, contention: ")) << run;
  EXPECT_FALSE(says(run, "mutex, attach: ")) << run;
}

TEST(ToolMutexNegativeControl, AMutexWithoutNewsOfADeathFails) {
  const auto run = validate_with("silent", {"--processes", "3"});
  EXPECT_EQ(run.code, 1) << run;
  EXPECT_TRUE(
      says(run, "VERDICT: DOES NOT HOLD: mutex, kill: the waiter was not told that the owner before it was killed\n"))
      << run;
}

TEST(ToolMutexNegativeControl, ComersThatAreSplitOverSeveralSegmentsFail) {
  const auto run = validate_with("split", {"--processes", "3"});
  EXPECT_EQ(run.code, 1) << run;
  EXPECT_TRUE(
      says(run, "VERDICT: DOES NOT HOLD: mutex, attach: round 1: 3 processes have incremented, and the counter"))
      << run;
  EXPECT_TRUE(says(run, "All in one segment          0 of 4 rounds\n")) << run;
}

TEST(ToolMutexNegativeControl, ASegmentThatIsLeftBehindFails) {
  const auto run = validate_with("littering", {"--processes", "3"});
  EXPECT_EQ(run.code, 1) << run;
  EXPECT_TRUE(says(run, "VERDICT: DOES NOT HOLD: mutex, contention: left behind in shared memory: validate-")) << run;
  EXPECT_TRUE(says(run, ".litter (removed)")) << run;
}

// Also where there is no shared memory at all.
TEST(ToolMutexNegativeControl, WhatKeepsAMutexFromBeingMadeIsAReason) {
  const auto run = validate_with("refusing", {"--processes", "3"});
  EXPECT_EQ(run.code, 1) << run;
  EXPECT_TRUE(says(run, "\nMutex in shared memory: not tried\n")) << run;
  EXPECT_TRUE(says(run, "VERDICT: DOES NOT HOLD: mutex: cannot create segment 'validate-")) << run;
  EXPECT_TRUE(says(run, ": no memory today\n")) << run;
}
}  // namespace
