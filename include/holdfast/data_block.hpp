// data_block.hpp - a ring of slots in shared memory: one producer, many consumers, no copies, and nobody's death stops it.
// Layer 6: builds on slot_protocol.hpp, shared_memory.hpp and data_block_mutex.hpp. System calls: src/data_block.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <holdfast/data_block_mutex.hpp>
#include <holdfast/deadline.hpp>
#include <holdfast/ownership.hpp>
#include <holdfast/process_identity.hpp>
#include <holdfast/shared_memory.hpp>
#include <holdfast/slot_protocol.hpp>

namespace holdfast {
namespace detail {
class Producer;
class Consumer;
class Observer;
}  // namespace detail

using SlotId = std::uint64_t;  ///< The sequence number of a commit: from 0 upwards, never twice in the life of a block.

/// How an attempt to get a slot ended.
enum class AcquireStatus {
  ok,
  timed_out,  ///< at the deadline there was none
  stopped,    ///< by the stop token
  full,       ///< the ring is full, and its creator chose OnFull::refuse
  removed,    ///< nothing left to read, no producer, and the name is gone: attach again, if somebody creates it again
};

struct SlotRange {
  SlotId first = 0;
  std::uint64_t count = 0;
  [[nodiscard]] explicit operator bool() const noexcept { return count != 0; }
  [[nodiscard]] bool operator==(const SlotRange&) const = default;
};

/// What a producer does when all slots hold what sequential consumers have not read. Slots that are being read at this
/// moment are never overwritten, whatever is chosen. Without a sequential consumer nothing is waited for.
enum class OnFull {
  wait,              ///< for the slowest, with a deadline
  overwrite_oldest,  ///< consumers are told what they missed
  refuse,            ///< acquire_write_slot() answers AcquireStatus::full at once
};
enum class ReadMode {
  sequential,   ///< every slot in order, or a reported gap
  latest_only,  ///< the newest, never one twice; never in the producer's way
};
enum class Checksum {
  none,
  on_demand,   ///< written with each commit (XXH3); ConsumeSlot::verify() compares
  every_read,  ///< compared before a slot is given out, too: errc::checksum_mismatch
};

/// What the payload is, so that nobody reads it as something else. Without a name nothing is compared.
struct Schema {
  std::string name{};  ///< Up to 63 bytes.
  std::uint32_t version = 0;
  std::uint64_t layout = 0;
  [[nodiscard]] bool operator==(const Schema&) const = default;

  /// Its layout is the size and alignment of T. Fields that change their meaning are the version's business.
  template <class T>
  [[nodiscard]] static Schema of(std::string name, std::uint32_t version) {
    static_assert(std::is_trivially_copyable_v<T>, "what processes share must hold no pointers and need no destructor");
    return {std::move(name), version, (std::uint64_t{sizeof(T)} << 16U) | alignof(T)};
  }
};

/// Chosen by who creates the block, the same for all who attach.
struct DataBlockOptions {
  std::size_t slot_size = 0;  ///< Bytes of a payload, up to 4 GiB.
  /// From 2; rounded up to a power of two. Advised: 8 for each consumer that is latest_only, or any under overwrite_oldest, and 8.
  std::size_t slot_count = 64;
  OnFull on_full = OnFull::wait;
  Schema schema{};
  std::size_t zone_size = 0;  ///< Bytes of the application's own header; see DataBlockProducer::zone().
  Checksum checksum = Checksum::none;
  bool time_stamps = false;  ///< Each commit reads the clock (20 ns).
  SegmentOptions segment{};
};

/// Where a sequential consumer begins.
class StartAt {
 public:
  [[nodiscard]] static StartAt next() noexcept { return {Where::next, 0}; }  ///< With what is committed from now on.
  [[nodiscard]] static StartAt oldest() noexcept {
    return {Where::oldest, 0};
  }  ///< With the oldest that is there still.
  /// With that one. If it has been overwritten, the first slot comes with a gap; if it is beyond what has been committed,
  /// attaching throws std::errc::invalid_argument.
  [[nodiscard]] static StartAt id(SlotId first) noexcept { return {Where::id, first}; }

 private:
  friend class detail::Consumer;
  enum class Where { next, oldest, id };
  StartAt(Where where, SlotId first) noexcept : where_{where}, first_{first} {}
  Where where_;
  SlotId first_;
};

struct ConsumerOptions {
  ReadMode mode = ReadMode::sequential;
  StartAt start = StartAt::next();  ///< A group that exists goes on where it is; latest_only: next() or oldest().
  std::string label{};              ///< For people and tools; up to 63 bytes.
  std::string group{};  ///< Not empty: each slot goes to one member of the group of this name; sequential only.
  Schema schema{};      ///< Its name not empty: throws errc::schema_mismatch if the block's is another one.
};

/// Data slots since a consumer, or the first member of a group, attached: committed = delivered + skipped + in_flight, at
/// every instant. Delivered is what has been released. Sequence numbers without data (voids) are in none of them.
struct Books {
  std::uint64_t committed = 0, delivered = 0, skipped = 0;
  std::uint64_t in_flight = 0;  ///< Not released yet; once the consumer or group has ended: undelivered.
  std::uint64_t voids = 0;      ///< Sequence numbers passed over that never had data.
  [[nodiscard]] bool operator==(const Books&) const = default;
};

struct ConsumerStatistics {
  std::string label{}, group{};  ///< A group is one consumer: group is not empty, and label is.
  ReadMode mode = ReadMode::sequential;
  std::vector<ProcessIdentity> members{};  ///< One, or those of the group; only who is attached.
  Books books{};
  std::optional<SlotId> holding{};  ///< The first slot that it holds now.
  bool ended = false;               ///< It left, or died, or was broken.
  bool in_motion = false;           ///< Of a group: its members were too busy for an exact picture.
  std::uint64_t redelivered = 0;    ///< Slots of a group that a member had died with.
  std::uint64_t place = 0;          ///< Names this consumer for break_consumer().
};

/// A snapshot, taken without disturbing anybody.
struct BlockStatistics {
  std::uint64_t committed = 0;                  ///< Data slots since the block was made.
  std::uint64_t bytes = 0;                      ///< of payload in them
  std::uint64_t voids = 0;                      ///< Sequence numbers spent because the slot was being read.
  std::uint64_t waits = 0;                      ///< Times that a producer went to sleep for room.
  std::uint64_t refused = 0;                    ///< Times that acquire_write_slot() came back without a slot.
  std::uint64_t reclaims = 0;                   ///< Places taken from the dead.
  SlotId next = 0;                              ///< What will be committed next, at least.
  std::optional<ProcessIdentity> producer{};    ///< Empty: nobody has the role.
  std::vector<ConsumerStatistics> consumers{};  ///< Ended ones, too, until their place is needed.
  /// Who has the largest backlog of those who may make the producer wait; empty if nobody is behind.
  [[nodiscard]] std::optional<ConsumerStatistics> slowest() const;
};

/// A slot to be filled: dropped, it is abandoned.
class [[nodiscard]] WriteSlot {
 public:
  WriteSlot(WriteSlot&& other) noexcept : writer_{std::exchange(other.writer_, nullptr)}, status_{other.status_} {}
  WriteSlot& operator=(WriteSlot&& other) noexcept {
    if (this != &other) {
      drop();
      writer_ = std::exchange(other.writer_, nullptr);
      status_ = other.status_;
    }
    return *this;
  }
  ~WriteSlot() { drop(); }

  [[nodiscard]] explicit operator bool() const noexcept { return writer_ != nullptr; }
  [[nodiscard]] AcquireStatus status() const noexcept { return status_; }
  [[nodiscard]] SlotId id() const noexcept { return writer_->sequence(); }  ///< While it holds a slot.

  /// Not cleared: what an earlier message left. Empty without a slot.
  [[nodiscard]] std::span<std::byte> bytes() const noexcept {
    return writer_ ? std::span{writer_->slot(), writer_->slot_size()} : std::span<std::byte>{};
  }
  /// The slot's beginning as a T. Throws std::errc::invalid_argument if it does not fit: slots are aligned to 32 bytes, to 64 if
  /// they have 4096 or more, or checksums.
  template <class T>
  [[nodiscard]] T& as() const {
    static_assert(std::is_trivially_copyable_v<T>, "what processes share must hold no pointers and need no destructor");
    check(sizeof(T), alignof(T));
    return *reinterpret_cast<T*>(writer_->slot());
  }
  /// As many T as fit.
  template <class T>
  [[nodiscard]] std::span<T> as_span() const {
    static_assert(std::is_trivially_copyable_v<T>, "what processes share must hold no pointers and need no destructor");
    check(sizeof(T), alignof(T));
    return {reinterpret_cast<T*>(writer_->slot()), writer_->slot_size() / sizeof(T)};
  }

  /// The first `bytes` bytes become visible, whole, to everybody. The handle is empty afterwards. Throws
  /// std::errc::invalid_argument (more than the slot has) and errc::concurrent_use, and then the slot is kept; errc::reclaimed (an
  /// operator gave the role to somebody else meanwhile: this message may not have been delivered, and none after it will be).
  void commit(std::size_t bytes) {
    if (writer_ == nullptr) fail_empty();
    writer_->check_commit(bytes);
    std::exchange(writer_, nullptr)->commit(bytes);
  }

 private:
  friend class DataBlockProducer;
  WriteSlot(detail::SlotWriter* writer, AcquireStatus status) noexcept : writer_{writer}, status_{status} {}
  void drop() noexcept {
    if (writer_ != nullptr) std::exchange(writer_, nullptr)->drop();
  }
  void check(std::size_t size, std::size_t alignment) const {
    if (writer_ == nullptr || size > writer_->slot_size() || alignment > writer_->alignment())
      fail_check(size, alignment);
  }
  [[noreturn, gnu::cold]] static void fail_empty();
  [[noreturn, gnu::cold]] void fail_check(std::size_t size, std::size_t alignment) const;
  detail::SlotWriter* writer_;
  AcquireStatus status_;
};

/// A message in its slot, for as long as somebody holds that.
class SlotView {
 public:
  SlotView() noexcept = default;  ///< Of no message.
  [[nodiscard]] SlotId id() const noexcept { return id_; }
  /// As committed, and unchanged until the slot is released.
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {payload_, length_}; }
  /// Throws std::errc::invalid_argument if fewer bytes were committed.
  template <class T>
  [[nodiscard]] const T& as() const {
    static_assert(std::is_trivially_copyable_v<T>, "what processes share must hold no pointers and need no destructor");
    check(sizeof(T), alignof(T));
    return *reinterpret_cast<const T*>(payload_);
  }
  /// As many T as were committed.
  template <class T>
  [[nodiscard]] std::span<const T> as_span() const {
    static_assert(std::is_trivially_copyable_v<T>, "what processes share must hold no pointers and need no destructor");
    check(0, alignof(T));
    return {reinterpret_cast<const T*>(payload_), bytes().size() / sizeof(T)};
  }
  /// When it was committed; the epoch of the clock if the block has no time stamps.
  [[nodiscard]] std::chrono::steady_clock::time_point committed_at() const noexcept {
    return std::chrono::steady_clock::time_point{
        std::chrono::nanoseconds{header_ ? header_->time.load(std::memory_order_relaxed) : 0}};
  }

 protected:
  friend class ConsumeSlots;
  SlotView(const detail::Ring& ring, detail::SlotHeader& header, SlotId id) noexcept
      : header_{&header},
        payload_{ring.payload_of(header)},
        length_{std::min<std::uint64_t>(header.length.load(std::memory_order_relaxed),
                                        ring.size)},  // nothing is trusted unchecked
        id_{id} {}
  void check(std::size_t size, std::size_t alignment) const {
    if (header_ == nullptr || length_ < size || alignment > this->alignment()) fail_check(size, alignment);
  }
  [[nodiscard]] std::size_t alignment() const noexcept {  // as of the slot that it lies in
    return static_cast<std::size_t>(payload_ - reinterpret_cast<const std::byte*>(header_));
  }
  [[noreturn, gnu::cold]] void fail_check(std::size_t size, std::size_t alignment) const;
  const detail::SlotHeader* header_ = nullptr;
  const std::byte* payload_ = nullptr;
  std::size_t length_ = 0;
  SlotId id_ = 0;
};

/// A slot to be read: dropped, it is released.
class [[nodiscard]] ConsumeSlot : public SlotView {
 public:
  ConsumeSlot(ConsumeSlot&& other) noexcept
      : SlotView{other}, reader_{std::exchange(other.reader_, nullptr)}, status_{other.status_} {
    static_cast<SlotView&>(other) = SlotView{};
  }
  ConsumeSlot& operator=(ConsumeSlot&& other) noexcept {
    if (this != &other) {
      static_cast<void>(release());
      SlotView::operator=(other);
      reader_ = std::exchange(other.reader_, nullptr);
      status_ = other.status_;
      static_cast<SlotView&>(other) = SlotView{};
    }
    return *this;
  }
  ~ConsumeSlot() { static_cast<void>(release()); }

  [[nodiscard]] explicit operator bool() const noexcept { return reader_ != nullptr; }
  [[nodiscard]] AcquireStatus status() const noexcept { return status_; }

  /// Sequence numbers between the slot before and this one whose data were not delivered, as one range; voids may be among
  /// them, and what was damaged. What lay before a start by id is told with the first slot. Empty: nothing was missed.
  /// In a group each member is told of what it has lost, not of what another had; one range with each slot.
  [[nodiscard]] SlotRange gap() const noexcept {
    return reader_ ? SlotRange{reader_->gap_first(), reader_->gap_count()} : SlotRange{};
  }
  /// Another member of the group had it before and died with it.
  [[nodiscard]] bool redelivered() const noexcept { return reader_ != nullptr && reader_->redelivered(); }
  /// The bytes are those that were committed. Always true without checksums.
  [[nodiscard]] bool verify() const noexcept { return reader_ == nullptr || reader_->verify(id_); }

  /// false: an operator broke this hold while it lasted; what was read may have been of two messages. The handle is empty.
  bool release() noexcept {
    if (reader_ == nullptr) return true;
    static_cast<SlotView&>(*this) = SlotView{};
    return std::exchange(reader_, nullptr)->release();
  }

 private:
  friend class DataBlockConsumer;
  explicit ConsumeSlot(AcquireStatus status) noexcept : status_{status} {}
  explicit ConsumeSlot(detail::SlotReader& reader) noexcept
      : SlotView{reader.ring(), reader.current(), reader.sequence()}, reader_{&reader}, status_{AcquireStatus::ok} {}
  detail::SlotReader* reader_ = nullptr;
  AcquireStatus status_;
};

/// Several slots at once, in order, released together: for (const SlotView& slot : slots). Cheaper than one by one, most of
/// all in a group.
class [[nodiscard]] ConsumeSlots {
 public:
  ConsumeSlots(ConsumeSlots&& other) noexcept
      : reader_{std::exchange(other.reader_, nullptr)}, status_{other.status_} {}
  ConsumeSlots& operator=(ConsumeSlots&& other) noexcept {
    if (this != &other) {
      static_cast<void>(release());
      reader_ = std::exchange(other.reader_, nullptr);
      status_ = other.status_;
    }
    return *this;
  }
  ~ConsumeSlots() { static_cast<void>(release()); }

  [[nodiscard]] explicit operator bool() const noexcept { return reader_ != nullptr; }
  [[nodiscard]] AcquireStatus status() const noexcept { return status_; }
  [[nodiscard]] SlotRange gap() const noexcept {  ///< Before the first of them.
    return reader_ ? SlotRange{reader_->gap_first(), reader_->gap_count()} : SlotRange{};
  }
  [[nodiscard]] bool redelivered() const noexcept { return reader_ != nullptr && reader_->redelivered(); }
  bool release() noexcept {
    if (reader_ == nullptr) return true;
    return std::exchange(reader_, nullptr)->release();
  }

  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = SlotView;
    using difference_type = std::ptrdiff_t;
    using pointer = void;
    using reference = SlotView;
    [[nodiscard]] SlotView operator*() const noexcept { return slots_->at(id_); }
    Iterator& operator++() noexcept {
      do ++id_;
      while (id_ != end_ && !slots_->reader_->has_data(id_));
      return *this;
    }
    void operator++(int) noexcept { ++*this; }
    [[nodiscard]] bool operator==(const Iterator& other) const noexcept { return id_ == other.id_; }

   private:
    friend class ConsumeSlots;
    Iterator(const ConsumeSlots& slots, SlotId id, SlotId end) noexcept : slots_{&slots}, id_{id}, end_{end} {}
    const ConsumeSlots* slots_;
    SlotId id_, end_;
  };
  [[nodiscard]] Iterator begin() const noexcept {
    return {*this, reader_ ? reader_->sequence() : 0, reader_ ? reader_->taken_until() : 0};
  }
  [[nodiscard]] Iterator end() const noexcept {
    const SlotId end = reader_ ? reader_->taken_until() : 0;
    return {*this, end, end};
  }

 private:
  friend class DataBlockConsumer;
  explicit ConsumeSlots(AcquireStatus status) noexcept : status_{status} {}
  explicit ConsumeSlots(detail::SlotReader& reader) noexcept : reader_{&reader}, status_{AcquireStatus::ok} {}
  [[nodiscard]] SlotView at(SlotId id) const noexcept { return {reader_->ring(), reader_->ring().header(id), id}; }
  detail::SlotReader* reader_ = nullptr;
  AcquireStatus status_;
};

/// The one who fills the slots of a block. It has the role from its making to its end.
///
/// Guarantees (docs/guarantees.md has all of them, each with its test)
///   S1 whole         a consumer never sees a torn or mislabelled slot
///   S2 writer death  what was not committed never becomes visible; the next producer goes on with the sequence at once
///   S4 bounded       every wait honours its deadline; statistics().slowest() says who is in the way
///   S6 no surprise   what happens when the ring is full is the creator's choice
///   S7 reclaim       only from the dead; an operator's break of a live producer makes its next call throw errc::reclaimed
///
/// Errors   Full, timed out and stopped are answers. Throws Error: errc::concurrent_use (another thread), errc::in_use (it
///          holds a slot already), errc::reclaimed, and where it cannot be made.
/// Threads  It belongs to the thread that uses it first; adopt() moves it. Its handles belong to the same thread.
/// Signals  No member is async-signal-safe. Waits go on after a signal handler returns.
/// fork     The child's copy is inert: its calls throw errc::concurrent_use, and its end leaves the parent's role alone.
/// Cost     acquire_write_slot() and commit(): no system call, no allocation, some 5 ns beside the transfer of the bytes,
///          unless it has to wait or somebody sleeps. Waits: spin, yield, then asleep in steps of 10 ms, each of which looks
///          who is dead.
class DataBlockProducer {
 public:
  /// Makes the block; throws as SharedMemory::create(), and std::errc::invalid_argument for options that cannot be.
  [[nodiscard]] static DataBlockProducer create(std::string_view name, const DataBlockOptions& options);
  /// Takes over the role in a block that is there, or waits for both until the deadline: then throws errc::in_use (with
  /// holder) or as SharedMemory::attach(). Throws errc::foreign if the segment is no block, errc::corrupt.
  [[nodiscard]] static DataBlockProducer attach(std::string_view name, Deadline deadline = std::chrono::seconds{5});
  /// Throws errc::layout_mismatch or errc::schema_mismatch if it is there with other options.
  [[nodiscard]] static DataBlockProducer create_or_attach(std::string_view name, const DataBlockOptions& options,
                                                          Deadline deadline = std::chrono::seconds{5});

  DataBlockProducer(DataBlockProducer&&) noexcept;
  DataBlockProducer& operator=(DataBlockProducer&&) noexcept;
  ~DataBlockProducer();  ///< Leaves the role; a slot that is held still keeps it until the handle ends.

  /// The news that came with the role.
  [[nodiscard]] LockOutcome outcome() const noexcept;
  [[nodiscard]] std::optional<ProcessIdentity> previous_owner() const;  ///< After owner_died, if known.

  /// Waits for a slot. A passed deadline still takes what is free; a requested stop does not.
  [[nodiscard]] WriteSlot acquire_write_slot() { return acquire({nullptr, Deadline::never()}); }
  [[nodiscard]] WriteSlot acquire_write_slot(Deadline deadline) { return acquire({nullptr, deadline}); }
  template <class Rep, class Period>
  [[nodiscard]] WriteSlot acquire_write_slot(std::chrono::duration<Rep, Period> time) {
    if (writer_->try_acquire()) return {writer_, AcquireStatus::ok};
    return acquire({nullptr, Deadline{time}});
  }
  [[nodiscard]] WriteSlot acquire_write_slot(const std::stop_token& stop, Deadline deadline = Deadline::never()) {
    if (stop.stop_requested()) return {nullptr, AcquireStatus::stopped};
    return acquire({&stop, deadline});
  }

  [[nodiscard]] DataBlockOptions options() const;  ///< As the block has them.
  /// The application's own header. Guarded by zone_mutex(), if consumers read it.
  [[nodiscard]] std::span<std::byte> zone() noexcept;
  [[nodiscard]] DataBlockMutex& zone_mutex();  ///< Throws as DataBlockMutex::in().
  [[nodiscard]] BlockStatistics statistics() const;
  void adopt();  ///< From here on it belongs to the calling thread. Throws errc::in_use while a slot is held.

 private:
  explicit DataBlockProducer(detail::Producer* producer) noexcept;
  WriteSlot acquire(detail::Patience patience) {
    const AcquireStatus status = writer_->try_acquire() ? AcquireStatus::ok : writer_->acquire_slowly(patience);
    return {status == AcquireStatus::ok ? writer_ : nullptr, status};
  }
  detail::SlotWriter* writer_;  // a detail::Producer; lives as long as its handle does
};

/// One who reads the slots of a block. NOT thread-safe: one per thread. A process may have many.
///
/// Guarantees (docs/guarantees.md has all of them, each with its test)
///   S1 whole         what it is given is the message with that id, complete, and stays so until released
///   S3 reader death  a dead consumer's hold is dropped; a live one's never, however slow, unless an operator breaks it
///   S5 closed books  committed = delivered + skipped + in flight, at every instant, also seen from outside
///
/// Errors   Timed out, stopped and removed are answers. Throws Error: errc::concurrent_use (another thread), errc::in_use
///          (it holds slots already), errc::reclaimed (an operator broke it), errc::checksum_mismatch, and where it cannot
///          be made.
/// Threads  It belongs to the thread that uses it first: last_consumed_slot_id() is its own state. adopt() moves it. Use by
///          another thread is detected, and throws.
/// Signals  No member is async-signal-safe. Waits go on after a signal handler returns.
/// fork     The child's copy is inert: its calls throw errc::concurrent_use, and its end leaves the parent's holds alone.
/// Cost     acquire_consume_slot() and release: no system call, no allocation, some 5 ns, unless it has to wait.
class DataBlockConsumer {
 public:
  /// Waits until the block is there. Throws as SharedMemory::attach(); errc::foreign if the segment is no block,
  /// errc::corrupt, errc::schema_mismatch, errc::too_many_participants, std::errc::invalid_argument for options that
  /// cannot be.
  [[nodiscard]] static DataBlockConsumer attach(std::string_view name, const ConsumerOptions& options = {},
                                                Deadline deadline = std::chrono::seconds{5});

  DataBlockConsumer(DataBlockConsumer&&) noexcept;
  DataBlockConsumer& operator=(DataBlockConsumer&&) noexcept;
  ~DataBlockConsumer();  ///< Leaves; a slot that is held still stays protected until the handle ends.

  /// Waits for a slot. A passed deadline still takes what is there; a requested stop does not.
  [[nodiscard]] ConsumeSlot acquire_consume_slot() { return acquire({nullptr, Deadline::never()}); }
  [[nodiscard]] ConsumeSlot acquire_consume_slot(Deadline deadline) { return acquire({nullptr, deadline}); }
  template <class Rep, class Period>
  [[nodiscard]] ConsumeSlot acquire_consume_slot(std::chrono::duration<Rep, Period> time) {
    if (reader_->try_acquire()) return ConsumeSlot{*reader_};
    return acquire({nullptr, Deadline{time}});
  }
  [[nodiscard]] ConsumeSlot acquire_consume_slot(const std::stop_token& stop, Deadline deadline = Deadline::never()) {
    if (stop.stop_requested()) return ConsumeSlot{AcquireStatus::stopped};
    return acquire({&stop, deadline});
  }
  /// Up to that many at once, without waiting for more than the first; in a group, and under overwrite_oldest, at most an
  /// eighth of the ring. latest_only: one.
  [[nodiscard]] ConsumeSlots acquire_consume_slots(std::size_t at_most, Deadline deadline = Deadline::never());
  [[nodiscard]] ConsumeSlots acquire_consume_slots(std::size_t at_most, const std::stop_token& stop,
                                                   Deadline deadline = Deadline::never());

  [[nodiscard]] std::optional<SlotId> last_consumed_slot_id() const noexcept;  ///< Of the last slot that it was given.
  [[nodiscard]] Books books() const;                                           ///< Of the group, if it is a member.
  [[nodiscard]] DataBlockOptions options() const;
  [[nodiscard]] std::span<const std::byte> zone() const noexcept;
  [[nodiscard]] DataBlockMutex& zone_mutex();  ///< Throws as DataBlockMutex::in().
  [[nodiscard]] BlockStatistics statistics() const;
  void adopt();  ///< From here on it belongs to the calling thread. Throws errc::in_use while a slot is held.

  /// A descriptor for poll() and the like, of this object: readable while a slot waits. It becomes unreadable when an
  /// acquiring call finds nothing. Costs nothing before the first call, and the producer nothing ever: a thread of this
  /// process sleeps for it.
  [[nodiscard]] int event_descriptor();
  /// Waits until one of them has a slot, and returns its index; empty at the deadline. All belong to the calling thread.
  [[nodiscard]] static std::optional<std::size_t> wait_any(std::span<DataBlockConsumer* const> consumers,
                                                           Deadline deadline = Deadline::never());

 private:
  explicit DataBlockConsumer(detail::Consumer* consumer) noexcept;
  ConsumeSlot acquire(detail::Patience patience) {
    const AcquireStatus status = reader_->try_acquire() ? AcquireStatus::ok : reader_->acquire_slowly(patience, 1);
    return status == AcquireStatus::ok ? ConsumeSlot{*reader_} : ConsumeSlot{status};
  }
  detail::SlotReader* reader_;  // a detail::Consumer; lives as long as its handle does
};

struct Reclaimed {
  std::optional<ProcessIdentity> from{};  ///< Empty: its record has been reused since.
  std::string what{};                     ///< "the producer role", "consumer display, holding slot 17"
};

/// The structure itself, for tools.
class DataBlock {
 public:
  /// Read-only: disturbs nobody.
  [[nodiscard]] static DataBlock attach(std::string_view name, Deadline deadline = std::chrono::seconds{5});
  DataBlock(DataBlock&&) noexcept;
  DataBlock& operator=(DataBlock&&) noexcept;
  ~DataBlock();
  [[nodiscard]] BlockStatistics statistics() const;
  [[nodiscard]] DataBlockOptions options() const;

  /// Frees what the dead have, as all who wait do by themselves, and says what it did. Throws errc::in_use, with holder, if
  /// everybody who has something lives.
  static std::vector<Reclaimed> force_reclaim(std::string_view name);
  /// An operator's order: takes the role from a producer that lives, or whose death cannot be proved. What it commits from
  /// now on is not delivered, the slots that it may write into are not used before its death, its next call throws
  /// errc::reclaimed. Better, if it can be: end that process, and nothing of this is needed. Throws
  /// std::errc::no_such_process if there is no producer.
  static Reclaimed break_producer(std::string_view name);
  /// An operator's order: drops the hold of a consumer that lives. It is told at release that what it read may be torn.
  /// `place` from ConsumerStatistics. Throws std::errc::no_such_process if it has left, std::errc::operation_not_supported if
  /// it is a member of a group (end its process: its slots go to another member), std::errc::invalid_argument if there is no
  /// such place.
  static Reclaimed break_consumer(std::string_view name, std::uint64_t place);

 private:
  explicit DataBlock(std::unique_ptr<detail::Observer> observer) noexcept;
  std::unique_ptr<detail::Observer> observer_;
};

[[nodiscard]] std::string_view to_string(AcquireStatus status) noexcept;
[[nodiscard]] std::string_view to_string(OnFull choice) noexcept;
[[nodiscard]] std::string_view to_string(ReadMode mode) noexcept;
/// "1200 committed, 1180 delivered, 12 skipped, 8 in flight"
[[nodiscard]] std::string to_string(const Books& books);
}  // namespace holdfast
