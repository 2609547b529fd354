// Proves that Ctrl-C ends the workers and leaves nothing behind.
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>
#include <holdfast/process_identity.hpp>
#include <holdfast/shared_memory.hpp>

#include "../exclusion/wait_until.hpp"
#include "run_tool.hpp"

namespace {
using holdfast::Error;
using holdfast::Liveness;
using holdfast::ProcessIdentity;
using holdfast::SegmentInfo;
using holdfast::SharedMemory;
using holdfast::harness::Exit;
using holdfast::harness::TempDir;
using holdfast::test::contents;
using holdfast::test::start;
using holdfast::test::wait_until;
using namespace std::chrono_literals;

std::vector<ProcessIdentity> children_of(std::int64_t pid) {
  std::vector<ProcessIdentity> result;
  std::ifstream list{"/proc/" + std::to_string(pid) + "/task/" + std::to_string(pid) + "/children"};
  for (std::int64_t child = 0; list >> child;) try {
      result.push_back(ProcessIdentity::of(child));
    } catch (const Error& error) {
      if (error.code() != std::errc::no_such_process) throw;  // it has ended since
    }
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
// The mutex's segments are not in the directory.
TEST_P(ToolInterruption, LeavesNoSegment) {
  const TempDir dir;
  auto tool = start(HOLDFAST_TOOL, {"validate", "--processes", "1", "--iterations", "1", "--kills", "100000"},
                    {.environment = {{"TMPDIR", dir.path()}}});
  const auto in_use_by_workers = [&](const SegmentInfo& segment) {
    const auto workers = children_of(tool.pid());
    return std::any_of(segment.users.begin(), segment.users.end(), [&](const auto& user) {
      return std::any_of(workers.begin(), workers.end(),
                         [&](const auto& worker) { return worker.pid() == user.pid(); });
    });
  };
  std::string mark;
  ASSERT_TRUE(wait_until([&] {
    for (const auto& segment : SharedMemory::list())
      if (segment.name.find(".mutex-kill-") != std::string::npos && in_use_by_workers(segment))
        mark = segment.name.substr(0, segment.name.find('.'));
    return !mark.empty();
  })) << "it has to be killing owners of a mutex: "
      << tool.report();
  ASSERT_EQ(::kill(static_cast<pid_t>(tool.pid()), GetParam()), 0);
  EXPECT_EQ(tool.wait_for_exit(30s), (Exit{Exit::By::signal, GetParam(), false}));
  for (const auto& segment : SharedMemory::list()) EXPECT_FALSE(segment.name.starts_with(mark)) << segment.name;
  EXPECT_TRUE(contents(dir.path()).empty());
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
