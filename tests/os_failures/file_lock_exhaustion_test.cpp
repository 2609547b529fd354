// No inodes, no space, no descriptors; and what a wait costs, also among signals. Whatever runs out is named, nothing is
// held or left behind, a release works all the same, and once there is room again so does everything else.
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <map>
#include <stop_token>
#include <thread>

#include "file_lock_failures.hpp"

using namespace hostile;

namespace {
fsfilcnt_t free_inodes(const fs::path& directory) {
  struct statvfs facts {};
  EXPECT_EQ(::statvfs(directory.c_str(), &facts), 0);
  return facts.f_favail;
}

/// Files that use up all inodes but so many; removed by the destructor.
class Filling {
 public:
  Filling(fs::path directory, fsfilcnt_t leave) : directory_{std::move(directory)} {
    fs::create_directory(directory_);
    while (free_inodes(directory_) > leave) {
      const int file = ::open((directory_ / std::to_string(count_)).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
      if (file < 0) break;
      ::close(file);
      ++count_;
    }
    EXPECT_EQ(free_inodes(directory_), leave);
  }
  Filling(const Filling&) = delete;
  Filling& operator=(const Filling&) = delete;
  ~Filling() { fs::remove_all(directory_); }

 private:
  fs::path directory_;
  int count_ = 0;
};

class FileLockExhaustion : public testing::TestWithParam<bool> {
 protected:
  [[nodiscard]] static FileLockOptions options() { return {.fair = GetParam()}; }
  [[nodiscard]] static const char* words() { return GetParam() ? "fair" : "unfair"; }

  TempDir dir_;
};
INSTANTIATE_TEST_SUITE_P(, FileLockExhaustion, testing::Bool(),
                         [](const testing::TestParamInfo<bool>& fair) { return fair.param ? "fair" : "unfair"; });

class FileLockNoInodes : public FileLockExhaustion {
 protected:
  void SetUp() override {
    const std::string tmpfs = "tmpfs=" + dir_.path().string() + ":nr_inodes=40";
    SKIP_WHERE_FORBIDDEN({"mounts", tmpfs});
    mounts_.emplace(Steps{tmpfs});
    place_ = (*mounts_)[dir_.path()] / "locks";
    fs::create_directory(place_);
  }
  [[nodiscard]] fs::path resource() const { return place_ / "x"; }
  [[nodiscard]] Filling fill(fsfilcnt_t leave) const { return Filling{place_.parent_path() / "filling", leave}; }
  void expect_no_inodes(const std::function<void()>& call) const {
    expect_refused(call, std::errc::no_space_on_device,
                   {resource().string() + ".lock", "no inodes left on the file system", "remove files there"});
  }

  std::optional<Mounts> mounts_;
  fs::path place_;
};
INSTANTIATE_TEST_SUITE_P(, FileLockNoInodes, testing::Bool(),
                         [](const testing::TestParamInfo<bool>& fair) { return fair.param ? "fair" : "unfair"; });

/// True if it locked (and is unlocked again), false if the inodes ran out.
bool locks(FileLock& lock) {
  try {
    EXPECT_TRUE(lock.try_lock());
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), std::errc::no_space_on_device) << error.what();
    EXPECT_NE(std::string_view{error.what()}.find("inodes"), std::string_view::npos) << error.what();
    return false;
  }
  EXPECT_TRUE(lock.unlock());
  return true;
}
}  // namespace

// ---- inodes --------------------------------------------------------------------------------------------------------

TEST_P(FileLockNoInodes, AtTheFirstUseIsAnErrorThatSaysSoAndLeavesNothing) {
  fsfilcnt_t needed = 0;
  for (fsfilcnt_t left = 0; left <= 5; ++left) {
    SCOPED_TRACE(std::to_string(left) + " inodes left");
    FileLock lock{resource(), options()};
    bool locked = false;
    {
      const auto filling = fill(left);
      locked = locks(lock);
      if (!locked) {
        needed = left + 1;
        expect_no_inodes([&] { lock.lock(); });
        expect_no_inodes([&] { static_cast<void>(lock.try_lock_for(10s)); });
        EXPECT_TRUE(fs::is_empty(place_)) << contents_of(place_).front();
        EXPECT_EQ(free_inodes(place_), left);
      }
    }
    EXPECT_TRUE(locks(lock)) << "there is room again";
  }
  EXPECT_EQ(needed, GetParam() ? 3U : 2U) << "a private directory, a mark, and a ticket if it is fair";
  EXPECT_TRUE(fs::is_empty(place_));
}

TEST_P(FileLockNoInodes, InAWaitIsAnErrorThatSaysSoAndLeavesNoPlaceInTheQueue) {
  auto owner = start(mounts_->steps(), "hold", {dir_ / "locks/x", words()});
  FileLock lock{resource(), options()};
  ASSERT_FALSE(lock.try_lock());
  const auto before = contents_of(place_);
  for (fsfilcnt_t left = 0; left <= 3; ++left) {
    SCOPED_TRACE(std::to_string(left) + " inodes left");
    const auto filling = fill(left);
    const bool enough = !GetParam() || left >= 1;  // the queue; the ticket is there
    if (enough) {
      EXPECT_FALSE(lock.try_lock_for(1ms));
    } else {
      expect_no_inodes([&] { lock.lock(); });
      EXPECT_EQ(contents_of(place_), before);
    }
    EXPECT_TRUE(FileLock::holder(resource())->queue.empty());
  }
  finish(owner);
  EXPECT_TRUE(locks(lock));
}

TEST_P(FileLockNoInodes, DoNotKeepTheLockFromBeingHandedOver) {
  std::optional<FileLock> owner{std::in_place, resource(), options()};
  ASSERT_TRUE(owner->try_lock());
  auto waiter = start(mounts_->steps(), "wait_then_hold", {dir_ / "locks/x", words()});
  ASSERT_TRUE(wait_until([&] { return waits_for_lock(waiter); }));
  FileLock other{resource(), options()};
  std::jthread{[&] { ASSERT_FALSE(other.try_lock()); }}.join();
  const auto filling = fill(0);
  std::error_code why;
  EXPECT_TRUE(owner->unlock(why)) << why.message();
  EXPECT_TRUE(wait_for_output(waiter, "\nlocked\n")) << waiter.report();
  waiter.kill();
  EXPECT_TRUE(other.try_lock_for(10s)) << "nor from being recovered";
  EXPECT_EQ(other.outcome(), LockOutcome::owner_died);
  EXPECT_TRUE(other.unlock(why)) << why.message();
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(owner->try_lock());
    EXPECT_TRUE(owner->unlock(why)) << why.message();
    EXPECT_TRUE(other.try_lock());
    EXPECT_TRUE(other.unlock(why)) << why.message();
  }
}

TEST_P(FileLockExhaustion, AFullTmpfsIsNoObstacle) {
  const std::string tmpfs = "tmpfs=" + dir_.path().string() + ":size=64k";
  SKIP_WHERE_FORBIDDEN({"mounts", tmpfs});
  const Mounts mounts{{tmpfs}};
  const auto place = mounts[dir_.path()];
  std::ofstream{place / "data"} << std::string(1 << 20, 'x');
  ASSERT_EQ(fs::space(place).available, 0U);
  FileLock lock{place / "x", options()};
  EXPECT_TRUE(lock.try_lock());
  auto waiter = start(mounts.steps(), "wait_then_hold", {dir_ / "x", words()});
  EXPECT_TRUE(!GetParam() || wait_for_queue(place / "x", 1));
  EXPECT_TRUE(lock.unlock());
  EXPECT_TRUE(wait_for_output(waiter, "\nlocked\n"));
  finish(waiter);
}

// ---- space: a directory of ext4 has to grow for a name ---------------------------------------------------------------

namespace {
class FileLockFullDisk : public FileLockExhaustion {
 protected:
  void SetUp() override {
    const auto image = dir_ / "image";
    std::ofstream{image};
    fs::resize_file(image, 512 << 10);
    fs::create_directory(dir_ / "mount");
    const std::string ext4 = "ext4=" + image.string() + ":" + (dir_ / "mount").string();
    SKIP_WHERE_FORBIDDEN({"mounts", ext4});
    mounts_.emplace(Steps{ext4});
    place_ = (*mounts_)[dir_ / "mount"] / "locks";
    fs::create_directory(place_);
  }
  [[nodiscard]] fs::path resource() const { return place_ / "x"; }
  [[nodiscard]] fs::path resource_inside() const { return dir_ / "mount/locks/x"; }
  void fill_the_disk() const {
    const int file = ::open((place_.parent_path() / "data").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ASSERT_GE(file, 0);
    const std::string block(1024, 'x');
    while (::write(file, block.data(), block.size()) > 0) {
    }
    ASSERT_EQ(errno, ENOSPC);
    ::close(file);
  }
  /// Names that use up what room the directory itself has.
  void fill_the_directory() const {
    int n = 0;
    for (const std::size_t length : {std::size_t{200}, std::size_t{60}, std::size_t{12}, std::size_t{4}}) {
      for (;;) {
        std::string name = std::to_string(n++);
        name.insert(0, length - std::min(length, name.size()), 'x');
        const int file = ::open((place_ / name).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (file < 0) break;
        ::close(file);
      }
      ASSERT_EQ(errno, ENOSPC);
    }
  }
  void make_room() const {
    for (const auto& entry : fs::directory_iterator{place_})
      if (entry.is_regular_file()) fs::remove(entry.path());
    fs::remove(place_.parent_path() / "data");
  }
  void expect_no_space(const std::function<void()>& call) const {
    expect_refused(call, std::errc::no_space_on_device, {resource().string() + ".lock", "No space left on device"});
  }

  std::optional<Mounts> mounts_;
  fs::path place_;
};
INSTANTIATE_TEST_SUITE_P(, FileLockFullDisk, testing::Bool(),
                         [](const testing::TestParamInfo<bool>& fair) { return fair.param ? "fair" : "unfair"; });
}  // namespace

TEST_P(FileLockFullDisk, AtTheFirstUseIsAnErrorAndLeavesNothing) {
  FileLock lock{resource(), options()};
  fill_the_disk();
  for (const auto& [name, ask] : ways_to_lock()) {
    SCOPED_TRACE(name);
    expect_no_space([&] { ask(lock); });
    EXPECT_TRUE(fs::is_empty(place_));
  }
  make_room();
  EXPECT_TRUE(lock.try_lock());
}

TEST_P(FileLockFullDisk, InAWaitIsAnErrorAndLeavesNoPlaceInTheQueue) {
  auto owner = start(mounts_->steps(), "hold", {resource_inside(), words()});
  FileLock lock{resource(), options()};
  ASSERT_FALSE(lock.try_lock());
  fill_the_disk();
  const auto before = contents_of(place_);
  if (GetParam()) {
    expect_no_space([&] { lock.lock(); });
    expect_no_space([&] { static_cast<void>(lock.try_lock_for(10s)); });
  }
  EXPECT_FALSE(lock.try_lock());
  EXPECT_EQ(contents_of(place_), before);
  finish(owner);
  EXPECT_TRUE(lock.try_lock()) << "what it needs was made before";
  EXPECT_TRUE(lock.unlock());
  make_room();
}

TEST_P(FileLockFullDisk, AtTheReleaseTheLockIsFreeAllTheSame) {
  FileLock lock{resource(), options()}, other{resource(), options()};
  ASSERT_TRUE(other.try_lock());
  ASSERT_TRUE(other.unlock());
  auto waiter = start(mounts_->steps(), "wait_then_hold", {resource_inside(), words()});
  ASSERT_TRUE(wait_for_output(waiter, "\nlocked\n"));
  finish(waiter);
  ASSERT_TRUE(lock.try_lock());
  fill_the_disk();
  fill_the_directory();
  std::error_code why;
  ASSERT_TRUE(lock.unlock(why)) << why.message();
  EXPECT_FALSE(lock.owns_lock());
  ASSERT_TRUE(fs::exists(place_ / "x.lock")) << "there must have been no room to move it";
  EXPECT_FALSE(FileLock::holder(resource())) << "it is free where it stands";
  EXPECT_FALSE(other.holder());

  for (int i = 0; i < 3; ++i) {  // who is prepared goes on
    ASSERT_TRUE(other.try_lock());
    EXPECT_EQ(other.outcome(), LockOutcome::clean) << "it was released: there is no news";
    EXPECT_EQ(*other.holder()->owner, ProcessIdentity::self());
    EXPECT_TRUE(other.unlock(why)) << why.message();
    if (fs::exists(place_ / "x.lock")) break;
  }
  make_room();
  for (FileLock* next : {&lock, &other, &lock}) {
    EXPECT_TRUE(next->try_lock());
    EXPECT_EQ(next->outcome(), LockOutcome::clean);
    EXPECT_TRUE(next->unlock(why)) << why.message();
    EXPECT_FALSE(fs::exists(place_ / "x.lock")) << "with room it is moved away";
  }
}

TEST_P(FileLockFullDisk, ReleasedInPlaceWakesAWaiter) {
  FileLock lock{resource(), options()};
  ASSERT_TRUE(lock.try_lock());
  auto waiter = start(mounts_->steps(), "wait_then_hold", {resource_inside(), words()});
  ASSERT_TRUE(wait_until([&] { return waits_for_lock(waiter); }));
  fill_the_disk();
  fill_the_directory();
  ASSERT_TRUE(lock.unlock());
  ASSERT_TRUE(fs::exists(place_ / "x.lock")) << "there must have been no room to move it";
  EXPECT_TRUE(wait_for_output(waiter, "\nlocked\n")) << waiter.report();
  EXPECT_EQ(*FileLock::holder(resource())->owner, identity_of(waiter));
  make_room();
  finish(waiter);
  EXPECT_FALSE(fs::exists(place_ / "x.lock"));
}

// ---- descriptors ---------------------------------------------------------------------------------------------------

TEST_P(FileLockExhaustion, RunningOutOfDescriptorsAtAnyStageIsAClearErrorAndLeavesNothing) {
  output_of({}, "run_out_of_descriptors", {dir_.path(), words()});
  EXPECT_TRUE(fs::is_empty(dir_.path()));
}

namespace {
/// How many are open of each kind: pipes, directories that hold such a name, and so on.
std::map<std::string, int> descriptors() {
  std::map<std::string, int> result;
  for (const auto& entry : fs::directory_iterator{"/proc/self/fd"}) {
    std::error_code gone;
    const auto target = fs::read_symlink(entry.path(), gone);
    if (!gone && target.filename() != "fd") ++result[target.extension().string()];
  }
  return result;
}
std::size_t total(const std::map<std::string, int>& counts) {
  std::size_t result = 0;
  for (const auto& [kind, count] : counts) result += static_cast<std::size_t>(count);
  return result;
}
}  // namespace

TEST_P(FileLockExhaustion, NoDescriptorIsLeftOpenByAThousandCycles) {
  const auto resource = dir_ / "x";
  const auto none = descriptors();
  {
    FileLock lock{resource, options()}, other{resource, options()};
    const auto cycle = [&] {
      ASSERT_TRUE(lock.try_lock());
      std::jthread{[&] {
        EXPECT_FALSE(other.try_lock());
        EXPECT_FALSE(other.try_lock_for(1us));
        std::stop_source stop;
        EXPECT_FALSE(other.try_lock_until(stop.get_token(), 1us));
        EXPECT_TRUE(other.holder());
      }}.join();
      ASSERT_TRUE(lock.unlock());
      ASSERT_TRUE(other.try_lock());
      ASSERT_TRUE(other.unlock());
    };
    for (int i = 0; i < 3; ++i) cycle();
    const auto before = descriptors();
    for (int i = 0; i < 1000 && !HasFailure(); ++i) cycle();
    EXPECT_EQ(descriptors(), before);
    EXPECT_LE(total(before) - total(none), 8U) << "two objects";
  }
  EXPECT_EQ(descriptors(), none);
}

TEST_P(FileLockExhaustion, NoDescriptorIsLeftOpenByErrors) {
  const auto none = descriptors();
  std::ofstream{dir_ / "x.lock"} << "mine";
  dir_.allow_leftovers();
  for (int i = 0; i < 100; ++i) {
    FileLock lock{dir_ / "x", options()};
    EXPECT_THROW(lock.lock(), Error);
    EXPECT_THROW(static_cast<void>(lock.holder()), Error);
    EXPECT_THROW(FileLock{dir_ / "none/x"}, Error);
  }
  EXPECT_EQ(descriptors(), none);
}

// ---- what a wait costs ---------------------------------------------------------------------------------------------

namespace {
// One sleep, and what the file system may add while the wait begins and ends. Looking every 50 ms makes twenty at least.
constexpr long long asleep = 15;
}  // namespace

TEST_P(FileLockExhaustion, WaitingForAnOwnerIsOneSleep) {
  auto owner = start({}, "hold", {dir_ / "x", words()});
  auto waiter = start({}, "wait_for_a_second", {dir_ / "x", words()});
  const auto [sleeps, microseconds] = cost_of(waiter);
  EXPECT_GE(sleeps, 1);
  EXPECT_LE(sleeps, asleep);
  EXPECT_LT(microseconds, spinning);
  finish(owner);
}

TEST_P(FileLockExhaustion, WaitingInTheQueueIsOneSleep) {
  auto owner = start({}, "hold", {dir_ / "x", words()});
  auto first = start({}, "wait_then_hold", {dir_ / "x", words()});
  ASSERT_TRUE(wait_until([&] { return waits_for_lock(first); }));
  auto waiter = start({}, "wait_for_a_second", {dir_ / "x", words()});
  const auto [sleeps, microseconds] = cost_of(waiter);
  EXPECT_LE(sleeps, asleep);
  EXPECT_LT(microseconds, spinning);
  finish(owner);
  ASSERT_TRUE(wait_for_output(first, "\nlocked\n"));
  finish(first);
}

TEST_P(FileLockExhaustion, WaitingForAStrangerIsFewSleeps) {
  fs::create_directory(dir_ / "x.lock");
  auto waiter = start({}, "wait_for_a_second", {dir_ / "x", words()});
  const auto [sleeps, microseconds] = cost_of(waiter);
  EXPECT_LE(sleeps, asleep);
  EXPECT_LT(microseconds, spinning);
  fs::remove(dir_ / "x.lock");
}

TEST_P(FileLockExhaustion, WaitingForAStrangerWithoutInotifyIsALookEveryNowAndThen) {
  SKIP_WHERE_FORBIDDEN({"no_inotify"});
  fs::create_directory(dir_ / "x.lock");
  auto waiter = start({"no_inotify"}, "wait_for_a_second", {dir_ / "x", words()});
  const auto [sleeps, microseconds] = cost_of(waiter);
  EXPECT_GT(sleeps, asleep) << "or this test counts nothing";
  EXPECT_LE(sleeps, 60) << "some thirty looks";
  EXPECT_LT(microseconds, spinning);
  fs::remove(dir_ / "x.lock");
}

// ---- signals -------------------------------------------------------------------------------------------------------

TEST_P(FileLockExhaustion, SignalsThatKeepArrivingNeitherEndAWaitNorBreakIt) {
  for (const char* interval : {"1000", "50"}) {
    auto owner = start({}, "hold", {dir_ / "x", words()});
    auto waiter = start({std::string{"interrupted="} + interval}, "wait_among_signals", {dir_ / "x", words()});
    if (GetParam()) {
      ASSERT_TRUE(wait_for_queue(dir_ / "x", 1));
    }
    EXPECT_EQ(waiter.output(), "");
    finish(owner);
    ExpectWorkerOk(waiter);
    EXPECT_EQ(waiter.output(), "locked\n");
  }
}

TEST_P(FileLockExhaustion, ThreeContendersAmongSignalsLoseNothing) {
  const auto counter = dir_ / "counter";
  std::ofstream{counter} << 0;
  std::vector<WorkerProcess> workers;
  constexpr int processes = 3, each = 40;
  for (int i = 0; i < processes; ++i)
    workers.push_back(start({"interrupted=100"}, "increment", {dir_ / "x", words(), counter, each}));
  holdfast::harness::ReleaseTogether(workers);
  holdfast::harness::ExpectWorkersOk(workers);
  int value = 0;
  std::ifstream{counter} >> value;
  EXPECT_EQ(value, processes * each);
}
