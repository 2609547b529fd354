// SharedMemory as its users see it: create, attach, create_or_attach, remove, read-only and nameless memory, list, options and
// lifetimes. Proves that a segment is found complete (M4) and that nothing is removed under a live user (M6).
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <limits>
#include <span>
#include <utility>

#include "segments.hpp"

using namespace segments;

namespace {
class Segment : public Segments {};

std::uintptr_t address_of(const SharedMemory& memory) {
  return reinterpret_cast<std::uintptr_t>(std::as_const(memory).bytes().data());
}
bool all_zero(const SharedMemory& memory) {
  const auto bytes = memory.bytes();
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte byte) { return byte == std::byte{0}; });
}
}  // namespace

// ---- one name, the same bytes ------------------------------------------------------------------------------------------

TEST_F(Segment, HasTheSizeThatWasAskedForAndZeros) {
  for (const std::size_t size : {std::size_t{1}, std::size_t{4095}, std::size_t{4096}, std::size_t{4097},
                                 std::size_t{1} << 20U, (std::size_t{5} << 20U) + 3}) {
    SCOPED_TRACE(size);
    auto memory = SharedMemory::create(name_, size);
    EXPECT_EQ(memory.size(), size);
    EXPECT_EQ(memory.bytes().size(), size);
    EXPECT_EQ(memory.name(), name_);
    EXPECT_FALSE(memory.read_only());
    EXPECT_TRUE(all_zero(memory));
    std::memset(memory.bytes().data(), 0x5a, size);
  }
  EXPECT_FALSE(exists()) << "each is gone with its last user";
}

TEST_F(Segment, IsTheSameForAllProcesses) {
  auto creator = start("use_and_write", {42, "create", name_, 8192});
  auto memory = SharedMemory::attach(name_);
  EXPECT_EQ(memory.size(), 8192U);
  EXPECT_EQ(memory.as<std::int64_t>(), 42);
  memory.as<std::int64_t>() = 43;
  EXPECT_EQ(attempt({}, {"attach", name_}), "has 8192 bytes, 1 of them not zero");
  auto third = start("use_and_write", {44, "create_or_attach", name_, 8192});
  EXPECT_EQ(memory.as<std::int64_t>(), 44);
  finish(third);
  finish(creator);
  EXPECT_EQ(SharedMemory::attach(name_, 0s).as<std::int64_t>(), 44) << "it is in use as long as one is attached";
  memory.detach();
  EXPECT_FALSE(exists());
}

TEST_F(Segment, ThatExistsIsNotCreatedAgainAndItsHolderIsNamed) {
  auto creator = start("use", {"create", name_, 8192});
  expect_error([&] { static_cast<void>(SharedMemory::create(name_, 8192)); }, std::errc::file_exists, path().string(),
               {"process " + std::to_string(creator.pid()), "shared_memory_w"});
  EXPECT_EQ(holder_told_by([&] { static_cast<void>(SharedMemory::create(name_, 1)); }), creator.pid());
  finish(creator);
  EXPECT_NO_THROW(static_cast<void>(SharedMemory::create(name_, 8192)));
}

TEST_F(Segment, IsCreatedByCreateOrAttachAndThenAttached) {
  auto first = SharedMemory::create_or_attach(name_, 4096);
  first.as<int>() = 5;
  const auto second = SharedMemory::create_or_attach(name_, 4096);
  EXPECT_EQ(second.as<int>(), 5);
}

TEST_F(Segment, OfAnotherSizeIsNotAttachedByWhoAsksForASize) {
  const auto memory = SharedMemory::create(name_, 4096);
  for (const std::size_t size : {1U, 4095U, 4097U, 1U << 20U}) {
    expect_error([&] { static_cast<void>(SharedMemory::create_or_attach(name_, size)); }, errc::layout_mismatch,
                 path().string(), {std::to_string(size), "4096"});
  }
  EXPECT_EQ(memory.size(), 4096U);
}

TEST_F(Segment, MayBeAttachedSeveralTimesInOneProcess) {
  auto first = std::optional{SharedMemory::create(name_, 4096)};
  auto second = SharedMemory::attach(name_);
  auto third = SharedMemory::attach_read_only(name_);
  first->as<int>(64) = 9;
  EXPECT_EQ(second.as<int>(64), 9);
  EXPECT_EQ(std::as_const(third).as<int>(64), 9);
  first.reset();
  EXPECT_TRUE(exists()) << "the process still uses it";
  expect_error([&] { SharedMemory::remove(name_); }, errc::in_use, path().string(), {std::to_string(::getpid())});
  EXPECT_EQ(attempt({}, {"attach", name_}), "has 4096 bytes, 1 of them not zero");
  second.as<int>(64) = 10;
  EXPECT_EQ(std::as_const(third).as<int>(64), 10);
  second.detach();
  EXPECT_TRUE(exists());
  third.detach();
  EXPECT_FALSE(exists());
}

TEST_F(Segment, NamesMayHaveAnyCharactersOfAFileName) {
  for (const std::string& more : {std::string{" with blanks"}, std::string{".dots.lock"}, std::string{"-ümlaut"},
                                  std::string{"\nnew line"}, std::string{"%41"}, std::string{"\xff\xfe"}}) {
    SCOPED_TRACE(more);
    const auto name = name_ + more;
    const auto memory = SharedMemory::create(name, 100);
    EXPECT_EQ(memory.name(), name);
    EXPECT_TRUE(fs::exists(path_of(name)));
    EXPECT_EQ(SharedMemory::attach(name, 0s).size(), 100U);
    ASSERT_TRUE(listed(name));
    EXPECT_EQ(to_string(*listed(name)).find('\n'), std::string::npos) << "a terminal shows one line";
  }
}

// ---- waiting for the creator -------------------------------------------------------------------------------------------

TEST_F(Segment, AttacherAcquiresAfterCreator) {
  std::vector<WorkerProcess> waiters;
  waiters.push_back(start("wait_then_use", {"attach", name_}));
  waiters.push_back(start("wait_then_use", {"attach_read_only", name_}));
  for (const auto& waiter : waiters)
    ASSERT_TRUE(wait_until([&] { return state_of(waiter.pid()) == 'S'; })) << waiter.report();
  auto memory = SharedMemory::create(name_, 10000);
  for (auto& waiter : waiters) {
    EXPECT_TRUE(wait_for_output(waiter, "\nhas 10000 bytes, 0 of them not zero\n")) << waiter.report();
    finish(waiter);
  }
}

TEST_F(Segment, AttacherThatHasWaitedOutlivesItsCreator) {
  auto waiter = start("wait_then_use", {"attach", name_});
  ASSERT_TRUE(wait_until([&] { return state_of(waiter.pid()) == 'S'; })) << waiter.report();
  auto creator = start("use", {"create", name_, 10000});
  EXPECT_TRUE(wait_for_output(waiter, "\nhas 10000 bytes, 0 of them not zero\n")) << waiter.report();
  creator.kill();
  EXPECT_EQ(listed()->users, std::vector{identity_of(waiter)});
  EXPECT_EQ(attempt({}, {"attach", name_}), "has 10000 bytes, 0 of them not zero");
  finish(waiter);
  EXPECT_FALSE(exists());
}

TEST_F(Segment, AttachGivesUpAtItsDeadline) {
  for (const auto patience : {0ms, 50ms}) {
    const auto began = std::chrono::steady_clock::now();
    const std::vector<std::string> words{"nobody has created it"};
    expect_error([&] { static_cast<void>(SharedMemory::attach(name_, patience)); },
                 std::errc::no_such_file_or_directory, path().string(), words);
    const auto waited = std::chrono::steady_clock::now() - began;
    EXPECT_GE(waited, patience);
    EXPECT_LT(waited, 20s);
    expect_error([&] { static_cast<void>(SharedMemory::attach_read_only(name_, patience)); },
                 std::errc::no_such_file_or_directory, path().string(), words);
  }
  const Deadline passed = -1s;
  expect_error([&] { static_cast<void>(SharedMemory::attach(name_, passed)); }, std::errc::no_such_file_or_directory,
               path().string());
  const auto memory = SharedMemory::create(name_, 1);
  EXPECT_EQ(SharedMemory::attach(name_, passed).size(), 1U) << "what is there is attached at any time";
}

// ---- read only -------------------------------------------------------------------------------------------------------

TEST_F(Segment, AttachedReadOnlyCanBeReadOnly) {
  auto memory = SharedMemory::create(name_, 4096);
  memory.as<int>(8) = 77;
  auto reader = SharedMemory::attach_read_only(name_);
  EXPECT_TRUE(reader.read_only());
  EXPECT_EQ(reader.size(), 4096U);
  EXPECT_EQ(std::as_const(reader).as<int>(8), 77);
  expect_error([&] { static_cast<void>(reader.bytes()); }, std::errc::permission_denied, path().string(),
               {"read-only"});
  expect_error([&] { static_cast<void>(reader.as<int>(8)); }, std::errc::permission_denied, path().string());
  EXPECT_DEATH(const_cast<std::byte&>(std::as_const(reader).bytes()[8]) = std::byte{1}, "") << "the kernel sees to it";
}

TEST_F(Segment, ReadersKeepASegmentAliveWithoutBeingListed) {
  auto creator = std::optional{SharedMemory::create(name_, 4096)};
  creator->as<int>() = 3;
  auto reader = start("use", {"attach_read_only", name_});
  EXPECT_EQ(listed()->users, std::vector{ProcessIdentity::self()});
  creator.reset();
  EXPECT_EQ(state(), SegmentState::in_use);
  EXPECT_TRUE(listed()->users.empty());
  EXPECT_NE(to_string(*listed()).find("in use"), std::string::npos) << to_string(*listed());
  expect_error([&] { SharedMemory::remove(name_); }, errc::in_use, path().string());
  expect_error([&] { static_cast<void>(SharedMemory::create(name_, 4096)); }, std::errc::file_exists, path().string());
  auto second_reader = start("use", {"attach_read_only", name_});
  finish(reader);
  EXPECT_EQ(state(), SegmentState::in_use);
  EXPECT_EQ(SharedMemory::attach(name_, 0s).as<int>(), 3);
  EXPECT_EQ(state(), SegmentState::in_use) << "one reader is left";
  finish(second_reader);
  EXPECT_FALSE(exists()) << "the last reader removes it as well";
}

TEST_F(Segment, KilledReadersAreNoUsers) {
  auto creator = std::optional{SharedMemory::create(name_, 4096)};
  auto reader = start("use", {"attach_read_only", name_});
  creator.reset();
  ASSERT_EQ(state(), SegmentState::in_use);
  reader.kill();
  EXPECT_EQ(state(), SegmentState::orphaned);
  EXPECT_TRUE(SharedMemory::remove(name_));
}

// ---- as<T> -------------------------------------------------------------------------------------------------------------

TEST_F(Segment, GivesObjectsOnlyWhereTheyFit) {
  struct Sample {
    double value;
    std::uint32_t count;
  };
  auto memory = SharedMemory::create(name_, 100);
  memory.as<Sample>(16) = {1.5, 3};
  EXPECT_EQ(std::as_const(memory).as<Sample>(16).count, 3U);
  EXPECT_NO_THROW(static_cast<void>(memory.as<char>(99)));
  EXPECT_NO_THROW(static_cast<void>(memory.as<std::uint32_t>(96)));
  EXPECT_NO_THROW(static_cast<void>(memory.as<std::array<char, 100>>()));
  constexpr auto huge = std::numeric_limits<std::size_t>::max();
  const auto refused = [&](const std::function<void()>& call, std::size_t offset) {
    expect_error(call, std::errc::invalid_argument, path().string(), {std::to_string(offset), "100"});
  };
  for (const std::size_t offset : {std::size_t{100}, std::size_t{101}, std::size_t{4095}, huge, huge - 7})
    refused([&] { static_cast<void>(memory.as<char>(offset)); }, offset);
  for (const std::size_t offset : {std::size_t{97}, std::size_t{100}, huge - 3, huge})
    refused([&] { static_cast<void>(std::as_const(memory).as<std::array<char, 4>>(offset)); }, offset);
  EXPECT_THROW(static_cast<void>(memory.as<std::array<char, 101>>()), Error);
  for (const std::size_t offset : {1U, 2U, 4U, 12U})
    expect_error([&] { static_cast<void>(memory.as<double>(offset)); }, std::errc::invalid_argument, path().string(),
                 {std::to_string(offset), "multiple of 8"});
  auto reader = SharedMemory::attach_read_only(name_);
  EXPECT_THROW(static_cast<void>(std::as_const(reader).as<Sample>(96)), Error);
}

// ---- options -----------------------------------------------------------------------------------------------------------

TEST_F(Segment, HasTheModeOfItsAccessOptionWhateverTheUmask) {
  for (const char* umask : {"umask=000", "umask=022", "umask=077", "umask=777"}) {
    SCOPED_TRACE(umask);
    EXPECT_EQ(output_of({umask}, "show_mode", {"create", name_, 100, ""}), "600");
    EXPECT_EQ(output_of({umask}, "show_mode", {"create", name_, 100, "group"}), "660");
    EXPECT_EQ(output_of({umask}, "show_mode", {"create", name_, 100, "everyone"}), "666");
    EXPECT_EQ(output_of({umask}, "show_mode", {"create_or_attach", name_, 100, "group"}), "660");
  }
}

TEST_F(Segment, BeginsAtAMultipleOfItsAlignmentInEveryProcess) {
  for (std::size_t alignment = 4096; alignment <= 2U << 20U; alignment *= 2) {
    SCOPED_TRACE(alignment);
    const auto memory = SharedMemory::create(name_, 10000, {.alignment = alignment});
    EXPECT_EQ(address_of(memory) % alignment, 0U);
    EXPECT_EQ(address_of(SharedMemory::attach(name_)) % alignment, 0U) << "also for who does not ask for it";
    EXPECT_EQ(address_of(SharedMemory::attach_read_only(name_)) % alignment, 0U);
    EXPECT_EQ(memory.size(), 10000U);
    EXPECT_TRUE(all_zero(memory));
  }
  for (const std::size_t alignment : {std::size_t{4096}, std::size_t{2} << 20U})
    EXPECT_EQ(address_of(SharedMemory::create_anonymous("label", 100, {.alignment = alignment})) % alignment, 0U);
}

TEST_F(Segment, PrefaultedCausesNoPageFaults) {
  constexpr std::size_t pages = 1000;
  const auto faults = [&](const char* how, const char* options) {
    return std::stol(output_of({}, "show_faults", {how, name_, pages * 4096, options}));
  };
  constexpr long few = pages / 8 + 2;  // AddressSanitizer's own pages are an eighth of what they describe
  EXPECT_GT(faults("create", "no_prefault"), few) << "the test must see page faults";
  EXPECT_LE(faults("create", ""), few);
  const auto memory = SharedMemory::create(name_, pages * 4096);
  EXPECT_LE(faults("attach", ""), few) << "who attaches gets it as its creator wanted it";
}

TEST_F(Segment, HasItsSpaceReservedInFull) {
  const auto memory = SharedMemory::create(name_, 1U << 20U, {.prefault = false});
  struct stat found {};
  ASSERT_EQ(::stat(path().c_str(), &found), 0);
  EXPECT_GE(found.st_size, 1 << 20);
  EXPECT_GE(found.st_blocks * 512, found.st_size) << "a full /dev/shm must not end in SIGBUS later";
}

// ---- lifetimes ---------------------------------------------------------------------------------------------------------

TEST_F(Segment, UntilLastDetachEndsWithItsLastUser) {
  auto creator = std::optional{SharedMemory::create(name_, 4096)};
  auto user = start("use", {"attach", name_});
  creator.reset();
  EXPECT_TRUE(exists()) << "not with its creator";
  finish(user);
  EXPECT_FALSE(exists());
  EXPECT_FALSE(SharedMemory::remove(name_));
  EXPECT_FALSE(listed());
}

TEST_F(Segment, UntilRemovedStaysWithItsData) {
  SharedMemory::create(name_, 4096, {.lifetime = Lifetime::until_removed}).as<int>(12) = 99;
  EXPECT_EQ(state(), SegmentState::orphaned);
  EXPECT_EQ(SharedMemory::attach(name_, 0s).as<int>(12), 99);
  EXPECT_EQ(SharedMemory::create_or_attach(name_, 4096).as<int>(12), 99);
  auto killed = start("use", {"attach", name_});
  killed.kill();
  {
    const auto reader = SharedMemory::attach_read_only(name_, 0s);
    EXPECT_EQ(reader.as<int>(12), 99);
  }
  expect_error([&] { static_cast<void>(SharedMemory::create(name_, 4096)); }, std::errc::file_exists, path().string());
  EXPECT_TRUE(SharedMemory::remove(name_));
  EXPECT_FALSE(exists());
  EXPECT_FALSE(SharedMemory::remove(name_));
  EXPECT_TRUE(all_zero(SharedMemory::create(name_, 4096)));
}

TEST_F(Segment, WhatAKilledUserLeftIsReplacedByCreate) {
  auto killed = start("use_and_write", {17, "create", name_, 4096});
  killed.kill();
  ASSERT_EQ(state(), SegmentState::orphaned);
  const auto memory = SharedMemory::create(name_, 10000);
  EXPECT_EQ(memory.size(), 10000U);
  EXPECT_TRUE(all_zero(memory));
  EXPECT_EQ(listed()->creator, ProcessIdentity::self());
  EXPECT_EQ(listed()->users, std::vector{ProcessIdentity::self()});
}

TEST_F(Segment, MovesLikeAHandle) {
  auto memory = SharedMemory::create(name_, 4096);
  auto* const first = memory.bytes().data();
  SharedMemory moved{std::move(memory)};
  EXPECT_EQ(moved.bytes().data(), first) << "the memory stays where it is";
  EXPECT_EQ(std::as_const(memory).bytes().size(), 0U);  // NOLINT(*-use-after-move)
  EXPECT_EQ(memory.size(), 0U);
  EXPECT_NO_THROW(memory.detach()) << "there is nothing to detach";

  auto other = SharedMemory::create(second_, 100);
  other = std::move(moved);
  EXPECT_FALSE(fs::exists(path_of(second_))) << "assigning detaches what was there";
  EXPECT_TRUE(exists());
  EXPECT_EQ(other.name(), name_);
  memory = std::move(other);
  EXPECT_EQ(memory.bytes().data(), first) << "a moved-from object can be used again";
  memory.detach();
  EXPECT_FALSE(exists());
}

TEST_F(Segment, DetachEndsTheUseOfIt) {
  auto worker = start("detach_and_stay", {"create", name_, 4096, "until_removed"});
  EXPECT_EQ(state(), SegmentState::orphaned) << "the process lives, but does not use it";
  EXPECT_TRUE(SharedMemory::remove(name_));
  finish(worker);
}

TEST_F(Segment, RemoveInUseNamesAUserAndChangesNothing) {
  auto user = start("use", {"create", name_, 4096, "until_removed"});
  const auto before = description_of(path());
  for (int i = 0; i < 2; ++i) {
    expect_error([&] { SharedMemory::remove(name_); }, errc::in_use, path().string(),
                 {"process " + std::to_string(user.pid())});
    EXPECT_EQ(holder_told_by([&] { SharedMemory::remove(name_); }), user.pid());
  }
  EXPECT_EQ(description_of(path()), before);
  EXPECT_EQ(attempt({}, {"attach", name_}), "has 4096 bytes, 0 of them not zero");
  user.kill();
  EXPECT_TRUE(SharedMemory::remove(name_));
}

// ---- list ------------------------------------------------------------------------------------------------------------

TEST_F(Segment, IsListedWithItsSizeCreatorAndUsers) {
  EXPECT_FALSE(listed());
  auto creator = start("use", {"create", name_, 5000});
  auto user = start("use", {"attach", name_});
  auto memory = std::optional{SharedMemory::attach(name_)};
  const auto info = listed();
  ASSERT_TRUE(info);
  EXPECT_EQ(info->size, 5000U);
  EXPECT_EQ(info->state, SegmentState::in_use);
  EXPECT_EQ(info->creator, identity_of(creator));
  auto users = info->users;
  EXPECT_EQ(users.size(), 3U);
  for (const auto& identity : {identity_of(creator), identity_of(user), ProcessIdentity::self()})
    EXPECT_NE(std::find(users.begin(), users.end(), identity), users.end()) << to_string(identity);
  memory.reset();
  finish(user);
  EXPECT_EQ(listed()->users, std::vector{identity_of(creator)});
  EXPECT_EQ(to_string(*listed()), name_ + ": 5000 bytes, in use by " + to_string(identity_of(creator)));
  creator.kill();
  EXPECT_EQ(listed()->state, SegmentState::orphaned);
  EXPECT_TRUE(listed()->users.empty());
  EXPECT_EQ(listed()->creator, identity_of(creator)) << "who made it is still told";
  EXPECT_EQ(to_string(*listed()), name_ + ": 5000 bytes, orphaned");
  EXPECT_TRUE(SharedMemory::remove(name_));
}

TEST_F(Segment, ListIsSortedAndDoesNotChangeWhatItLooksAt) {
  const auto b = SharedMemory::create(name_ + "b", 1), a = SharedMemory::create(name_ + "a", 1),
             c = SharedMemory::create(name_ + "c", 1);
  std::vector<std::string> before, names;
  for (const auto& path : leftovers()) before.push_back(description_of(path));
  for (const auto& info : SharedMemory::list())
    if (info.name.starts_with(name_)) names.push_back(info.name);
  EXPECT_EQ(names, (std::vector{name_ + "a", name_ + "b", name_ + "c"}));
  std::vector<std::string> after;
  for (const auto& path : leftovers()) after.push_back(description_of(path));
  EXPECT_EQ(after, before);
}

TEST(SegmentWords, AreThereForEveryState) {
  std::vector<std::string> words;
  for (const auto state : {SegmentState::in_use, SegmentState::orphaned, SegmentState::incomplete,
                           SegmentState::other_version, SegmentState::foreign, SegmentState::unreadable}) {
    words.emplace_back(to_string(state));
    EXPECT_FALSE(words.back().empty());
    SegmentInfo info;
    info.name = "run_state";
    info.size = 4096;
    info.state = state;
    EXPECT_TRUE(to_string(info).starts_with("run_state: 4096 bytes, ")) << to_string(info);
  }
  std::sort(words.begin(), words.end());
  EXPECT_EQ(std::unique(words.begin(), words.end()), words.end());
}

// ---- memory without a name -------------------------------------------------------------------------------------------

TEST_F(Segment, WithoutANameIsNowhereToBeFound) {
  auto memory = SharedMemory::create_anonymous(name_, 5000);
  EXPECT_EQ(memory.size(), 5000U);
  EXPECT_EQ(memory.name(), name_);
  EXPECT_TRUE(all_zero(memory));
  EXPECT_FALSE(listed());
  EXPECT_TRUE(leftovers().empty());
  EXPECT_FALSE(SharedMemory::remove(name_));
  auto second = SharedMemory::attach(memory.descriptor());
  memory.as<int>(100) = 7;
  EXPECT_EQ(second.as<int>(100), 7);
  EXPECT_EQ(second.size(), 5000U);
  memory.detach();
  EXPECT_EQ(second.as<int>(100), 7) << "it ends with its last user";
}

TEST_F(Segment, WithoutANameIsInheritedByAProgram) { run("pass_by_inheritance", {name_}); }

TEST_F(Segment, WithoutANameIsPassedOverASocket) {
  const TempDir dir;
  const auto path = (dir / "socket").string();
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ASSERT_LT(path.size(), sizeof address.sun_path);
  std::copy(path.begin(), path.end(), std::begin(address.sun_path));
  const int listening = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(::bind(listening, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(listening, 1), 0);

  auto memory = std::optional{SharedMemory::create_anonymous(name_, 5000)};
  memory->as<std::int64_t>() = 20;
  auto worker = SpawnWorkerWithReadySignal(SHARED_MEMORY_WORKER, "use_received", {path});
  const int connected = ::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC);
  ASSERT_GE(connected, 0);
  char byte = 'x';
  iovec data{&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  const int descriptor = memory->descriptor();
  std::memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
  ASSERT_EQ(::sendmsg(connected, &message, 0), 1);
  ::close(connected);
  ::close(listening);

  ASSERT_EQ(worker.wait_for_ready(), Ready::yes) << worker.report();
  EXPECT_EQ(memory->as<std::int64_t>(), 21);
  finish(worker);
  EXPECT_EQ(memory->as<std::int64_t>(), 22);
}

TEST_F(Segment, ByItsDescriptorIsTheSameAsByItsName) {
  auto memory = std::optional{SharedMemory::create(name_, 4096)};
  memory->as<int>() = 31;
  auto second = SharedMemory::attach(memory->descriptor());
  EXPECT_EQ(second.as<int>(), 31);
  EXPECT_EQ(second.size(), 4096U);
  memory.reset();
  EXPECT_TRUE(exists()) << "the second handle is a user as well";
  expect_error([&] { SharedMemory::remove(name_); }, errc::in_use, path().string());
}
