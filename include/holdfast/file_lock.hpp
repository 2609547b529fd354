// file_lock.hpp - one owner at a time for a path, across threads and processes, also when owners are killed.
// Layer 3: builds on deadline.hpp and ownership.hpp. System calls: src/file_lock.cpp and src/file_lock.
#pragma once
#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <stop_token>
#include <system_error>

#include <holdfast/deadline.hpp>
#include <holdfast/error.hpp>
#include <holdfast/ownership.hpp>
#include <holdfast/process_identity.hpp>

namespace holdfast {
/// Who may take part. It sets the modes of what FileLock makes, whatever the umask is; the directory's own permissions
/// come on top. Whoever may take part may also break the lock: share it with people you trust.
enum class Sharing {
  user,      ///< processes of this user
  group,     ///< processes of the directory's or the user's group; a directory with the setgid bit passes its group on
  everyone,  ///< all users of this machine
};

struct FileLockOptions {
  bool fair = true;  ///< In order of arrival. false: whoever comes when it is free; others may wait long.
  Sharing sharing = Sharing::user;  ///< All who use one lock have to choose the same.
};

/// A lock that is a directory, `<resource>.lock`, created atomically with its owner's identity inside.
/// Meets TimedLockable: use it with std::lock_guard, std::unique_lock, std::scoped_lock.
/// Spellings of one resource (relative, with `..`, through symbolic links) are one lock; hard links are not.
///
/// Guarantees (docs/guarantees.md has all of them, each with its test)
///   F1 exclusion  at most one owner per lock path, over all processes and threads of this machine
///   F3 stale      an owner that died is recognised and replaced; a live one never is, however slow
///   F5 order      waiters get the lock in order of arrival
///   F6 no polling a waiter sleeps in the kernel; release and the owner's death wake it
///   F7 news       outcome() tells, after any guard, whether the previous owner died; previous_owner() who it was
///   F8 tidy       beside the lock one private directory per object in use; when the last object is gone, nothing
/// Not promised    recursion; programs that do not take the lock; reclaiming an owner on another host.
///
/// Errors      Busy, timed out and stopped are return values. Throws Error (a std::system_error: code, subject, holder)
///             when the lock cannot work: no permission, no such directory, read-only, full disk, something that is not a
///             directory in its place. Nothing is held or left behind then. A thread that has the path and asks again, by
///             any call, object or spelling, gets std::errc::resource_deadlock_would_occur.
/// Threads     One object may be shared by threads, as a std::mutex; each thread is a contender of its own.
/// Signals     No member is async-signal-safe. Waits go on after a signal handler returns.
/// fork        The child's copy is inert: destroying it leaves the parent's lock alone; locking it makes it a contender.
/// exec        gives up the descriptors: in its own PID namespace the process owns the lock until it ends.
/// Cost        Uncontended: two renames, two or three looks, a poll; no allocation, no inode made. Waiting: asleep.
///             The first call on an object makes a directory and reads its parent once, to sweep what the dead left.
/// Platforms   docs/platforms.md has what a caller can observe on other file systems.
class FileLock {
 public:
  /// Names the lock and opens the directory that it will stand in; creates nothing. Throws Error: no such directory, no
  /// last name in the path (`/`), a name too long.
  explicit FileLock(const std::filesystem::path& resource, FileLockOptions options = {});
  FileLock(FileLock&& other) noexcept;             ///< The lock, if held, moves along; not while a guard refers to it.
  FileLock& operator=(FileLock&& other) noexcept;  ///< Releases what this object held before.
  ~FileLock();                                     ///< Releases if held, removes its private directory.

  /// Waits without limit. Throws Error (errc::other_host) where the end of the wait could never be observed: the owner
  /// runs under another kernel. The calls below wait for such an owner, too.
  LockOutcome lock();
  [[nodiscard]] bool try_lock();                         ///< Does not wait, and does not pass those who do.
  [[nodiscard]] bool try_lock_until(Deadline deadline);  ///< After the deadline it still takes what is free.
  /// Ends at a stop request as well, and takes nothing then.
  [[nodiscard]] bool try_lock_until(const std::stop_token& stop, Deadline deadline = Deadline::never());
  template <class Rep, class Period>
  [[nodiscard]] bool try_lock_for(std::chrono::duration<Rep, Period> time) {
    return try_lock_until(Deadline{time});
  }

  /// Gives the lock back; any thread may. false: there was nothing to give back, because an operator broke the lock
  /// (a later owner is left alone) or because this is a forked child; or the file system refused, being read-only or
  /// out of order, and owns_lock() still says true: call it again. Synchronizes with the next lock() in this process.
  bool unlock() noexcept;
  /// The same, with the reason: errc::broken, std::errc::operation_not_permitted if not held, or the file system's.
  bool unlock(std::error_code& why) noexcept;

  [[nodiscard]] bool owns_lock() const noexcept;                        ///< Held through this object.
  [[nodiscard]] LockOutcome outcome() const noexcept;                   ///< For the owner; clean if not held.
  [[nodiscard]] std::optional<ProcessIdentity> previous_owner() const;  ///< Set if this acquisition recovered the lock.

  /// Who is in the way, for people: identity, since when, whether it lives, and who waits. Empty if it is free.
  [[nodiscard]] std::optional<Holder> holder() const;
  [[nodiscard]] static std::optional<Holder> holder(const std::filesystem::path& resource);

 private:
  class Impl;
  [[nodiscard]] Impl& impl() const;  // throws if this was moved from
  std::unique_ptr<Impl> impl_;
};
}  // namespace holdfast
