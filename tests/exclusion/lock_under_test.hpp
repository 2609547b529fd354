// lock_under_test.hpp - one interface over FileLock, DataBlockMutex and locks that are known to be right or wrong, by name: a
// suite that is to be trusted has to accept the right ones and to reject the wrong ones.
#pragma once
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <holdfast/data_block_mutex.hpp>
#include <holdfast/deadline.hpp>
#include <holdfast/file_lock.hpp>

#include "naive_lock.hpp"

namespace holdfast::test {
class LockUnderTest {
 public:
  LockUnderTest() = default;
  LockUnderTest(const LockUnderTest&) = delete;
  LockUnderTest& operator=(const LockUnderTest&) = delete;
  virtual ~LockUnderTest() = default;

  virtual bool try_lock_until(Deadline deadline) = 0;
  virtual void unlock() = 0;
  [[nodiscard]] virtual bool owner_died() const { return false; }  ///< What the owner was told of the one before.

  /// Kinds: file_lock, file_lock_unfair, file_lock_mixed (every second object is fair), data_block_mutex, flock (right);
  /// naive, naive_with_grace, nothing (wrong).
  static std::unique_ptr<LockUnderTest> make(std::string_view kind, const std::filesystem::path& resource,
                                             const NaiveLock::Options& naive = {});
};

class FileLockUnderTest final : public LockUnderTest {
 public:
  FileLockUnderTest(const std::filesystem::path& resource, bool fair) : lock_{resource, {.fair = fair}} {}
  bool try_lock_until(Deadline deadline) override {
    if (!deadline.is_never()) return lock_.try_lock_until(deadline);
    lock_.lock();
    return true;
  }
  void unlock() override {
    if (!lock_.unlock()) throw std::runtime_error{"unlock: the lock was gone"};
  }
  [[nodiscard]] bool owner_died() const override { return lock_.outcome() == LockOutcome::owner_died; }

 private:
  FileLock lock_;
};

/// A mutex in a segment of its own, named after the resource; the last object of it that is dropped removes it.
class DataBlockMutexUnderTest final : public LockUnderTest {
 public:
  explicit DataBlockMutexUnderTest(const std::filesystem::path& resource)
      : mutex_{DataBlockMutex::create_or_attach(segment_of(resource))} {}
  bool try_lock_until(Deadline deadline) override {
    if (deadline.is_never())
      mutex_.lock();
    else if (!mutex_.try_lock_until(deadline))
      return false;
    owner_died_ = mutex_.outcome() == LockOutcome::owner_died;
    if (owner_died_) mutex_.declare_repaired();  // the suites repair nothing, and count each death once
    return true;
  }
  void unlock() override { mutex_.unlock(); }
  [[nodiscard]] bool owner_died() const override { return owner_died_; }

  [[nodiscard]] static std::string segment_of(const std::filesystem::path& resource) {
    auto name = resource.native();
    std::replace(name.begin(), name.end(), '/', '_');
    return name;
  }

 private:
  DataBlockMutex mutex_;
  bool owner_died_ = false;
};

/// The kernel's own lock, on a file that stays: right, and the positive control.
class FlockUnderTest final : public LockUnderTest {
 public:
  explicit FlockUnderTest(const std::filesystem::path& resource)
      : file_{::open((resource.native() + ".flock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)} {
    if (file_ < 0) throw std::system_error{errno, std::generic_category(), "open"};
  }
  ~FlockUnderTest() override { ::close(file_); }
  /// flock(2) knows no deadline: with one, a single attempt.
  bool try_lock_until(Deadline deadline) override {
    while (::flock(file_, LOCK_EX | (deadline.is_never() ? 0 : LOCK_NB)) != 0) {
      if (errno == EWOULDBLOCK) return false;
      if (errno != EINTR) throw std::system_error{errno, std::generic_category(), "flock"};
    }
    return true;
  }
  void unlock() override { ::flock(file_, LOCK_UN); }

 private:
  int file_;
};

class NaiveLockUnderTest final : public LockUnderTest {
 public:
  NaiveLockUnderTest(const std::filesystem::path& resource, const NaiveLock::Options& options)
      : lock_{resource, options} {}
  bool try_lock_until(Deadline deadline) override { return lock_.try_lock_until(deadline); }
  void unlock() override { lock_.unlock(); }

 private:
  NaiveLock lock_;
};

/// Lets everybody in.
class NothingUnderTest final : public LockUnderTest {
 public:
  bool try_lock_until(Deadline) override { return true; }
  void unlock() override {}
};

inline std::unique_ptr<LockUnderTest> LockUnderTest::make(std::string_view kind, const std::filesystem::path& resource,
                                                          const NaiveLock::Options& naive) {
  if (kind == "file_lock") return std::make_unique<FileLockUnderTest>(resource, true);
  if (kind == "file_lock_unfair") return std::make_unique<FileLockUnderTest>(resource, false);
  if (kind == "file_lock_mixed") {
    static std::atomic<std::uint64_t> made{static_cast<std::uint64_t>(::getpid())};
    return std::make_unique<FileLockUnderTest>(resource, made.fetch_add(1) % 2 == 0);
  }
  if (kind == "data_block_mutex") return std::make_unique<DataBlockMutexUnderTest>(resource);
  if (kind == "flock") return std::make_unique<FlockUnderTest>(resource);
  if (kind == "nothing") return std::make_unique<NothingUnderTest>();
  NaiveLock::Options options = naive;
  if (kind == "naive_with_grace") options.grace = std::chrono::seconds{1};
  if (kind == "naive" || kind == "naive_with_grace") return std::make_unique<NaiveLockUnderTest>(resource, options);
  throw std::invalid_argument{"no such kind of lock: " + std::string{kind}};
}
}  // namespace holdfast::test
