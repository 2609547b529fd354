// Proves that spellings of one path are one lock, and that every name works or is refused before anything is made.
#include <unistd.h>
#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <future>
#include <mutex>
#include <string>
#include <holdfast/file_lock.hpp>
#include <holdfast/testing/gtest.hpp>

namespace {
namespace fs = std::filesystem;
using holdfast::Error;
using holdfast::FileLock;
using holdfast::harness::TempDir;

bool is_free_for_others(const fs::path& resource) {
  FileLock lock{resource};
  return std::async(std::launch::async, [&] { return lock.try_lock() && lock.unlock(); }).get();
}

/// Both ways: whoever names it first.
void expect_one_lock(const fs::path& one, const fs::path& other) {
  for (const auto& [held, asked] : {std::pair{one, other}, std::pair{other, one}}) {
    FileLock lock{held};
    const std::lock_guard guard{lock};
    EXPECT_FALSE(is_free_for_others(asked)) << held << " and " << asked;
  }
  EXPECT_TRUE(is_free_for_others(other));
}

struct WorkingDirectory {
  explicit WorkingDirectory(const fs::path& to) : before{fs::current_path()} { fs::current_path(to); }
  ~WorkingDirectory() { fs::current_path(before); }
  fs::path before;
};

TEST(FileLockSpelling, OfDotsAndSlashesAndLinksIsOneLock) {
  const TempDir dir;
  fs::create_directories(dir / "data/sub");
  fs::create_directory_symlink("data", dir / "link_to_directory");
  fs::create_symlink("data/run.h5", dir / "link_to_file_not_there_yet");
  fs::create_symlink(dir / "link_to_file_not_there_yet", dir / "link_to_link");
  const auto resource = dir / "data/run.h5";
  expect_one_lock(resource, dir / "data/sub/../run.h5");
  expect_one_lock(resource, dir / "./data//.//run.h5");
  expect_one_lock(resource, dir / "link_to_directory/run.h5");
  expect_one_lock(resource, dir / "link_to_file_not_there_yet");
  expect_one_lock(resource, dir / "link_to_link");
  expect_one_lock(dir / "data", dir / "data/");
  expect_one_lock(dir / "data", dir / "data///");
  expect_one_lock(dir / "data", dir / "data/.");
  expect_one_lock(dir / "data", dir / "data/sub/..");
  expect_one_lock(dir / "data", dir / "link_to_directory/");
  std::ofstream{resource} << "it exists now";
  expect_one_lock(resource, dir / "link_to_link");
}

TEST(FileLockSpelling, OfARelativePathIsBoundWhenTheObjectIsMade) {
  const TempDir dir;
  fs::create_directory(dir / "sub");
  const WorkingDirectory here{dir.path()};
  expect_one_lock("run.h5", dir / "run.h5");
  expect_one_lock("sub/../run.h5", "./run.h5");
  FileLock lock{"run.h5"};
  const WorkingDirectory there{dir / "sub"};
  const std::lock_guard guard{lock};
  EXPECT_TRUE(FileLock::holder(dir / "run.h5"));
  EXPECT_FALSE(FileLock::holder("run.h5")) << "that is another one";
}

TEST(FileLockSpelling, OfDifferentResourcesAreDifferentLocks) {
  const TempDir dir;
  // Named like what stands beside the lock of x.
  const std::array others{".x.lock.queue", "x.lock", ".x.lock", ".x.lock.0000000000000001.y.private", "x ", "X"};
  FileLock lock{dir / "x"};
  const std::lock_guard guard{lock};
  for (const char* other : others) EXPECT_TRUE(is_free_for_others(dir / other)) << other;
}

class FileLockName : public testing::TestWithParam<std::string> {};
TEST_P(FileLockName, Works) {
  const TempDir dir;
  const auto resource = dir / GetParam();
  {
    FileLock lock{resource};
    const std::lock_guard guard{lock};
    EXPECT_TRUE(fs::is_directory(resource.native() + ".lock"));
    FileLock waiter{resource};  // makes a ticket and a queue
    EXPECT_FALSE(
        std::async(std::launch::async, [&] { return waiter.try_lock_for(std::chrono::milliseconds{1}); }).get());
  }
  EXPECT_TRUE(fs::is_empty(dir.path()));
}
INSTANTIATE_TEST_SUITE_P(, FileLockName,
                         testing::Values("with spaces and 'quotes'", "with\na newline",
                                         "\xC3\xA4\xE2\x82\xAC\xF0\x9F\x94\x92", "not \xFF UTF-8 \xC3", "-rf", "*",
                                         "%2F", ".hidden", "...", "a.lock", std::string(29, 'n'), std::string(30, 'n'),
                                         std::string(250, 'n'),
                                         [] {
                                           std::string s;
                                           while (s.size() + 3 <= 250) s += "\xE2\x82\xAC";
                                           return s;
                                         }()),
                         [](const auto& instance) { return "Number" + std::to_string(instance.index); });

TEST(FileLockNames, ThatAreLongAndAlikeAreDifferentLocks) {
  const TempDir dir;
  const std::string long_name(200, 'n');
  FileLock lock{dir / (long_name + "1")};
  const std::lock_guard guard{lock};
  EXPECT_TRUE(is_free_for_others(dir / (long_name + "2")));
  EXPECT_FALSE(is_free_for_others(dir / (long_name + "1")));
}

void expect_refused(const fs::path& resource, std::errc code) {
  try {
    const FileLock lock{resource};
    ADD_FAILURE() << resource << " was not refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_EQ(error.subject(), resource.native());
    EXPECT_NE(std::string{error.what()}.find("cannot make a lock for"), std::string::npos) << error.what();
  }
}

TEST(FileLockNames, ThatCannotBeAreRefusedBeforeAnythingIsMade) {
  const TempDir dir;
  expect_refused("", std::errc::invalid_argument);
  expect_refused("/", std::errc::invalid_argument);
  expect_refused("///", std::errc::invalid_argument);
  expect_refused(std::string{"zero\0byte", 9}, std::errc::invalid_argument);
  expect_refused(dir / std::string(251, 'n'), std::errc::filename_too_long);
  expect_refused(dir / (std::string(300, 'n') + "/x"), std::errc::filename_too_long);
  EXPECT_TRUE(fs::is_empty(dir.path()));
}

TEST(FileLockNames, MayStandDeeperThanAPathCanBeLong) {
  const TempDir dir;
  const std::string step(200, 'd');
  fs::path deep = dir.path();
  {
    const WorkingDirectory here{dir.path()};
    for (int i = 0; i < 30; ++i) {  // 6000 bytes, PATH_MAX is 4096
      ASSERT_TRUE(fs::create_directory(step));
      ASSERT_EQ(::chdir(step.c_str()), 0);
      deep /= step;
    }
    ASSERT_EQ(::chdir(dir.path().c_str()), 0);
  }
  {
    FileLock lock{deep / "run.h5"};
    const std::lock_guard guard{lock};
    EXPECT_FALSE(is_free_for_others(deep / ".." / step / "run.h5"));
    EXPECT_TRUE(FileLock::holder(deep / "run.h5"));
  }
  EXPECT_FALSE(FileLock::holder(deep / "run.h5"));
}
}  // namespace
