// naive_lock.hpp - the lock that many programs write first, kept here to be caught: it does not exclude. NEVER use it.
// A negative control for the exclusion suite, and a peer for the benchmarks.
#pragma once
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <functional>
#include <random>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <holdfast/deadline.hpp>

namespace holdfast::test {
/// "Atomic directory creation with PID-based stale detection", as one writes it from that sentence:
///
///   N1  mkdir L                       made it: N2.  There already: N3
///   N2  write my pid to L/pid         owner
///   N3  read L/pid                    a live process: busy, again later.  No process, or no pid: stale, N4
///   N4  rm -rf L, then N1
///   unlock: rm -rf L
///
/// Two holes, neither closed by more checks of the same kind:
///   no pid yet   between N1 and N2 the lock of a living owner has no pid. Whoever looks then takes it for stale, and
///                removes it later, when its owner is inside. No kill is needed.
///   ABA          N4 names the path, not the dead owner's lock. Two contenders judge the same dead owner; the first
///                removes it, makes its own and goes in; the second removes *that*.
/// A grace period, in which a lock without pid counts as busy, makes the first hole rare and leaves the second.
class NaiveLock {
 public:
  /// Where a contender can be held by a test, so that a rare interleaving happens each time.
  enum class Step {
    made_directory,  ///< between N1 and N2
    judged_stale,    ///< between N3 and N4
  };
  struct Options {
    std::chrono::milliseconds grace{0};           ///< How long a lock without pid counts as busy.
    std::function<void(Step)> at_step = nullptr;  ///< Called at each step if set.
  };

  explicit NaiveLock(const std::filesystem::path& resource) : NaiveLock{resource, Options{}} {}
  NaiveLock(const std::filesystem::path& resource, Options options)
      : directory_{resource.native() + ".lock"}, options_{std::move(options)} {}

  void lock() { (void)try_lock_until(Deadline::never()); }

  /// Polls, as such locks do: a random 1 to 50 ms between two attempts.
  bool try_lock_until(Deadline deadline) {
    std::uniform_int_distribution<int> interval{1, 50};
    while (!try_lock()) {
      if (deadline.passed()) return false;
      std::this_thread::sleep_for(
          std::min<std::chrono::nanoseconds>(std::chrono::milliseconds{interval(random_)}, deadline.remaining()));
    }
    return true;
  }

  bool try_lock() {
    for (;;) {
      if (::mkdir(directory_.c_str(), 0777) == 0) {  // N1
        reached(Step::made_directory);
        if (write_pid()) return true;  // N2
        continue;                      // somebody took the directory away meanwhile
      }
      if (errno != EEXIST) throw std::system_error{errno, std::generic_category(), "mkdir " + directory_.native()};
      if (!is_stale()) return false;  // N3
      reached(Step::judged_stale);
      remove();  // N4
    }
  }

  void unlock() { remove(); }

 private:
  void reached(Step step) const {
    if (options_.at_step) options_.at_step(step);
  }

  [[nodiscard]] bool write_pid() const {
    const int file = ::open((directory_ / "pid").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file < 0) return false;
    const std::string pid = std::to_string(::getpid());
    const auto written = ::write(file, pid.data(), pid.size());
    ::close(file);
    return written == static_cast<ssize_t>(pid.size());
  }

  [[nodiscard]] bool is_stale() const {
    char text[32];
    ssize_t length = 0;
    if (const int file = ::open((directory_ / "pid").c_str(), O_RDONLY | O_CLOEXEC); file >= 0) {
      length = ::read(file, text, sizeof text);
      ::close(file);
    }
    pid_t pid = 0;
    if (length <= 0 || std::from_chars(text, text + length, pid).ec != std::errc{}) return is_past_grace();
    return ::kill(pid, 0) != 0 && errno == ESRCH;
  }

  [[nodiscard]] bool is_past_grace() const {
    struct stat status {};
    if (::stat(directory_.c_str(), &status) != 0) return true;  // gone: N1 finds out
    const auto made = std::chrono::seconds{status.st_mtim.tv_sec} + std::chrono::nanoseconds{status.st_mtim.tv_nsec};
    return std::chrono::system_clock::now().time_since_epoch() - made >= options_.grace;
  }

  void remove() const {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }

  std::filesystem::path directory_;
  Options options_;
  std::minstd_rand random_{std::random_device{}()};
};
}  // namespace holdfast::test
