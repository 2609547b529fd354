// No space, no /dev/shm, no permission there, no place for another user, no descriptors: what runs out is named, with a
// remedy, nothing is left behind, and once there is room again everything works.
#include <sys/statvfs.h>

#include "segments.hpp"

using namespace segments;

namespace {
class SegmentExhaustion : public Segments {};

constexpr std::size_t mebibyte = std::size_t{1} << 20U;

std::uint64_t free_bytes(const fs::path& place) {
  struct statvfs found {};
  EXPECT_EQ(::statvfs(place.c_str(), &found), 0);
  return static_cast<std::uint64_t>(found.f_bfree) * found.f_frsize;
}
}  // namespace

TEST_F(SegmentExhaustion, AFullFolderIsAnErrorThatNamesSizeFreeSpaceAndRemedy) {
  SKIP_WHERE_FORBIDDEN({"mounts", "tmpfs=/dev/shm:size=1m"});
  const Mounts mounts{{"tmpfs=/dev/shm:size=1m"}};
  const auto place = mounts[folder];
  const auto empty = free_bytes(place);
  ASSERT_EQ(empty, mebibyte);
  const auto expect_full = [&](const char* how, std::size_t size, const std::vector<std::string>& words) {
    expect_error_line(attempt(mounts.steps(), {how, name_, size}), std::errc::no_space_on_device, words);
    EXPECT_FALSE(fs::exists(place / ("holdfast." + name_)));
  };
  for (const char* how : {"create", "create_or_attach"}) {
    SCOPED_TRACE(how);
    expect_full(how, 4 * mebibyte,
                {path().string(), std::to_string(4 * mebibyte + 36864) + " bytes are needed",
                 std::to_string(mebibyte) + " are free", "--shm-size"});
    expect_full(how, 4 * mebibyte + 1, {path().string(), std::to_string(mebibyte) + " are free"});
    expect_full(how, 1 * mebibyte, {});
    expect_full(how, std::size_t{1} << 40U, {std::to_string((std::size_t{1} << 40U) + 36864)});
    EXPECT_EQ(free_bytes(place), empty);
    EXPECT_TRUE(fs::is_empty(place));
  }
  {
    auto user = start(mounts.steps(), "use", {"create", name_, mebibyte / 2});
    const auto left = free_bytes(place);
    expect_error_line(attempt(mounts.steps(), {"create", second_, mebibyte / 2}), std::errc::no_space_on_device);
    EXPECT_EQ(free_bytes(place), left) << "also half of it must not be left";
    EXPECT_EQ(attempt(mounts.steps(), {"attach", name_}), "has 524288 bytes, 0 of them not zero");
    finish(user);
  }
  EXPECT_EQ(attempt(mounts.steps(), {"create", second_, mebibyte / 2}), "has 524288 bytes, 0 of them not zero");
  EXPECT_EQ(free_bytes(place), empty);
  EXPECT_TRUE(fs::is_empty(place));
}

TEST_F(SegmentExhaustion, NoInodesIsAnErrorThatSaysSo) {
  SKIP_WHERE_FORBIDDEN({"mounts", "tmpfs=/dev/shm:nr_inodes=2"});
  const Mounts mounts{{"tmpfs=/dev/shm:nr_inodes=2"}};  // one for the directory
  auto user = start(mounts.steps(), "use", {"create", name_, 4096});
  for (const char* how : {"create", "create_or_attach"})
    expect_error_line(attempt(mounts.steps(), {how, second_, 4096}), std::errc::no_space_on_device,
                      {path_of(second_).string()});
  finish(user);
  EXPECT_EQ(attempt(mounts.steps(), {"create", second_, 4096}), "has 4096 bytes, 0 of them not zero");
}

TEST_F(SegmentExhaustion, AMissingFolderIsAnErrorThatSaysSo) {
  SKIP_WHERE_FORBIDDEN({"mounts", "tmpfs=/dev:size=1m"});
  const Steps without{"mounts", "tmpfs=/dev:size=1m"};
  for (const char* how : {"create", "create_or_attach"})
    expect_error_line(attempt(without, {how, name_, 4096}), std::errc::no_such_file_or_directory,
                      {path().string(), "/dev/shm", "tmpfs"});
  expect_error_line(attempt(without, {"attach", name_, 0, "", 0}), std::errc::no_such_file_or_directory,
                    {path().string(), "/dev/shm"});
  EXPECT_EQ(attempt(without, {"list", name_}), "not listed");
  const auto removal = attempt(without, {"remove", name_});
  EXPECT_TRUE(removal == "nothing to remove" || removal.starts_with(error_line(std::errc::no_such_file_or_directory)))
      << removal;
}

TEST_F(SegmentExhaustion, AFolderThatIsNotForThisUserIsAnErrorThatSaysSo) {
  const Steps others{"mounts", "tmpfs=/dev/shm:mode=755", "user=60001:60001"};
  SKIP_WHERE_FORBIDDEN({others[0], others[1], others[2]});
  for (const char* how : {"create", "create_or_attach"})
    expect_error_line(attempt(others, {how, name_, 4096}), std::errc::permission_denied, {path().string(), "/dev/shm"});
  EXPECT_EQ(attempt(others, {"list", name_}), "not listed");
}

TEST_F(SegmentExhaustion, AReadOnlyFolderIsAnErrorThatSaysSo) {
  const Steps read_only{"mounts", "tmpfs=/dev/shm:size=1m", "read_only=/dev/shm"};
  SKIP_WHERE_FORBIDDEN({read_only[0], read_only[1], read_only[2]});
  for (const char* how : {"create", "create_or_attach"})
    expect_error_line(attempt(read_only, {how, name_, 4096}), std::errc::read_only_file_system,
                      {path().string(), "/dev/shm"});
  EXPECT_EQ(attempt(read_only, {"list", name_}), "not listed");
}

TEST_F(SegmentExhaustion, WhoComesWhenAllPlacesAreTakenIsToldSo) {
  auto memory = SharedMemory::create(name_, 4096);
  std::vector<WorkerProcess> users;
  for (int i = 0; i < 127; ++i)
    users.push_back(SpawnWorkerWithReadySignal(SHARED_MEMORY_WORKER, "use", {"attach", name_}));
  for (auto& user : users) ASSERT_EQ(user.wait_for_ready(), Ready::yes) << user.report();
  EXPECT_EQ(listed()->users.size(), 128U);
  for (const char* how : {"attach", "create_or_attach"})
    expect_error_line(attempt({}, {how, name_, 4096, "", 0}), errc::too_many_participants, {path().string(), "128"});
  EXPECT_EQ(attempt({}, {"attach_read_only", name_}), "has 4096 bytes, 0 of them not zero")
      << "who only reads needs no place";
  EXPECT_EQ(listed()->users.size(), 128U);

  users[5].kill();
  auto next = start("use", {"attach", name_});
  EXPECT_NE(next.output().find("has 4096 bytes"), std::string::npos)
      << "a killed user's place is free: " << next.report();
  expect_error_line(attempt({}, {"attach", name_, 4096, "", 0}), errc::too_many_participants);
  finish(users[6]);
  EXPECT_EQ(attempt({}, {"attach", name_}), "has 4096 bytes, 0 of them not zero");
  for (auto& user : users) user.kill();
  finish(next);
  EXPECT_EQ(listed()->users, std::vector{ProcessIdentity::self()});
}

TEST_F(SegmentExhaustion, DescriptorsThatRunOutAreAnErrorAtEveryPoint) { run("run_out_of_descriptors", {name_}); }
