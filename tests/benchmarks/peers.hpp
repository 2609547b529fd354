// peers.hpp - what FileLock is measured against: other locks, and the least that any lock which is a directory has to do.
#pragma once
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <holdfast/platform/descriptor.hpp>

#include "../exclusion/lock_under_test.hpp"

namespace holdfast::benchmarks {
using test::LockUnderTest;

/// A furnished directory is renamed to the lock's place and back, and the file in it is locked meanwhile: the limit. There
/// is no owner's name, no order, no recovery and no wait; what a waiter would need is not even begun.
///   kept_open   the file is opened once: a waiter could not be woken by the end of the channel
///   reopened    a channel, opened and closed each time, as is needed for that
class RenamePair final : public LockUnderTest {
 public:
  enum class Channel { kept_open, reopened };

  RenamePair(const std::filesystem::path& resource, Channel channel)
      : channel_{channel},
        away_{resource.filename().native() + ".away"},
        home_{resource.filename().native() + ".home"},
        parent_{checked(::open(resource.parent_path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC), "open")} {
    checked(::mkdirat(parent_.number(), home_.c_str(), 0700), "mkdir");
    directory_ = platform::Descriptor{
        checked(::openat(parent_.number(), home_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), "open")};
    checked(::mkfifoat(directory_.number(), "o", 0600), "mkfifo");
    if (channel_ == Channel::kept_open) open_channel();
  }
  ~RenamePair() override {
    ::unlinkat(directory_.number(), "o", 0);
    ::unlinkat(parent_.number(), home_.c_str(), AT_REMOVEDIR);
  }

  bool try_lock_until(Deadline) override {
    if (channel_ == Channel::reopened) open_channel();
    checked(::flock(file_.number(), LOCK_EX | LOCK_NB), "flock");
    checked(::renameat2(parent_.number(), home_.c_str(), parent_.number(), away_.c_str(), RENAME_NOREPLACE), "rename");
    return true;
  }
  void unlock() override {
    checked(::renameat(parent_.number(), away_.c_str(), parent_.number(), home_.c_str()), "rename");
    if (channel_ == Channel::reopened)
      file_.close();
    else
      checked(::flock(file_.number(), LOCK_UN), "flock");
  }

 private:
  static int checked(int result, const char* call) {
    if (result < 0) throw std::system_error{errno, std::generic_category(), call};
    return result;
  }
  void open_channel() {
    constexpr int flags = O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC;
    file_ = platform::Descriptor{checked(::openat(directory_.number(), "o", flags), "open")};
  }

  Channel channel_;
  std::string away_, home_;
  platform::Descriptor parent_, directory_, file_;
};

/// Kinds: those of LockUnderTest, and rename_pair, rename_pair_reopened, which are for one process alone.
inline std::unique_ptr<LockUnderTest> make_peer(std::string_view kind, const std::filesystem::path& resource) {
  if (kind == "rename_pair") return std::make_unique<RenamePair>(resource, RenamePair::Channel::kept_open);
  if (kind == "rename_pair_reopened") return std::make_unique<RenamePair>(resource, RenamePair::Channel::reopened);
  return LockUnderTest::make(kind, resource);
}
}  // namespace holdfast::benchmarks
