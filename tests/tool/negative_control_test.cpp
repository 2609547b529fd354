// Proves that the tool turns red: locks that are wrong in one way each, and what the verdict says of them.
#include <string>

#include "run_tool.hpp"

namespace {
using holdfast::harness::TempDir;
using holdfast::test::contents;
using holdfast::test::Finished;
using holdfast::test::lines;
using holdfast::test::only_json;
using holdfast::test::run;
using holdfast::test::Strings;

/// `holdfast validate DIRECTORY arguments...` with that lock. The directory has to be as it was afterwards.
Finished validate_with(const std::string& lock, Strings arguments = {}) {
  const TempDir dir;
  arguments.insert(arguments.begin(), {"validate", dir.path()});
  auto finished = run(TOOL_WITH_WRONG_LOCKS, arguments, {.environment = {{"HOLDFAST_TEST_LOCK", lock}}});
  EXPECT_TRUE(contents(dir.path()).empty()) << finished;
  return finished;
}

bool says(const Finished& run, const std::string& text) { return run.output.find(text) != std::string::npos; }

TEST(ToolNegativeControl, NoLockAtAllFails) {
  const auto run = validate_with("none", {"--hold", "200us", "--json"});
  EXPECT_EQ(run.code, 1) << run;
  const auto json = only_json(run);
  EXPECT_EQ(json["verdict"], "fails");
  for (const auto* scenario : {"contention", "threads"}) {
    EXPECT_EQ(json[scenario]["expected"], 200);
    EXPECT_LT(json[scenario]["final"], 200) << scenario;
    EXPECT_EQ(json[scenario]["lost"], 200 - json[scenario]["final"].get<int>()) << scenario;
    EXPECT_GT(json[scenario]["overlaps"], 0) << scenario;
  }
  EXPECT_GT(json["race"]["overlaps"], 0);
  EXPECT_TRUE(json["kill"]["waiter_recovery_ms"].is_null()) << "nothing was recovered";
  EXPECT_EQ(json["stress"]["iterations"].size(), 5U);
  EXPECT_LT(json["stress"]["iterations"][0]["final"], 50);
  EXPECT_EQ(lines(run.errors), 1) << "the reasons, in one line";
}

TEST(ToolNegativeControl, NoLockAtAllFailsInWords) {
  const auto run = validate_with("none", {"--hold", "200us"});
  EXPECT_EQ(run.code, 1) << run;
  EXPECT_TRUE(says(run, "VERDICT: DOES NOT HOLD: contention: ")) << run;
  EXPECT_TRUE(says(run, " owners entered while another was inside")) << run;
  EXPECT_TRUE(says(run, " of 200 increments lost")) << run;
  EXPECT_FALSE(says(run, "VERDICT: holds")) << run;
}

// The default, without a hold: the counter alone would show it, too, not only the journal.
TEST(ToolNegativeControl, NoLockAtAllLosesIncrementsWithoutAHold) {
  const auto json = only_json(validate_with("none", {"--json"}));
  EXPECT_GT(json["contention"]["lost"], 0) << json;
  EXPECT_GT(json["threads"]["lost"], 0) << json;
}

TEST(ToolNegativeControl, ALockThatTakesNobodyForDeadFailsAtTheKillOnly) {
  const auto run = validate_with("directory", {"--deadline", "5s", "--processes", "3"});
  EXPECT_EQ(run.code, 1) << run;
  EXPECT_TRUE(says(run, "kill: the waiter did not get the lock of an owner that was killed")) << run;
  EXPECT_TRUE(says(run, "Recovery by a waiter asleep never")) << run;
  EXPECT_FALSE(says(run, "contention: ")) << run;
  EXPECT_FALSE(says(run, "stress, iteration")) << run;
}

TEST(ToolNegativeControl, ALockWithoutNewsOfADeathFails) {
  const auto run = validate_with("silent");
  EXPECT_EQ(run.code, 1) << run;
  EXPECT_TRUE(says(run, "VERDICT: DOES NOT HOLD: kill: the waiter was not told that the owner before it was killed\n"))
      << run;
}

TEST(ToolNegativeControl, ALockThatLeavesSomethingBehindFails) {
  const auto run = validate_with("littering");
  EXPECT_EQ(run.code, 1) << run;
  EXPECT_TRUE(says(run, "VERDICT: DOES NOT HOLD: contention: left behind: validate-")) << run;
  EXPECT_TRUE(says(run, ".contention.litter (removed)")) << run;
}

TEST(ToolNegativeControl, WorkersThatCrashAreReasonsNotAHang) {
  const auto run = validate_with("crashing");
  EXPECT_EQ(run.code, 1) << run;
  EXPECT_TRUE(says(run, "contention: process 0 and 9 more: was killed by signal 6 (Aborted)")) << run;
  EXPECT_TRUE(says(run, "threads: process 0: was killed by signal 6 (Aborted)")) << run;
}

TEST(ToolNegativeControl, WorkersThatHangAreReasonsNotAHang) {
  const auto run = validate_with("hanging", {"--deadline", "100ms", "--processes", "3", "--increments", "2"});
  EXPECT_EQ(run.code, 1) << run;
  EXPECT_TRUE(says(run,
                   "contention: 6 of 6 increments not made; contention: process 0 and 2 more: ran still at the "
                   "deadline, and was killed by signal 9"))
      << run;
  EXPECT_TRUE(says(run, "kill: process 0: not done at the deadline")) << run;
}

TEST(ToolNegativeControl, WhatALockSaysIsAReason) {
  const auto run = validate_with("refusing");
  EXPECT_EQ(run.code, 1) << run;
  EXPECT_TRUE(says(run, "contention: process 0 and 9 more: no locks today")) << run;
  EXPECT_TRUE(says(run, "kill: process 0: no locks today")) << run;
}
}  // namespace
