// data_block_mutex_worker - a process that takes a DataBlockMutex, and then is killed, ends badly, forks, execs or forgets it.
// What has to be true inside a process is checked here: a scenario that finds otherwise ends with the reason as its error.
//
// The first argument of all scenarios is the name of the segment.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <functional>
#include <mutex>
#include <numeric>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <holdfast/data_block_mutex.hpp>
#include <holdfast/testing/worker.hpp>

#include "../exclusion/shared_section.hpp"
#include "surroundings.hpp"

namespace {
using holdfast::DataBlockMutex;
using holdfast::LockOutcome;
using holdfast::ProcessIdentity;
using holdfast::SharedMemory;
using holdfast::harness::Scenario;
using holdfast::harness::signal_test_ready;
using holdfast::harness::WorkerContext;
using holdfast::test::plain;
using holdfast::test::section_segment;
using holdfast::test::shared;
using holdfast::test::SharedSection;
using namespace std::chrono_literals;

#define REQUIRE(condition)                                                                                \
  do {                                                                                                    \
    if (!(condition)) throw std::runtime_error{"line " + std::to_string(__LINE__) + ": not " #condition}; \
  } while (false)

DataBlockMutex mutex_of(const WorkerContext& context) { return DataBlockMutex::create_or_attach(context.argument(0)); }

std::string pid_of(const std::optional<ProcessIdentity>& identity) {
  return identity ? std::to_string(identity->pid()) : "nobody inside";
}

void print_news(const DataBlockMutex& mutex) {
  if (mutex.outcome() == LockOutcome::clean)
    std::printf("locked\n");
  else
    std::printf("locked, after the death of %s, first %s\nnews: %s\n", pid_of(mutex.previous_owner()).c_str(),
                pid_of(mutex.first_lost_owner()).c_str(), mutex.news().c_str());
}

std::error_code code_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const holdfast::Error& error) {
    return error.code();
  }
  return {};
}

void work_for(std::chrono::microseconds time) {
  const auto end = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < end) {
  }
}

// ---- owners and waiters --------------------------------------------------------------------------------------------

int hold(WorkerContext& context, DataBlockMutex mutex) {
  mutex.lock();
  print_news(mutex);
  signal_test_ready();
  const int code = context.wait_for_release();
  mutex.unlock();
  return code;
}
int create_then_hold(WorkerContext& context) { return hold(context, DataBlockMutex::create(context.argument(0))); }
int hold_until_released(WorkerContext& context) { return hold(context, mutex_of(context)); }

/// Ready before it has the mutex: the parent sees in /proc when it sleeps.
int wait_then_hold(WorkerContext& context) {
  auto mutex = DataBlockMutex::attach(context.argument(0));
  signal_test_ready();
  mutex.lock();
  print_news(mutex);
  const int code = context.wait_for_release();
  mutex.unlock();
  return code;
}

/// Declares the data repaired, and goes on holding it.
int repair_then_hold(WorkerContext& context) {
  auto mutex = mutex_of(context);
  mutex.lock();
  print_news(mutex);
  mutex.declare_repaired();
  signal_test_ready();
  const int code = context.wait_for_release();
  mutex.unlock();
  return code;
}

/// Waits for as many milliseconds as the second argument says.
int wait_for_a_while(WorkerContext& context) {
  auto mutex = mutex_of(context);
  signal_test_ready();
  if (!mutex.try_lock_for(std::chrono::milliseconds{context.number(1)})) {
    std::printf("timed out\n");
    return context.wait_for_release();
  }
  print_news(mutex);
  mutex.unlock();
  return 0;
}

/// So many times, each time with another record.
int attach_often(WorkerContext& context) {
  signal_test_ready();
  for (auto left = context.number(1); left > 0; --left) static_cast<void>(mutex_of(context));
  return 0;
}

/// Ends in the way that the second argument names, with the mutex.
int end_while_holding(WorkerContext& context) {
  auto mutex = mutex_of(context);
  mutex.lock();
  signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  const auto way = context.argument(1);
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  if (way == "_exit") std::_Exit(0);
  if (way == "exit") std::exit(0);  // runs static destructors, not those of this function
  if (way == "abort") std::abort();
  if (way == "SIGKILL") std::raise(SIGKILL);
  if (way == "SIGSEGV") std::raise(SIGSEGV);
  if (way == "terminate") std::terminate();
  if (way == "thread_calls_exit") {
    std::thread{[] { std::_Exit(0); }}.join();
  }
  return 1;
}

// ---- contention ----------------------------------------------------------------------------------------------------

/// Adds 1 to the counter so many times; the third argument is "mutex" or "nothing", with the fourth, "halt", it halts inside.
template <class Mutex>
int increment_under(WorkerContext& context, SharedSection& section, Mutex mutex) {
  bool halt = context.argument_count() > 3 && context.argument(3) == "halt";
  signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  for (std::int64_t i = 0; i < context.number(1); ++i) {
    const std::lock_guard guard{mutex};
    if (shared(section.inside).exchange(static_cast<std::uint64_t>(::getpid())) != 0)
      shared(section.overlaps).fetch_add(1);
    const auto value = plain(section.counter);
    if (std::exchange(halt, false)) {
      std::printf("inside\n");
      if (const int code = context.wait_for_release()) return code;
    }
    plain(section.counter) = value + 1;
    shared(section.inside).store(0);
  }
  return 0;
}
int increment(WorkerContext& context) {
  auto segment = section_segment(context.argument(0));
  auto& section = segment.as<SharedSection>();
  if (context.argument(2) == "nothing") return increment_under(context, section, holdfast::test::NoMutex{});
  return increment_under(context, section, holdfast::test::mutex_of(segment));
}

/// Makes a mutex at the same moment as so many others do, and uses it. All places of the segment are used, one after the other.
void make_together(SharedMemory& segment, std::size_t place, SharedSection& section, std::uint64_t processes) {
  shared(section.progress).fetch_add(1);
  while (shared(section.progress).load() < (place + 1) * processes) std::this_thread::yield();
  auto mutex = DataBlockMutex::in(segment, place * DataBlockMutex::footprint);
  const std::lock_guard guard{mutex};
  if (shared(section.inside).exchange(1) != 0) shared(section.overlaps).fetch_add(1);
  const auto value = plain(section.counter);
  work_for(20us);  // so that another one comes in if he can
  plain(section.counter) = value + 1;
  shared(section.inside).store(0);
}
int make_with_others(WorkerContext& context) {
  auto words = section_segment(context.argument(0));
  auto segment = SharedMemory::attach(context.argument(1));
  signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  for (std::size_t place = 0; place < segment.size() / DataBlockMutex::footprint; ++place)
    make_together(segment, place, words.as<SharedSection>(), static_cast<std::uint64_t>(context.number(2)));
  return 0;
}

/// Works on the words of the section until released or, more likely, killed. Second argument: its account; third: a seed.
int churn(WorkerContext& context) {
  auto segment = section_segment(context.argument(0));
  auto& section = segment.as<SharedSection>();
  auto mutex = holdfast::test::mutex_of(segment);
  auto& account = section.accounts.at(static_cast<std::size_t>(context.number(1)));
  std::minstd_rand random{static_cast<std::minstd_rand::result_type>(context.number(2))};
  const auto one_in = [&random](unsigned n) { return random() % n == 0; };
  signal_test_ready();
  while (!context.released()) {
    if (one_in(8)) {
      if (!mutex.try_lock_for(std::chrono::microseconds{random() % 2000})) continue;
    } else {
      mutex.lock();
    }
    if (mutex.outcome() == LockOutcome::clean) {
      REQUIRE(plain(section.damaged) == 0);  // the news stays until one declares the data repaired
      REQUIRE(shared(section.inside).load() == 0);
      REQUIRE(plain(section.first) == plain(section.second));
    } else {
      REQUIRE(!mutex.news().empty());
      const auto sum = std::accumulate(section.accounts.begin(), section.accounts.end(), std::uint64_t{0});
      const auto missing = plain(section.first) - plain(section.second);  // 1: one died between the first and the last
      REQUIRE(missing <= 1 && sum - plain(section.second) <= missing);
      if (one_in(4)) {
        plain(section.damaged) = 1;
        mutex.unlock();
        continue;
      }
      plain(section.first) = sum;
      plain(section.second) = sum;
      shared(section.inside).store(0);
      plain(section.damaged) = 0;
      mutex.declare_repaired();
    }
    shared(section.inside).store(static_cast<std::uint64_t>(::getpid()));
    shared(section.progress).fetch_add(1);
    plain(section.first) = plain(section.first) + 1;
    work_for(std::chrono::microseconds{random() % 40});
    plain(account) = plain(account) + 1;
    work_for(std::chrono::microseconds{random() % 40});
    plain(section.second) = plain(section.second) + 1;
    shared(section.inside).store(0);
    mutex.unlock();
  }
  return 0;
}

/// Takes the mutex of the section, repairs, and gives it back, between two signals to whoever traces it. The word `step` says
/// how far it is: 1 it has it, 2 it has repaired what there was to repair and is about to give it back, 3 it has given it back.
/// "again": it has had it before, "news": it has had another one. So what only the first time in a thread does is not looked at.
/// "make": instead it makes a mutex in the segment and at the offset that follow.
int go_through(WorkerContext& context) {
  auto segment = section_segment(context.argument(0));
  auto& section = segment.as<SharedSection>();
  auto mutex = holdfast::test::mutex_of(segment);
  if (context.argument(1) == "make") {
    auto other = SharedMemory::attach(context.argument(2));
    const auto offset = static_cast<std::size_t>(context.number(3));
    const auto before = DataBlockMutex::in(other, offset + DataBlockMutex::footprint);
    signal_test_ready();
    if (const int code = context.wait_for_release()) return code;
    std::raise(SIGUSR2);
    const auto made = DataBlockMutex::in(other, offset);
    shared(section.step).store(3);
    std::raise(SIGUSR1);
    return 1;
  }
  auto other = DataBlockMutex::in(segment, offsetof(SharedSection, other_mutex));
  auto& before = context.argument(1) == "again" ? mutex : other;
  before.lock();
  before.unlock();
  signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  std::raise(SIGUSR2);
  const auto outcome = mutex.lock();
  shared(section.step).store(1);
  if (outcome == LockOutcome::owner_died) mutex.declare_repaired();
  shared(section.step).store(2);
  mutex.unlock();
  shared(section.step).store(3);
  std::raise(SIGUSR1);
  return 1;
}

/// Has the mutex of the section until it is killed.
int hold_section(WorkerContext& context) {
  auto segment = section_segment(context.argument(0));
  auto mutex = holdfast::test::mutex_of(segment);
  mutex.lock();
  signal_test_ready();
  return context.wait_for_release();
}

// ---- fork, exec, threads, destruction ------------------------------------------------------------------------------

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

void require_success(pid_t child) { REQUIRE(holdfast::test::exit_code_of(child) == 0); }

/// What a forked child may do with its copy of an object that its parent has locked.
int child_owns_nothing(WorkerContext& context) {
  std::optional<DataBlockMutex> mutex{mutex_of(context)};
  mutex->lock();
  require_success(fork_and_run([&] {
    REQUIRE(!mutex->owns_lock());
    REQUIRE(mutex->outcome() == LockOutcome::clean);
    REQUIRE(!mutex->previous_owner());
    REQUIRE(code_of([&] { mutex->unlock(); }) == std::errc::operation_not_permitted);
    REQUIRE(code_of([&] { mutex->declare_repaired(); }) == std::errc::operation_not_permitted);
    REQUIRE(mutex->holder()->owner->pid() == ::getppid());
    REQUIRE(!mutex->try_lock());  // no deadlock: its parent is in the way
    REQUIRE(!mutex->try_lock_for(20ms));
    mutex.reset();
    auto another = mutex_of(context);
    REQUIRE(!another.try_lock());
  }));
  REQUIRE(mutex->owns_lock());
  REQUIRE(mutex->holder()->owner->pid() == ::getpid());
  mutex->unlock();
  REQUIRE(mutex->lock() == LockOutcome::clean);
  mutex->unlock();
  return 0;
}

/// The child asks for the mutex that its parent has, and gets it when it is given back.
int child_locks_after_parent(WorkerContext& context) {
  auto mutex = mutex_of(context);
  mutex.lock();
  const auto child = fork_and_run([&] {
    REQUIRE(mutex.lock() == LockOutcome::clean);
    REQUIRE(mutex.owns_lock());
    REQUIRE(mutex.holder()->owner == ProcessIdentity::self());
    REQUIRE(mutex.holder()->owner->pid() == ::getpid());
    std::printf("child %d\n", static_cast<int>(::getpid()));
    std::fflush(stdout);
    REQUIRE(context.wait_for_release() == 0);
    mutex.unlock();
  });
  while (mutex.holder()->since == std::chrono::system_clock::time_point{})
    std::this_thread::yield();  // the child waits
  REQUIRE(mutex.owns_lock());
  mutex.unlock();
  signal_test_ready();
  require_success(child);
  REQUIRE(mutex.lock() == LockOutcome::clean);
  REQUIRE(mutex.holder()->owner == ProcessIdentity::self());
  mutex.unlock();
  return 0;
}

/// Holds it, with a forked child that lives on. The child prints its pid; told to, it takes the mutex for itself.
int hold_with_child(WorkerContext& context) {
  auto mutex = mutex_of(context);
  mutex.lock();
  fork_and_run([&] {
    std::printf("child %d\n", static_cast<int>(::getpid()));
    std::fflush(stdout);
    REQUIRE(context.wait_for_release() == 0);
    mutex.lock();
    print_news(mutex);
    mutex.unlock();
  });
  signal_test_ready();
  ::pause();  // until it is killed
  return 1;
}

/// Parent and children use copies of one object, each for itself.
int children_contend(WorkerContext& context) {
  auto segment = section_segment(context.argument(0));
  auto& section = segment.as<SharedSection>();
  auto mutex = holdfast::test::mutex_of(segment);
  const auto increment = [&] {
    for (int i = 0; i < 1000; ++i) {
      const std::lock_guard guard{mutex};
      plain(section.counter) = plain(section.counter) + 1;
    }
  };
  std::vector<pid_t> children;
  for (int i = 0; i < 5; ++i) {
    children.push_back(fork_and_run(increment));
    increment();
  }
  for (const auto child : children) require_success(child);
  REQUIRE(section.counter == 10'000);
  return 0;
}

/// Children that all have their parent's descriptor make a mutex together, each time other children.
int make_with_children(WorkerContext& context) {
  auto words = section_segment(context.argument(0));
  auto segment = SharedMemory::attach(context.argument(1));
  const auto processes = static_cast<std::uint64_t>(context.number(2));
  for (std::size_t place = 0; place < segment.size() / DataBlockMutex::footprint; ++place) {
    std::vector<pid_t> children;
    for (std::uint64_t i = 0; i < processes; ++i)
      children.push_back(fork_and_run([&] { make_together(segment, place, words.as<SharedSection>(), processes); }));
    for (const auto child : children) require_success(child);
  }
  return 0;
}

/// Takes the mutex and becomes another program, or its own again.
int hold_then_exec(WorkerContext& context) {
  auto mutex = mutex_of(context);
  mutex.lock();
  signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  const auto name = context.argument(0);
  if (context.argument(1) == "sleep")
    ::execlp("sleep", "sleep", "1000", nullptr);
  else
    ::execl(std::filesystem::read_symlink("/proc/self/exe").c_str(), "data_block_mutex_worker", "after_exec",
            name.c_str(), nullptr);
  throw std::system_error{errno, std::generic_category(), "exec"};
}
int after_exec(WorkerContext& context) {
  auto mutex = mutex_of(context);
  REQUIRE(mutex.try_lock());
  print_news(mutex);
  mutex.unlock();
  return 0;
}

/// A thread ends with the mutex; the process goes on.
int end_thread_while_holding(WorkerContext& context) {
  auto mutex = mutex_of(context);
  std::thread{[&] {
    mutex.lock();
    signal_test_ready();
    (void)context.wait_for_release();
  }}.join();
  return context.wait_for_release();
}

/// A thread destroys the object, or assigns another to it, while it has the mutex; at a first release it ends, at a second
/// one the process.
int drop_while_holding(WorkerContext& context) {
  const auto other = context.argument_count() > 2 ? std::optional{context.argument(2)} : std::nullopt;
  std::thread{[&] {
    std::optional<DataBlockMutex> mutex{mutex_of(context)};
    mutex->lock();
    if (context.argument(1) == "assign")
      *mutex = DataBlockMutex::create_or_attach(other.value());
    else
      mutex.reset();
    signal_test_ready();
    (void)context.wait_for_release();
  }}.join();
  std::printf("thread ended\n");
  return context.wait_for_release();
}

// ---- namespaces ----------------------------------------------------------------------------------------------------

int nothing(WorkerContext&) { return 0; }

/// Makes or finds the mutex, and says what came of it.
int use(WorkerContext& context) {
  try {
    auto mutex = mutex_of(context);
    std::printf("pid %d, attached\n", static_cast<int>(::getpid()));
    mutex.lock();
    print_news(mutex);
    signal_test_ready();
    const int code = context.wait_for_release();
    mutex.unlock();
    return code;
  } catch (const holdfast::Error& error) {
    std::printf("pid %d, error %s:%d: %s\n", static_cast<int>(::getpid()), error.code().category().name(),
                error.code().value(), error.what());
    signal_test_ready();
    return context.wait_for_release();
  }
}

constexpr Scenario scenarios[] = {
    {"create_then_hold", create_then_hold},
    {"hold_until_released", hold_until_released},
    {"wait_then_hold", wait_then_hold},
    {"repair_then_hold", repair_then_hold},
    {"wait_for_a_while", wait_for_a_while},
    {"attach_often", attach_often},
    {"end_while_holding", end_while_holding},
    {"increment", increment},
    {"make_with_others", make_with_others},
    {"make_with_children", make_with_children},
    {"churn", churn},
    {"go_through", go_through},
    {"hold_section", hold_section},
    {"child_owns_nothing", child_owns_nothing},
    {"child_locks_after_parent", child_locks_after_parent},
    {"hold_with_child", hold_with_child},
    {"children_contend", children_contend},
    {"hold_then_exec", hold_then_exec},
    {"after_exec", after_exec},
    {"end_thread_while_holding", end_thread_while_holding},
    {"drop_while_holding", drop_while_holding},
    {"nothing", nothing},
    {"use", use},
};
}  // namespace

int main(int argc, char** argv) { return holdfast::test::run_worker_under(scenarios, argc, argv); }
