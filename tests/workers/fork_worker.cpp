// fork_worker - a process that forks, execs or loses its descriptors while it has a FileLock.
// What has to be true inside a process is checked here: a scenario that finds otherwise ends with the reason as its error.
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>
#include <holdfast/file_lock.hpp>
#include <holdfast/testing/worker.hpp>

#include "../exclusion/counter_file.hpp"

namespace {
using holdfast::FileLock;
using holdfast::LockOutcome;
using holdfast::harness::Scenario;
using holdfast::harness::signal_test_ready;
using holdfast::harness::WorkerContext;
using holdfast::test::CounterFile;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

#define REQUIRE(condition)                                                                                \
  do {                                                                                                    \
    if (!(condition)) throw std::runtime_error{"line " + std::to_string(__LINE__) + ": not " #condition}; \
  } while (false)

/// Forks; the child runs this and ends, 0 if it did not throw.
template <class Function>
pid_t fork_and_run(Function run) {
  std::fflush(stdout);  // or the child would print it again
  const pid_t child = ::fork();
  if (child < 0) throw std::system_error{errno, std::generic_category(), "fork"};
  if (child > 0) return child;
  int code = 0;
  try {
    run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "forked child: %s\n", error.what());
    code = 1;
  }
  std::fflush(stdout);
  std::_Exit(code);
}

void require_success(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) REQUIRE(errno == EINTR);
  REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

void print_news(const FileLock& lock) {
  if (const auto previous = lock.previous_owner())
    std::printf("locked, after the death of %lld\n", static_cast<long long>(previous->pid()));
  else
    std::printf("locked\n");
}

/// F9: the child does not own its parent's lock and cannot release it, whatever it does with its copy.
int child_copy_is_inert(WorkerContext& context) {
  std::optional<FileLock> lock{std::in_place, context.argument(0)};
  lock->lock();
  const auto child = fork_and_run([&] {
    REQUIRE(!lock->owns_lock());
    REQUIRE(lock->outcome() == LockOutcome::clean);
    std::error_code why;
    REQUIRE(!lock->unlock(why));
    REQUIRE(why == std::errc::operation_not_permitted);
    REQUIRE(lock->holder().has_value());
    REQUIRE(lock->holder()->owner->pid() == ::getppid());
    REQUIRE(!lock->try_lock());  // the copy is a contender of its own, and its parent is in the way
    REQUIRE(!lock->try_lock_for(20ms));
    lock.reset();
    FileLock another{context.argument(0)};
    REQUIRE(!another.try_lock());
  });
  require_success(child);
  REQUIRE(lock->owns_lock());
  REQUIRE(lock->holder()->owner->pid() == ::getpid());
  REQUIRE(lock->unlock());
  lock->lock();
  REQUIRE(lock->outcome() == LockOutcome::clean);
  return 0;
}

/// The same, with guards: what the child unwinds leaves the parent's lock alone.
int child_unwinds_guards(WorkerContext& context) {
  FileLock lock{context.argument(0)};
  std::optional<std::lock_guard<FileLock>> guard{std::in_place, lock};
  const auto child = fork_and_run([&] { guard.reset(); });
  require_success(child);
  REQUIRE(lock.owns_lock());
  REQUIRE(lock.holder()->owner->pid() == ::getpid());
  return 0;
}

/// Holds it, with a forked child that lives on. The child prints its pid; told to, it takes the lock for itself.
int hold_with_child(WorkerContext& context) {
  FileLock lock{context.argument(0)};
  lock.lock();
  fork_and_run([&] {
    std::printf("child %d\n", static_cast<int>(::getpid()));
    std::fflush(stdout);
    REQUIRE(context.wait_for_release() == 0);
    lock.lock();
    print_news(lock);
    REQUIRE(lock.unlock());
  });
  signal_test_ready();
  ::pause();  // until it is killed
  return 1;
}

/// The same with a child that the C library knows nothing of: no handler runs, and it keeps all descriptors.
int hold_with_raw_clone(WorkerContext& context) {
  FileLock lock{context.argument(0)};
  lock.lock();
  std::fflush(stdout);
  const long child = ::syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr);
  REQUIRE(child >= 0);
  if (child == 0) {
    char byte = 0;  // until the release; no function of the harness, which may use the C library's locks
    const int control = std::atoi(std::getenv("HOLDFAST_TEST_CONTROL_FD"));
    while (::read(control, &byte, 1) < 0 && errno == EINTR) {
    }
    ::_exit(0);
  }
  std::printf("child %ld\n", child);
  std::fflush(stdout);
  signal_test_ready();
  ::pause();
  return 1;
}

/// Holds it, with a program started by posix_spawn (vfork and exec) that lives on.
int hold_with_spawned_program(WorkerContext& context) {
  FileLock lock{context.argument(0)};
  lock.lock();
  const char* const arguments[] = {"sleep", "1000", nullptr};
  pid_t program = 0;
  REQUIRE(::posix_spawnp(&program, "sleep", nullptr, nullptr, const_cast<char**>(arguments), environ) == 0);
  std::printf("child %d\n", static_cast<int>(program));
  signal_test_ready();
  ::pause();
  return 1;
}

/// Called by unlinkat, see below, once.
void (*at_removal)() = nullptr;

/// A FileLock is destroyed. Before it has removed any of its names another thread forks a child that lives on.
int be_destroyed_with_child(WorkerContext& context) {
  static WorkerContext& its_context = context;
  std::optional<FileLock> lock{std::in_place, context.argument(0)};
  lock->lock();
  REQUIRE(lock->unlock());
  at_removal = [] {
    std::thread{[] {
      fork_and_run([] {
        std::printf("child %d\n", static_cast<int>(::getpid()));
        std::fflush(stdout);
        (void)its_context.wait_for_release();
      });
    }}.join();
    signal_test_ready();
    ::pause();
  };
  lock.reset();
  return 1;
}

/// One thread waits in lock(), another forks a child that lives on.
int wait_with_child(WorkerContext& context) {
  FileLock lock{context.argument(0)};
  std::thread{[&lock] { lock.lock(); }}.detach();
  while (true) {
    const auto holder = lock.holder();
    REQUIRE(holder.has_value());
    if (!holder->queue.empty() && holder->queue.front().pid() == ::getpid()) break;
    std::this_thread::yield();
  }
  fork_and_run([&] {
    std::printf("child %d\n", static_cast<int>(::getpid()));
    std::fflush(stdout);
    (void)context.wait_for_release();
  });
  signal_test_ready();
  ::pause();
  return 1;
}

/// Waits its turn without any child. Ready before it waits.
int wait_alone(WorkerContext& context) {
  FileLock lock{context.argument(0)};
  signal_test_ready();
  lock.lock();
  print_news(lock);
  const int code = context.wait_for_release();
  return lock.unlock() ? code : 1;
}

/// Parent and children use copies of one object, each for itself.
int children_contend(WorkerContext& context) {
  FileLock lock{context.argument(0)};
  const CounterFile counter{context.argument(1)};
  counter.create();
  const auto increment = [&] {
    for (int i = 0; i < 20; ++i) {
      const std::lock_guard guard{lock};
      counter.write(counter.read() + 1);
    }
  };
  std::vector<pid_t> children;
  for (int i = 0; i < 5; ++i) {
    children.push_back(fork_and_run([&] {
      increment();
      std::optional<FileLock> copy{std::move(lock)};
      copy.reset();  // a forked child that ends by _exit has to drop its objects itself
    }));
    increment();
  }
  for (const auto child : children) require_success(child);
  REQUIRE(counter.read() == 200);
  return 0;
}

/// Three threads lock without a break, while a fourth forks children that use copies of their objects and new ones.
int fork_among_threads(WorkerContext& context) {
  const auto resource = context.argument(0);
  const CounterFile counter{context.argument(1)};
  counter.create();
  std::optional<FileLock> shared{std::in_place, resource};
  std::optional<FileLock> own[2];
  for (auto& lock : own) lock.emplace(resource);
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> increments{0};
  const auto increment = [&](FileLock& lock) {
    const std::lock_guard guard{lock};
    counter.write(counter.read() + 1);
  };
  constexpr int forks = 40;
  {
    const auto work = [&](FileLock& lock) {
      while (!stop) {
        increment(lock);
        ++increments;
      }
    };
    std::vector<std::jthread> threads;
    threads.emplace_back([&] { work(*shared); });
    threads.emplace_back([&] { work(*shared); });
    threads.emplace_back([&] { work(*own[0]); });
    struct StopAtEnd {
      std::atomic<bool>& stop;
      ~StopAtEnd() { stop = true; }
    } stop_at_end{stop};
    for (int i = 0; i < forks; ++i)
      require_success(fork_and_run([&] {
        increment(*shared);  // some thread of the parent was in the middle of it
        increment(*own[1]);  // nobody was
        {
          FileLock fresh{resource};
          increment(fresh);
        }
        shared.reset();
        for (auto& lock : own) lock.reset();
      }));
  }
  REQUIRE(counter.read() == increments + forks * 3);
  return 0;
}

/// Takes the lock and becomes another program, or its own again.
int hold_then_exec(WorkerContext& context) {
  FileLock lock{context.argument(0)};
  lock.lock();
  const auto self = fs::read_symlink("/proc/self/exe");
  const auto program = context.argument(1);
  const auto resource = context.argument(0);
  if (program == "sleep") {
    signal_test_ready();
    ::execlp("sleep", "sleep", "1000", nullptr);
  } else {
    ::execl(self.c_str(), self.c_str(), "after_exec", resource.c_str(), nullptr);
  }
  throw std::system_error{errno, std::generic_category(), "exec"};
}
int after_exec(WorkerContext& context) {
  signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  FileLock lock{context.argument(0)};
  REQUIRE(lock.try_lock());  // its former image is gone for ever, and it is the only one that knows
  print_news(lock);
  return lock.unlock() ? 0 : 1;
}

/// Closes what it has open in the directory of the lock, as closefrom() and daemons do; the harness keeps its own.
void close_all_below(const fs::path& directory) {
  std::vector<int> found;
  for (const auto& entry : fs::directory_iterator{"/proc/self/fd"}) {
    std::error_code ignored;
    const auto target = fs::read_symlink(entry.path(), ignored).native();
    if (target.starts_with(directory.native())) found.push_back(std::stoi(entry.path().filename().native()));
  }
  REQUIRE(!found.empty());
  for (const int descriptor : found) ::close(descriptor);
}
int hold_without_descriptors(WorkerContext& context) {
  FileLock lock{context.argument(0)};
  lock.lock();
  close_all_below(fs::canonical(fs::path{context.argument(0)}.parent_path()));
  signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  REQUIRE(lock.owns_lock());
  std::_Exit(0);
}

constexpr Scenario scenarios[] = {
    {"child_copy_is_inert", child_copy_is_inert},
    {"child_unwinds_guards", child_unwinds_guards},
    {"hold_with_child", hold_with_child},
    {"hold_with_raw_clone", hold_with_raw_clone},
    {"hold_with_spawned_program", hold_with_spawned_program},
    {"be_destroyed_with_child", be_destroyed_with_child},
    {"wait_with_child", wait_with_child},
    {"wait_alone", wait_alone},
    {"children_contend", children_contend},
    {"fork_among_threads", fork_among_threads},
    {"hold_then_exec", hold_then_exec},
    {"after_exec", after_exec},
    {"hold_without_descriptors", hold_without_descriptors},
};
}  // namespace

/// In the place of the C library's: all that holdfast removes goes through here.
extern "C" int unlinkat(int at, const char* name, int flags) {
  if (auto* const run = std::exchange(at_removal, nullptr)) run();
  return static_cast<int>(::syscall(SYS_unlinkat, at, name, flags));
}

int main(int argc, char** argv) { return holdfast::harness::run_worker(scenarios, argc, argv); }
