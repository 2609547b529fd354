// What a FileLock is as an object and to other processes: moves, what is left of it, several at once, who is listed, and that a
// thread cannot wait for itself under another name.
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>
#include <holdfast/file_lock.hpp>
#include <holdfast/testing/gtest.hpp>

#include "../exclusion/wait_until.hpp"

namespace {
namespace fs = std::filesystem;
using namespace std::chrono_literals;
using holdfast::Deadline;
using holdfast::Error;
using holdfast::FileLock;
using holdfast::LockOutcome;
using holdfast::ProcessIdentity;
using holdfast::harness::ExpectWorkersOk;
using holdfast::harness::Ready;
using holdfast::harness::ReleaseTogether;
using holdfast::harness::SpawnWorkerWithReadySignal;
using holdfast::harness::TempDir;
using holdfast::harness::WorkerProcess;
using holdfast::test::wait_for_queue;
using holdfast::test::wait_until;

std::error_code code_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  return {};
}
/// By another thread, so that it is no deadlock.
bool is_busy(const fs::path& resource) {
  bool locked = false;
  std::jthread{[&] {
    FileLock lock{resource};
    locked = lock.try_lock();
  }}.join();
  return !locked;
}
}  // namespace

TEST(FileLockObject, AMovedFromOneHoldsNothingAndSaysSo) {
  const TempDir dir;
  FileLock lock{dir / "x"};
  lock.lock();
  FileLock moved{std::move(lock)};
  // NOLINTBEGIN(bugprone-use-after-move)
  EXPECT_FALSE(lock.owns_lock());
  EXPECT_EQ(lock.outcome(), LockOutcome::clean);
  EXPECT_FALSE(lock.previous_owner());
  std::error_code why;
  EXPECT_FALSE(lock.unlock(why));
  EXPECT_EQ(why, std::errc::operation_not_permitted);
  EXPECT_FALSE(lock.unlock());
  for (const auto& use :
       std::vector<std::function<void()>>{[&] { lock.lock(); }, [&] { static_cast<void>(lock.try_lock()); },
                                          [&] { static_cast<void>(lock.try_lock_for(1h)); },
                                          [&] { static_cast<void>(lock.try_lock_until(std::stop_token{})); },
                                          [&] { static_cast<void>(lock.holder()); }})
    EXPECT_EQ(code_of(use), std::errc::operation_not_permitted);
  EXPECT_TRUE(moved.owns_lock());
  lock = std::move(moved);
  // NOLINTEND(bugprone-use-after-move)
  EXPECT_TRUE(lock.owns_lock());
  EXPECT_TRUE(lock.unlock());
}

TEST(FileLockObject, ANewsMovesAlong) {
  const TempDir dir;
  auto owner = SpawnWorkerWithReadySignal(FILE_LOCK_WORKER, "hold_until_released", {dir / "x", 1});
  ASSERT_EQ(owner.wait_for_ready(), Ready::yes) << owner.report();
  owner.kill();
  FileLock lock{dir / "x"};
  ASSERT_EQ(lock.lock(), LockOutcome::owner_died);
  FileLock moved{dir / "y"};
  moved = std::move(lock);
  EXPECT_EQ(moved.outcome(), LockOutcome::owner_died);
  EXPECT_EQ(moved.previous_owner()->pid(), owner.pid());
  EXPECT_TRUE(moved.unlock());
  EXPECT_EQ(moved.outcome(), LockOutcome::clean);
  EXPECT_FALSE(moved.previous_owner()) << "the news is for the owner";
}

TEST(FileLockObject, AssigningToOneThatHoldsGivesThatBack) {
  const TempDir dir;
  FileLock x{dir / "x"}, y{dir / "y"};
  x.lock();
  y.lock();
  x = std::move(y);
  EXPECT_FALSE(is_busy(dir / "x"));
  EXPECT_TRUE(is_busy(dir / "y"));
  EXPECT_TRUE(x.owns_lock());
  x = FileLock{dir / "z"};
  EXPECT_FALSE(x.owns_lock());
  EXPECT_FALSE(is_busy(dir / "y"));
  FileLock& itself = x;
  EXPECT_TRUE(x.try_lock());
  x = std::move(itself);
  EXPECT_TRUE(x.owns_lock());
  EXPECT_TRUE(is_busy(dir / "z"));
}

TEST(FileLockObject, AThreadThatWaitsForItselfIsToldBehindEverySpelling) {
  const TempDir dir;
  fs::create_directories(dir / "a/b");
  fs::create_directory_symlink("a", dir / "link");
  fs::create_symlink("a/x", dir / "file_link");
  FileLock lock{dir / "a/x"};
  for (const auto& spelling : {dir / "a/x", dir / "a/b/../x", dir / "./a//x/", dir / "link/x", dir / "file_link"}) {
    FileLock other{spelling};
    lock.lock();
    for (const auto& ask :
         std::vector<std::function<void()>>{[&] { other.lock(); }, [&] { static_cast<void>(other.try_lock()); },
                                            [&] { static_cast<void>(other.try_lock_for(1h)); },
                                            [&] { static_cast<void>(other.try_lock_until(Deadline::never())); }})
      EXPECT_EQ(code_of(ask), std::errc::resource_deadlock_would_occur) << spelling;
    EXPECT_TRUE(lock.unlock());
    EXPECT_TRUE(other.try_lock());
    EXPECT_EQ(code_of([&] { lock.lock(); }), std::errc::resource_deadlock_would_occur);
    EXPECT_TRUE(other.unlock());
  }
}

TEST(FileLockObject, AnEmptyStopTokenAndADeadlineAreADeadline) {
  const TempDir dir;
  FileLock lock{dir / "x"}, other{dir / "x"};
  EXPECT_TRUE(lock.try_lock_until(std::stop_token{}, Deadline{1h}));
  std::jthread{[&] {
    EXPECT_FALSE(other.try_lock_until(std::stop_token{}, Deadline{2ms}));
    EXPECT_FALSE(other.try_lock_until(std::stop_token{}, Deadline{-1h}));
    EXPECT_FALSE(other.try_lock_until(Deadline{std::chrono::system_clock::now() - 1h}));
    EXPECT_FALSE(other.try_lock_until(std::chrono::system_clock::now() + 2ms));
  }}.join();
}

TEST(FileLockObject, MayEndWhileAnotherObjectOfTheSameThreadWaits) {
  const TempDir dir;
  auto lock = std::make_unique<FileLock>(dir / "x");
  lock->lock();
  FileLock waiting{dir / "x"};
  std::jthread waiter{[&] { waiting.lock(); }};
  ASSERT_TRUE(wait_for_queue(dir / "x", 1));
  lock.reset();
  waiter.join();
  EXPECT_TRUE(waiting.owns_lock());
  EXPECT_TRUE(waiting.unlock());
}

// ---- several at once -----------------------------------------------------------------------------------------------

TEST(FileLockSeveral, AreTakenInAnyOrderByProcessesWithoutDeadlock) {
  const TempDir dir;
  std::ofstream{dir / "counter"} << 0;
  constexpr int each = 30;
  std::vector<WorkerProcess> workers;
  for (const char* order : {"abc", "cab", "bca", "cba"}) {
    std::vector<holdfast::harness::Argument> arguments{dir / "counter", each};
    for (const char* name = order; *name != '\0'; ++name) arguments.emplace_back(dir / std::string(1, *name));
    workers.push_back(SpawnWorkerWithReadySignal(OS_FAILURE_WORKER, "increment_under_three", arguments));
    ASSERT_EQ(workers.back().wait_for_ready(), Ready::yes) << workers.back().report();
  }
  ReleaseTogether(workers);
  ExpectWorkersOk(workers);
  int value = 0;
  std::ifstream{dir / "counter"} >> value;
  EXPECT_EQ(value, 4 * each);
  fs::remove(dir / "counter");
  EXPECT_TRUE(fs::is_empty(dir.path()));
}

TEST(FileLockSeveral, WhoseNamesAreThoseOfEachOthersSideNamesAreIndependent) {
  const TempDir dir;
  const auto identity = ProcessIdentity::self().encode();
  const std::vector<std::string> names{"x",
                                       ".x.lock.queue",
                                       ".x.lock.0123456789abcdef." + identity + ".private",
                                       ".x.lock.0123456789abcdef." + identity + ".ticket",
                                       "x.lock",
                                       ".x.lock"};
  std::vector<WorkerProcess> owners, waiters;
  for (const auto& name : names) {
    owners.push_back(SpawnWorkerWithReadySignal(FILE_LOCK_WORKER, "hold_until_released", {dir / name, 1}));
    ASSERT_EQ(owners.back().wait_for_ready(), Ready::yes) << name << owners.back().report();
  }
  for (const auto& name : names) {
    waiters.push_back(SpawnWorkerWithReadySignal(FILE_LOCK_WORKER, "wait_then_hold", {dir / name, 1}));
    ASSERT_EQ(waiters.back().wait_for_ready(), Ready::yes) << name << waiters.back().report();
    ASSERT_TRUE(wait_for_queue(dir / name, 1)) << name;
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    EXPECT_EQ(FileLock::holder(dir / names[i])->owner->pid(), owners[i].pid()) << names[i];
    EXPECT_EQ(waiters[i].output(), "") << names[i];
    owners[i].kill();
    EXPECT_TRUE(holdfast::test::wait_for_output(waiters[i], "locked, after the death of")) << waiters[i].report();
    for (std::size_t later = i + 1; later < names.size(); ++later)
      EXPECT_EQ(waiters[later].output(), "") << names[later];
  }
  ReleaseTogether(waiters);
  ExpectWorkersOk(waiters);
  for (const auto& name : names) {
    FileLock last{dir / name};
    EXPECT_TRUE(last.try_lock()) << name;
  }
  EXPECT_TRUE(fs::is_empty(dir.path()));
}

// ---- who is listed -------------------------------------------------------------------------------------------------

TEST(FileLockHolder, ListsWhoWaitsInOrder) {
  const TempDir dir;
  FileLock lock{dir / "x"};
  lock.lock();
  std::vector<WorkerProcess> waiters;
  for (std::size_t i = 0; i < 4; ++i) {
    waiters.push_back(SpawnWorkerWithReadySignal(FILE_LOCK_WORKER, "wait_then_hold", {dir / "x", 1}));
    ASSERT_TRUE(wait_for_queue(dir / "x", i + 1)) << waiters.back().report();
  }
  const auto holder = lock.holder();
  ASSERT_EQ(holder->queue.size(), waiters.size());
  for (std::size_t i = 0; i < waiters.size(); ++i) EXPECT_EQ(holder->queue[i].pid(), waiters[i].pid());
  EXPECT_TRUE(to_string(*holder).ends_with(", 4 waiting")) << to_string(*holder);
  EXPECT_EQ(holder->owner, ProcessIdentity::self());
  EXPECT_TRUE(lock.unlock());
  ReleaseTogether(waiters);
  ExpectWorkersOk(waiters);
}

TEST(FileLockHolder, ListsNobodyWhoWaitsWithoutFairness) {
  const TempDir dir;
  FileLock lock{dir / "x", {.fair = false}};
  lock.lock();
  auto waiter = SpawnWorkerWithReadySignal(FILE_LOCK_WORKER, "wait_then_hold", {dir / "x", 0});
  ASSERT_EQ(waiter.wait_for_ready(), Ready::yes);
  EXPECT_TRUE(lock.holder()->queue.empty());
  EXPECT_TRUE(lock.unlock());
  waiter.release();
  holdfast::harness::ExpectWorkerOk(waiter);
}

TEST(FileLockHolder, ShowsADeadOwnerAsDead) {
  const TempDir dir;
  auto owner = SpawnWorkerWithReadySignal(FILE_LOCK_WORKER, "hold_until_released", {dir / "x", 1});
  ASSERT_EQ(owner.wait_for_ready(), Ready::yes) << owner.report();
  owner.kill();
  const auto holder = FileLock::holder(dir / "x");
  ASSERT_TRUE(holder);
  EXPECT_EQ(holder->liveness, holdfast::Liveness::dead);
  EXPECT_EQ(holder->owner->pid(), owner.pid());
  const auto words = to_string(*holder);
  EXPECT_TRUE(words.starts_with("taken ") && words.ends_with(", which has died since")) << words;
  FileLock lock{dir / "x"};
  EXPECT_TRUE(lock.try_lock()) << "looking did not disturb";
}

// ---- where the working directory is odd ------------------------------------------------------------------------------

namespace {
/// Runs in a child: the working directory is the whole process's.
void in_a_child(const std::function<bool()>& run) {
  std::fflush(nullptr);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    bool ok = false;
    try {
      ok = run();
    } catch (const std::exception& exception) {
      std::fprintf(stderr, "%s\n", exception.what());
    }
    ::_exit(ok ? 0 : 1);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) ASSERT_EQ(errno, EINTR);
  EXPECT_EQ(status, 0);
}
}  // namespace

TEST(FileLockSpelling, ADotIsTheDirectoryByItsName) {
  const TempDir dir;
  fs::create_directory(dir / "data");
  FileLock lock{dir / "data"};
  lock.lock();
  in_a_child([&] {
    if (::chdir((dir / "data").c_str()) != 0) return false;
    FileLock here{"."}, also{"../data/."};
    return !here.try_lock() && !also.try_lock();
  });
}

TEST(FileLockSpelling, ADotInADirectoryThatIsRemovedIsRefused) {
  const TempDir dir;
  in_a_child([&] {
    fs::create_directory(dir / "gone");
    fs::create_directory(dir / "gone (deleted)");  // what the kernel calls it then
    if (::chdir((dir / "gone").c_str()) != 0) return false;
    fs::remove(dir / "gone");
    const auto code = code_of([] { FileLock{"."}; });
    const auto inside = code_of([] { FileLock{"x"}.lock(); });
    return code == std::errc::no_such_file_or_directory && inside == std::errc::no_such_file_or_directory;
  });
  EXPECT_TRUE(fs::is_empty(dir / "gone (deleted)"));
}

TEST(FileLockSpelling, RelativePathsWorkDeeperThanAPathCanBeLong) {
  const TempDir dir;
  in_a_child([&] {
    const std::string step(200, 'd');
    if (::chdir(dir.path().c_str()) != 0) return false;
    for (int i = 0; i < 25; ++i)
      if (::mkdir(step.c_str(), 0700) != 0 || ::chdir(step.c_str()) != 0) return false;
    FileLock lock{"x"};
    lock.lock();
    FileLock other{"../" + step + "/x"};
    const bool busy = code_of([&] { static_cast<void>(other.try_lock()); }) == std::errc::resource_deadlock_would_occur;
    const bool dot_is_refused = code_of([] { FileLock{"."}; }) != std::error_code{};  // its name cannot be found out
    return busy && dot_is_refused && lock.unlock() && !FileLock::holder("x");
  });
}
