// Proves what a run of `holdfast validate` says, in words, in JSON and as a picture, where locking holds.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "run_tool.hpp"
#include "xml.hpp"

namespace {
namespace fs = std::filesystem;
using holdfast::harness::TempDir;
using holdfast::test::contents;
using holdfast::test::lines;
using holdfast::test::occurrences;
using holdfast::test::only_json;
using holdfast::test::run;
using holdfast::test::validate;
using holdfast::test::XmlCheck;

std::vector<std::string> keys(const nlohmann::json& object) {
  std::vector<std::string> result;
  for (const auto& [key, value] : object.items()) result.push_back(key);
  return result;  // sorted: nlohmann::json sorts them
}

std::string contents_of(const fs::path& file) {
  std::ifstream in{file};
  return {std::istreambuf_iterator<char>{in}, {}};
}

TEST(ToolValidate, HoldsHereAndSaysWhatItSaw) {
  const TempDir dir;
  const auto run = validate({}, {.environment = {{"TMPDIR", dir.path()}}});
  EXPECT_EQ(run.code, 0) << run;
  for (const auto* text : {"directory                   /",
                           "file system",
                           "kernel                      Linux",
                           "container",
                           "Contention: 10 processes x 20 increments\n",
                           "Total operations attempted  200\n",
                           "Successful operations       200\n",
                           "Failed operations           0\n",
                           "Final counter value         200\n",
                           "Expected value              200\n",
                           "Success rate                100.00 %\n",
                           "Total duration              ",
                           "Average wait                ",
                           "Maximum wait                ",
                           "Throughput                  ",
                           "Overlaps                    0\n",
                           "Overtakes                   ",
                           "CPU used while waiting      ",
                           "Threads: 10 threads of one process x 20 increments\n",
                           "Recovery by a waiter asleep ",
                           "Recovery by a newcomer      ",
                           "(median of 5, ",
                           "Successful acquisitions     10\n",
                           "Acquisition order, with the order and time of arrival:\n",
                           " order=10 ",
                           "Stress: 5 iterations x 5 processes x 10 increments\n",
                           "Iteration 5                 50/50, ",
                           "Success rate                100.0 % of 5 iterations\n",
                           "Mutex in shared memory: 10 processes x 2000 increments\n",
                           "Final counter value         20000\n",
                           "Mutex, kill: the owner is killed (SIGKILL), 100 times\n",
                           "(median of 100, ",
                           "Mutex, attach: 100 rounds of 10 processes at once\n",
                           "All in one segment          100 of 100 rounds\n",
                           "(median of 1000, ",
                           "Block in shared memory: 20000 messages of 4096 bytes\n",
                           "Readers of all              2, which got 40000 of 40000\n",
                           "Reader of the latest        1, which got ",
                           "Messages lost               0\n",
                           "Messages torn               0\n",
                           " messages/s, ",
                           "Block, writer killed (SIGKILL) in the middle of a message, 20 times\n",
                           "Block, reader killed (SIGKILL) with a slot of a full ring, 20 times\n",
                           "Writer goes on after        ",
                           "(median of 20, "})
    EXPECT_NE(run.output.find(text), std::string::npos) << "not there: " << text << '\n' << run.output;
  EXPECT_TRUE(run.output.ends_with("\n\nVERDICT: holds\n")) << run.output;
  EXPECT_EQ(occurrences(run.output, "VERDICT"), 1U);
  EXPECT_EQ(run.errors, "") << "no progress bar where there is no terminal";
  EXPECT_TRUE(contents(dir.path()).empty()) << "the temporary directory has to be removed again";
}

TEST(ToolValidate, JsonIsOneObjectWithExactlyTheseKeys) {
  using Keys = std::vector<std::string>;
  const TempDir dir;
  const auto run = validate({dir.path(), "--json", "--processes", "4", "--iterations", "2", "--kills", "12",
                             "--attach-rounds", "6", "--messages", "500", "--block-kills", "11"});
  EXPECT_EQ(run.code, 0) << run;
  EXPECT_EQ(run.errors, "");
  EXPECT_EQ(lines(run.output), 1);
  const auto json = only_json(run);
  EXPECT_EQ(keys(json),
            (Keys{"block", "contention", "file_system", "kill", "mutex", "race", "stress", "threads", "verdict"}));
  EXPECT_EQ(json["verdict"], "holds");
  EXPECT_TRUE(json["file_system"].is_string());
  for (const auto* name : {"contention", "threads"}) {
    const auto& contest = json[name];
    EXPECT_EQ(keys(contest), (Keys{"expected", "final", "lost", "ops_per_second", "overlaps",
                                   "overtakes_per_acquisition", "wait_ms"}));
    EXPECT_EQ(contest["expected"], 80);
    EXPECT_EQ(contest["final"], 80);
    EXPECT_EQ(contest["lost"], 0);
    EXPECT_EQ(contest["overlaps"], 0);
    EXPECT_GT(contest["ops_per_second"], 0);
    EXPECT_EQ(keys(contest["wait_ms"]), (Keys{"max", "mean"}));
    EXPECT_GT(contest["wait_ms"]["mean"], 0);
    EXPECT_GE(contest["wait_ms"]["max"], contest["wait_ms"]["mean"]);
    EXPECT_GE(contest["overtakes_per_acquisition"], 0);
  }
  EXPECT_EQ(keys(json["kill"]), (Keys{"newcomer_recovery_ms", "waiter_recovery_ms"}));
  EXPECT_GT(json["kill"]["waiter_recovery_ms"], 0);
  EXPECT_GT(json["kill"]["newcomer_recovery_ms"], 0);
  EXPECT_EQ(keys(json["race"]), (Keys{"acquired", "order", "overlaps", "processes"}));
  EXPECT_EQ(json["race"]["processes"], 4);
  EXPECT_EQ(json["race"]["acquired"], 4);
  EXPECT_EQ(json["race"]["overlaps"], 0);
  auto order = json["race"]["order"].get<std::vector<int>>();
  std::sort(order.begin(), order.end());
  EXPECT_EQ(order, (std::vector{0, 1, 2, 3}));
  EXPECT_EQ(keys(json["stress"]), (Keys{"iterations"}));
  ASSERT_EQ(json["stress"]["iterations"].size(), 2U);
  for (const auto& iteration : json["stress"]["iterations"])
    EXPECT_EQ(iteration, (nlohmann::json{{"expected", 50}, {"final", 50}}));

  const auto& mutex = json["mutex"];
  EXPECT_EQ(keys(mutex), (Keys{"attach", "contention", "kill"}));
  EXPECT_EQ(keys(mutex["contention"]), keys(json["contention"]));
  EXPECT_EQ(mutex["contention"]["expected"], 20000);
  EXPECT_EQ(mutex["contention"]["final"], 20000);
  EXPECT_EQ(mutex["contention"]["overlaps"], 0);
  EXPECT_EQ(keys(mutex["kill"]), (Keys{"newcomer_recovery_ms", "recoveries", "waiter_recovery_ms"}));
  EXPECT_EQ(mutex["kill"]["recoveries"], 12);
  EXPECT_EQ(keys(mutex["attach"]), (Keys{"attach_ms", "processes", "rounds"}));
  EXPECT_EQ(mutex["attach"]["processes"], 4);
  EXPECT_EQ(mutex["attach"]["rounds"], 6);

  const auto& block = json["block"];
  EXPECT_EQ(keys(block), (Keys{"reader_killed", "transfer", "writer_killed"}));
  const auto& transfer = block["transfer"];
  EXPECT_EQ(keys(transfer),
            (Keys{"delivered", "latest_seen", "lost", "messages", "messages_per_second", "readers", "torn"}));
  EXPECT_EQ(transfer["messages"], 500);
  EXPECT_EQ(transfer["readers"], 2);
  EXPECT_EQ(transfer["delivered"], 1000);
  EXPECT_EQ(transfer["lost"], 0);
  EXPECT_EQ(transfer["torn"], 0);
  EXPECT_GE(transfer["latest_seen"], 1);
  EXPECT_LE(transfer["latest_seen"], 500);
  EXPECT_GT(transfer["messages_per_second"], 0);
  EXPECT_EQ(keys(block["writer_killed"]), keys(mutex["kill"]));
  EXPECT_EQ(block["writer_killed"]["recoveries"], 11);
  EXPECT_EQ(keys(block["reader_killed"]), (Keys{"recoveries", "writer_recovery_ms"}));
  EXPECT_EQ(block["reader_killed"]["recoveries"], 11);
  for (const auto& times :
       {mutex["kill"]["newcomer_recovery_ms"], mutex["kill"]["waiter_recovery_ms"], mutex["attach"]["attach_ms"],
        block["writer_killed"]["waiter_recovery_ms"], block["writer_killed"]["newcomer_recovery_ms"],
        block["reader_killed"]["writer_recovery_ms"]}) {
    EXPECT_EQ(keys(times), (Keys{"max", "median"}));
    EXPECT_GT(times["median"], 0);
    EXPECT_GE(times["max"], times["median"]);
  }
}

TEST(ToolValidate, OneProcessAlone) {
  const TempDir dir;
  const auto json = only_json(validate({dir.path(), "--processes", "1", "--json"}));
  EXPECT_EQ(json["verdict"], "holds");
  EXPECT_EQ(json["contention"]["final"], 20);
  EXPECT_EQ(json["race"]["order"], nlohmann::json::array({0}));
}

TEST(ToolValidate, SectionsLastAsLongAsAsked) {
  const TempDir dir;
  const auto run = validate({dir.path(), "--hold", "200us", "--increments", "10", "--json"});
  const auto json = only_json(run);
  EXPECT_EQ(run.code, 0) << run;
  for (const auto* name : {"contention", "threads"}) {
    EXPECT_LT(json[name]["ops_per_second"], 5000) << "sections of 200 us, one at a time";
    EXPECT_GT(json[name]["wait_ms"]["max"], 0.2) << "some have to wait for the others' sections";
  }
  EXPECT_EQ(json["mutex"]["contention"]["expected"], 100) << "as many as asked for, with sections that long";
  EXPECT_LT(json["mutex"]["contention"]["ops_per_second"], 5000);
}

TEST(ToolValidate, LocksWithoutOrderHoldAsWell) {
  const TempDir dir;
  const auto run = validate({dir.path(), "--unfair", "--json"});
  EXPECT_EQ(run.code, 0) << run;
  EXPECT_EQ(only_json(run)["contention"]["final"], 200);
}

TEST(ToolValidate, AnyNameOfADirectoryWillDo) {
  const TempDir dir;
  const auto odd = dir / "with spaces,\na line break, <&\" and \xff no UTF-8";
  fs::create_directory(odd);
  const auto run = validate({odd, "--timeline", dir / "odd.svg"});
  EXPECT_EQ(run.code, 0) << run;
  EXPECT_NE(run.output.find("with spaces,\\na line break, <&\" and \\xff no UTF-8\n"), std::string::npos) << run.output;
  EXPECT_EQ(XmlCheck::problem(contents_of(dir / "odd.svg")), "");
  EXPECT_TRUE(contents(odd).empty());
}

TEST(ToolValidate, TheDirectoryIsLeftAsItWas) {
  const TempDir dir;
  fs::create_directory(dir / "deeper");
  std::ofstream{dir / "mine"} << "text";
  std::ofstream{dir / ".hidden"} << "text";
  fs::create_directory(dir / "counter.lock");
  const auto before = contents(dir.path());
  EXPECT_EQ(validate({dir.path(), "--processes", "3"}).code, 0);
  EXPECT_EQ(contents(dir.path()), before);
  fs::remove(dir / "counter.lock");
}

TEST(ToolValidate, TwoRunsInOneDirectoryDoNotMeet) {
  const TempDir dir;
  auto first = holdfast::test::start(HOLDFAST_TOOL, {"validate", dir.path(), "--processes", "3"});
  auto second = holdfast::test::start(HOLDFAST_TOOL, {"validate", dir.path(), "--processes", "3"});
  for (auto* tool : {&first, &second}) {
    const auto run = holdfast::test::finish(std::move(*tool));
    EXPECT_EQ(run.code, 0) << run;
  }
  EXPECT_TRUE(contents(dir.path()).empty());
}

TEST(ToolTimeline, HasOneRowPerProcessAndIsWellFormed) {
  const TempDir dir;
  ASSERT_EQ(validate({dir.path(), "--processes", "7", "--timeline", dir / "run.svg"}).code, 0);
  const auto document = contents_of(dir / "run.svg");
  EXPECT_EQ(XmlCheck::problem(document), "");
  const auto race = document.find(">Race: ");
  ASSERT_NE(race, std::string::npos);
  EXPECT_EQ(occurrences(document.substr(0, race), "class=\"row\""), 7U) << "contention";
  EXPECT_EQ(occurrences(document, "class=\"row\""), 7U + 7U + 3U) << "and race, and the three of kill";
  for (std::size_t i = 0; i < 7; ++i)
    EXPECT_EQ(occurrences(document.substr(0, race), ">process " + std::to_string(i) + "</text>"), 1U) << i;
  EXPECT_EQ(occurrences(document, "had the lock 20 times"), 7U);
  EXPECT_EQ(occurrences(document, "class=\"killed\""), 2U + 1U) << "two in the last round, one in the legend";
  EXPECT_EQ(occurrences(document, "class=\"recovered\""), 2U + 1U);
  EXPECT_EQ(occurrences(document, "class=\"overlap\""), 0U);
}

TEST(ToolTimeline, ShowsTwoOwnersAtOnce) {
  const TempDir dir;
  const auto finished =
      run(TOOL_WITH_WRONG_LOCKS, {"validate", dir.path(), "--hold", "1ms", "--timeline", dir / "run.svg"},
          {.environment = {{"HOLDFAST_TEST_LOCK", "none"}}});
  ASSERT_EQ(finished.code, 1) << finished;
  const auto document = contents_of(dir / "run.svg");
  EXPECT_EQ(XmlCheck::problem(document), "");
  EXPECT_GT(occurrences(document, "class=\"overlap\""), 1U);
}

TEST(ToolTimeline, ReplacesAnOlderOne) {
  const TempDir dir;
  std::ofstream{dir / "run.svg"} << std::string(1'000'000, 'x');
  ASSERT_EQ(validate({dir.path(), "--processes", "2", "--timeline", dir / "run.svg"}).code, 0);
  EXPECT_EQ(XmlCheck::problem(contents_of(dir / "run.svg")), "");
}

TEST(ToolTimeline, ThatCannotBeKeptIsToldBeforeTheRun) {
  const TempDir dir;
  const auto missing = dir / "missing" / "run.svg";
  const auto run = validate({dir.path(), "--timeline", missing});
  EXPECT_EQ(run.code, 2) << run;
  EXPECT_EQ(run.output, "") << "no run";
  EXPECT_EQ(run.errors, "holdfast: cannot write the timeline '" + missing.string() + "': No such file or directory\n");
}

TEST(ToolTimeline, IsNotTouchedWithoutARun) {
  const TempDir dir;
  std::ofstream{dir / "old.svg"} << "old";
  EXPECT_EQ(validate({dir / "missing", "--timeline", dir / "new.svg"}).code, 2);
  EXPECT_EQ(validate({dir / "missing", "--timeline", dir / "old.svg"}).code, 2);
  EXPECT_FALSE(fs::exists(dir / "new.svg"));
  EXPECT_EQ(contents_of(dir / "old.svg"), "old");
}

TEST(ToolValidate, AReportThatCannotBePrintedIsAnError) {
  const TempDir dir;
  const auto finished = run("/bin/sh", {"-c", "exec \"$0\" validate \"$1\" --processes 1 --iterations 1 >/dev/full",
                                        HOLDFAST_TOOL, dir.path()});
  EXPECT_EQ(finished.code, 2) << finished;
  EXPECT_EQ(lines(finished.errors), 1) << finished;
}
}  // namespace
