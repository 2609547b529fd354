// slot_protocol.hpp - the words that producer and consumers of a DataBlock share, and the paths that every message takes.
// Layer 5: pure atomics; no system call, no allocation, nothing that waits. No public interface: it may change any time.
// States, steps (P1, J2 ...), invariants (I1 ...) and edges (E-commit, B-join ...): docs/slot-protocol.md.
#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <stop_token>
#include <type_traits>

#include <holdfast/deadline.hpp>
#include <holdfast/steps.hpp>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HOLDFAST_DETAIL_TSAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define HOLDFAST_DETAIL_TSAN 1
#endif

namespace holdfast {
enum class AcquireStatus;  // data_block.hpp

namespace detail {
constexpr std::uint64_t no_sequence = ~std::uint64_t{0};
constexpr std::size_t entry_limit = 64;
constexpr std::size_t group_limit = 8;
constexpr std::size_t label_limit = 63;  // bytes of a consumer's label, of a group's name, of a schema's name

// ---- words ---------------------------------------------------------------------------------------------------------

/// `role`: whose head counts.
namespace role {
constexpr std::uint64_t vacant = 1;     // its producer has left it
constexpr std::uint64_t unsettled = 2;  // its producer has not found out yet where the one that it broke has ended
constexpr std::uint64_t make(std::uint64_t epoch, std::size_t index, std::uint64_t flags = 0) noexcept {
  return (epoch << 16U) | (std::uint64_t{index} << 8U) | flags;
}
constexpr std::uint64_t epoch(std::uint64_t word) noexcept { return word >> 16U; }
constexpr std::size_t index(std::uint64_t word) noexcept { return (word >> 8U) & (entry_limit - 1); }
constexpr bool is_vacant(std::uint64_t word) noexcept { return (word & vacant) != 0; }
constexpr bool is_unsettled(std::uint64_t word) noexcept { return (word & unsettled) != 0; }
}  // namespace role

enum class EntryState : std::uint8_t { free, joining, active, left, dead, broken };
enum class EntryKind : std::uint8_t { none, producer, sequential, overwritten, latest, member };

/// `state` of an entry: generation:24 reference:32 kind:4 state:4.
namespace entry_state {
constexpr std::uint64_t make(std::uint64_t generation, std::uint32_t reference, EntryKind kind,
                             EntryState state) noexcept {
  return (generation << 40U) | (std::uint64_t{reference} << 8U) | (static_cast<std::uint64_t>(kind) << 4U) |
         static_cast<std::uint64_t>(state);
}
constexpr std::uint64_t generation(std::uint64_t word) noexcept { return word >> 40U; }
constexpr std::uint32_t reference(std::uint64_t word) noexcept { return static_cast<std::uint32_t>(word >> 8U); }
constexpr EntryKind kind(std::uint64_t word) noexcept { return static_cast<EntryKind>((word >> 4U) & 0xfU); }
constexpr EntryState state(std::uint64_t word) noexcept { return static_cast<EntryState>(word & 0xfU); }
constexpr std::uint64_t with(std::uint64_t word, EntryState state) noexcept {
  return (word & ~std::uint64_t{0xf}) | static_cast<std::uint64_t>(state);
}
}  // namespace entry_state

/// What is noted once, of one tenant: `seal` of a producer's entry, `end` and `end_voids` of a consumer's = generation:16 number:48,
/// so that who comes late notes nothing of the next tenant. Open, as long as the number is all ones.
namespace noted_word {
constexpr std::uint64_t mask = (std::uint64_t{1} << 48U) - 1;
constexpr std::uint64_t make(std::uint64_t generation, std::uint64_t number) noexcept {
  return (generation << 48U) | (number & mask);
}
constexpr std::uint64_t open(std::uint64_t generation) noexcept { return make(generation, mask); }
constexpr bool is_of(std::uint64_t word, std::uint64_t generation) noexcept {
  return ((word ^ (generation << 48U)) & ~mask) == 0;
}
/// The number that was noted, which is not beyond this one; none: it is open.
constexpr std::uint64_t number(std::uint64_t word, std::uint64_t not_beyond) noexcept {
  return (word & mask) == mask ? no_sequence : not_beyond - ((not_beyond - word) & mask);
}
}  // namespace noted_word

/// `label` of a slot = sequence + 1:48 epoch:16, in one word, so that who clears it late clears no successor's.
namespace slot_label {
constexpr std::uint64_t make(std::uint64_t sequence, std::uint64_t epoch) noexcept {
  return ((sequence + 1) << 16U) | (epoch & 0xffffU);
}
constexpr bool names(std::uint64_t label, std::uint64_t sequence) noexcept {
  return (label ^ make(sequence, 0)) <= 0xffffU;
}
/// It names a later one, in the same slot.
constexpr bool is_after(std::uint64_t label, std::uint64_t sequence) noexcept {
  return static_cast<std::int64_t>((label & ~std::uint64_t{0xffff}) - make(sequence, 0)) > 0;
}
/// What the label says of one that was written in this role.
inline std::uint64_t in_role(std::uint64_t sequence, std::uint64_t role) noexcept {
  return make(sequence, HOLDFAST_MUTANT(slot, label_without_epoch) ? 0 : role::epoch(role));
}
/// Written in that epoch or an earlier one; the lower 16 bits go around.
constexpr bool is_not_after(std::uint64_t label, std::uint64_t epoch) noexcept {
  return static_cast<std::int16_t>(static_cast<std::uint16_t>(epoch - label)) >= 0;
}
}  // namespace slot_label

enum class MemberState : std::uint8_t { idle, intent, taken, again };

/// `member` of an entry: seq:52 count:8 parity:1 state:3.
namespace member_word {
constexpr std::uint64_t make(std::uint64_t first, std::uint64_t count, bool parity, MemberState state) noexcept {
  return (first << 12U) | (count << 4U) | (std::uint64_t{parity} << 3U) | static_cast<std::uint64_t>(state);
}
constexpr std::uint64_t first(std::uint64_t word) noexcept { return word >> 12U; }
constexpr std::uint64_t count(std::uint64_t word) noexcept { return (word >> 4U) & 0xffU; }
constexpr bool parity(std::uint64_t word) noexcept { return ((word >> 3U) & 1U) != 0; }
constexpr MemberState state(std::uint64_t word) noexcept { return static_cast<MemberState>(word & 7U); }
constexpr std::uint64_t with(std::uint64_t word, MemberState state) noexcept {
  return (word & ~std::uint64_t{7}) | static_cast<std::uint64_t>(state);
}
constexpr std::uint64_t idle(bool parity) noexcept { return make(0, 0, parity, MemberState::idle); }
constexpr std::uint64_t count_limit = 255;
}  // namespace member_word

/// `word` of a group: next:56 winner:8.
namespace group_word {
constexpr std::uint64_t make(std::uint64_t next, std::size_t winner) noexcept { return (next << 8U) | winner; }
constexpr std::uint64_t next(std::uint64_t word) noexcept { return word >> 8U; }
constexpr std::size_t winner(std::uint64_t word) noexcept { return word & (entry_limit - 1); }
}  // namespace group_word

/// `end` of a group = undelivered:48 ended:1 life:15, so that who notes late that a life has ended ends no later one.
namespace group_end {
constexpr std::uint64_t life_mask = (std::uint64_t{1} << 15U) - 1;
constexpr std::uint64_t ended = life_mask + 1;
constexpr bool is_ended(std::uint64_t word) noexcept { return (word & ended) != 0; }
constexpr std::uint64_t undelivered(std::uint64_t word) noexcept { return word >> 16U; }
constexpr std::uint64_t with_end(std::uint64_t word, std::uint64_t undelivered) noexcept {
  return (undelivered << 16U) | ended | (word & life_mask);
}
constexpr std::uint64_t life(std::uint64_t word) noexcept { return word & life_mask; }
constexpr std::uint64_t next_life(std::uint64_t word) noexcept { return (word + 1) & life_mask; }
}  // namespace group_end

// ---- what stands in the segment --------------------------------------------------------------------------------------

/// In front of each payload. Atomic, because tools look at it at any time.
struct SlotHeader {
  std::atomic<std::uint64_t> label;  // see slot_label; 0: being written, or never written
  std::atomic<std::uint64_t> length;
  std::atomic<std::uint64_t> voids;  // how many sequence numbers below this one were spent without data
  std::atomic<std::uint64_t> time;   // nanoseconds of the monotonic clock; 0 without time stamps
};
struct ChecksummedSlotHeader : SlotHeader {
  std::atomic<std::uint64_t> checksum;
};
static_assert(sizeof(SlotHeader) == 32 && std::atomic<std::uint64_t>::is_always_lock_free);

/// Of a consumer: valid once `cursor` has reached `position` (I6).
struct BooksRecord {
  std::atomic<std::uint64_t> position, skipped, voids;
};
/// Of a producer: of what is below `position`; the slots from there to `head` tell the rest (I6).
struct TotalsRecord {
  std::atomic<std::uint64_t> position, bytes, voids;
};
/// Of a member in one group: the one with the parity of its word is valid.
struct MemberCounts {
  std::atomic<std::uint64_t> skipped, voids, redelivered;
};

using Label = std::array<std::atomic<std::uint64_t>, (label_limit + 1) / sizeof(std::uint64_t)>;

struct alignas(128) Entry {
  std::atomic<std::uint64_t> state;  // read at each release: not in a line that changes with each slot
  alignas(64) std::atomic<std::uint64_t> cursor;
  std::atomic<std::uint64_t> hold, member;
  alignas(64) std::atomic<std::uint64_t> head;  // polled by all consumers: nothing else in its line
  alignas(64) std::atomic<std::uint64_t> claim;
  std::atomic<std::uint64_t> base, previous, seal, broken_claim;  // `previous`: the role of who is being broken
  alignas(64) std::array<BooksRecord, 2> books;
  alignas(64) std::array<TotalsRecord, 2> totals;
  // For tools: written while joining, and when a wait or a life ends.
  alignas(64) std::atomic<std::uint64_t> waits;
  std::atomic<std::uint64_t> refused, reclaims, start, start_voids, end, end_voids, group;
  alignas(64) Label label;
};
static_assert(sizeof(Entry) == 512);

struct alignas(128) Group {
  std::atomic<std::uint64_t> word, orphans, adopter;
  alignas(64) std::atomic<std::uint64_t> start;
  std::atomic<std::uint64_t> start_voids, end,
      end_held;  // see group_end; slots that members held then, noted with the life
  alignas(64) Label name;
  std::array<std::array<MemberCounts, 2>, entry_limit> counts;
};

struct Shared {
  alignas(128) std::atomic<std::uint64_t> role;
  std::atomic<std::uint64_t> joins, used;
  alignas(128) std::atomic<std::uint64_t> readers_waiting;  // `rd_wait`: a bit per entry
  std::atomic<std::uint32_t> reader_event;                  // `rd_event`
  alignas(128) std::atomic<std::uint64_t> writer_target;    // `wr_target`: whoever gets there wakes; none
  std::atomic<std::uint32_t> writer_event;                  // `wr_event`
  alignas(128) std::atomic<std::uint64_t> pivot;            // see full_barrier
  std::array<Group, group_limit> groups;
  std::array<Entry, entry_limit> entries;
};
static_assert(std::is_standard_layout_v<Shared>);

/// Orders a store before a load, against a thread that calls it between its store and its load. ThreadSanitizer does not
/// model fences; two operations on one word order the same, and it does model them.
inline void full_barrier([[maybe_unused]] Shared& shared) noexcept {
#if defined(HOLDFAST_DETAIL_TSAN)
  shared.pivot.fetch_add(0, std::memory_order_acq_rel);
#else
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}
/// The frequent side. Without fences the rare side makes up for it: heavy_barrier(), in src/data_block.
inline void light_barrier(Shared& shared, bool fences) noexcept {
  if (fences) [[unlikely]]
    full_barrier(shared);
  else
    std::atomic_signal_fence(std::memory_order_seq_cst);
}

/// Hints. What a slot costs is the transfer of its lines from the other side's cache: begun early, several are under way at
/// once, which doubles the rate of small messages. The first one asks for a line to be written to, which GCC's built-in does not
/// do on x86-64 without -mprfchw.
inline void prefetch_to_write(const void* line) noexcept {
#if defined(__x86_64__)
  asm volatile("prefetchw %0" : : "m"(*static_cast<const char*>(line)));
#else
  __builtin_prefetch(line, 1);
#endif
}
inline void prefetch_to_read(const void* line) noexcept { __builtin_prefetch(line); }

/// To the processor: this thread does nothing but look at a word.
inline void pause_briefly() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Its address is the thread's.
inline constinit thread_local char this_threads_address = 0;

/// How long an acquiring call may wait. Small enough to be passed in registers: no hot path stores one.
struct Patience {
  const std::stop_token* stop;  // or null
  Deadline deadline;
};

/// The slots, as one process sees them.
struct Ring {
  std::byte* first = nullptr;
  std::uint64_t mask = 0;     // slot count - 1
  std::uint64_t stride = 0;   // bytes
  std::uint32_t payload = 0;  // offset in a slot
  std::uint32_t size = 0;     // bytes of a payload
  std::uint64_t ahead = 1;    // how many slots ahead lines are fetched: in a small ring only the next one
  [[nodiscard]] std::uint64_t count() const noexcept { return mask + 1; }
  [[nodiscard]] SlotHeader& header(std::uint64_t sequence) const noexcept {
    return *reinterpret_cast<SlotHeader*>(first + (sequence & mask) * stride);
  }
  [[nodiscard]] std::byte* payload_of(SlotHeader& header) const noexcept {
    return reinterpret_cast<std::byte*>(&header) + payload;
  }
  // Header and first bytes of a slot that comes later.
  void prefetch_to_write(std::uint64_t sequence) const noexcept {
    const auto* const slot = reinterpret_cast<const std::byte*>(&header(sequence));
    detail::prefetch_to_write(slot);
    if (stride > 64) detail::prefetch_to_write(slot + 64);
  }
  void prefetch_to_read(std::uint64_t sequence) const noexcept {
    const auto* const slot = reinterpret_cast<const std::byte*>(&header(sequence));
    detail::prefetch_to_read(slot);
    if (stride > 64) detail::prefetch_to_read(slot + 64);
  }
};

// ---- the paths of every message ----------------------------------------------------------------------------------------

/// What a producer does per message. One thread at a time; the cold rest: src/data_block/producer.cpp.
class SlotWriter {
 public:
  SlotWriter(const SlotWriter&) = delete;
  SlotWriter& operator=(const SlotWriter&) = delete;

  /// False: there is something to be looked after first, by acquire_slowly().
  [[nodiscard]] bool try_acquire() noexcept {
    // relaxed: equal or not. That a broken producer writes nowhere else is P3's business.
    if (next_ >= room_until_ || thread_ != &this_threads_address || holds() ||
        shared_->role.load(std::memory_order_relaxed) != role_)
      return false;
    begin();
    return true;
  }
  [[gnu::cold]] AcquireStatus acquire_slowly(Patience patience);  ///< ok: slot() is there.

  [[nodiscard]] std::byte* slot() const noexcept { return ring_.payload_of(*current_); }
  [[nodiscard]] std::size_t slot_size() const noexcept { return ring_.size; }
  [[nodiscard]] std::size_t alignment() const noexcept { return ring_.payload; }  ///< Slots begin at multiples of 64.
  [[nodiscard]] std::uint64_t sequence() const noexcept { return next_; }

  /// Throws, and nothing has changed.
  void check_commit(std::size_t bytes) const {
    if (bytes > ring_.size || thread_ != &this_threads_address) fail_commit(bytes);
  }
  /// After check_commit(). A producer whose handle went before, while this slot was held, ends here.
  void commit(std::size_t bytes) {
    if (!simply_committed_) [[unlikely]]
      return commit_slowly(bytes);
    publish(bytes, false, false);
  }
  /// The slot is abandoned; the next one has the same number. The claim stays (I2). A producer without a handle ends.
  [[gnu::cold]] void drop() noexcept;
  [[nodiscard]] bool holds() const noexcept { return current_ == &ring_.header(next_); }

 protected:
  SlotWriter() = default;
  ~SlotWriter() = default;
  void publish(std::size_t bytes, bool stamps, bool fences) {
    SlotHeader& header = *current_;
    HOLDFAST_STEP(slot, P6);
    // P7. release: who reads the length of a slot that is written anew sees the claim for it (E-totals).
    header.length.store(bytes, std::memory_order_release);
    header.voids.store(voids_, std::memory_order_relaxed);
    if (stamps) stamp(header, bytes);
    HOLDFAST_STEP(slot, P7);
    if (HOLDFAST_MUTANT(slot, head_before_label)) entry_->head.store(next_ + 1, std::memory_order_release);
    header.label.store(slot_label::in_role(next_, role_), std::memory_order_release);  // P8, E-label: committed
    HOLDFAST_STEP(slot, P8);
    ++next_;
    bytes_ += bytes;
    entry_->head.store(next_, std::memory_order_release);  // P9, E-commit
    HOLDFAST_STEP(slot, P9);
    light_barrier(*shared_, fences);  // B-park-reader
    // P10. relaxed: the barrier has ordered it; whoever is woken reads head itself.
    if (shared_->readers_waiting.load(std::memory_order_relaxed) != 0 && !HOLDFAST_MUTANT(slot, readers_not_woken))
      wake_readers();
    HOLDFAST_STEP(slot, P10);
    if (shared_->role.load(std::memory_order_relaxed) != role_) fail_reclaimed();
    if (next_ + ring_.ahead < free_until_)  // not one that is being read: two that take it from each other are slower
      ring_.prefetch_to_write(next_ + ring_.ahead);
  }
  [[gnu::cold]] void commit_slowly(std::size_t bytes);
  void begin() noexcept {
    current_ = &ring_.header(next_);
    current_->label.store(0, std::memory_order_release);  // P5, E-totals
    std::atomic_signal_fence(std::memory_order_seq_cst);  // before the payload's bytes
    HOLDFAST_STEP(slot, P5);
  }
  [[gnu::cold]] void wake_readers() noexcept;
  [[gnu::cold]] void stamp(SlotHeader& header, std::size_t bytes) noexcept;
  [[noreturn, gnu::cold]] void fail_commit(std::size_t bytes) const;
  [[noreturn, gnu::cold]] void fail_reclaimed() const;

  std::uint64_t next_ = 0;        // the sequence number that is written next
  std::uint64_t room_until_ = 0;  // below it nothing has to be looked at
  std::uint64_t free_until_ = 0;  // below it no slot has still to be read by who is waited for
  const void* thread_ = nullptr;  // the thread it serves; null: none yet
  Shared* shared_ = nullptr;
  std::uint64_t role_ = 0;  // as it is while this is the producer
  Entry* entry_ = nullptr;
  Ring ring_;
  SlotHeader* current_ = nullptr;  // of the slot that was acquired last: held, as long as it is the next one's
  std::uint64_t voids_ = 0, bytes_ = 0;
  bool simply_committed_ = false;  // without time stamp, checksum and fence, and the handle is still there
};

/// What a consumer does per message. One thread at a time; the cold rest: src/data_block/consumer.cpp.
class SlotReader {
 public:
  SlotReader(const SlotReader&) = delete;
  SlotReader& operator=(const SlotReader&) = delete;

  /// False: there is something to be looked after first, by acquire_slowly().
  [[nodiscard]] bool try_acquire() noexcept {
    if (thread_ != &this_threads_address || holds()) return false;
    if (position_ >= readable_until_) {
      if (position_ >= held_until_) return false;
      const auto head = head_->load(std::memory_order_acquire);  // E-commit
      // I4: that head counted when it was read. acquire: what follows is not read before.
      if (head <= position_ || shared_->role.load(std::memory_order_acquire) != role_) return false;
      readable_until_ = head < held_until_ ? head : held_until_;
    }
    SlotHeader& header = ring_.header(position_);
    // relaxed: written before the head that was acquired.
    if (header.label.load(std::memory_order_relaxed) != slot_label::make(position_, epoch_) &&
        !HOLDFAST_MUTANT(slot, label_not_looked_at))
      return false;
    if (HOLDFAST_MUTANT(slot, released_too_early)) entry_->cursor.store(position_ + 1, std::memory_order_release);
    if (position_ + ring_.ahead < readable_until_)  // not one that is being written
      ring_.prefetch_to_read(position_ + ring_.ahead);
    taken_until_ = position_ + 1;
    HOLDFAST_STEP(slot, read);
    return true;
  }
  [[gnu::cold]] AcquireStatus acquire_slowly(Patience patience, std::size_t at_most);  ///< ok: current() is there.

  [[nodiscard]] bool holds() const noexcept { return taken_until_ > position_; }
  [[nodiscard]] SlotHeader& current() const noexcept { return ring_.header(position_); }
  [[nodiscard]] const Ring& ring() const noexcept { return ring_; }
  [[nodiscard]] std::uint64_t sequence() const noexcept { return position_; }        ///< Of the first slot held.
  [[nodiscard]] std::uint64_t taken_until() const noexcept { return taken_until_; }  ///< Beyond the last one held.
  [[nodiscard]] std::uint64_t gap_first() const noexcept { return gap_count() != 0 ? gap_first_ : 0; }
  [[nodiscard]] std::uint64_t gap_count() const noexcept { return gap_before_ == position_ ? gap_count_ : 0; }
  [[nodiscard]] bool redelivered() const noexcept { return redelivered_; }
  [[nodiscard]] bool has_data(std::uint64_t sequence) const noexcept;  ///< Of one that is held: no void.
  [[nodiscard]] bool verify(std::uint64_t sequence) const noexcept;    ///< Its checksum.

  /// False: an operator broke the hold. A consumer whose handle went before, while it held this, ends here.
  bool release() noexcept {
    if (!simply_released_) [[unlikely]]
      return release_slowly();
    move_cursor(false);
    return entry_->state.load(std::memory_order_relaxed) == state_;
  }

 protected:
  SlotReader() = default;
  ~SlotReader() = default;
  /// Releases what is held by a cursor.
  void move_cursor(bool fences) noexcept {
    position_ = taken_until_;
    entry_->cursor.store(position_, std::memory_order_release);  // E-release, E-books
    HOLDFAST_STEP(slot, release);
    light_barrier(*shared_, fences);  // B-park-writer
    // relaxed: the barrier has ordered it; the producer reads the cursors itself.
    if (position_ >= shared_->writer_target.load(std::memory_order_relaxed) && !HOLDFAST_MUTANT(slot, writer_not_woken))
      wake_writer();
  }
  [[gnu::cold]] void wake_writer() noexcept;
  [[gnu::cold]] bool release_slowly() noexcept;

  std::uint64_t position_ = 0;        // the next to read, or the first that is held
  std::uint64_t readable_until_ = 0;  // below it: committed, and protected by cursor or hold
  std::uint64_t held_until_ = 0;      // below it: protected, once it is committed. 0: each slot is to be looked at
  const void* thread_ = nullptr;      // the thread it serves; null: none yet
  std::uint64_t taken_until_ = 0;     // beyond what is held; not beyond position_: nothing is
  Ring ring_;
  const std::atomic<std::uint64_t>* head_ = nullptr;  // of the entry in role
  Shared* shared_ = nullptr;
  std::uint64_t role_ = 0;  // as last seen
  std::uint64_t gap_first_ = 0, gap_count_ = 0;
  std::uint64_t gap_before_ = no_sequence;  // the slot that it is told with
  Entry* entry_ = nullptr;
  std::uint64_t state_ = 0;  // of the own entry, while nobody has broken it
  std::uint64_t epoch_ = 0;  // the role's
  // To move the cursor on is to release, without a fence, and the handle is still there.
  bool simply_released_ = false;
  bool redelivered_ = false;
};
}  // namespace detail
}  // namespace holdfast
