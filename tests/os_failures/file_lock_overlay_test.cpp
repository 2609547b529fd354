// Overlay file systems, as containers have them: a lock that stands in a lower layer cannot be moved away there (EXDEV).
#include <sys/stat.h>
#include <unistd.h>

#include "file_lock_failures.hpp"

using namespace hostile;

namespace {
class FileLockOverlay : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const auto tmpfs = "tmpfs=" + dir_.path().string() + ":size=4m";
    SKIP_WHERE_FORBIDDEN({"mounts", tmpfs});
    mounts_.emplace(Steps{tmpfs});
    const auto base = (*mounts_)[dir_.path()];
    for (const char* name : {"lower/place", "upper", "work", "merged"}) fs::create_directories(base / name);
    // A container's image in which somebody died while he held the lock.
    auto owner = start(mounts_->steps(), "hold", {dir_ / "lower/place/x", "fair"});
    dead_ = identity_of(owner).encode();
    owner.kill();
    for (const auto& entry : fs::directory_iterator{base / "lower/place"})
      if (entry.path().filename() != "x.lock") fs::remove_all(entry.path());
    const auto path = [&](const char* name) { return (dir_ / name).string(); };
    overlay_ = "overlay=" + path("merged") + ":lowerdir=" + path("lower") + ",upperdir=" + path("upper") +
               ",workdir=" + path("work") + GetParam();
    if (const auto why = why_not(mounts_->steps() + Steps{overlay_}); !why.empty())
      GTEST_SKIP() << "NOT TESTED: " << why;
    place_ = base / "merged/place";
  }
  [[nodiscard]] fs::path resource() const { return place_ / "x"; }
  [[nodiscard]] fs::path resource_inside() const { return dir_ / "merged/place/x"; }

  TempDir dir_;
  std::optional<Mounts> mounts_;
  std::string dead_, overlay_;
  fs::path place_;
};
INSTANTIATE_TEST_SUITE_P(, FileLockOverlay, testing::Values(",redirect_dir=off", ",redirect_dir=on"),
                         [](const testing::TestParamInfo<std::string>& options) {
                           return options.param == ",redirect_dir=on" ? "directories_can_be_moved"
                                                                      : "directories_cannot_be_moved";
                         });
}  // namespace

TEST_P(FileLockOverlay, ALockInTheLowerLayerIsRecoveredReleasedAndTakenAgain) {
  const bool stays = GetParam() == ",redirect_dir=off";
  {
    FileLock lock{resource()};
    EXPECT_EQ(lock.holder()->liveness, Liveness::dead);
    ASSERT_TRUE(lock.try_lock());
    EXPECT_EQ(lock.previous_owner()->encode(), dead_);
    EXPECT_EQ(output_of(mounts_->steps(), "try_once", {resource_inside(), "fair", "try"}), "busy");
    std::error_code why;
    EXPECT_TRUE(lock.unlock(why)) << why.message();
    EXPECT_EQ(fs::exists(place_ / "x.lock"), stays);
    EXPECT_FALSE(lock.holder()) << "it is free, wherever it stands";
    EXPECT_EQ(lock.lock(), LockOutcome::clean);
    EXPECT_TRUE(lock.unlock(why)) << why.message();
  }
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(output_of(mounts_->steps(), "try_once", {resource_inside(), "fair", "lock"}), "locked\nunlocked");
  auto owner = start(mounts_->steps(), "hold", {resource_inside(), "fair"});
  auto waiter = start(mounts_->steps(), "wait_then_hold", {resource_inside(), "fair"});
  ASSERT_TRUE(wait_for_queue(resource(), 1));
  EXPECT_EQ(waiter.output().find("\nlocked"), std::string::npos);
  finish(owner);
  EXPECT_TRUE(wait_for_output(waiter, "\nlocked\n")) << waiter.report();
  waiter.kill();
  FileLock last{resource()};
  EXPECT_TRUE(last.try_lock());
  EXPECT_EQ(last.previous_owner(), identity_of(waiter));
}

TEST_P(FileLockOverlay, ALockOfTheUpperLayerIsAnOrdinaryOne) {
  const auto other = place_ / "y", other_inside = dir_ / "merged/place/y";
  const auto before = contents_of(place_);
  {
    auto owner = start(mounts_->steps(), "hold", {other_inside, "fair"});
    FileLock lock{other};
    EXPECT_FALSE(lock.try_lock());
    owner.kill();
    EXPECT_TRUE(lock.try_lock_for(10s));
    EXPECT_EQ(lock.previous_owner(), identity_of(owner));
    EXPECT_TRUE(lock.unlock());
    EXPECT_TRUE(lock.try_lock());
    EXPECT_TRUE(lock.unlock());
  }
  EXPECT_EQ(contents_of(place_), before);
}

TEST_P(FileLockOverlay, ManyProcessesContendForALockInTheLowerLayer) {
  const auto counter = place_ / "counter";
  std::ofstream{counter} << 0;
  constexpr int processes = 4, each = 25;
  std::vector<WorkerProcess> workers;
  for (int i = 0; i < processes; ++i)
    workers.push_back(
        start(mounts_->steps(), "increment", {resource_inside(), "fair", dir_ / "merged/place/counter", each}));
  holdfast::harness::ReleaseTogether(workers);
  holdfast::harness::ExpectWorkersOk(workers);
  int value = 0;
  std::ifstream{counter} >> value;
  EXPECT_EQ(value, processes * each);
}
