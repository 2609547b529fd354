// os_failure_worker - a process that uses a FileLock in hostile surroundings: see surroundings.hpp for `under`.
//
// Arguments of most scenarios: the resource, and a list out of fair or unfair, user, group or everyone, separated by commas.
// What they print: "locked", "locked after <identity>", "busy", "unlocked", "not unlocked: <code>: <message>", or
// "error <code>: <what()>", with codes as "<category>:<number>".
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>
#include <holdfast/file_lock.hpp>
#include <holdfast/testing/worker.hpp>

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "descriptor_limit.hpp"
#include "hostile_schedule.hpp"
#include "surroundings.hpp"

namespace {
using holdfast::Error;
using holdfast::FileLock;
using holdfast::FileLockOptions;
using holdfast::Holder;
using holdfast::LockOutcome;
using holdfast::ProcessIdentity;
using holdfast::Sharing;
using holdfast::harness::Scenario;
using holdfast::harness::signal_test_ready;
using holdfast::harness::WorkerContext;
using namespace holdfast::test;
using namespace std::chrono_literals;

FileLockOptions options_of(const WorkerContext& context) {
  FileLockOptions options;
  std::istringstream list{context.argument_count() > 1 ? context.argument(1) : ""};
  for (std::string word; std::getline(list, word, ',');) {
    if (word == "unfair") options.fair = false;
    if (word == "group") options.sharing = Sharing::group;
    if (word == "everyone") options.sharing = Sharing::everyone;
  }
  return options;
}

std::string code_of(const std::error_code& code) {
  return std::string{code.category().name()} + ":" + std::to_string(code.value());
}

void print_error(const Error& error) { std::printf("error %s: %s\n", code_of(error.code()).c_str(), error.what()); }

void print_locked(const FileLock& lock) {
  if (const auto previous = lock.previous_owner())
    std::printf("locked after %s\n", previous->encode().c_str());
  else
    std::printf("locked\n");
}

bool print_unlocked(FileLock& lock) {
  std::error_code why;
  if (lock.unlock(why)) {
    std::printf("unlocked\n");
    return true;
  }
  std::printf("not unlocked: %s: %s\n", code_of(why).c_str(), why.message().c_str());
  return false;
}

/// Calls it and prints what came of it. True: the lock is held.
bool attempt(FileLock& lock, const std::function<bool()>& call) {
  try {
    const bool locked = call();
    if (locked)
      print_locked(lock);
    else
      std::printf("busy\n");
    return locked;
  } catch (const Error& error) {
    print_error(error);
    return false;
  }
}

/// Only there: for its namespaces and mounts.
int keep(WorkerContext& context) {
  signal_test_ready();
  return context.wait_for_release();
}

int nothing(WorkerContext&) { return 0; }

/// Has the lock when it is ready; prints its identity first.
int hold(WorkerContext& context) {
  std::printf("%s\n", ProcessIdentity::self().encode().c_str());
  FileLock lock{context.argument(0), options_of(context)};
  lock.lock();
  print_locked(lock);
  signal_test_ready();
  const int code = context.wait_for_release();
  return print_unlocked(lock) ? code : 1;
}

/// Destroys the object when released, and says so.
int hold_and_destroy(WorkerContext& context) {
  std::printf("%s\n", ProcessIdentity::self().encode().c_str());
  std::optional<FileLock> lock{std::in_place, context.argument(0), options_of(context)};
  lock->lock();
  print_locked(*lock);
  signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  lock.reset();
  std::printf("destroyed\n");
  return context.wait_for_release();
}

/// Ready before it waits; holds the lock then until it is released.
int wait_then_hold(WorkerContext& context) {
  std::printf("%s\n", ProcessIdentity::self().encode().c_str());
  FileLock lock{context.argument(0), options_of(context)};
  signal_test_ready();
  if (!attempt(lock, [&] { return lock.lock(), true; })) return 0;
  const int code = context.wait_for_release();
  return print_unlocked(lock) ? code : 1;
}

/// Keeps an object that has been used, and with it its side names; uses it again when released.
int idle(WorkerContext& context) {
  FileLock lock{context.argument(0), options_of(context)};
  if (attempt(lock, [&] { return lock.try_lock(); })) print_unlocked(lock);
  signal_test_ready();
  const int code = context.wait_for_release();
  if (code == 0 && attempt(lock, [&] { return lock.try_lock(); })) print_unlocked(lock);
  return code;
}

/// Argument 2: "lock", "try", or milliseconds. Makes one attempt and gives the lock back; errors are an answer.
int try_once(WorkerContext& context) {
  try {
    FileLock lock{context.argument(0), options_of(context)};
    const auto how = context.argument(2);
    if (attempt(lock, [&] {
          if (how == "try") return lock.try_lock();
          if (how != "lock") return lock.try_lock_for(std::chrono::milliseconds{context.number(2)});
          return lock.lock(), true;
        }))
      print_unlocked(lock);
  } catch (const Error& error) {
    print_error(error);
  }
  return 0;
}

int show_holder(WorkerContext& context) {
  try {
    std::printf("%s\n", to_string(FileLock::holder(context.argument(0))).c_str());
  } catch (const Error& error) {
    print_error(error);
  }
  return 0;
}

/// Argument 2: a file with a number in it. Argument 3: how often to increment it.
int increment(WorkerContext& context) {
  FileLock lock{context.argument(0), options_of(context)};
  signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  const auto file = context.argument(2);
  for (std::int64_t i = context.number(3); i > 0; --i) {
    lock.lock();
    long value = 0;
    std::ifstream{file} >> value;
    std::ofstream{file} << value + 1;
    if (!print_unlocked(lock)) return 1;
  }
  return 0;
}

/// Argument 0: the file, 1: how often, 2 to 4: resources, locked all together in this order.
int increment_under_three(WorkerContext& context) {
  FileLock first{context.argument(2)}, second{context.argument(3)}, third{context.argument(4)};
  signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  const auto file = context.argument(0);
  for (std::int64_t i = context.number(1); i > 0; --i) {
    const std::scoped_lock all{first, second, third};
    long value = 0;
    std::ifstream{file} >> value;
    std::ofstream{file} << value + 1;
  }
  return 0;
}

/// The same as increment, with a new object each time. Stops at random before steps of the protocol.
int increment_with_new_objects(WorkerContext& context) {
  signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  hostile_schedule(static_cast<std::uint64_t>(::getpid()), 20, 500);
  const auto file = context.argument(2);
  for (std::int64_t i = context.number(3); i > 0; --i) {
    FileLock lock{context.argument(0), options_of(context)};
    lock.lock();
    long value = 0;
    std::ifstream{file} >> value;
    std::ofstream{file} << value + 1;
    if (!print_unlocked(lock)) return 1;
  }
  return 0;
}

/// As a program that knows nothing of holdfast: argument 0 is a directory to be made and removed.
int increment_by_mkdir(WorkerContext& context) {
  const auto directory = context.argument(0), file = context.argument(2);
  signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  for (std::int64_t i = context.number(3); i > 0; --i) {
    while (::mkdir(directory.c_str(), 0700) != 0) {
      if (errno != EEXIST) fail("mkdir");
      std::this_thread::yield();
    }
    long value = 0;
    std::ifstream{file} >> value;
    std::ofstream{file} << value + 1;
    if (::rmdir(directory.c_str()) != 0) fail("rmdir");
  }
  return 0;
}

/// Waits for a second for a lock that stays busy. Prints how often it gave up the processor meanwhile, which is the same on a
/// busy machine, and how many microseconds of it it took, which tells who never gives it up.
int wait_for_a_second(WorkerContext& context) {
  FileLock lock{context.argument(0), options_of(context)};
  signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  rusage before{}, after{};
  ::getrusage(RUSAGE_SELF, &before);
  const auto start = std::chrono::steady_clock::now();
  if (lock.try_lock_for(1s)) return 1;
  const auto waited = std::chrono::steady_clock::now() - start;
  ::getrusage(RUSAGE_SELF, &after);
  if (waited < 1s) return 1;
  const auto microseconds = [](const rusage& usage) {
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1'000'000L + usage.ru_utime.tv_usec +
           usage.ru_stime.tv_usec;
  };
  std::printf("%ld %ld\n", after.ru_nvcsw - before.ru_nvcsw, microseconds(after) - microseconds(before));
  return 0;
}

/// Signals arrive all the time. A short wait has to last as long as it should, a long one to end with the lock.
int wait_among_signals(WorkerContext& context) {
  FileLock lock{context.argument(0), options_of(context)};
  const auto start = std::chrono::steady_clock::now();
  require(!lock.try_lock_for(100ms), "it must be busy");
  require(std::chrono::steady_clock::now() - start >= 100ms, "a signal must not end a wait");
  signal_test_ready();
  lock.lock();
  print_locked(lock);
  require(lock.unlock(), "unlock");
  for (int i = 0; i < 200; ++i) {
    require(lock.lock() == LockOutcome::clean, "no news");
    require(lock.unlock(), "unlock");
  }
  return 0;
}

/// Needs a PID namespace of its own, with its /proc: there the next pid can be chosen.
int recover_after_pid_reuse(WorkerContext& context) {
  FileLock lock{context.argument(0), options_of(context)};
  for (int attempt = 0; attempt < 100; ++attempt) {
    const pid_t owner = ::fork();
    if (owner < 0) fail("fork");
    if (owner == 0) {
      auto* forgotten = new FileLock{context.argument(0), options_of(context)};
      ::_exit(forgotten->try_lock() ? 0 : 1);
    }
    require(exit_code_of(owner) == 0, "the owner that dies");
    const auto before = FileLock::holder(context.argument(0));
    require(before && before->owner && before->owner->pid() == owner, "it must have left the lock");
    or_skip(write_file("/proc/sys/kernel/ns_last_pid", std::to_string(owner - 1)), "choose the next pid");
    const pid_t another = ::fork();
    if (another < 0) fail("fork");
    if (another == 0)
      for (;;) ::pause();
    require(another == owner, "the pid must be the same");
    const bool told_apart = FileLock::holder(context.argument(0))->liveness == holdfast::Liveness::dead;
    // Start times tick at 10 ms; within a tick it passes for the owner, and is waited for.
    const bool locked = lock.try_lock();
    require(locked == told_apart, "what is shown must be what counts");
    ::kill(another, SIGKILL);
    exit_code_of(another);
    if (!locked) require(lock.try_lock(), "it is dead now");
    require(lock.previous_owner() && *lock.previous_owner() == *before->owner, "the news");
    require(lock.unlock(), "unlock");
    if (!told_apart) continue;
    std::printf("recovered\n");
    return 0;
  }
  throw std::runtime_error{"100 pairs of processes started in the same tick each"};
}

// ---- descriptors ---------------------------------------------------------------------------------------------------

/// Argument 0: a directory of its own. Lets every call run with each number of free descriptors, from none on, until it
/// works; checks after each failure that it is the right error, that nothing is held, and that the next try works.
int run_out_of_descriptors(WorkerContext& context) {
  const std::filesystem::path directory = context.argument(0);
  const auto options = options_of(context);
  static_cast<void>(ProcessIdentity::self());
  constexpr int enough = 12;
  int failures = 0;

  const auto with_each_number = [&](const std::string& name, const std::function<void(int free)>& run) {
    for (int free = 0; free <= enough; ++free) try {
        run(free);
      } catch (const std::exception& exception) {
        throw std::runtime_error{name + ", " + std::to_string(free) + " free: " + exception.what()};
      }
  };
  const auto resource = directory / "x";
  /// True if it worked; false if there were too few descriptors.
  const auto works = [&](const std::function<bool()>& call) {
    try {
      require(call(), "it must lock, or throw");
      return true;
    } catch (const Error& error) {
      require(error.code() == std::errc::too_many_files_open, std::string{"wrong error: "} + error.what());
      const std::string_view what{error.what()};
      require(what.find(directory.string()) != what.npos && what.find("ulimit -n") != what.npos,
              std::string{"not clear: "} + error.what());
      ++failures;
      return false;
    }
  };
  const auto check_free = [&] {
    FileLock other{resource, options};
    require(other.try_lock(), "nothing may be held");
    require(other.unlock(), "unlock");
  };
  const auto check_empty = [&] {
    for (const auto& left : std::filesystem::directory_iterator(directory))
      throw std::runtime_error{"left behind: " + left.path().string()};
  };
  const auto check_usable = [&](FileLock& lock) {
    for (int i = 0; i < 2; ++i) {
      require(lock.try_lock(), "with descriptors it works");
      require(lock.unlock(), "unlock");
    }
  };

  const auto before = open_descriptors();
  with_each_number("construction and first lock", [&](int free) {
    const DescriptorLimit limit{free};
    std::optional<FileLock> lock;
    const bool worked = works([&] {
      lock.emplace(resource, options);
      return lock->try_lock();
    });
    require(!worked || lock->owns_lock(), "it says that it worked");
    limit.lift();
    if (!worked) check_free();
    if (lock) {
      if (worked) require(lock->unlock(), "unlock");
      check_usable(*lock);
    }
    lock.reset();
    check_empty();
  });
  with_each_number("second lock", [&](int free) {
    FileLock lock{resource, options};
    check_usable(lock);
    const DescriptorLimit limit{free};
    const bool worked = works([&] { return lock.try_lock(); });
    limit.lift();
    if (worked)
      require(lock.unlock(), "unlock");
    else
      check_free();
    check_usable(lock);
  });
  with_each_number("release", [&](int free) {
    {
      FileLock lock{resource, options};
      require(lock.try_lock(), "lock");
      const DescriptorLimit limit{free};
      std::error_code why;
      require(lock.unlock(why), "a release needs no descriptor: " + why.message());
      require(!lock.owns_lock(), "released");
      limit.lift();
      check_usable(lock);
    }
    check_empty();
  });
  with_each_number("wait", [&](int free) {
    {
      FileLock owner{resource, options};
      std::jthread{[&] { require(owner.try_lock(), "lock"); }}.join();
      FileLock lock{resource, options};
      require(!lock.try_lock(), "it must be busy");
      std::error_code why;
      {
        const DescriptorLimit limit{free};
        try {
          require(!lock.try_lock_for(1ms), "it must be busy");
        } catch (const Error& error) {
          require(error.code() == std::errc::too_many_files_open, std::string{"wrong error: "} + error.what());
          ++failures;
        }
        std::stop_source stop;
        try {
          require(!lock.try_lock_until(stop.get_token(), 1ms), "it must be busy");
        } catch (const Error& error) {
          require(error.code() == std::errc::too_many_files_open, std::string{"wrong error: "} + error.what());
          ++failures;
        }
      }
      require(!lock.try_lock_for(1ms), "it must be busy");
      require(owner.unlock(why), why.message());
      check_usable(lock);
      check_usable(owner);
    }
    check_empty();
  });
  with_each_number("recovery", [&](int free) {
    std::fflush(nullptr);
    const pid_t dead = ::fork();
    if (dead == 0) {
      auto* forgotten = new FileLock{resource, options};
      ::_exit(forgotten->try_lock() ? 0 : 1);
    }
    require(exit_code_of(dead) == 0, "the owner that dies");
    {
      FileLock lock{resource, options};
      const DescriptorLimit limit{free};
      const bool worked = works([&] { return lock.try_lock(); });
      if (worked) {
        require(lock.previous_owner() && lock.previous_owner()->pid() == dead, "the news");
        require(lock.unlock(), "unlock");
      }
      limit.lift();
      if (!worked) {
        require(lock.try_lock(), "with descriptors it works");
        require(lock.previous_owner() && lock.previous_owner()->pid() == dead, "the news comes later");
        require(lock.unlock(), "unlock");
      }
      check_usable(lock);
    }
    check_empty();
  });
  require(open_descriptors() == before, "descriptors are left open");
  require(failures > 10, "descriptors must have run out: only " + std::to_string(failures) + " failures");
  return 0;
}

constexpr Scenario scenarios[] = {
    {"keep", keep},
    {"nothing", nothing},
    {"hold", hold},
    {"hold_and_destroy", hold_and_destroy},
    {"wait_then_hold", wait_then_hold},
    {"idle", idle},
    {"try_once", try_once},
    {"show_holder", show_holder},
    {"increment", increment},
    {"increment_under_three", increment_under_three},
    {"increment_with_new_objects", increment_with_new_objects},
    {"increment_by_mkdir", increment_by_mkdir},
    {"recover_after_pid_reuse", recover_after_pid_reuse},
    {"wait_for_a_second", wait_for_a_second},
    {"wait_among_signals", wait_among_signals},
    {"run_out_of_descriptors", run_out_of_descriptors},
};
}  // namespace

/// Without /proc the leak detector cannot look, and ends the program.
extern "C" const char* __asan_default_options();  // NOLINT(bugprone-reserved-identifier)
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }

int main(int argc, char** argv) { return run_worker_under(scenarios, argc, argv); }
