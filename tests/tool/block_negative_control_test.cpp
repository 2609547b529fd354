// Proves that the tool turns red over blocks in shared memory that are wrong in one way each, and nowhere else.
#include <string>

#include "run_tool.hpp"

namespace {
using holdfast::harness::TempDir;
using holdfast::test::Finished;
using holdfast::test::lines;
using holdfast::test::only_json;
using holdfast::test::run;
using holdfast::test::Strings;

/// `holdfast validate DIRECTORY arguments...` with that block, and little of everything else.
Finished validate_with(const std::string& block, const Strings& more = {}) {
  const TempDir dir;
  Strings arguments{"validate",        dir.path(), "--processes", "3",   "--iterations",  "1", "--kills", "1",
                    "--attach-rounds", "1",        "--messages",  "400", "--block-kills", "3"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run(TOOL_WITH_WRONG_BLOCKS, arguments, {.environment = {{"HOLDFAST_TEST_BLOCK", block}}});
}

bool says(const Finished& run, const std::string& text) { return run.output.find(text) != std::string::npos; }

TEST(ToolBlockNegativeControl, ARightBlockHolds) {
  const auto run = validate_with("right");
  EXPECT_EQ(run.code, 0) << run << "or what the others are red over is not what is wrong with them";
}

TEST(ToolBlockNegativeControl, MessagesThatAreSeenBeforeTheyAreCommittedFail) {
  const auto run = validate_with("hasty");
  EXPECT_EQ(run.code, 1) << run;
  EXPECT_TRUE(says(run, "block, writer killed: process 5: the message in slot ")) << run;
}

TEST(ToolBlockNegativeControl, MessagesThatAReaderLosesFail) {
  const auto run = validate_with("forgetful", {"--json"});
  EXPECT_EQ(run.code, 1) << run;
  const auto json = only_json(run);
  EXPECT_EQ(json["verdict"], "fails");
  EXPECT_EQ(json["mutex"]["kill"]["recoveries"], 1) << "that is not what is wrong";
  EXPECT_GT(json["block"]["transfer"]["lost"], 0) << run;
  EXPECT_EQ(json["block"]["transfer"]["torn"], 0) << run;
  EXPECT_EQ(lines(run.errors), 1) << "the reasons, in one line";
  EXPECT_NE(run.errors.find("message 48 was followed by 50"), std::string::npos) << run;
}

TEST(ToolBlockNegativeControl, BooksThatDoNotCloseFail) {
  const auto run = validate_with("creative");
  EXPECT_EQ(run.code, 1) << run;
  EXPECT_TRUE(says(run, "Messages lost               0\n")) << run;
  EXPECT_TRUE(says(run, "the books say: 400 committed, 401 delivered, 0 skipped, 0 in flight")) << run;
}

TEST(ToolBlockNegativeControl, ARoleThatItsOwnerTakesToTheGraveFailsThereOnly) {
  const auto run = validate_with("mortal", {"--deadline", "2s"});
  EXPECT_EQ(run.code, 1) << run;
  EXPECT_TRUE(says(run, "block, writer killed: the waiter did not get the role of an owner that was killed")) << run;
  EXPECT_TRUE(says(run, "Recovery by a waiter asleep never")) << run;
  EXPECT_FALSE(says(run, "block, transfer: ")) << run;
  EXPECT_FALSE(says(run, "block, reader killed: ")) << run;
}

TEST(ToolBlockNegativeControl, ARoleWithoutNewsOfADeathFails) {
  const auto run = validate_with("silent");
  EXPECT_EQ(run.code, 1) << run;
  EXPECT_TRUE(says(run,
                   "VERDICT: DOES NOT HOLD: block, writer killed: the waiter was not told that the owner before it "
                   "was killed"))
      << run;
}

TEST(ToolBlockNegativeControl, ASlotThatADeadReaderKeepsFailsThereOnly) {
  const auto run = validate_with("stuck", {"--deadline", "2s"});
  EXPECT_EQ(run.code, 1) << run;
  EXPECT_TRUE(says(run,
                   "VERDICT: DOES NOT HOLD: block, reader killed: the writer did not get the slot of a reader that "
                   "was killed"))
      << run;
  EXPECT_TRUE(says(run, "Writer goes on after        never\n")) << run;
}

TEST(ToolBlockNegativeControl, AFullRingThatIsOverwrittenFails) {
  const auto run = validate_with("overwriting");
  EXPECT_EQ(run.code, 1) << run;
  EXPECT_TRUE(says(run, "the writer did not wait for the reader that held the oldest slot of a full ring")) << run;
}

TEST(ToolBlockNegativeControl, ASegmentThatIsLeftBehindFails) {
  const auto run = validate_with("littering");
  EXPECT_EQ(run.code, 1) << run;
  EXPECT_TRUE(says(run, "VERDICT: DOES NOT HOLD: block, transfer: left behind in shared memory: validate-")) << run;
}

// Also where there is no shared memory at all.
TEST(ToolBlockNegativeControl, WhatKeepsABlockFromBeingMadeIsAReason) {
  const auto run = validate_with("refusing");
  EXPECT_EQ(run.code, 1) << run;
  EXPECT_TRUE(says(run, "\nBlock in shared memory: not tried\n")) << run;
  EXPECT_TRUE(says(run, "VERDICT: DOES NOT HOLD: block: cannot create segment 'validate-")) << run;
}
}  // namespace
