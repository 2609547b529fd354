// Locks for the tool that are wrong, each in one way: HOLDFAST_TEST_LOCK names it.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <holdfast/file_lock.hpp>

#include "tool/lock_under_test.hpp"

namespace holdfast::tool {
namespace {
using namespace std::chrono_literals;

/// Lets everybody in.
class NoLock : public LockUnderTest {
 public:
  bool lock(Deadline) override { return true; }
  void unlock() override {}
  [[nodiscard]] std::optional<std::int64_t> died_before() const override { return std::nullopt; }
};

/// Ends the process in the middle of its work.
class CrashingLock final : public NoLock {
 public:
  void unlock() override { std::abort(); }
};

/// Waits for ever, whatever the deadline says; except in the race, where it would only make the test longer.
class HangingLock final : public NoLock {
 public:
  explicit HangingLock(const std::filesystem::path& resource) : lets_in_{resource.extension() == ".race"} {}
  bool lock(Deadline) override {
    while (!lets_in_) ::pause();
    return true;
  }

 private:
  bool lets_in_;
};

/// Does not work, and says so.
class RefusingLock final : public NoLock {
 public:
  bool lock(Deadline) override { throw std::runtime_error{"no locks today"}; }
};

/// Excludes, polls, and takes nobody for dead.
class DirectoryLock final : public NoLock {
 public:
  explicit DirectoryLock(const std::filesystem::path& resource) : directory_{resource.native() + ".lock"} {}
  bool lock(Deadline deadline) override {
    while (::mkdir(directory_.c_str(), 0777) != 0) {
      if (errno != EEXIST) throw std::system_error{errno, std::generic_category(), "mkdir"};
      if (deadline.passed()) return false;
      std::this_thread::sleep_for(100us);
    }
    return true;
  }
  void unlock() override { std::filesystem::remove(directory_); }

 private:
  std::filesystem::path directory_;
};

/// Excludes, also threads, and survives deaths, but has no news of them.
class SilentLock final : public NoLock {
 public:
  explicit SilentLock(const std::filesystem::path& resource)
      : file_{::open(resource.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)} {
    if (file_ < 0) throw std::system_error{errno, std::generic_category(), "open"};
  }
  ~SilentLock() override { ::close(file_); }
  bool lock(Deadline deadline) override {
    if (!of_threads_.try_lock_until(deadline.time())) return false;
    while (::flock(file_, LOCK_EX | LOCK_NB) != 0) {
      if (deadline.passed()) {
        of_threads_.unlock();
        return false;
      }
      std::this_thread::sleep_for(100us);
    }
    return true;
  }
  void unlock() override {
    ::flock(file_, LOCK_UN);
    of_threads_.unlock();
  }

 private:
  int file_;
  std::timed_mutex of_threads_;
};

/// A right one, that leaves something behind.
class LitteringLock final : public LockUnderTest {
 public:
  explicit LitteringLock(const std::filesystem::path& resource) : resource_{resource}, lock_{resource} {}
  ~LitteringLock() override { std::ofstream{resource_.native() + ".litter"}; }
  bool lock(Deadline deadline) override { return lock_.try_lock_until(deadline); }
  void unlock() override { lock_.unlock(); }
  [[nodiscard]] std::optional<std::int64_t> died_before() const override {
    const auto previous = lock_.previous_owner();
    return previous ? std::optional{previous->pid()} : std::nullopt;
  }

 private:
  std::filesystem::path resource_;
  FileLock lock_;
};
}  // namespace

std::unique_ptr<LockUnderTest> make_lock(const std::filesystem::path& resource, bool) {
  const char* const name = std::getenv("HOLDFAST_TEST_LOCK");
  const std::string_view kind = name == nullptr ? "" : name;
  // The trial before the run is only about the directory.
  const bool trial = resource.extension() == ".trial";
  if (kind == "none" || trial) return std::make_unique<NoLock>();
  if (kind == "crashing") return std::make_unique<CrashingLock>();
  if (kind == "hanging") return std::make_unique<HangingLock>(resource);
  if (kind == "refusing") return std::make_unique<RefusingLock>();
  if (kind == "directory") return std::make_unique<DirectoryLock>(resource);
  if (kind == "silent") return std::make_unique<SilentLock>(resource);
  if (kind == "littering") return std::make_unique<LitteringLock>(resource);
  throw std::invalid_argument{"HOLDFAST_TEST_LOCK names no lock"};
}
}  // namespace holdfast::tool
