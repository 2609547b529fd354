// consumer.hpp - the cold side of a consumer: joining, waiting, the modes that hold single slots, groups.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "data_block/block.hpp"
#include "data_block/event_bridge.hpp"
#include "data_block/statistics.hpp"
#include "process_wide.hpp"

namespace holdfast::detail {
class Consumer final : public SlotReader, ForkAware {
 public:
  Consumer(Block::Pointer block, const ConsumerOptions& options, Deadline deadline);
  Consumer(const Consumer&) = delete;
  Consumer& operator=(const Consumer&) = delete;
  ~Consumer();

  [[nodiscard]] AcquireStatus acquire(const Patience& patience, std::size_t at_most);
  bool release_any() noexcept;  ///< What release() does that is not for the hot path.
  /// Only the handle of a slot keeps it from here on.
  void abandon() noexcept {
    abandoned_ = true;
    simply_released_ = false;
  }
  /// Data of one that is below a head that was seen and protected: no void.
  [[nodiscard]] bool is_data(std::uint64_t sequence) const noexcept {
    // relaxed: written before the head that was acquired.
    return ring_.header(sequence).label.load(std::memory_order_relaxed) == slot_label::make(sequence, epoch_) ||
           block_->is_valid(sequence, role_seen_);
  }

  [[nodiscard]] const Block& block() const noexcept { return *block_; }
  [[nodiscard]] std::size_t index() const noexcept { return claimed_.index; }
  [[nodiscard]] std::optional<std::uint64_t> last_id() const noexcept;
  [[nodiscard]] Books books() const;
  [[nodiscard]] DataBlockMutex& zone_mutex();
  void adopt();
  [[nodiscard]] int event_descriptor();
  /// Something to read may be there. Looks, does not take; for wait_any().
  [[nodiscard]] bool looks_readable() const;
  /// A member that waits looks who of them is dead, every now and then (I7). True: it has looked.
  bool judge_members();

 private:
  using Where = StartAt::Where;
  void join(const ConsumerOptions& options, Deadline deadline);
  void join_group(const ConsumerOptions& options, Deadline deadline);
  void join_group_locked(const ConsumerOptions& options, Deadline deadline);
  [[nodiscard]] bool enter_group(std::size_t g);
  void note_lost(std::uint64_t first, std::uint64_t count) noexcept;
  [[nodiscard]] std::uint64_t wanted_start(const StartAt& start, std::uint64_t head) const;
  void pin(std::uint64_t at) noexcept;
  void begin_at(std::uint64_t start, std::uint64_t voids) noexcept;
  [[nodiscard]] std::uint64_t member_limit() const noexcept {  ///< How many a member takes at once, at most.
    return std::min<std::uint64_t>(block_->batch(), member_word::count_limit);
  }
  [[nodiscard]] std::uint64_t claim_in_role(const Block::Role& role) const noexcept;
  void after_fork_in_child() noexcept override;
  [[noreturn]] void fail_thread() const;
  [[noreturn]] void fail_reclaimed() const;

  // One look each: true, and something is held; or nothing can be had now.
  [[nodiscard]] bool take_labelled() noexcept;
  [[nodiscard]] bool look_sequential(std::size_t at_most);
  [[nodiscard]] bool look_overwritten(std::size_t at_most);
  [[nodiscard]] bool look_latest();
  [[nodiscard]] bool look_as_member(std::size_t at_most);
  [[nodiscard]] bool look(std::size_t at_most);
  [[nodiscard]] bool take(std::size_t at_most);
  [[nodiscard]] bool take_last(std::size_t at_most);
  void check_acquire(std::size_t at_most);
  [[nodiscard]] AcquireStatus acquire_later(const Patience& patience, std::size_t at_most);
  [[nodiscard]] bool may_have_some() const noexcept;
  void see_role() noexcept { see(counts_label_ ? block_->committed() : block_->role()); }
  void see(const Block::Role& role) noexcept;
  /// The next slot has been committed in the role that was seen, whatever `head` says yet (I4).
  [[nodiscard]] bool label_has_come() const noexcept;
  [[nodiscard]] bool releases_by_cursor() const noexcept {
    return kind_ == EntryKind::sequential || kind_ == EntryKind::overwritten;
  }
  void prefetch_after(std::uint64_t sequence) const noexcept {  // farther than one by one: several are taken at once
    const std::uint64_t later = sequence + 2 * ring_.ahead;
    if (later < role_seen_.head) ring_.prefetch_to_read(later);
  }
  void start_further_ahead() noexcept {
    start_ahead_ = std::min(std::max(2 * start_ahead_, block_->batch()), ring_.count() / 2);
  }
  void let_go_of_hold() noexcept;
  /// Delivers the first data from `from` on, up to `end`, and as many after it as wanted. False: there are only voids.
  [[nodiscard]] bool deliver(std::uint64_t from, std::uint64_t end, std::size_t at_most);
  void pass_over(std::uint64_t to, std::uint64_t voids_below, std::uint64_t cursor) noexcept;
  [[noreturn]] void fail_checksum(std::uint64_t sequence) const;
  [[nodiscard]] bool is_removed() const;
  [[nodiscard]] bool others_have_slots() const noexcept;

  // Groups: steps G1 to G5, A1 to A6. src/data_block/group.cpp.
  void confirm(std::uint64_t word) noexcept;
  [[nodiscard]] bool hold_as_member(std::uint64_t first, std::uint64_t all, std::uint64_t lost, bool redelivered,
                                    std::uint64_t at_most);
  void let_go_as_member() noexcept;
  [[nodiscard]] std::uint64_t claim_after_naming() noexcept;
  [[nodiscard]] std::uint64_t lost_of(std::uint64_t first, std::uint64_t count) noexcept;
  [[nodiscard]] std::uint64_t lost_of_orphan(std::uint64_t first, std::uint64_t count) noexcept;
  [[nodiscard]] bool adopt_orphan(std::uint64_t at_most);
  void settle_intent(std::size_t index) noexcept;
  void set_member(MemberState state, std::uint64_t first, std::uint64_t count) noexcept {
    // release: others judge it after they have acquired the group's word (G3) or `joins` (B-move), or take it for a release of
    // slots (E-release).
    entry_->member.store(member_word::make(first, count, parity_, state), std::memory_order_release);
  }
  template <class Function>
  void for_each_member(Function function) const;  ///< function(index, entry, state word) for the others of the group

  Block::Pointer block_;
  Block::Claimed claimed_{};
  EntryKind kind_ = EntryKind::none;
  Block::Role role_seen_{};
  std::uint64_t range_end_ = 0;  // overwritten: the hold covers what is below
  // Policy overwrite: how far beyond the oldest slot it goes on when it has been lapped. More each time, until it is up to date once:
  // the oldest slots are the next to be overwritten, and who is slow would find them gone again and again.
  std::uint64_t start_ahead_ = 0;
  std::uint64_t voids_below_ = 0;  // voids below position_
  std::vector<SlotRange> gaps_;    // not told yet, the oldest first; of who is no member, all up to the next slot
  std::uint64_t skipped_ = 0, voids_ = 0;  // all that has been passed over
  unsigned books_turn_ = 0;
  unsigned spins_ = Backoff::most_spins();
  std::size_t group_ = 0;
  bool parity_ = false;
  std::uint64_t member_skipped_ = 0, member_voids_ = 0, member_redelivered_ = 0;  // of what it holds
  std::uint64_t rest_first_ = 0, rest_count_ = 0;                                 // adopted, and not given out yet
  std::optional<std::uint64_t> last_id_;  // of who does not release by the cursor; of all, while position_ is unmarked_
  std::uint64_t unmarked_ = 0;
  std::uint64_t nothing_at_ = 0;  // where it had to wait last
  std::chrono::steady_clock::time_point judged_{};
  std::optional<DataBlockMutex> zone_mutex_;
  std::unique_ptr<EventBridge> bridge_;
  bool forked_ = false;
  bool abandoned_ = false;
  bool counts_label_ = false;  // what has been committed ends with a label, not with `head`
  bool fences_ = true;         // the block's barrier mode
};
}  // namespace holdfast::detail
