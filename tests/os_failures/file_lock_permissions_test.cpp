// Users, modes and file systems that cannot be written to: who may take part takes part, who may not is told why at once.
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "file_lock_failures.hpp"

using namespace hostile;

namespace {
constexpr auto anna = "user=60001:60001", bert = "user=60002:60002", anna_in_group = "user=60001:60010",
               bert_in_group = "user=60002:60010";

class FileLockPermissions : public testing::Test {
 protected:
  void SetUp() override {
    SKIP_WHERE_FORBIDDEN({anna});
    fs::permissions(dir_.path(), fs::perms{0755});
    fs::create_directory(place_);
    fs::permissions(place_, fs::perms{0777});
  }
  [[nodiscard]] static std::string attempt(const Steps& steps, const fs::path& resource, const std::string& options,
                                           const char* how) {
    return output_of(steps, "try_once", {resource, options, how});
  }
  /// All ways to ask are refused alike.
  static void expect_refused_to(const Steps& steps, const fs::path& resource, const std::string& options,
                                std::errc code, const std::vector<std::string>& words, int line = __builtin_LINE()) {
    const testing::ScopedTrace trace{__FILE__, line, "called from here"};
    for (const char* how : {"try", "lock", "10000"}) {
      const auto start = std::chrono::steady_clock::now();
      const auto answer = attempt(steps, resource, options, how);
      EXPECT_TRUE(answer.starts_with(error_line(code))) << how << ": " << answer;
      for (const auto& word : words) EXPECT_NE(answer.find(word), std::string::npos) << word << " in " << answer;
      EXPECT_LT(std::chrono::steady_clock::now() - start, 9s) << "at once";
    }
  }
  [[nodiscard]] fs::path only(const fs::path& directory, std::string_view part) const {
    for (const auto& entry : fs::directory_iterator{directory}) {
      const auto name = entry.path().filename().string();
      if (name.ends_with(part) || name.starts_with(part)) return entry.path();
    }
    ADD_FAILURE() << "no " << part << " in " << directory;
    return directory;
  }
  [[nodiscard]] static unsigned mode_of(const fs::path& path) {
    struct stat status {};
    EXPECT_EQ(::lstat(path.c_str(), &status), 0) << path;
    return status.st_mode & 07777U;
  }
  [[nodiscard]] static gid_t group_of(const fs::path& path) {
    struct stat status {};
    EXPECT_EQ(::lstat(path.c_str(), &status), 0) << path;
    return status.st_gid;
  }
  [[nodiscard]] static uid_t user_of(const fs::path& path) {
    struct stat status {};
    EXPECT_EQ(::lstat(path.c_str(), &status), 0) << path;
    return status.st_uid;
  }

  TempDir dir_;
  const fs::path place_ = dir_ / "place", resource_ = place_ / "x";
};
}  // namespace

// ---- directories that cannot be used ---------------------------------------------------------------------------------

TEST_F(FileLockPermissions, ADirectoryThatMayNotBeWrittenToIsAnErrorAtOnce) {
  fs::permissions(place_, fs::perms{0755});
  const std::vector<std::string> words{resource_.string() + ".lock", "no permission to make or move entries",
                                       "needs write and search permission"};
  for (const char* options : {"fair", "unfair", "everyone"})
    expect_refused_to({anna}, resource_, options, std::errc::permission_denied, words);
  EXPECT_TRUE(fs::is_empty(place_));
  EXPECT_EQ(output_of({anna}, "show_holder", {resource_}), "free");
}

TEST_F(FileLockPermissions, ADirectoryThatMayNotBeSearchedIsAnErrorAtOnce) {
  fs::permissions(place_, fs::perms{0700});
  expect_refused_to({anna}, resource_, "fair", std::errc::permission_denied,
                    {resource_.string(), "no permission", "needs write and search permission"});
  auto holder = SpawnWorker(OS_FAILURE_WORKER, "under", arguments_for({anna}, "show_holder", {resource_}));
  EXPECT_TRUE(holder.wait_for_exit(10s).ok()) << holder.report();
  EXPECT_TRUE(holder.output().starts_with(error_line(std::errc::permission_denied)) &&
              holder.output().find(resource_.string()) != std::string::npos)
      << holder.output();
  expect_refused_to({anna}, place_ / "below/x", "fair", std::errc::permission_denied, {"below/x"});
  EXPECT_TRUE(fs::is_empty(place_));
}

TEST_F(FileLockPermissions, ADirectoryThatMayNotBeReadCanStillBeLockedInButNotSwept) {
  fs::permissions(place_, fs::perms{0733});
  auto owner = start({anna}, "hold", {resource_, "fair"});
  EXPECT_EQ(attempt({anna}, resource_, "fair", "try"), "busy");
  auto waiter = start({anna}, "wait_then_hold", {resource_, "fair"});
  ASSERT_TRUE(wait_for_queue(resource_, 1));
  owner.kill();
  EXPECT_TRUE(wait_for_output(waiter, "\nlocked after " + identity_of(owner).encode() + "\n")) << waiter.report();
  finish(waiter);
  EXPECT_EQ(dir_.leftovers().size(), 1U) << "the dead owner's ticket";
  EXPECT_EQ(attempt({}, resource_, "fair", "try"), "locked\nunlocked") << "root may read it, and sweeps";
}

TEST_F(FileLockPermissions, AReadOnlyFileSystemIsAnErrorAtOnce) {
  const auto bind = "bind=" + place_.string() + ":" + place_.string(), read_only = "read_only=" + place_.string();
  SKIP_WHERE_FORBIDDEN({"mounts", bind, read_only});
  const Mounts mounts{{bind, read_only}};
  for (const bool fair : {true, false}) {
    FileLock lock{mounts[resource_], {.fair = fair}};
    for (const auto& [name, ask] : ways_to_lock()) {
      SCOPED_TRACE(name);
      expect_refused([&] { ask(lock); }, std::errc::read_only_file_system,
                     {resource_.string() + ".lock", "Read-only file system", "a directory that can be written to"});
    }
    EXPECT_FALSE(lock.holder());
  }
  EXPECT_TRUE(fs::is_empty(place_));
}

TEST_F(FileLockPermissions, AFileSystemThatBecomesReadOnlyWhileTheLockIsHeldKeepsItHeld) {
  const auto tmpfs = "tmpfs=" + place_.string() + ":size=1m,mode=777";
  SKIP_WHERE_FORBIDDEN({"mounts", tmpfs});
  const Mounts mounts{{tmpfs}};
  for (const bool fair : {true, false}) {
    SCOPED_TRACE(fair ? "fair" : "unfair");
    const auto resource = mounts[resource_];
    FileLock lock{resource, {.fair = fair}}, idle{resource, {.fair = fair}};
    ASSERT_TRUE(idle.try_lock());
    ASSERT_TRUE(idle.unlock());
    ASSERT_TRUE(lock.try_lock());
    mounts.change("read_only=" + place_.string());
    std::error_code why;
    for (int i = 0; i < 2; ++i) {
      EXPECT_FALSE(lock.unlock(why));
      EXPECT_EQ(why, std::errc::read_only_file_system) << why.message();
      EXPECT_TRUE(lock.owns_lock());
      EXPECT_EQ(lock.holder()->owner, ProcessIdentity::self());
    }
    EXPECT_THROW(lock.lock(), Error) << "this thread has it still";
    std::jthread{[&] {
      expect_refused([&] { idle.lock(); }, std::errc::read_only_file_system, {"Read-only file system"});
    }}.join();
    const auto other = output_of(mounts.steps(), "try_once", {resource_, fair ? "fair" : "unfair", "lock"});
    EXPECT_TRUE(other.starts_with(error_line(std::errc::read_only_file_system))) << other;
    mounts.change("writable=" + place_.string());
    EXPECT_EQ(output_of(mounts.steps(), "try_once", {resource_, fair ? "fair" : "unfair", "20"}), "busy");
    EXPECT_TRUE(lock.unlock(why)) << why.message();
    EXPECT_TRUE(idle.try_lock());
    EXPECT_TRUE(idle.unlock());
  }
  EXPECT_TRUE(fs::is_empty(mounts[place_])) << contents_of(mounts[place_]).front();
}

TEST_F(FileLockPermissions, AnObjectDestroyedWhileTheFileSystemIsReadOnlyKeepsTheLockUntilItsProcessEnds) {
  const auto tmpfs = "tmpfs=" + place_.string() + ":size=1m,mode=777";
  SKIP_WHERE_FORBIDDEN({"mounts", tmpfs});
  const Mounts mounts{{tmpfs}};
  auto owner = start(mounts.steps(), "hold_and_destroy", {resource_, "fair"});
  mounts.change("read_only=" + place_.string());
  owner.release();
  ASSERT_TRUE(wait_for_output(owner, "destroyed\n")) << owner.report();
  mounts.change("writable=" + place_.string());
  EXPECT_EQ(output_of(mounts.steps(), "try_once", {resource_, "fair", "200"}), "busy");
  FileLock lock{mounts[resource_]};
  std::jthread killing{[&] {
    EXPECT_TRUE(wait_for_queue(mounts[resource_], 1));
    owner.kill();
  }};
  EXPECT_TRUE(lock.try_lock_for(10s));
  EXPECT_EQ(lock.previous_owner(), identity_of(owner));
}

TEST_F(FileLockPermissions, AWaiterIsToldThatTheFileSystemHasBecomeReadOnly) {
  const auto tmpfs = "tmpfs=" + place_.string() + ":size=1m,mode=777";
  SKIP_WHERE_FORBIDDEN({"mounts", tmpfs});
  const Mounts mounts{{tmpfs}};
  auto owner = start(mounts.steps(), "hold", {resource_, "fair"});
  auto first = start(mounts.steps(), "wait_then_hold", {resource_, "fair"});
  ASSERT_TRUE(wait_for_queue(mounts[resource_], 1));
  auto second = start(mounts.steps(), "wait_then_hold", {resource_, "fair"});
  ASSERT_TRUE(wait_for_queue(mounts[resource_], 2));
  ASSERT_TRUE(wait_until([&] { return waits_for_lock(first) && waits_for_lock(second); }));
  mounts.change("read_only=" + place_.string());
  first.kill();  // its ticket cannot be removed
  EXPECT_TRUE(wait_for_output(second, error_line(std::errc::read_only_file_system))) << second.report();
  mounts.change("writable=" + place_.string());
  finish(owner);
}

// ---- modes ---------------------------------------------------------------------------------------------------------

namespace {
struct Modes {
  const char* sharing;
  unsigned directory, channel;
};
void PrintTo(const Modes& modes, std::ostream* out) { *out << modes.sharing; }
class FileLockModes : public FileLockPermissions, public testing::WithParamInterface<Modes> {};
INSTANTIATE_TEST_SUITE_P(, FileLockModes,
                         testing::Values(Modes{"user", 0700, 0600}, Modes{"group", 0770, 0660},
                                         Modes{"everyone", 0777, 0666}),
                         [](const testing::TestParamInfo<Modes>& modes) { return std::string{modes.param.sharing}; });
}  // namespace

TEST_P(FileLockModes, AreThoseOfTheSharingOptionWhateverTheUmask) {
  for (const char* umask : {"umask=0", "umask=022", "umask=077", "umask=0777"}) {
    for (const char* user : {"user=0:0", anna}) {
      SCOPED_TRACE(std::string{umask} + " " + user);
      const std::string options = std::string{"fair,"} + GetParam().sharing;
      auto idle = start({umask, user}, "idle", {resource_, options});
      EXPECT_EQ(idle.output(), "locked\nunlocked\n");
      const auto home = only(place_, ".private");
      EXPECT_EQ(mode_of(home), GetParam().directory);
      EXPECT_EQ(mode_of(only(home, "o.")), GetParam().channel);
      EXPECT_EQ(mode_of(only(place_, ".ticket")), GetParam().channel);

      auto owner = start({umask, user}, "hold", {resource_, options});
      EXPECT_EQ(mode_of(place_ / "x.lock"), GetParam().directory);
      EXPECT_EQ(mode_of(only(place_ / "x.lock", "o.")), GetParam().channel);
      auto waiter = start({umask, user}, "wait_then_hold", {resource_, options});
      ASSERT_TRUE(wait_for_queue(resource_, 1)) << waiter.report();
      EXPECT_EQ(mode_of(place_ / ".x.lock.queue"), GetParam().directory);
      EXPECT_EQ(mode_of(only(place_ / ".x.lock.queue", "t.")), GetParam().channel);
      owner.kill();
      ASSERT_TRUE(wait_for_output(waiter, "\nlocked after ")) << waiter.report();
      EXPECT_EQ(mode_of(place_ / "x.lock"), GetParam().directory);
      EXPECT_EQ(mode_of(only(place_ / "x.lock", "o.")), GetParam().channel);
      finish(waiter);
      finish(idle);
      EXPECT_TRUE(fs::is_empty(place_)) << contents_of(place_).front();
    }
  }
}

TEST_P(FileLockModes, KeepTheGroupOfASetgidDirectory) {
  ASSERT_EQ(::chown(place_.c_str(), 0, 60010), 0);
  fs::permissions(place_, fs::perms{02775});
  const std::string options = std::string{"fair,"} + GetParam().sharing;
  const Steps member{"umask=077", anna_in_group};
  auto owner = start(member, "hold", {resource_, options});
  auto waiter = start(member, "wait_then_hold", {resource_, options});
  ASSERT_TRUE(wait_for_queue(resource_, 1)) << waiter.report();
  for (const auto& directory : {place_ / "x.lock", place_ / ".x.lock.queue", only(place_, ".private")}) {
    EXPECT_EQ(mode_of(directory), 02000U | GetParam().directory) << directory;
    EXPECT_EQ(group_of(directory), 60010U) << directory;
  }
  for (const auto& channel : {only(place_ / "x.lock", "o."), only(place_ / ".x.lock.queue", "t.")}) {
    EXPECT_EQ(mode_of(channel), GetParam().channel) << channel;
    EXPECT_EQ(group_of(channel), 60010U) << channel;
  }
  finish(owner);
  ASSERT_TRUE(wait_for_output(waiter, "\nlocked\n")) << waiter.report();
  finish(waiter);
}

// ---- two users -----------------------------------------------------------------------------------------------------

namespace {
struct Pair {
  std::string name, options;
  Steps first, second;
};
void PrintTo(const Pair& pair, std::ostream* out) { *out << pair.name; }
const std::vector<Pair> pairs{
    {"everyone_unfair", "unfair,everyone", {"umask=077", anna}, {"umask=077", bert}},
    {"everyone", "fair,everyone", {"umask=077", anna}, {"umask=077", bert}},
    {"everyone_with_root", "fair,everyone", {"umask=077", anna}, {"umask=077", "user=0:0"}},
    {"root_with_everyone", "fair,everyone", {"umask=077", "user=0:0"}, {"umask=077", anna}},
    {"group", "fair,group", {"umask=077", anna_in_group}, {"umask=077", bert_in_group}},
};
class FileLockTwoUsers : public FileLockPermissions, public testing::WithParamInterface<Pair> {
 protected:
  [[nodiscard]] const std::string& options() const { return GetParam().options; }
};
class FileLockQueueOfTwoUsers : public FileLockTwoUsers {};

const auto name_of = [](const testing::TestParamInfo<Pair>& pair) { return pair.param.name; };
INSTANTIATE_TEST_SUITE_P(, FileLockTwoUsers, testing::ValuesIn(pairs), name_of);
INSTANTIATE_TEST_SUITE_P(, FileLockQueueOfTwoUsers, testing::ValuesIn(pairs.begin() + 1, pairs.end()), name_of);
}  // namespace

TEST_P(FileLockTwoUsers, ExcludeEachOtherAndHandOver) {
  auto owner = start(GetParam().first, "hold", {resource_, options()});
  EXPECT_EQ(attempt(GetParam().second, resource_, options(), "try"), "busy");
  EXPECT_EQ(attempt(GetParam().second, resource_, options(), "20"), "busy");
  auto waiter = start(GetParam().second, "wait_then_hold", {resource_, options()});
  ASSERT_TRUE(wait_until([&] { return waits_for_lock(waiter); })) << waiter.report();
  EXPECT_EQ(waiter.output().find("locked"), std::string::npos) << waiter.report();
  finish(owner);
  EXPECT_TRUE(wait_for_output(waiter, "\nlocked\n")) << waiter.report();
  EXPECT_EQ(attempt(GetParam().first, resource_, options(), "try"), "busy");
  finish(waiter);
  EXPECT_TRUE(fs::is_empty(place_)) << contents_of(place_).front();
}

TEST_P(FileLockTwoUsers, RecoverFromEachOthersDeath) {
  for (const bool swapped : {false, true}) {
    const auto& first = swapped ? GetParam().second : GetParam().first;
    const auto& second = swapped ? GetParam().first : GetParam().second;
    auto owner = start(first, "hold", {resource_, options()});
    auto waiter = start(second, "wait_then_hold", {resource_, options()});
    ASSERT_TRUE(wait_until([&] { return waits_for_lock(waiter); })) << waiter.report();
    owner.kill();
    EXPECT_TRUE(wait_for_output(waiter, "\nlocked after " + identity_of(owner).encode() + "\n")) << waiter.report();
    finish(waiter);
    EXPECT_EQ(attempt(first, resource_, options(), "try"), "locked\nunlocked");

    auto second_owner = start(first, "hold", {resource_, options()});
    second_owner.kill();
    EXPECT_TRUE(attempt(second, resource_, options(), "try").starts_with("locked after "));
    EXPECT_EQ(attempt(first, resource_, options(), "lock"), "locked\nunlocked");
    EXPECT_TRUE(fs::is_empty(place_)) << contents_of(place_).front();
  }
}

TEST_P(FileLockQueueOfTwoUsers, IsInOrder) {
  auto owner = start(GetParam().first, "hold", {resource_, options()});
  std::vector<WorkerProcess> waiters;
  for (std::size_t i = 0; i < 4; ++i) {
    waiters.push_back(
        start(i % 2 == 0 ? GetParam().second : GetParam().first, "wait_then_hold", {resource_, options()}));
    ASSERT_TRUE(wait_for_queue(resource_, i + 1)) << waiters.back().report();
  }
  waiters[1].kill();  // another user's place is in the way then
  finish(owner);
  for (const std::size_t i : {std::size_t{0}, std::size_t{2}, std::size_t{3}}) {
    EXPECT_TRUE(wait_for_output(waiters[i], "\nlocked\n")) << waiters[i].report();
    if (i == 2) {
      EXPECT_EQ(waiters[3].output().find("locked"), std::string::npos);
    }
    finish(waiters[i]);
  }
  EXPECT_EQ(attempt(GetParam().second, resource_, options(), "try"), "locked\nunlocked");
  EXPECT_TRUE(fs::is_empty(place_)) << contents_of(place_).front();
}

TEST_F(FileLockPermissions, ALockThatIsNotSharedIsAnErrorAtOnceThatNamesItsUser) {
  const std::vector<std::string> words{resource_.string() + ".lock", "belongs to user id 60001", "does not share it",
                                       "Sharing::group or Sharing::everyone"};
  {
    auto owner = start({anna}, "hold", {resource_, "fair"});
    expect_refused_to({bert}, resource_, "fair", std::errc::permission_denied, words);
    expect_refused_to({bert}, resource_, "unfair", std::errc::permission_denied, words);
    expect_refused_to({bert}, resource_, "fair,everyone", std::errc::permission_denied, words);
    const auto shown = output_of({bert}, "show_holder", {resource_});
    EXPECT_TRUE(shown.starts_with("held for ")) << shown;
    auto waiter = start({anna}, "wait_then_hold", {resource_, "fair"});
    ASSERT_TRUE(wait_for_queue(resource_, 1));
    expect_refused_to({bert}, resource_, "fair", std::errc::permission_denied, words);
    finish(owner);
    ASSERT_TRUE(wait_for_output(waiter, "\nlocked\n")) << "nobody disturbed it: " << waiter.report();
    waiter.kill();
  }
  // Its owner is dead, but it is not for others to say so.
  expect_refused_to({bert}, resource_, "fair", std::errc::permission_denied, words);
  EXPECT_TRUE(attempt({anna}, resource_, "fair", "try").starts_with("locked after "));
  EXPECT_EQ(attempt({bert}, resource_, "fair", "try"), "locked\nunlocked");
  EXPECT_TRUE(fs::is_empty(place_)) << contents_of(place_).front();
}

// ---- a directory in which one may remove one's own entries only ------------------------------------------------------

TEST_F(FileLockPermissions, InAStickyDirectoryAnInheritedLockIsReleasedInPlace) {
  fs::permissions(place_, fs::perms{01777});
  for (const std::string options : {"fair,everyone", "unfair,everyone"}) {
    SCOPED_TRACE(options);
    auto owner = start({anna}, "hold", {resource_, options});
    owner.kill();
    EXPECT_TRUE(attempt({bert}, resource_, options, "try").starts_with("locked after "));
    ASSERT_TRUE(fs::exists(place_ / "x.lock")) << "bert may not move anna's directory";
    EXPECT_EQ(user_of(place_ / "x.lock"), 60001U);
    EXPECT_EQ(output_of({bert}, "show_holder", {resource_}), "free");
    for (const Steps& again : {Steps{bert}, Steps{"user=60003:60003"}, Steps{bert}})
      EXPECT_EQ(attempt(again, resource_, options, "lock"), "locked\nunlocked") << "no news: it was released";
    {
      auto held = start({bert}, "hold", {resource_, options});
      EXPECT_EQ(attempt({anna}, resource_, options, "try"), "busy");
      auto waiter = start({"user=60003:60003"}, "wait_then_hold", {resource_, options});
      ASSERT_TRUE(wait_until([&] { return waits_for_lock(waiter); })) << waiter.report();
      finish(held);
      EXPECT_TRUE(wait_for_output(waiter, "\nlocked\n")) << waiter.report();
      finish(waiter);
    }
    ASSERT_TRUE(fs::exists(place_ / "x.lock"));
    EXPECT_EQ(attempt({anna}, resource_, options, "try"), "locked\nunlocked");
    EXPECT_FALSE(fs::exists(place_ / "x.lock")) << "anna may";
  }
}

TEST_F(FileLockPermissions, InAStickyDirectoryTwoUsersWaitForEachOther) {
  fs::permissions(place_, fs::perms{01777});
  auto owner = start({anna}, "hold", {resource_, "fair,everyone"});
  auto waiter = start({bert}, "wait_then_hold", {resource_, "fair,everyone"});
  ASSERT_TRUE(wait_for_queue(resource_, 1)) << waiter.report();
  auto second = start({anna}, "wait_then_hold", {resource_, "fair,everyone"});
  ASSERT_TRUE(wait_for_queue(resource_, 2)) << second.report();
  finish(owner);
  EXPECT_TRUE(wait_for_output(waiter, "\nlocked\n")) << waiter.report();
  waiter.kill();
  EXPECT_TRUE(wait_for_output(second, "\nlocked after " + identity_of(waiter).encode() + "\n")) << second.report();
  finish(second);
  EXPECT_EQ(attempt({bert}, resource_, "fair,everyone", "lock"), "locked\nunlocked");
  EXPECT_EQ(attempt({anna}, resource_, "fair,everyone", "lock"), "locked\nunlocked");
}
