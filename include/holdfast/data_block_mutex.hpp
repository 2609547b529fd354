// data_block_mutex.hpp - a mutex in shared memory that survives the death of its owner, and tells of it.
// Layer 4: builds on shared_memory.hpp and ownership.hpp. System calls: src/data_block_mutex.cpp and src/platform.
#pragma once
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include <holdfast/deadline.hpp>
#include <holdfast/ownership.hpp>
#include <holdfast/process_identity.hpp>
#include <holdfast/shared_memory.hpp>

namespace holdfast {
/// One owner at a time over all processes and threads attached to a segment. Belongs to the thread that locked it.
/// Meets TimedLockable: std::lock_guard, std::unique_lock, std::scoped_lock work, also together with a FileLock.
/// std::condition_variable_any works between threads of one process only: its queue is private to the process.
///
/// Guarantees (docs/guarantees.md has all of them, each with its test)
///   M1 exclusion at most one owner
///   M2 death     if the owner dies anywhere in its critical section, a waiter already asleep wakes and owns the mutex
///   M3 news      outcome() tells every owner from then on, whatever guard it used, until one calls declare_repaired():
///                the news is lost neither by a second death nor by a guard that drops it
///   M4 attach    nobody uses a half-made mutex; an unknown version, layout or PID namespace is refused
///   M7 timed     waits are measured on the monotonic clock
///
/// Errors      Busy, timed out, stopped and the death of an owner are return values. Throws Error where the mutex cannot
///             work: std::errc::resource_deadlock_would_occur (this thread has it already), errc::deaths_unseen,
///             std::errc::state_not_recoverable (another program unlocked it by hand after a death).
/// Threads     One object may be shared by threads. The end of a thread that has it counts as its owner's death.
/// Signals     No member is async-signal-safe. Waits go on after a signal handler returns.
/// fork        The child has no lock that its parent had; its copy of the object can be locked and is then its own.
///             A guard of the parent's must not end in the child, which has nothing to unlock: leave it by _exit or exec.
/// exec        while it is locked counts as its owner's death.
/// Cost        Uncontended: no system call, no allocation. Waiting: asleep in the kernel; looks again every 200 ms, lest
///             it miss what a killed waiter was woken for, and every 50 ms for a stop request that may end it.
/// Limits      Processes in different PID namespaces cannot share one (errc::other_pid_namespace): the kernel compares
///             thread ids. FileLock can be shared by them.
class DataBlockMutex {
 public:
  static constexpr std::size_t footprint = 256;  ///< Bytes that it takes in a segment, at a multiple of `alignment`.
  static constexpr std::size_t alignment = 64;

  /// The mutex at that offset. The first who comes makes it, where there are zeros; no other code may touch these bytes.
  /// Throws std::errc::invalid_argument (offset), std::errc::permission_denied (segment attached read-only), errc::corrupt
  /// (something else is there), errc::other_pid_namespace, errc::version_mismatch, std::errc::timed_out (the one who
  /// makes it was stopped at it).
  [[nodiscard]] static DataBlockMutex in(SharedMemory& segment, std::size_t offset,
                                         Deadline deadline = std::chrono::seconds{5});

  /// In a segment of its own; they throw as the members of SharedMemory of the same names, too.
  [[nodiscard]] static DataBlockMutex create(std::string_view name, const SegmentOptions& options = {});
  [[nodiscard]] static DataBlockMutex create_or_attach(std::string_view name, const SegmentOptions& options = {},
                                                       Deadline deadline = std::chrono::seconds{5});
  [[nodiscard]] static DataBlockMutex attach(std::string_view name, Deadline deadline = std::chrono::seconds{5});

  DataBlockMutex(DataBlockMutex&&) noexcept;  ///< Moves the handle, not the lock; not while a guard refers to it.
  DataBlockMutex& operator=(DataBlockMutex&&) noexcept;
  /// Does not unlock: what was half done would look whole. A mutex that is still locked through this object stays so, and
  /// its memory mapped, until its thread ends, which the next owner is told as a death; a line on stderr says so.
  ~DataBlockMutex();

  LockOutcome lock();
  [[nodiscard]] bool try_lock();
  [[nodiscard]] bool try_lock_until(Deadline deadline);  ///< After the deadline it still takes what is free.
  /// Ends at a stop request as well, up to 50 ms later, and takes nothing then.
  [[nodiscard]] bool try_lock_until(const std::stop_token& stop, Deadline deadline = Deadline::never());
  template <class Rep, class Period>
  [[nodiscard]] bool try_lock_for(std::chrono::duration<Rep, Period> time) {
    return try_lock_until(Deadline{time});
  }
  /// Throws std::errc::operation_not_permitted if this thread has not locked it through this object.
  void unlock();

  [[nodiscard]] bool owns_lock() const noexcept;       ///< Held by this thread through this object.
  [[nodiscard]] LockOutcome outcome() const noexcept;  ///< For the owner; clean if not held.
  /// For the owner, after owner_died: who died last with it before the data was declared repaired. Empty: it was killed on
  /// its way in or out, when nobody was inside and the data was whole.
  [[nodiscard]] std::optional<ProcessIdentity> previous_owner() const;
  /// The same for the first of several deaths: the one that found the data whole.
  [[nodiscard]] std::optional<ProcessIdentity> first_lost_owner() const;
  /// The news in words: who was lost, and whether its process died, or its thread ended, or it became another program.
  [[nodiscard]] std::string news() const;
  /// Ends the news: the data is whole again. Throws std::errc::operation_not_permitted if not the owner.
  void declare_repaired();

  /// Who has it now. `since` is when the first waiter began to wait for this owner: it has it at least that long.
  [[nodiscard]] std::optional<Holder> holder() const;
  /// The same for tools, by name; reads only.
  [[nodiscard]] static std::optional<Holder> holder(std::string_view name);

 private:
  class Impl;
  explicit DataBlockMutex(std::unique_ptr<Impl> impl) noexcept;
  [[nodiscard]] Impl& impl() const;
  std::unique_ptr<Impl> impl_;
};

/// The guard that carries the news. std::lock_guard works as well.
class [[nodiscard]] DataBlockLockGuard {
 public:
  explicit DataBlockLockGuard(DataBlockMutex& mutex) : mutex_{mutex}, outcome_{mutex.lock()} {}
  DataBlockLockGuard(const DataBlockLockGuard&) = delete;
  DataBlockLockGuard& operator=(const DataBlockLockGuard&) = delete;
  ~DataBlockLockGuard() { mutex_.unlock(); }

  [[nodiscard]] LockOutcome outcome() const noexcept { return outcome_; }  ///< As it was when the lock was taken.
  [[nodiscard]] std::optional<ProcessIdentity> previous_owner() const { return mutex_.previous_owner(); }
  void declare_repaired() { mutex_.declare_repaired(); }

 private:
  DataBlockMutex& mutex_;
  LockOutcome outcome_;
};
}  // namespace holdfast
