// TempDir makes a fresh directory, removes it, and tells when locks were left in it.
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <string>

#include <gtest/gtest-spi.h>

#include <holdfast/error.hpp>
#include <holdfast/testing/gtest.hpp>
#include <holdfast/testing/temp_dir.hpp>
#include <holdfast/testing/worker_process.hpp>

namespace {
namespace fs = std::filesystem;
using namespace holdfast::harness;
using namespace std::chrono_literals;
using testing::IsSubstring;

TEST(TempDir, IsNewEmptyAndOnesOwn) {
  std::set<fs::path> paths;
  for (int i = 0; i < 100; ++i) {
    const TempDir dir;
    EXPECT_TRUE(paths.insert(dir.path()).second);
    EXPECT_TRUE(fs::is_empty(dir.path()));
    EXPECT_EQ(fs::status(dir.path()).permissions(), fs::perms::owner_all);
    EXPECT_EQ(fs::canonical(dir.path()), dir.path());
    EXPECT_EQ(dir / "run.h5", dir.path() / "run.h5");
  }
}

TEST(TempDir, IsRemovedWithAllThatIsInIt) {
  fs::path path;
  {
    const TempDir dir;
    path = dir.path();
    fs::create_directories(dir / "a" / "b");
    std::ofstream{dir / "a" / "b" / "file"} << "x";
    fs::create_symlink("/nonexistent", dir / "link");
    fs::permissions(dir / "a" / "b", fs::perms::none);
    fs::permissions(dir / "a", fs::perms::owner_read);
    fs::permissions(dir.path(), fs::perms::owner_read | fs::perms::owner_exec);
  }
  EXPECT_FALSE(fs::exists(path));
}

TEST(TempDir, IsRemovedByAnOrdinaryUserToo) {
  auto worker = SpawnWorker(HARNESS_WORKER, "leave_unreadable_directories");
  if (worker.wait_for_exit().value == 77)
    GTEST_SKIP() << "NOT TESTED: the temporary directory is closed to other users";
  ExpectWorkerOk(worker);
  ASSERT_NE(worker.output(), "");
  EXPECT_FALSE(fs::exists(worker.output()));
  EXPECT_EQ(worker.errors(), "");
}

/// The messages with which destroying a TempDir fails the running test.
template <class Fill>
std::string complaints_about(Fill fill) {
  std::string messages;
  testing::TestPartResultArray results;
  {
    std::optional<TempDir> dir{std::in_place};
    fill(*dir);
    const testing::ScopedFakeTestPartResultReporter reporter{
        testing::ScopedFakeTestPartResultReporter::INTERCEPT_ONLY_CURRENT_THREAD, &results};
    const auto path = dir->path();
    dir.reset();
    if (fs::exists(path)) messages += "not removed\n";
  }
  for (int i = 0; i < results.size(); ++i) {
    const auto& result = results.GetTestPartResult(i);
    messages += (result.nonfatally_failed() ? "" : "not a failure: ") + std::string{result.message()} + "\n";
  }
  return messages;
}

TEST(TempDir, FailsTheTestThatLeavesLocksInIt) {
  for (const auto* name : {"run.h5.lock", ".run.h5.0.x.private", ".run.h5.0.x.ticket", ".run.h5.lock.queue", ".lock"}) {
    const auto complaint = complaints_about([&](TempDir& dir) { std::ofstream{dir / name} << ""; });
    EXPECT_PRED_FORMAT2(IsSubstring, "1 left of locks", complaint) << name;
    EXPECT_PRED_FORMAT2(IsSubstring, std::string{"\n  "} + name, complaint);
  }
  const auto below = complaints_about([](TempDir& dir) { fs::create_directories(dir / "a" / "b" / "x.lock"); });
  EXPECT_PRED_FORMAT2(IsSubstring, "a/b/x.lock", below) << "at any depth";
}

TEST(TempDir, DoesNotComplainAboutOtherFiles) {
  EXPECT_EQ(complaints_about([](TempDir& dir) {
              for (const auto* name : {"run.h5", "lock", "x.lock.txt", "private", "x.queued"})
                std::ofstream{dir / name} << "";
            }),
            "");
}

TEST(TempDir, DoesNotComplainWhenLeftoversAreAllowed) {
  EXPECT_EQ(complaints_about([](TempDir& dir) {
              fs::create_directory(dir / "x.lock");
              EXPECT_EQ(dir.leftovers(), std::vector<fs::path>{"x.lock"});
              dir.allow_leftovers();
            }),
            "");
}

TEST(TempDir, IsLeftAloneByAForkedChild) {
  std::optional<TempDir> dir{std::in_place};
  fs::create_directory(*dir / "x");
  const auto child = ::fork();
  if (child == 0) {
    dir.reset();
    ::_exit(0);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(fs::exists(*dir / "x"));
}

TEST(TempDir, FailsTheWorkerThatLeavesLocksInIt) {
  auto worker = SpawnWorker(HARNESS_WORKER, "leave_a_lock");
  EXPECT_EQ(worker.wait_for_exit(30s), (Exit{Exit::By::code, 1, true})) << worker.report();
  EXPECT_PRED_FORMAT2(IsSubstring, "1 left of locks in a test's directory:\n  left.lock\n", worker.errors());
}

TEST(TempDir, SaysWhyItCannotBeMade) {
  auto worker = SpawnWorker(HARNESS_WORKER, "need_a_directory", {}, {.environment = {{"TMPDIR", "/nonexistent"}}});
  EXPECT_EQ(worker.wait_for_exit(30s).value, 2);
  EXPECT_PRED_FORMAT2(IsSubstring, "set TMPDIR", worker.errors());
}
}  // namespace
