// Owners from another boot, as they are left by a crash of the machine, or seen on a file system that several machines
// share. There nothing can be proved: they are never reclaimed, and the error says what an operator can do.
#include <sys/stat.h>
#include <unistd.h>

#include "file_lock_failures.hpp"

using namespace hostile;

namespace {
/// An identity like one's own, except for one field (0: boot, 3: pid ... 7: host).
std::string own_identity_with(std::initializer_list<std::pair<std::size_t, std::string>> changes) {
  std::istringstream text{ProcessIdentity::self().encode()};
  std::vector<std::string> fields;
  for (std::string field; fields.size() < 7 && std::getline(text, field, '.');) fields.push_back(field);
  std::string host;
  std::getline(text, host);
  fields.push_back(host);
  for (const auto& [index, value] : changes) fields.at(index) = value;
  std::string result = fields.front();
  for (std::size_t i = 1; i < fields.size(); ++i) result += "." + fields[i];
  EXPECT_TRUE(ProcessIdentity::try_decode(result)) << result;
  return result;
}
const std::string other_boot = "0123456789abcdef0123456789abcdef";

void make_channel(const fs::path& path) { ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0) << path; }
void make_lock(const fs::path& resource, const std::string& identity) {
  fs::create_directory(resource.string() + ".lock");
  make_channel(resource.string() + ".lock/o.0123456789abcdef." + identity);
}
void make_leftovers(const fs::path& resource, const std::string& identity) {
  const auto prefix = "." + resource.filename().string() + ".lock.";
  const auto home = resource.parent_path() / (prefix + "00000000000000aa." + identity + ".private");
  fs::create_directory(home);
  make_channel(home / ("o.00000000000000ab." + identity));
  make_channel(resource.parent_path() / (prefix + "00000000000000ac." + identity + ".ticket"));
}
void make_place_in_queue(const fs::path& resource, const std::string& identity) {
  const auto queue = resource.parent_path() / ("." + resource.filename().string() + ".lock.queue");
  fs::create_directory(queue);
  make_channel(queue / std::string{"t.7.00000000000000ad."}.append(identity));
}

/// Somebody on another machine, with the same pid and start time as this process.
const std::string& somebody_else() {
  static const std::string identity = own_identity_with({{0, other_boot}, {6, "daq_writer"}, {7, "node7"}});
  return identity;
}

class FileLockOfOneKernel : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam().empty()) return;  // whatever temporary files are on
    const auto step = GetParam() + "=" + dir_.path().string() + ":size=1m";
    SKIP_WHERE_FORBIDDEN({"mounts", step});
    mounts_.emplace(Steps{step});
  }
  [[nodiscard]] fs::path resource() const { return mounts_ ? (*mounts_)[dir_ / "x"] : dir_ / "x"; }

  TempDir dir_;
  std::optional<Mounts> mounts_;
};
INSTANTIATE_TEST_SUITE_P(, FileLockOfOneKernel, testing::Values("", "tmpfs"),
                         [](const testing::TestParamInfo<std::string>& type) {
                           return type.param.empty() ? "where_temporary_files_are" : type.param;
                         });
}  // namespace

TEST_P(FileLockOfOneKernel, AnOwnerFromBeforeTheRestartIsReplacedWithTheNews) {
  for (const bool fair : {true, false}) {
    make_lock(resource(), somebody_else());
    const auto holder = FileLock::holder(resource());
    ASSERT_TRUE(holder && holder->owner);
    EXPECT_EQ(holder->liveness, Liveness::dead);
    FileLock lock{resource(), {.fair = fair}};
    ASSERT_TRUE(lock.try_lock());
    EXPECT_EQ(lock.outcome(), LockOutcome::owner_died);
    EXPECT_EQ(lock.previous_owner()->encode(), somebody_else());
    EXPECT_TRUE(lock.unlock());
    EXPECT_TRUE(lock.try_lock());
    EXPECT_EQ(lock.outcome(), LockOutcome::clean);
  }
}

TEST_P(FileLockOfOneKernel, EverythingFromBeforeTheRestartIsSwept) {
  make_lock(resource(), somebody_else());
  make_leftovers(resource(), somebody_else());
  make_place_in_queue(resource(), somebody_else());
  {
    FileLock lock{resource()};
    EXPECT_EQ(lock.lock(), LockOutcome::owner_died);
    EXPECT_TRUE(lock.unlock());
  }
  EXPECT_TRUE(contents_of(resource().parent_path()).empty()) << contents_of(resource().parent_path()).front();
}

TEST_P(FileLockOfOneKernel, AnIdentityWithNothingKnownIsReplacedIfTheKernelSaysThatItIsDead) {
  for (const auto& identity : {own_identity_with({{4, ""}}), own_identity_with({{1, ""}}), own_identity_with({{0, ""}}),
                               std::string{"...4711...."}, std::string{"...1....node7"}}) {
    SCOPED_TRACE(identity);
    make_lock(resource(), identity);
    FileLock lock{resource()};
    ASSERT_TRUE(lock.try_lock());
    EXPECT_EQ(lock.previous_owner()->encode(), identity);
  }
}

TEST_P(FileLockOfOneKernel, ALiveOwnerThatHasClosedItsChannelIsNotReplaced) {
  auto living = start({}, "keep");  // it runs, and has nothing open here
  const auto identity = ProcessIdentity::of(living.pid());
  for (const bool fair : {true, false}) {
    make_lock(resource(), identity.encode());
    FileLock lock{resource(), {.fair = fair}};
    EXPECT_FALSE(lock.try_lock());
    EXPECT_FALSE(lock.try_lock_for(20ms));
    EXPECT_EQ(lock.holder()->liveness, Liveness::alive);
    fs::remove_all(resource().string() + ".lock");
  }
  make_lock(resource(), identity.encode());
  auto waiter = start({}, "wait_then_hold", {resource(), "fair"});
  ASSERT_TRUE(wait_for_queue(resource(), 1));
  auto cpu = start({}, "wait_for_a_second", {resource(), "unfair"});
  const auto cost = cost_of(cpu);
  EXPECT_LE(cost.sleeps, 60) << "ten to twenty looks";
  EXPECT_LT(cost.microseconds, spinning);
  living.kill();
  EXPECT_TRUE(wait_for_output(waiter, "\nlocked after " + identity.encode() + "\n")) << waiter.report();
  finish(waiter);
}

// ---- a file system that several kernels may have mounted -------------------------------------------------------------

namespace {
class FileLockOfSeveralKernels : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    const auto step = "hugetlbfs=" + dir_.path().string();  // holdfast knows nothing of it, as of a network file system
    SKIP_WHERE_FORBIDDEN({"mounts", step});
    mounts_.emplace(Steps{step});
    place_ = (*mounts_)[dir_.path()];
    resource_ = place_ / "x";
  }
  [[nodiscard]] static FileLockOptions options() { return {.fair = GetParam()}; }
  [[nodiscard]] static const char* words() { return GetParam() ? "fair" : "unfair"; }

  TempDir dir_;
  std::optional<Mounts> mounts_;
  fs::path place_, resource_;
};
INSTANTIATE_TEST_SUITE_P(, FileLockOfSeveralKernels, testing::Bool(),
                         [](const testing::TestParamInfo<bool>& fair) { return fair.param ? "fair" : "unfair"; });

class FileLockQueueOfSeveralKernels : public FileLockOfSeveralKernels {};
INSTANTIATE_TEST_SUITE_P(, FileLockQueueOfSeveralKernels, testing::Values(true));
}  // namespace

TEST_P(FileLockOfSeveralKernels, AnOwnerOnAnotherMachineIsNeverReplacedAndTheErrorNamesIt) {
  make_lock(resource_, somebody_else());
  const auto before = contents_of(place_);
  FileLock lock{resource_, options()};
  EXPECT_FALSE(lock.try_lock());
  EXPECT_FALSE(lock.try_lock_for(30ms));
  std::stop_source stop;
  std::jthread stopping{[&] {
    EXPECT_TRUE(wait_until([&] { return !GetParam() || !FileLock::holder(resource_)->queue.empty(); }));
    stop.request_stop();
  }};
  EXPECT_FALSE(lock.try_lock_until(stop.get_token())) << "it waits, and ends when it is told to";
  for (int i = 0; i < 2; ++i) {
    expect_refused([&] { lock.lock(); }, errc::other_host,
                   {resource_.string() + ".lock", "on node7", "daq_writer", "under another kernel",
                    "if that host or process is gone for good, remove the directory"});
    EXPECT_FALSE(lock.owns_lock());
  }
  try {
    lock.lock();
  } catch (const Error& error) {
    ASSERT_NE(error.holder(), nullptr);
    EXPECT_EQ(error.holder()->encode(), somebody_else());
  }
  const auto holder = lock.holder();
  ASSERT_TRUE(holder && holder->owner);
  EXPECT_EQ(holder->owner->encode(), somebody_else());
  EXPECT_EQ(holder->liveness, Liveness::unknown);
  EXPECT_NE(to_string(*holder).find("which may be alive or dead"), std::string::npos) << to_string(*holder);

  fs::remove_all(resource_.string() + ".lock");  // what an operator can do
  EXPECT_TRUE(lock.try_lock());
  EXPECT_EQ(lock.outcome(), LockOutcome::clean);
  EXPECT_TRUE(lock.unlock());
}

TEST_P(FileLockOfSeveralKernels, WhatSomebodyOnAnotherMachineHasMadeIsLeftAlone) {
  make_leftovers(resource_, somebody_else());
  const auto before = contents_of(place_);
  {
    FileLock lock{resource_, options()};
    EXPECT_TRUE(lock.try_lock());
    EXPECT_TRUE(lock.unlock());
  }
  EXPECT_EQ(contents_of(place_), before);
}

TEST_P(FileLockQueueOfSeveralKernels, SomebodyOnAnotherMachineWhoWaitsIsNotPassed) {
  make_place_in_queue(resource_, somebody_else());
  const auto before = contents_of(place_);
  FileLock lock{resource_};
  EXPECT_FALSE(lock.try_lock());
  EXPECT_FALSE(lock.try_lock_for(30ms));
  expect_refused([&] { lock.lock(); }, errc::other_host, {"on node7"});
  EXPECT_EQ(lock.holder(), std::nullopt);
  fs::remove_all(place_ / ".x.lock.queue");
  EXPECT_TRUE(lock.try_lock());
}

TEST_P(FileLockOfSeveralKernels, ProcessesOfThisKernelAreJudgedAsUsual) {
  auto owner = start(mounts_->steps(), "hold", {dir_ / "x", words()});
  FileLock lock{resource_, options()};
  EXPECT_FALSE(lock.try_lock());
  EXPECT_FALSE(lock.try_lock_for(20ms));
  const auto dead = identity_of(owner);
  kill_innermost(owner);
  EXPECT_TRUE(lock.try_lock_for(10s));
  EXPECT_EQ(lock.previous_owner(), dead);
  EXPECT_TRUE(lock.unlock());
}

// It may use another mount of the same server, where neither its channel nor its kernel lock is seen from here.
TEST_P(FileLockOfSeveralKernels, ProcessesOfAnotherPidNamespaceAreNeverReclaimed) {
  SKIP_WHERE_FORBIDDEN({"pid"});
  auto owner = start(mounts_->steps() + Steps{"pid"}, "hold", {dir_ / "x", words()});
  FileLock lock{resource_, options()};
  EXPECT_FALSE(lock.try_lock());
  EXPECT_FALSE(lock.try_lock_for(20ms));
  kill_innermost(owner);
  EXPECT_FALSE(lock.try_lock());
  EXPECT_FALSE(lock.try_lock_for(20ms));
  try {
    lock.lock();
    FAIL() << "it cannot know that the owner is dead";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), errc::other_host) << error.what();
    EXPECT_NE(std::string_view{error.what()}.find("PID namespace"), std::string_view::npos) << error.what();
  }
  fs::remove_all(resource_.string() + ".lock");  // as the error says
  EXPECT_TRUE(lock.try_lock());
  EXPECT_TRUE(lock.unlock());
}

TEST_P(FileLockOfSeveralKernels, WithoutAnIdentityOfItsOwnAProcessReclaimsNothing) {
  SKIP_WHERE_FORBIDDEN({"mounts", "no_proc"});
  auto owner = start(mounts_->steps(), "hold", {dir_ / "x", words()});
  owner.kill();
  const Steps blind = mounts_->steps() + Steps{"mounts", "no_proc"};  // it does not know which boot this is
  EXPECT_EQ(output_of(blind, "try_once", {dir_ / "x", words(), "try"}), "busy");
  EXPECT_EQ(output_of(blind, "try_once", {dir_ / "x", words(), "20"}), "busy");
  EXPECT_TRUE(output_of(blind, "try_once", {dir_ / "x", words(), "lock"}).starts_with(error_line(errc::other_host)));
  FileLock lock{resource_, options()};
  EXPECT_TRUE(lock.try_lock());
}
