// producer.hpp - the cold side of a producer: the role, room, held slots.
#pragma once
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "data_block/block.hpp"
#include "process_wide.hpp"

namespace holdfast::detail {
/// One more, of an own word that others read. A locked instruction would wait for all stores before it.
inline void add_one(std::atomic<std::uint64_t>& word) noexcept {
  word.store(word.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

class Producer final : public SlotWriter, ForkAware {
 public:
  /// Takes the role, or waits for it. Throws errc::in_use at the deadline.
  Producer(Block::Pointer block, Deadline deadline);
  Producer(const Producer&) = delete;
  Producer& operator=(const Producer&) = delete;
  ~Producer();  ///< Leaves the role.

  /// The breaker's way to the role: from whoever has it (K1 to K8). Empty: nobody has it.
  struct ByForce {};
  Producer(Block::Pointer block, ByForce);

  [[nodiscard]] AcquireStatus acquire(const Patience& patience);
  /// Only the handle of a slot keeps it from here on.
  void abandon() noexcept {
    abandoned_ = true;
    simply_committed_ = false;
  }
  /// What commit() and drop() do that is not for the hot path.
  void commit_any(std::size_t bytes);
  void drop_slot() noexcept;
  [[nodiscard]] const Block& block() const noexcept { return *block_; }
  [[nodiscard]] LockOutcome outcome() const noexcept { return outcome_; }
  [[nodiscard]] const std::optional<ProcessIdentity>& previous_owner() const noexcept { return previous_owner_; }
  [[nodiscard]] DataBlockMutex& zone_mutex();
  void adopt();

  void stamp_slot(SlotHeader& header, std::size_t bytes) noexcept;
  [[noreturn]] void fail_thread() const;

 private:
  void enter();
  void take_over(Deadline deadline);
  [[nodiscard]] bool take(const Block::Role& from);
  [[nodiscard]] bool take_from_living(const Block::Role& from, std::uint64_t root);
  void begin_to_produce();
  void clear_labels(std::uint64_t first, std::uint64_t end, std::uint64_t epoch) noexcept;
  void after_fork_in_child() noexcept override;

  void begin_totals(const Block::Totals& totals) noexcept;
  void note_totals(std::uint64_t head, std::uint64_t voids) noexcept;  ///< And bytes_.
  void look_at_consumers();
  void let_them_read();
  void collect_holds();
  void add_hold(std::uint64_t first, std::uint64_t count, std::size_t index) noexcept;
  /// Voids that are not published yet: a commit would have moved next_ on. (Its own head is in a line that consumers poll.)
  [[nodiscard]] std::uint64_t pending() const noexcept { return next_ == voids_end_ ? voids_in_a_row_ : 0; }
  [[nodiscard]] bool is_full() const noexcept { return lowest_ != no_sequence && next_ - lowest_ >= ring_.count(); }
  [[nodiscard]] bool nearly_full() const noexcept {
    return lowest_ != no_sequence && next_ - lowest_ > ring_.count() - ring_.count() / 4;
  }
  struct Held {
    std::uint64_t first, count;
    std::size_t index;
  };
  [[nodiscard]] const Held* holder_of(std::uint64_t sequence) const noexcept;
  [[nodiscard]] bool still_holds(const Held& held, std::uint64_t sequence);
  [[nodiscard]] std::uint64_t first_held_from(std::uint64_t sequence) const noexcept;
  /// Waits until ready() is true, and then says so. It is asked again and again.
  template <class Ready>
  [[nodiscard]] std::optional<AcquireStatus> wait(const Patience& patience, std::uint64_t half_empty, Ready ready);
  void judge();

  Block::Pointer block_;
  Block::Claimed claimed_{};
  LockOutcome outcome_ = LockOutcome::clean;
  std::optional<ProcessIdentity> previous_owner_;
  std::optional<DataBlockMutex> zone_mutex_;
  bool forked_ = false;
  bool abandoned_ = false;
  bool fences_ = true;   // the block's barrier mode
  bool stamps_ = false;  // time stamp or checksum

  unsigned spins_ = Backoff::most_spins();
  unsigned totals_turn_ = 0;  // which totals record is valid
  std::uint64_t claim_ = 0;
  std::uint64_t looked_until_ = 0;      // P3 has been done below it
  std::uint64_t lowest_ = no_sequence;  // of what sequential consumers have not released; no_sequence: there are none
  std::uint64_t joins_seen_ = no_sequence;  // the value of `joins` that lowest_ and has_holds_ belong to
  bool has_holds_ = false;                  // somebody may hold single slots
  bool shared_out_ = false;                 // to a group
  std::array<Held, 2 * entry_limit> held_ranges_{};
  std::size_t held_count_ = 0;
  std::uint64_t voids_in_a_row_ = 0, voids_end_ = 0;  // since a commit, and the sequence number after them
  std::uint64_t voids_by_same_ = 0;                   // since whoever holds was judged
  unsigned quarantine_looks_ = 0;
  std::chrono::steady_clock::time_point judged_{};
};
}  // namespace holdfast::detail
