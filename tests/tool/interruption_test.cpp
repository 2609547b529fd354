// Proves that Ctrl-C ends the workers and leaves nothing behind.
#include <signal.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>
#include <holdfast/process_identity.hpp>

#include "../exclusion/wait_until.hpp"
#include "run_tool.hpp"

namespace {
using holdfast::Liveness;
using holdfast::ProcessIdentity;
using holdfast::harness::Exit;
using holdfast::harness::TempDir;
using holdfast::test::contents;
using holdfast::test::start;
using holdfast::test::wait_until;
using namespace std::chrono_literals;

std::vector<ProcessIdentity> children_of(std::int64_t pid) {
  std::vector<ProcessIdentity> result;
  std::ifstream list{"/proc/" + std::to_string(pid) + "/task/" + std::to_string(pid) + "/children"};
  for (std::int64_t child = 0; list >> child;) result.push_back(ProcessIdentity::of(child));
  return result;
}

class ToolInterruption : public testing::TestWithParam<int> {};

TEST_P(ToolInterruption, EndsTheWorkersAndClearsUp) {
  const TempDir dir;
  auto tool = start(HOLDFAST_TOOL, {"validate", "--processes", "4", "--increments", "1000", "--hold", "10ms"},
                    {.environment = {{"TMPDIR", dir.path()}}});
  std::vector<ProcessIdentity> workers;
  ASSERT_TRUE(wait_until([&] {
    workers = children_of(tool.pid());
    const auto found = contents(dir.path());
    return workers.size() == 4 &&
           std::any_of(found.begin(), found.end(), [](const auto& file) { return file.first.ends_with(".lock"); });
  })) << "all four have to be at work: "
      << tool.report();
  ASSERT_EQ(::kill(static_cast<pid_t>(tool.pid()), GetParam()), 0);
  EXPECT_EQ(tool.wait_for_exit(30s), (Exit{Exit::By::signal, GetParam(), false})) << "as shells expect it";
  for (const auto& worker : workers) EXPECT_EQ(worker.liveness(), Liveness::dead) << to_string(worker);
  EXPECT_TRUE(contents(dir.path()).empty()) << contents(dir.path()).begin()->first;
  EXPECT_EQ(tool.output(), "");
}
INSTANTIATE_TEST_SUITE_P(Signals, ToolInterruption, testing::Values(SIGINT, SIGTERM, SIGHUP),
                         [](const auto& signal) { return std::string{::sigabbrev_np(signal.param)}; });

TEST(ToolKilled, TakesItsWorkersWithIt) {
  const TempDir dir;
  auto tool =
      start(HOLDFAST_TOOL, {"validate", dir.path(), "--processes", "4", "--increments", "1000", "--hold", "10ms"},
            {.environment = {{"TMPDIR", dir.path()}}});
  std::vector<ProcessIdentity> workers;
  ASSERT_TRUE(wait_until([&] { return (workers = children_of(tool.pid())).size() == 4; })) << tool.report();
  tool.kill();
  for (const auto& worker : workers)
    EXPECT_TRUE(wait_until([&] { return worker.liveness() == Liveness::dead; })) << to_string(worker);
}
}  // namespace
