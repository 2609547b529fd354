// What other programs and operators do to the things that FileLock has on disk: names that mean nothing, bytes where none
// belong, files in the way, and side names removed at any time. FileLock goes on, or says clearly why not; it never spins,
// and it never lets two in.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <barrier>
#include <random>
#include <thread>

#include "file_lock_failures.hpp"

using namespace hostile;

namespace {
class FileLockTampering : public testing::Test {
 protected:
  /// The one name in the directory that ends, or begins, like this.
  [[nodiscard]] static fs::path only(const fs::path& directory, std::string_view part) {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator{directory}) {
      const auto name = entry.path().filename().string();
      if (name.ends_with(part) || name.starts_with(part)) found.push_back(entry.path());
    }
    EXPECT_EQ(found.size(), 1U) << part;
    return found.empty() ? fs::path{} : found.front();
  }
  [[nodiscard]] fs::path mark() const { return only(place_, "o."); }
  [[nodiscard]] bool exists_ending(std::string_view part) const {
    for (const auto& entry : fs::directory_iterator{dir_.path()})
      if (entry.path().filename().string().ends_with(part)) return true;
    return false;
  }
  static std::string some_identity() { return ProcessIdentity::self().encode(); }
  /// Of a process that has died.
  static std::string dead_identity() {
    auto worker = start({}, "hold", {fs::temp_directory_path() / "holdfast-no-such-lock", "fair"});
    auto result = identity_of(worker).encode();
    finish(worker);
    return result;
  }
  [[nodiscard]] WorkerProcess spawn_owner() const { return start({}, "hold", {resource_, "fair"}); }
  [[nodiscard]] WorkerProcess spawn_waiter(std::size_t others = 0) const {
    auto waiter = start({}, "wait_then_hold", {resource_, "fair"});
    EXPECT_TRUE(wait_for_queue(resource_, others + 1)) << waiter.report();
    EXPECT_TRUE(wait_until([&] { return waits_for_lock(waiter); })) << waiter.report();
    return waiter;
  }
  static bool has_locked(const WorkerProcess& worker) { return worker.output().find("\nlocked") != std::string::npos; }
  void expect_usable() const {
    EXPECT_EQ(output_of({}, "try_once", {resource_, "fair", "try"}), "locked\nunlocked");
    EXPECT_EQ(output_of({}, "try_once", {resource_, "fair", "lock"}), "locked\nunlocked");
  }

  TempDir dir_;
  const fs::path resource_ = dir_ / "x", place_ = dir_ / "x.lock", queue_ = dir_ / ".x.lock.queue";
};
}  // namespace

// ---- names ---------------------------------------------------------------------------------------------------------

TEST_F(FileLockTampering, ADirectoryWithoutAnOwnerThatCanBeReadIsAStrangers) {
  for (const auto& name : {std::string{"o."}, std::string{"o.1"}, "o.0123456789abcdef" + some_identity(),
                           "o.0123456789abcde." + some_identity(), "o.0123456789ABCDEF." + some_identity(),
                           "o.0123456789abcdef." + some_identity() + "+more", std::string{"f.x"},
                           "p.0123456789abcdef." + some_identity(), std::string(255, 'o')}) {
    SCOPED_TRACE(name);
    fs::create_directory(place_);
    ASSERT_EQ(::mkfifo((place_ / name).c_str(), 0600), 0);
    const auto before = contents_of(dir_.path());
    FileLock lock{resource_};
    EXPECT_FALSE(lock.try_lock());
    EXPECT_FALSE(lock.try_lock_for(5ms));
    const auto holder = lock.holder();
    ASSERT_TRUE(holder);
    EXPECT_FALSE(holder->owner);
    fs::remove_all(place_);
    EXPECT_TRUE(lock.try_lock());
  }
}

TEST_F(FileLockTampering, AnOwnersNameThatIsNoChannelIsAStrangers) {
  const auto name = "o.0123456789abcdef." + some_identity();
  const std::vector<std::function<void(const fs::path&)>> things{
      [](const fs::path& path) { fs::create_directory(path); },
      [](const fs::path& path) { fs::create_symlink("nowhere", path); },
      [](const fs::path& path) { fs::create_symlink("/dev/zero", path); },
      [](const fs::path& path) { ASSERT_EQ(::mknod(path.c_str(), S_IFSOCK | 0600, 0), 0); },
  };
  for (const auto& make : things) {
    fs::create_directory(place_);
    make(place_ / name);
    auto waiter = start({}, "wait_for_a_second", {resource_, "fair"});
    EXPECT_FALSE(FileLock::holder(resource_)->owner);
    EXPECT_EQ(output_of({}, "try_once", {resource_, "fair", "try"}), "busy");
    EXPECT_LT(cost_of(waiter).microseconds, spinning) << "it must not spin";
    fs::remove_all(place_);
    expect_usable();
  }
}

TEST_F(FileLockTampering, ThousandsOfMeaninglessTicketsAreIgnored) {
  fs::create_directory(queue_);
  std::mt19937 random{1};
  for (int i = 0; i < 3000; ++i) {
    std::string name = "t." + std::to_string(i) + ".";
    for (auto n = random() % 40; n > 0; --n) name += static_cast<char>('a' + random() % 26);
    std::ofstream{queue_ / name};
  }
  for (const auto* name :
       {"t.", "t..", "t", "x", "t.-1.a", "t.+1.a", "t.0x1.a", "t. 1.a", "t.999999999999999999999999999999.a"})
    std::ofstream{queue_ / name};
  const auto before = contents_of(queue_);
  expect_usable();
  {
    auto owner = spawn_owner();
    auto first = spawn_waiter(), second = spawn_waiter(1);
    FileLock newcomer{resource_};
    EXPECT_FALSE(newcomer.try_lock());
    auto cpu = start({}, "wait_for_a_second", {resource_, "fair"});
    EXPECT_LT(cost_of(cpu).microseconds, spinning) << "it must not spin";
    finish(owner);
    EXPECT_TRUE(wait_for_output(first, "\nlocked\n"));
    EXPECT_FALSE(has_locked(second));
    finish(first);
    EXPECT_TRUE(wait_for_output(second, "\nlocked\n"));
    finish(second);
  }
  EXPECT_EQ(contents_of(queue_), before) << "they are not ours to remove";
  fs::remove_all(queue_);
}

TEST_F(FileLockTampering, ATicketNumberThatCannotBeCountedUpIsNoTrap) {
  for (const std::string number : {"999999999999999998", "999999999999999999", "1000000000000000000",
                                   "9223372036854775807", "18446744073709551615", "99999999999999999999999"}) {
    SCOPED_TRACE(number);
    fs::create_directory(queue_);
    ASSERT_EQ(::mkfifo((queue_ / ("t." + number + ".0123456789abcdef." + dead_identity())).c_str(), 0600), 0);
    auto owner = spawn_owner();
    // The largest number that is one stays where it is: nobody is behind it. Smaller ones are removed by the owner, and
    // larger ones are no tickets.
    auto first = spawn_waiter(number == "999999999999999999" ? 1 : 0);
    EXPECT_EQ(output_of({}, "try_once", {resource_, "fair", "20"}), "busy");
    finish(owner);
    EXPECT_TRUE(wait_for_output(first, "\nlocked\n")) << first.report();
    finish(first);
    expect_usable();
    fs::remove_all(queue_);
  }
}

TEST_F(FileLockTampering, ATicketThatIsNoChannelIsIgnored) {
  const std::vector<std::function<void(const fs::path&)>> things{
      [](const fs::path& path) { fs::create_directory(path); },
      [](const fs::path& path) { fs::create_symlink("nowhere", path); },
      [](const fs::path& path) { fs::create_symlink("/dev/zero", path); },
      [](const fs::path& path) { ASSERT_EQ(::mknod(path.c_str(), S_IFSOCK | 0600, 0), 0); },
  };
  for (const auto& identity : {dead_identity(), some_identity()}) {
    for (const auto& make : things) {
      fs::create_directory(queue_);
      make(queue_ / ("t.1.0123456789abcdef." + identity));
      expect_usable();
      auto owner = spawn_owner();
      auto cpu = start({}, "wait_for_a_second", {resource_, "fair"});
      auto waiter = start({}, "wait_then_hold", {resource_, "fair"});
      EXPECT_LT(cost_of(cpu).microseconds, spinning) << "it must not spin";
      finish(owner);
      EXPECT_TRUE(wait_for_output(waiter, "\nlocked\n")) << waiter.report();
      finish(waiter);
      fs::remove_all(queue_);
    }
  }
}

TEST_F(FileLockTampering, SomethingElseInTheQueuesPlaceIsAnErrorAtOnce) {
  const std::vector<std::function<void(const fs::path&)>> things{
      [](const fs::path& path) { std::ofstream{path} << "mine"; },
      [](const fs::path& path) { fs::create_symlink("nowhere", path); },
      [](const fs::path& path) { fs::create_directory_symlink("/tmp", path); },
      [](const fs::path& path) { ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0); },
  };
  for (const auto& make : things) {
    FileLock lock{resource_};
    ASSERT_TRUE(lock.try_lock());
    ASSERT_TRUE(lock.unlock());
    make(queue_);
    for (const auto& [name, ask] : ways_to_lock()) {
      SCOPED_TRACE(name);
      expect_refused(
          [&] { ask(lock); }, errc::foreign,
          {resource_.string() + ".lock", ".x.lock.queue", "is not a directory", "move the file or link away"});
      EXPECT_FALSE(lock.holder());
    }
    fs::rename(queue_, dir_ / "elsewhere");
    EXPECT_TRUE(lock.try_lock());
    EXPECT_TRUE(lock.unlock());
  }
}

TEST_F(FileLockTampering, SomethingElseComesToTheQueuesPlaceWhileOneWaits) {
  auto owner = spawn_owner();
  auto first = spawn_waiter(), second = spawn_waiter(1);
  fs::rename(queue_, dir_ / "elsewhere");
  std::ofstream{queue_} << "mine";
  expect_refused([&] { FileLock{resource_}.lock(); }, errc::foreign, {".x.lock.queue"});
  finish(owner);
  EXPECT_TRUE(wait_for_output(first, "\nlocked\n")) << "its place is known to it: " << first.report();
  finish(first);
  EXPECT_TRUE(wait_for_output(second, "\nlocked\n")) << second.report();
  finish(second);
  fs::remove(queue_);
  EXPECT_TRUE(contents_of(dir_ / "elsewhere").empty());
}

// ---- bytes in channels ----------------------------------------------------------------------------------------------

namespace {
void write_into(const fs::path& channel, std::size_t bytes) {
  const int stranger = ::open(channel.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
  ASSERT_GE(stranger, 0) << channel;
  const std::string junk(bytes, 'x');
  const bool written = ::write(stranger, junk.data(), junk.size()) > 0 || errno == EAGAIN;  // it may still be full
  ::close(stranger);
  ASSERT_TRUE(written);
}
}  // namespace

TEST_F(FileLockTampering, BytesInTheOwnersChannelDeceiveNobody) {
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{1000}, std::size_t{1} << 20}) {
    SCOPED_TRACE(bytes);
    auto owner = spawn_owner();
    auto waiter = spawn_waiter();
    auto cpu = start({}, "wait_for_a_second", {resource_, "unfair"});
    for (int i = 0; i < 3; ++i) write_into(mark(), bytes);
    EXPECT_LT(cost_of(cpu).microseconds, spinning) << "it must not spin";
    EXPECT_EQ(output_of({}, "try_once", {resource_, "unfair", "try"}), "busy");
    EXPECT_FALSE(has_locked(waiter)) << waiter.report();
    EXPECT_EQ(FileLock::holder(resource_)->liveness, Liveness::alive);
    write_into(mark(), bytes);
    const auto dead = identity_of(owner);
    owner.kill();
    EXPECT_TRUE(wait_for_output(waiter, "\nlocked after " + dead.encode() + "\n")) << waiter.report();
    finish(waiter);
    expect_usable();
  }
}

TEST_F(FileLockTampering, BytesInATicketDeceiveNobody) {
  auto owner = spawn_owner();
  auto first = spawn_waiter(), second = spawn_waiter(1);
  auto cpu = start({}, "wait_for_a_second", {resource_, "fair"});
  const auto ticket = only(queue_, "t.1.");
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{1000}, std::size_t{1} << 20}) write_into(ticket, bytes);
  EXPECT_LT(cost_of(cpu).microseconds, spinning) << "it must not spin";
  first.kill();
  finish(owner);
  EXPECT_TRUE(wait_for_output(second, "\nlocked\n")) << second.report();
  finish(second);
  expect_usable();
}

TEST_F(FileLockTampering, AnEndlessStreamOfBytesNeitherHidesTheDeadlineNorBurnsTheProcessor) {
  auto owner = spawn_owner();
  const int stranger = ::open(mark().c_str(), O_WRONLY | O_CLOEXEC);
  ASSERT_GE(stranger, 0);
  std::atomic<bool> done{false};
  std::jthread writing{[&] {
    const std::string junk(4096, 'x');
    const int flags = ::fcntl(stranger, F_GETFL);
    ::fcntl(stranger, F_SETFL, flags | O_NONBLOCK);
    while (!done) static_cast<void>(::write(stranger, junk.data(), junk.size()));
  }};
  FileLock lock{resource_};
  EXPECT_FALSE(lock.try_lock());
  EXPECT_FALSE(lock.try_lock_for(20ms));
  auto cpu = start({}, "wait_for_a_second", {resource_, "fair"});
  EXPECT_LT(cost_of(cpu).microseconds, 10 * spinning) << "it must not spin";
  EXPECT_TRUE(lock.holder());
  done = true;
  writing.join();
  ::close(stranger);
  owner.kill();
  EXPECT_TRUE(lock.try_lock_for(10s));
  EXPECT_EQ(lock.outcome(), LockOutcome::owner_died);
}

// A rescuer has the channel open for writing, which shows. Who has locked it by a descriptor for reading does not.
TEST_F(FileLockTampering, AStrangersLockOnADeadOwnersChannelNeitherHidesTheDeadlineNorBurnsTheProcessor) {
  auto owner = spawn_owner();
  const int stranger = ::open(mark().c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  ASSERT_GE(stranger, 0);
  owner.kill();
  ASSERT_EQ(::flock(stranger, LOCK_EX | LOCK_NB), 0) << "it was its owner's";
  FileLock lock{resource_};
  EXPECT_FALSE(lock.try_lock());
  EXPECT_FALSE(lock.try_lock_for(20ms));
  auto cpu = start({}, "wait_for_a_second", {resource_, "fair"});
  EXPECT_LT(cost_of(cpu).microseconds, 10 * spinning) << "it must not spin";
  ::close(stranger);
  EXPECT_TRUE(lock.try_lock_for(10s));
  EXPECT_EQ(lock.outcome(), LockOutcome::owner_died);
}

// ---- side names removed by an operator -----------------------------------------------------------------------------

namespace {
enum class What { private_directory, private_mark, ticket };
enum class When { idle, holding };
class FileLockSideNamesRemoved : public FileLockTampering,
                                 public testing::WithParamInterface<std::tuple<What, When>> {};
std::string name_of(const testing::TestParamInfo<std::tuple<What, When>>& removal) {
  const auto [what, when] = removal.param;
  return std::string{what == What::private_directory ? "private_directory"
                     : what == What::private_mark    ? "private_mark"
                                                     : "ticket"} +
         (when == When::idle ? "_idle" : "_holding");
}
INSTANTIATE_TEST_SUITE_P(, FileLockSideNamesRemoved,
                         testing::Combine(testing::Values(What::private_directory, What::private_mark, What::ticket),
                                          testing::Values(When::idle, When::holding)),
                         name_of);
}  // namespace

TEST_P(FileLockSideNamesRemoved, TheNextAcquisitionMakesThemAnew) {
  const auto [what, when] = GetParam();
  for (const bool alone : {true, false}) {
    SCOPED_TRACE(alone ? "before it ever waited" : "after it has waited");
    FileLock lock{resource_};
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(lock.unlock() || i == 0);
      ASSERT_TRUE(lock.try_lock());
    }
    if (!alone) {
      auto waiter = spawn_waiter();
      ASSERT_TRUE(lock.unlock());
      ASSERT_TRUE(wait_for_output(waiter, "\nlocked\n"));
      std::jthread releasing{[&] {
        EXPECT_TRUE(wait_for_queue(resource_, 1));
        waiter.release();
      }};
      lock.lock();
      ExpectWorkerOk(waiter);
    }
    if (when == When::idle) {
      ASSERT_TRUE(lock.unlock());
    }
    if (what == What::ticket) {
      if (exists_ending(".ticket")) fs::remove(only(dir_.path(), ".ticket"));
    } else if (when == When::idle) {
      const auto home = only(dir_.path(), ".private");
      if (what == What::private_mark)
        fs::remove(only(home, "o."));
      else
        fs::remove_all(home);
    }
    if (when == When::holding) {
      EXPECT_EQ(output_of({}, "try_once", {resource_, "fair", "20"}), "busy");
      EXPECT_TRUE(lock.unlock());
    }
    for (int i = 0; i < 2; ++i) {
      ASSERT_TRUE(lock.try_lock());
      const auto holder = lock.holder();
      ASSERT_TRUE(holder && holder->owner);
      EXPECT_EQ(*holder->owner, ProcessIdentity::self());
      auto waiter = spawn_waiter();
      EXPECT_FALSE(has_locked(waiter));
      std::error_code why;
      EXPECT_TRUE(lock.unlock(why)) << why.message();
      EXPECT_TRUE(wait_for_output(waiter, "\nlocked\n")) << waiter.report();
      FileLock* const again = &lock;
      std::jthread releasing{[&] {
        EXPECT_TRUE(wait_for_queue(resource_, 1));
        waiter.release();
      }};
      EXPECT_TRUE(again->try_lock_for(10s));
      ExpectWorkerOk(waiter);
      EXPECT_TRUE(lock.unlock());
    }
  }
  EXPECT_TRUE(dir_.leftovers().empty()) << dir_.leftovers().front();
}

TEST_F(FileLockTampering, AWaiterWhosePrivateDirectoryIsRemovedKeepsItsPlaceAndGetsTheLock) {
  auto owner = spawn_owner();
  std::vector<WorkerProcess> waiters;
  for (std::size_t i = 0; i < 3; ++i) waiters.push_back(spawn_waiter(i));
  for (const auto& name : dir_.leftovers())
    if (name.string().ends_with(".private")) fs::remove_all(dir_ / name);
  finish(owner);
  while (!waiters.empty()) {
    EXPECT_TRUE(wait_for_output(waiters.front(), "\nlocked\n")) << waiters.front().report();
    EXPECT_EQ(std::count_if(waiters.begin(), waiters.end(), has_locked), 1);
    finish(waiters.front());
    waiters.erase(waiters.begin());
  }
  expect_usable();
}

TEST_F(FileLockTampering, AfterThatItsTicketsAreHeldOpenAsBefore) {
  FileLock lock{resource_};
  for (int i = 0; i < 2; ++i) {
    auto owner = spawn_owner();
    std::jthread waiting{[&] { lock.lock(); }};
    ASSERT_TRUE(wait_for_queue(resource_, 1));
    const int ticket = ::open(only(queue_, "t.1.").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    ASSERT_GE(ticket, 0);
    char byte = 0;
    EXPECT_EQ(::read(ticket, &byte, 1), -1)
        << "round " << i << ": who waits behind it must see it live, not have to poll";
    EXPECT_EQ(errno, EAGAIN);
    ::close(ticket);
    for (const auto& name : dir_.leftovers())
      if (name.string().ends_with(".private")) fs::remove_all(dir_ / name);
    finish(owner);
    waiting.join();
    EXPECT_TRUE(lock.unlock());
  }
}

TEST_F(FileLockTampering, WaitersWhoseQueueIsRemovedGetTheLockAllTheSame) {
  auto owner = spawn_owner();
  std::vector<WorkerProcess> waiters;
  for (std::size_t i = 0; i < 4; ++i) waiters.push_back(spawn_waiter(i));
  fs::remove_all(queue_);
  FileLock newcomer{resource_};
  EXPECT_FALSE(newcomer.try_lock());
  finish(owner);
  for (std::size_t locked = 0; locked < waiters.size();) {
    ASSERT_TRUE(wait_until([&] { return std::any_of(waiters.begin(), waiters.end(), has_locked); }));
    const auto inside = std::find_if(waiters.begin(), waiters.end(), has_locked);
    EXPECT_EQ(std::count_if(waiters.begin(), waiters.end(), has_locked), 1);
    finish(*inside);
    waiters.erase(inside);
  }
  EXPECT_TRUE(newcomer.try_lock());
}

TEST_F(FileLockTampering, AWaiterWhoseTicketIsRemovedQueuesUpAgain) {
  auto owner = spawn_owner();
  auto first = spawn_waiter(), second = spawn_waiter(1), third = spawn_waiter(2);
  fs::remove(only(queue_, "t.2."));
  finish(owner);
  EXPECT_TRUE(wait_for_output(first, "\nlocked\n")) << first.report();
  finish(first);
  EXPECT_TRUE(wait_for_output(third, "\nlocked\n")) << third.report();
  finish(third);
  EXPECT_TRUE(wait_for_output(second, "\nlocked\n")) << second.report();
  finish(second);
  expect_usable();
}

TEST_F(FileLockTampering, OneWhoRemovesSideNamesAllTheTimeBreaksNothing) {
  constexpr int threads = 4, each = 40;
  std::atomic<int> inside{0}, overlaps{0}, acquisitions{0};
  std::atomic<bool> done{false};
  std::jthread chaos{[&] {
    std::mt19937 random{7};
    while (!done) {
      std::error_code ignored;
      for (fs::directory_iterator entry{dir_.path(), ignored}, end; !ignored && entry != end;
           entry.increment(ignored)) {
        const auto name = entry->path().filename().string();
        if (name.starts_with(".x.lock.") && random() % 4 == 0) {
          std::error_code gone;
          fs::remove_all(entry->path(), gone);
        }
      }
      std::this_thread::yield();
    }
  }};
  {
    std::vector<std::jthread> contenders;
    for (int i = 0; i < threads; ++i)
      contenders.emplace_back([&] {
        FileLock lock{resource_};
        for (int n = 0; n < each; ++n) {
          if (!lock.try_lock_for(20s)) {
            ADD_FAILURE() << "it is stuck: " << to_string(lock.holder());
            return;
          }
          if (inside.fetch_add(1) != 0) ++overlaps;
          ++acquisitions;
          std::this_thread::yield();
          inside.fetch_sub(1);
          // Broken is the right answer if he was about to empty a private directory when it became the lock.
          std::error_code why;
          EXPECT_TRUE(lock.unlock(why) || why == errc::broken) << why.message();
        }
      });
  }
  done = true;
  chaos.join();
  EXPECT_EQ(overlaps, 0);
  EXPECT_EQ(acquisitions, threads * each);
  expect_usable();
}

// ---- the lock broken while it is held --------------------------------------------------------------------------------

namespace {
struct Breaking {
  std::string name;
  std::function<void(const fs::path& place)> act;
};
const std::vector<Breaking> breakings{
    {"moved_away", [](const fs::path& place) { fs::rename(place, place.parent_path() / "broken"); }},
    {"removed", [](const fs::path& place) { fs::remove_all(place); }},
};
void PrintTo(const Breaking& breaking, std::ostream* out) { *out << breaking.name; }
class FileLockBroken : public FileLockTampering, public testing::WithParamInterface<Breaking> {};
INSTANTIATE_TEST_SUITE_P(, FileLockBroken, testing::ValuesIn(breakings),
                         [](const testing::TestParamInfo<Breaking>& breaking) { return breaking.param.name; });
}  // namespace

TEST_P(FileLockBroken, TheOwnerIsToldAndALaterOwnerIsLeftAlone) {
  FileLock lock{resource_};
  ASSERT_TRUE(lock.try_lock());
  GetParam().act(place_);
  EXPECT_FALSE(lock.holder());
  auto later = spawn_owner();
  std::error_code why;
  EXPECT_FALSE(lock.unlock(why));
  EXPECT_EQ(why, errc::broken) << why.message();
  EXPECT_FALSE(lock.owns_lock());
  EXPECT_EQ(FileLock::holder(resource_)->owner, identity_of(later));
  EXPECT_FALSE(lock.try_lock());
  EXPECT_FALSE(lock.unlock(why));
  EXPECT_EQ(why, std::errc::operation_not_permitted);
  finish(later);
  EXPECT_TRUE(lock.try_lock());
  EXPECT_EQ(lock.outcome(), LockOutcome::clean);
  EXPECT_TRUE(lock.unlock());
}

TEST_P(FileLockBroken, AndDestroyingTheObjectLeavesALaterOwnerAlone) {
  std::optional<FileLock> lock{std::in_place, resource_};
  ASSERT_TRUE(lock->try_lock());
  GetParam().act(place_);
  auto later = spawn_owner();
  lock.reset();
  EXPECT_EQ(FileLock::holder(resource_)->owner, identity_of(later));
  finish(later);
}

TEST_F(FileLockTampering, AnOwnerWhoseMarkIsGivenToAnotherIsTold) {
  FileLock lock{resource_};
  ASSERT_TRUE(lock.try_lock());
  const auto others_name = place_ / ("o.fedcba9876543210." + dead_identity());
  fs::rename(mark(), others_name);
  std::error_code why;
  EXPECT_FALSE(lock.unlock(why));
  EXPECT_EQ(why, errc::broken) << why.message();
  EXPECT_TRUE(fs::exists(others_name)) << "it is no longer this one's to release";
  EXPECT_TRUE(lock.try_lock_for(10s)) << "and that one is dead";
  EXPECT_EQ(lock.outcome(), LockOutcome::owner_died);
  EXPECT_TRUE(lock.unlock());
}

TEST_F(FileLockTampering, AnOwnerWhoseMarkIsRemovedIsToldAndLeavesNoWreck) {
  FileLock lock{resource_};
  ASSERT_TRUE(lock.try_lock());
  fs::remove(mark());
  EXPECT_EQ(output_of({}, "try_once", {resource_, "fair", "20"}), "busy") << "an empty directory is respected";
  std::error_code why;
  EXPECT_FALSE(lock.unlock(why));
  EXPECT_EQ(why, errc::broken) << why.message();
  EXPECT_FALSE(fs::exists(place_)) << "or nobody would ever get the lock again";
  expect_usable();
}
