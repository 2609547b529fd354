// contender.hpp - one thread's way to a lock and back: the steps of docs/file-lock-protocol.md, under their names.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <system_error>
#include <vector>

#include <holdfast/deadline.hpp>
#include <holdfast/file_lock.hpp>
#include <holdfast/platform/process.hpp>
#include <holdfast/platform/wait.hpp>

#include "file_lock/lock_path.hpp"
#include "file_lock/names_on_disk.hpp"
#include "process_wide.hpp"

namespace holdfast::detail {
/// How long a caller is ready to wait, and what for.
class Patience {
 public:
  static Patience none() noexcept { return Patience{Deadline::never(), nullptr, false, false}; }
  static Patience endless() noexcept { return Patience{Deadline::never(), nullptr, true, true}; }
  Patience(Deadline deadline, const std::stop_token* stop) noexcept
      : Patience{deadline, stop, !deadline.passed(), false} {}

  [[nodiscard]] bool waits() const noexcept { return waits_; }
  [[nodiscard]] bool is_endless() const noexcept { return endless_; }
  [[nodiscard]] bool slept() const noexcept { return slept_; }
  [[nodiscard]] bool stopped() const noexcept { return stop_ != nullptr && stop_->stop_requested(); }
  /// Sleeps until `watched` (-1: nothing) has news, a stop, or the deadline.
  [[nodiscard]] platform::Woken sleep(int watched);
  /// The same, for at most about `interval`, which counts as an event.
  [[nodiscard]] platform::Woken sleep(int watched, std::chrono::nanoseconds interval);

 private:
  Patience(Deadline deadline, const std::stop_token* stop, bool waits, bool endless) noexcept
      : deadline_{deadline}, stop_{stop}, waits_{waits}, endless_{endless} {}
  [[nodiscard]] int stop_number();

  Deadline deadline_;
  const std::stop_token* stop_;
  bool waits_, endless_;
  bool slept_ = false;
  std::optional<platform::StopSignal> signal_;
};

/// Between two looks at who tells nothing by its channel; it doubles.
constexpr std::chrono::nanoseconds first_interval = std::chrono::milliseconds{1};
/// Somebody who removes all the time what one makes has to be faster than this.
constexpr int most_attempts = 100;

inline bool is_missing(std::errc why) noexcept { return why == std::errc::no_such_file_or_directory; }
inline bool is_forbidden(std::errc why) noexcept {
  return why == std::errc::permission_denied || why == std::errc::operation_not_permitted;
}

/// Used by one thread at a time. Keeps, while it lives, a private directory beside the lock, and a ticket if it is fair.
class Contender {
 public:
  Contender(LockPath& path, const FileLockOptions& options) noexcept : path_{path}, options_{options} {}
  Contender(const Contender&) = delete;
  Contender& operator=(const Contender&) = delete;
  ~Contender() = default;  ///< After clean_up() or forget_in_forked_child().

  /// false: busy, timed out or stopped. Throws Error, and then holds nothing.
  [[nodiscard]] bool acquire(Patience& patience);
  [[nodiscard]] const std::optional<ProcessIdentity>& previous_owner() const noexcept { return previous_; }

  /// done; errc::broken: an operator broke the lock; any other reason: the file system refused, and it is still held.
  [[nodiscard]] std::error_code release() noexcept;
  /// After a release, when the next owner is already at work: what the next acquisition will need, and sweeping.
  void prepare_next() noexcept;

  void clean_up() noexcept;  ///< Not while it is the owner, and as long as forks are told to it.
  void abandon() noexcept;   ///< Closes everything and leaves what is on disk as it is.
  void forget_in_forked_child() noexcept;

  bool in_use = false;                  ///< Guarded by table().
  Contender* next_forgotten = nullptr;  ///< In a forked child: what threads of the parent were using.

 private:
  enum class Seen { acquired, absent, busy, stopped };
  /// What a sleep has come to. absent: look again.
  [[nodiscard]] static Seen seen_after(platform::Woken woken) noexcept {
    return woken == platform::Woken::stopped    ? Seen::stopped
           : woken == platform::Woken::deadline ? Seen::busy
                                                : Seen::absent;
  }
  struct Place {
    platform::Descriptor queue;
    NameBuffer name;
  };
  class Queued;

  void prepare();
  void prepare_home();
  void make_private_directory();
  [[nodiscard]] std::errc make_mark() noexcept;
  void renew_mark();
  void make_ticket();
  void make_queue();
  void sweep() noexcept;
  void sweep_one(const std::string& name) noexcept;
  [[nodiscard]] static bool is_proved_dead(Verdict verdict, const platform::Descriptor& side) noexcept;
  [[nodiscard]] bool seize();
  [[nodiscard]] bool acquire_without_queue(Patience& patience);
  [[nodiscard]] bool acquire_in_turn(Patience& patience);
  [[nodiscard]] Seen take_over(Patience& patience);
  [[nodiscard]] Seen wait_for_stranger(platform::Descriptor lock, const platform::Node& node, Patience& patience);
  [[nodiscard]] bool inherit(platform::Descriptor& lock, const std::string& mark);
  [[nodiscard]] static platform::Woken sleep_on(const platform::Descriptor& channel, platform::Writer writer,
                                                std::chrono::nanoseconds& interval, Patience& patience);
  [[nodiscard]] bool somebody_waits();
  void take_place(Place& place);
  [[nodiscard]] Seen wait_for_turn(Place& place, Patience& patience);
  void leave_queue(Place& place) noexcept;
  void remove_queue() noexcept;
  [[nodiscard]] Seen wait_for_end_of(const ProcessIdentity& owner, std::chrono::nanoseconds& interval,
                                     Patience& patience);
  [[nodiscard]] std::errc release_in_place() noexcept;

  [[nodiscard]] std::uint32_t directory_mode() const noexcept;
  [[nodiscard]] std::uint32_t channel_mode() const noexcept;
  [[nodiscard]] std::errc set_mode(const char* name, std::uint32_t mode) const;
  void join_side_name(NameBuffer& name, std::string_view suffix) const noexcept;
  [[nodiscard]] Error failure(std::errc why, std::string_view what) const;
  [[noreturn]] void fail(std::errc why, std::string_view what) const { throw failure(why, what); }
  [[noreturn]] void fail_foreign() const;
  [[noreturn]] void fail_queue(std::errc why) const;
  [[noreturn]] void fail_unshared(int at, const char* name) const;
  [[noreturn]] void fail_other_kernel(const ProcessIdentity& owner) const;

  LockPath& path_;
  FileLockOptions options_;
  NameBuffer identity_;         // of this process, encoded
  bool prepared_ = false;       // the private directory is there (or is the lock)
  bool has_ticket_ = false;     // an unused ticket is there
  bool recovered_ = false;      // sweep after the release
  bool alone_ = false;          // the last time there was nobody to wait for
  bool queue_is_left_ = false;  // the queue was kept for the next wait
  NameBuffer home_;             // the private directory's name
  NameBuffer mark_;             // `o.<n>.<identity>`: this process's name inside it
  NameBuffer lock_mark_;        // <lock>/<mark>
  NameBuffer ticket_;           // the unused ticket's name
  LifeDescriptor home_life_;    // the private directory, wherever it is moved, with its kernel lock
  LifeDescriptor proof_;        // R3, R4: the open mark with its kernel lock; closed in every wait
  LifeDescriptor ticket_life_;  // the ticket, open for writing from before it is visible
  std::optional<ProcessIdentity> previous_;
};
}  // namespace holdfast::detail
