// What stands, or does not stand, where a FileLock wants to be: each is its own clear error at once, and nothing is left;
// or, for a directory that another program made, an owner like any other (F10).
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "file_lock_failures.hpp"

using namespace hostile;

// ---- no directory --------------------------------------------------------------------------------------------------

TEST(FileLockPlace, ADirectoryThatDoesNotExistIsRefusedByTheConstructor) {
  const TempDir dir;
  for (const auto& resource : {dir / "missing/x", dir / "missing/y/x", dir / "missing/.."}) {
    expect_refused([&] { FileLock{resource}; }, std::errc::no_such_file_or_directory,
                   {resource.string(), "its directory does not exist", "create the directory first"});
    expect_refused([&] { static_cast<void>(FileLock::holder(resource)); }, std::errc::no_such_file_or_directory,
                   {resource.string()});
  }
  EXPECT_TRUE(fs::is_empty(dir.path()));
}

TEST(FileLockPlace, AFileForADirectoryIsRefusedByTheConstructor) {
  const TempDir dir;
  std::ofstream{dir / "file"} << "mine";
  expect_refused([&] { FileLock{dir / "file/x"}; }, std::errc::not_a_directory,
                 {(dir / "file/x").string(), "Not a directory"});
  EXPECT_EQ(contents_of(dir.path()), std::vector<std::string>{"file file: mine"});
}

TEST(FileLockPlace, ALoopOfLinksIsRefusedByTheConstructor) {
  const TempDir dir;
  fs::create_symlink("b", dir / "a");
  fs::create_symlink("a", dir / "b");
  expect_refused([&] { FileLock{dir / "a"}; }, std::errc::too_many_symbolic_link_levels, {(dir / "a").string()});
  expect_refused([&] { FileLock{dir / "a/x"}; }, std::errc::too_many_symbolic_link_levels, {(dir / "a/x").string()});
  EXPECT_EQ(contents_of(dir.path()), (std::vector<std::string>{"a -> b", "b -> a"}));
}

TEST(FileLockPlace, ADirectoryThatIsRemovedUnderTheObjectIsAnError) {
  const TempDir dir;
  const auto resource = dir / "run/x";
  for (const auto& [name, ask] : ways_to_lock()) {
    SCOPED_TRACE(name);
    fs::create_directory(dir / "run");
    FileLock fresh{resource}, used{resource};
    ASSERT_TRUE(used.try_lock());
    ASSERT_TRUE(used.unlock());
    fs::remove_all(dir / "run");
    for (FileLock* lock : {&fresh, &used})
      for (int i = 0; i < 2; ++i)
        expect_refused([&] { ask(*lock); }, std::errc::no_such_file_or_directory,
                       {resource.string() + ".lock", "its directory has been removed", "make a new FileLock"});
    EXPECT_FALSE(fresh.holder());
    EXPECT_FALSE(fs::exists(dir / "run"));

    fs::create_directory(dir / "run");  // another one
    expect_refused([&] { ask(used); }, std::errc::no_such_file_or_directory, {"its directory has been removed"});
    FileLock anew{resource};
    EXPECT_TRUE(anew.try_lock());
    EXPECT_TRUE(anew.unlock());
  }
}

TEST(FileLockPlace, ADirectoryThatIsMovedTakesItsLocksAlong) {
  const TempDir dir;
  fs::create_directory(dir / "run");
  FileLock lock{dir / "run/x"};
  ASSERT_TRUE(lock.try_lock());
  fs::rename(dir / "run", dir / "moved");
  EXPECT_TRUE(FileLock::holder(dir / "moved/x"));
  EXPECT_EQ(output_of({}, "try_once", {dir / "moved/x", "fair", "try"}), "busy");
  EXPECT_TRUE(lock.unlock());
  EXPECT_EQ(output_of({}, "try_once", {dir / "moved/x", "fair", "try"}), "locked\nunlocked");
}

// ---- something that is not a directory ------------------------------------------------------------------------------

namespace {
void make_socket(const fs::path& path) {
  const int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.string().copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ::close(socket);
}

struct Thing {
  std::string name;
  std::function<void(const fs::path& place)> make;
};
const std::vector<Thing> things{
    {"file", [](const fs::path& place) { ASSERT_TRUE(std::ofstream{place} << "mine"); }},
    {"empty_file", [](const fs::path& place) { ASSERT_TRUE(std::ofstream{place}); }},
    {"link_to_a_file",
     [](const fs::path& place) {
       std::ofstream{place.parent_path() / "target"} << "mine";
       fs::create_symlink("target", place);
     }},
    {"link_to_a_directory",
     [](const fs::path& place) {
       fs::create_directory(place.parent_path() / "target");
       fs::create_symlink("target", place);
     }},
    {"dangling_link", [](const fs::path& place) { fs::create_symlink("nowhere", place); }},
    {"fifo", [](const fs::path& place) { ASSERT_EQ(::mkfifo(place.c_str(), 0600), 0); }},
    {"socket", make_socket},
};
void PrintTo(const Thing& thing, std::ostream* out) { *out << thing.name; }
class FileLockPlaceTaken : public testing::TestWithParam<Thing> {
 protected:
  TempDir dir_;
  const fs::path resource_ = dir_ / "x";
};
INSTANTIATE_TEST_SUITE_P(, FileLockPlaceTaken, testing::ValuesIn(things),
                         [](const testing::TestParamInfo<Thing>& thing) { return thing.param.name; });
}  // namespace

TEST_P(FileLockPlaceTaken, IsAnErrorAtOnceAndUntouched) {
  GetParam().make(dir_ / "x.lock");
  dir_.allow_leftovers();
  const auto before = contents_of(dir_.path());
  for (const auto& [name, ask] : ways_to_lock()) {
    for (const bool fair : {true, false}) {
      SCOPED_TRACE(name + (fair ? ", fair" : ", unfair"));
      FileLock lock{resource_, {.fair = fair}};
      for (int i = 0; i < 2; ++i) {
        expect_refused([&] { ask(lock); }, errc::foreign,
                       {std::string{"'"}.append(resource_.string()).append(".lock'"), "is not a directory",
                        "move the file or link away"});
        EXPECT_FALSE(lock.owns_lock());
      }
      expect_refused([&] { static_cast<void>(lock.holder()); }, errc::foreign,
                     {resource_.string() + ".lock", "is not a directory"});
    }
    EXPECT_EQ(contents_of(dir_.path()), before);
  }
}

TEST_P(FileLockPlaceTaken, IsNoObstacleAnyMoreOnceItIsMovedAway) {
  GetParam().make(dir_ / "x.lock");
  FileLock lock{resource_};
  expect_refused([&] { lock.lock(); }, errc::foreign, {});
  fs::rename(dir_ / "x.lock", dir_ / "elsewhere");
  EXPECT_TRUE(lock.try_lock());
  EXPECT_TRUE(lock.unlock());
}

TEST_P(FileLockPlaceTaken, InsteadOfAHeldLockIsABrokenLockForItsOwnerAndAnErrorForAWaiter) {
  auto owner = start({}, "hold", {resource_, "fair"});
  auto waiter = start({}, "wait_then_hold", {resource_, "fair"});
  // Asleep, not only queued: on its way there it would find the place free, and take it.
  ASSERT_TRUE(wait_until([&] { return waits_for_lock(waiter); })) << waiter.report();
  fs::rename(dir_ / "x.lock", dir_ / "elsewhere");
  GetParam().make(dir_ / "x.lock");
  dir_.allow_leftovers();
  const auto before = contents_of(dir_ / "elsewhere");
  owner.release();
  EXPECT_EQ(owner.wait_for_exit().value, 1);
  EXPECT_TRUE(owner.output().ends_with("not unlocked: holdfast:4: " + make_error_code(errc::broken).message() + "\n"))
      << owner.report();
  EXPECT_TRUE(wait_for_output(waiter, error_line(errc::foreign))) << waiter.report();
  ExpectWorkerOk(waiter);
  EXPECT_EQ(contents_of(dir_ / "elsewhere"), before);
}

// ---- a stranger's directory ----------------------------------------------------------------------------------------

namespace {
class FileLockStranger : public testing::TestWithParam<bool> {
 protected:
  [[nodiscard]] FileLockOptions options() const { return {.fair = GetParam()}; }
  [[nodiscard]] const char* words() const { return GetParam() ? "fair" : "unfair"; }
  /// A worker that sleeps in lock().
  [[nodiscard]] WorkerProcess spawn_waiter(const Steps& steps = {}) const {
    auto waiter = start(steps, "wait_then_hold", {resource_, words()});
    EXPECT_TRUE(!GetParam() || wait_for_queue(resource_, 1)) << waiter.report();
    EXPECT_TRUE(wait_until([&] { return waits_for_lock(waiter); })) << waiter.report();
    return waiter;
  }
  static bool has_locked(const WorkerProcess& worker) { return worker.output().find("locked") != std::string::npos; }

  TempDir dir_;
  const fs::path resource_ = dir_ / "x", place_ = dir_ / "x.lock";
};
INSTANTIATE_TEST_SUITE_P(, FileLockStranger, testing::Bool(),
                         [](const testing::TestParamInfo<bool>& fair) { return fair.param ? "fair" : "unfair"; });
}  // namespace

TEST_P(FileLockStranger, IsRespectedAndShownWithoutAnOwner) {
  ASSERT_EQ(::mkdir(place_.c_str(), 0700), 0);
  FileLock lock{resource_, options()};
  EXPECT_FALSE(lock.try_lock());
  EXPECT_FALSE(lock.try_lock_for(30ms));
  const auto holder = lock.holder();
  ASSERT_TRUE(holder);
  EXPECT_FALSE(holder->owner);
  EXPECT_EQ(holder->liveness, Liveness::unknown);
  EXPECT_TRUE(to_string(*holder).ends_with("by another program (holdfast did not make this lock)"))
      << to_string(*holder);
  EXPECT_LT(std::chrono::system_clock::now() - holder->since, 60s);
  EXPECT_TRUE(fs::is_directory(place_)) << "it must not be broken";
  ASSERT_EQ(::rmdir(place_.c_str()), 0);
  EXPECT_TRUE(lock.try_lock());
  EXPECT_EQ(lock.outcome(), LockOutcome::clean);
}

TEST_P(FileLockStranger, MayPutFilesIntoItsDirectory) {
  fs::create_directory(place_);
  std::ofstream{place_ / "pid"} << "1234";
  std::ofstream{place_ / "o.1234"} << "not a name of ours";
  const auto before = contents_of(dir_.path());
  FileLock lock{resource_, options()};
  EXPECT_FALSE(lock.try_lock());
  auto waiter = spawn_waiter();
  EXPECT_FALSE(FileLock::holder(resource_)->owner);
  fs::remove(place_ / "pid");
  std::ofstream{place_ / "more"};
  fs::remove(place_ / "more");
  EXPECT_FALSE(lock.try_lock());
  EXPECT_FALSE(has_locked(waiter)) << waiter.report();
  fs::remove_all(place_);
  EXPECT_TRUE(wait_for_output(waiter, "locked\n")) << waiter.report();
  finish(waiter);
}

TEST_P(FileLockStranger, WakesAWaiterByRemovingItsDirectory) {
  // Where it is not told, a waiter looks again after half a second at the earliest.
  auto fastest = std::chrono::steady_clock::duration::max();
  for (int i = 0; i < 10 && fastest > 100ms; ++i) {
    ASSERT_EQ(::mkdir(place_.c_str(), 0700), 0);
    auto waiter = spawn_waiter();
    const auto start = std::chrono::steady_clock::now();
    ASSERT_EQ(::rmdir(place_.c_str()), 0);
    ASSERT_TRUE(wait_for_output(waiter, "locked\n")) << waiter.report();
    fastest = std::min(fastest, std::chrono::steady_clock::now() - start);
    finish(waiter);
  }
  EXPECT_LT(fastest, 100ms);
}

TEST_P(FileLockStranger, WakesAWaiterByMovingItsDirectoryAway) {
  auto fastest = std::chrono::steady_clock::duration::max();
  for (int i = 0; i < 10 && fastest > 100ms; ++i) {
    ASSERT_EQ(::mkdir(place_.c_str(), 0700), 0);
    auto waiter = spawn_waiter();
    const auto start = std::chrono::steady_clock::now();
    ASSERT_EQ(::rename(place_.c_str(), (dir_ / "away").c_str()), 0);
    ASSERT_TRUE(wait_for_output(waiter, "locked\n")) << waiter.report();
    fastest = std::min(fastest, std::chrono::steady_clock::now() - start);
    finish(waiter);
    ASSERT_EQ(::rmdir((dir_ / "away").c_str()), 0);
  }
  EXPECT_LT(fastest, 100ms);
}

TEST_P(FileLockStranger, IsNoticedWithoutInotifyToo) {
  SKIP_WHERE_FORBIDDEN({"no_inotify"});
  ASSERT_EQ(::mkdir(place_.c_str(), 0700), 0);
  auto waiter = spawn_waiter({"no_inotify"});
  ASSERT_FALSE(has_locked(waiter));
  ASSERT_EQ(::rmdir(place_.c_str()), 0);
  EXPECT_TRUE(wait_for_output(waiter, "locked\n")) << waiter.report();
  finish(waiter);
}

TEST_P(FileLockStranger, IsReplacedByAnotherOneAndStillRespected) {
  ASSERT_EQ(::mkdir(place_.c_str(), 0700), 0);
  auto waiter = spawn_waiter();
  for (int i = 0; i < 20; ++i) {  // never absent
    ASSERT_EQ(::mkdir((dir_ / "next").c_str(), 0700), 0);
    ASSERT_EQ(::rename((dir_ / "next").c_str(), place_.c_str()), 0);
  }
  EXPECT_FALSE(has_locked(waiter));
  EXPECT_EQ(output_of({}, "try_once", {resource_, words(), "20"}), "busy");
  EXPECT_FALSE(has_locked(waiter)) << waiter.report();
  ASSERT_EQ(::rmdir(place_.c_str()), 0);
  EXPECT_TRUE(wait_for_output(waiter, "locked\n")) << waiter.report();
  finish(waiter);
}

TEST_P(FileLockStranger, FindsTheNameTakenWhileTheLockIsHeld) {
  FileLock lock{resource_, options()};
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(lock.try_lock());
    EXPECT_EQ(::mkdir(place_.c_str(), 0700), -1);
    EXPECT_EQ(errno, EEXIST);
    EXPECT_EQ(::rmdir(place_.c_str()), -1) << "what cleans up after mkdir must not break the lock";
    EXPECT_EQ(errno, ENOTEMPTY);
    ASSERT_TRUE(lock.unlock());
    EXPECT_EQ(::mkdir(place_.c_str(), 0700), 0);
    EXPECT_FALSE(lock.try_lock());
    EXPECT_EQ(::rmdir(place_.c_str()), 0);
  }
}

TEST_P(FileLockStranger, AndFileLockExcludeEachOther) {
  constexpr int each = 25;
  const auto counter = dir_ / "counter";
  std::ofstream{counter} << 0;
  std::vector<WorkerProcess> workers;
  for (int i = 0; i < 2; ++i) {
    workers.push_back(start({}, "increment", {resource_, words(), counter, each}));
    workers.push_back(start({}, "increment_by_mkdir", {place_, "", counter, each}));
  }
  holdfast::harness::ReleaseTogether(workers);
  holdfast::harness::ExpectWorkersOk(workers);
  int value = 0;
  std::ifstream{counter} >> value;
  EXPECT_EQ(value, 4 * each);
}

TEST_P(FileLockStranger, MayGoAtEveryMomentOfALook) {
  std::atomic<bool> done{false};
  std::jthread stranger{[&] {
    while (!done) {
      ::mkdir(place_.c_str(), 0700);
      ::rmdir(place_.c_str());
    }
  }};
  FileLock lock{resource_, options()};
  int locked = 0;
  const Deadline deadline{500ms};
  for (int i = 0; i < 500 || (locked < 10 && !deadline.passed()); ++i) {
    EXPECT_NO_THROW(static_cast<void>(lock.holder()));
    bool now = false;
    EXPECT_NO_THROW(now = i % 2 == 0 ? lock.try_lock() : lock.try_lock_for(1ms));
    if (!now) continue;
    ++locked;
    EXPECT_TRUE(lock.unlock());
  }
  done = true;
  EXPECT_GT(locked, 0);
}
