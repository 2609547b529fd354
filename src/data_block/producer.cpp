// Room for the next slot: who is waited for, what is held, waiting itself (P1 to P4). The role: producer_role.cpp.
#include "data_block/producer.hpp"

#include <algorithm>
#include <memory>
#include <thread>
#include <utility>

#include <holdfast/platform/futex.hpp>

namespace holdfast::detail {
namespace {
using Clock = std::chrono::steady_clock;

/// At most so many slots tell what the totals record does not yet.
constexpr std::uint64_t longest_without_totals = 64;
}  // namespace

// ---- acquiring -----------------------------------------------------------------------------------------------------

AcquireStatus Producer::acquire(const Patience& patience) {
  if (thread_ != &this_threads_address) {
    if (thread_ != nullptr) fail_thread();
    thread_ = &this_threads_address;
  }
  if (holds())
    throw Error{errc::in_use,
                "acquire a slot of",
                block_->path(),
                "this producer holds one already",
                "commit it or drop it first",
                std::make_shared<const ProcessIdentity>(ProcessIdentity::self())};
  for (bool first = true;; first = false) {
    if (!first && patience.stop != nullptr && patience.stop->stop_requested()) return AcquireStatus::stopped;
    if (shared_->role.load(std::memory_order_acquire) != role_ && !HOLDFAST_MUTANT(slot, role_not_looked_at))
      fail_reclaimed();
    // P1. A look takes time, but only who is full has to wait for it. (That at members of a group takes more, and from them, too.)
    const bool overwrites = block_->on_full() == OnFull::overwrite_oldest;
    if (!overwrites && nearly_full() && !is_full() && !shared_out_) look_at_consumers();
    if (!overwrites && is_full()) {
      look_at_consumers();
      if (block_->on_full() == OnFull::wait && !patience.deadline.passed()) let_them_read();
      if (is_full()) {
        if (block_->on_full() == OnFull::refuse) {
          if (Clock::now() - judged_ >= longest_park) judge();
          if (!is_full()) continue;
          add_one(entry_->refused);
          return AcquireStatus::full;
        }
        const auto ended = wait(patience, next_ - ring_.count() / 2, [this] {
          look_at_consumers();
          return !is_full();
        });
        if (ended) return *ended;
        continue;
      }
    }
    HOLDFAST_STEP(slot, P1);
    note_totals(next_ - pending(), voids_ - pending());
    if (next_ >= claim_) {  // P2
      claim_ = next_ + block_->batch();
      if (!HOLDFAST_MUTANT(slot, claim_after_look)) entry_->claim.store(claim_, std::memory_order_release);
      HOLDFAST_STEP(slot, P2);
    }
    if (next_ >= looked_until_) {        // P3
      light_barrier(*shared_, fences_);  // B-join, B-role
      if (shared_->joins.load(std::memory_order_acquire) != joins_seen_ &&
          (joins_seen_ == no_sequence || !HOLDFAST_MUTANT(slot, joins_not_looked_at))) {
        look_at_consumers();
        continue;
      }
      if (shared_->role.load(std::memory_order_acquire) != role_ && !HOLDFAST_MUTANT(slot, role_not_looked_at))
        fail_reclaimed();
      held_count_ = 0;
      if (has_holds_ && !HOLDFAST_MUTANT(slot, holds_not_looked_at)) {
        full_barrier(*shared_);  // B-hold
        collect_holds();
      }
      if (HOLDFAST_MUTANT(slot, claim_after_look)) entry_->claim.store(claim_, std::memory_order_release);
      looked_until_ = claim_;
      HOLDFAST_STEP(slot, P3);
    }
    // P4
    if (const Held* held = holder_of(next_)) {
      if (!still_holds(*held, next_)) {
        if (HOLDFAST_MUTANT(slot, dropped_with_the_dead)) held_count_ = 0;
        held_ranges_[static_cast<std::size_t>(held - held_ranges_.data())].count = 0;
        continue;
      }
      // Never so many that claim - n would pass head (I2).
      const std::uint64_t most =
          HOLDFAST_MUTANT(slot, voids_without_end) ? no_sequence : ring_.count() - block_->batch();
      if (pending() < most) {
        // All that this hold covers by one look: to see each of its slots released would take its line from who reads.
        const std::uint64_t covered = held->count - ((next_ - held->first) & ring_.mask);
        const std::uint64_t voids = std::min({covered, claim_ - next_, most - pending()});
        voids_in_a_row_ = pending() + voids;
        voids_end_ = next_ += voids;
        current_ = nullptr;  // a small ring may have come round to the slot that was acquired last
        voids_ += voids;
        if (HOLDFAST_MUTANT(slot, void_published_alone)) entry_->head.store(next_, std::memory_order_release);
        HOLDFAST_STEP(slot, P4);
        continue;
      }
      // All are held: nothing of what was voided has been published, so it is taken back.
      voids_ -= pending();
      next_ -= pending();
      voids_in_a_row_ = 0;
      if (block_->on_full() == OnFull::refuse) {
        if (Clock::now() - judged_ >= longest_park) judge();
        collect_holds();
        if (holder_of(next_) == nullptr) {
          looked_until_ = next_;
          continue;
        }
        add_one(entry_->refused);
        return AcquireStatus::full;
      }
      const auto ended = wait(patience, 0, [this] {
        collect_holds();
        for (std::uint64_t s = next_; s != next_ + ring_.count(); ++s)
          if (holder_of(s) == nullptr) return true;
        return false;
      });
      if (ended) return *ended;
      looked_until_ = next_;
      continue;
    }
    free_until_ = lowest_ != no_sequence && !overwrites ? lowest_ + ring_.count() : no_sequence;
    room_until_ = std::min({looked_until_, first_held_from(next_), free_until_, next_ + longest_without_totals});
    begin();
    return AcquireStatus::ok;
  }
}

/// P2: into the record that is not valid now, whose position is none until it is whole. Before the claim (E-totals).
void Producer::note_totals(std::uint64_t head, std::uint64_t voids) noexcept {
  if (entry_->totals[totals_turn_].position.load(std::memory_order_relaxed) == head) return;  // its own word
  TotalsRecord& record = entry_->totals[totals_turn_ ^= HOLDFAST_MUTANT(slot, one_totals_record) ? 0U : 1U];
  // release: who reads one of these words sees the ones before it (E-books).
  record.position.store(HOLDFAST_MUTANT(slot, totals_position_first) ? head : no_sequence, std::memory_order_release);
  HOLDFAST_STEP(slot, P2_none);
  record.bytes.store(bytes_, std::memory_order_release);
  record.voids.store(voids, std::memory_order_release);
  record.position.store(head, std::memory_order_release);
  HOLDFAST_STEP(slot, P2_totals);
}

/// lowest_ and has_holds_, scanned again while holds move (B-move).
void Producer::look_at_consumers() {
  for (std::uint64_t before = shared_->joins.load(std::memory_order_acquire);;) {
    std::uint64_t lowest = no_sequence;
    bool holds = false;
    std::uint64_t groups = 0;  // with an active member
    const std::size_t end = block_->used();
    for (std::size_t i = 0; i < end; ++i) {
      Entry& entry = block_->entry(i);
      const std::uint64_t state = entry.state.load(std::memory_order_acquire);  // E-active
      const EntryKind kind = entry_state::kind(state);
      if (entry_state::state(state) == EntryState::broken && kind == EntryKind::producer) holds = true;
      if (entry_state::state(state) != EntryState::active) continue;
      if (kind == EntryKind::sequential)
        lowest = std::min(lowest, entry.cursor.load(std::memory_order_acquire));  // E-release
      else if (kind == EntryKind::overwritten || kind == EntryKind::latest)
        holds = true;
      else if (kind == EntryKind::member)
        groups |= std::uint64_t{1} << (entry.group.load(std::memory_order_relaxed) % group_limit);
    }
    if (groups != 0 && block_->on_full() == OnFull::overwrite_oldest) holds = true;
    if (groups != 0 && block_->on_full() != OnFull::overwrite_oldest) {
      std::array<std::uint64_t, group_limit> words{};
      for (std::size_t g = 0; g < group_limit; ++g) {
        if (((groups >> g) & 1U) == 0) continue;
        words[g] = block_->group(g).word.load(std::memory_order_acquire);  // before its members' words
        lowest = std::min(lowest, group_word::next(words[g]));
      }
      for (std::size_t i = 0; i < end; ++i) {
        Entry& entry = block_->entry(i);
        const std::uint64_t state = entry.state.load(std::memory_order_acquire);
        if (entry_state::kind(state) != EntryKind::member || entry_state::state(state) == EntryState::joining ||
            entry_state::state(state) == EntryState::left)
          continue;
        const std::size_t g = entry.group.load(std::memory_order_relaxed) % group_limit;
        if (((groups >> g) & 1U) == 0) continue;
        const std::uint64_t member = entry.member.load(std::memory_order_acquire);
        const std::uint64_t first = member_word::first(member);
        const MemberState now = member_word::state(member);
        const bool has = now == MemberState::taken || now == MemberState::again ||
                         (now == MemberState::intent && group_word::winner(words[g]) == i &&
                          group_word::next(words[g]) == first + member_word::count(member));
        if (has) lowest = std::min(lowest, first);
      }
    }
    const std::uint64_t after = shared_->joins.load(std::memory_order_acquire);
    if (after == before) {
      lowest_ = lowest;
      has_holds_ = holds;
      shared_out_ = groups != 0;
      joins_seen_ = after;
      return;
    }
    before = after;
  }
}

/// Until a quarter of the ring is free, for some microseconds. With little room a producer would look for each single slot, and
/// each look takes away from the consumers the lines that they have to write to for the next one. Where others want the processor
/// that is no time to spend here.
void Producer::let_them_read() {
  constexpr unsigned between_looks = 32;  // pauses
  if (spins_ < between_looks) return;
  for (unsigned pauses = 0; pauses < 8 * spins_ && nearly_full(); ++pauses) {
    pause_briefly();
    if (pauses % between_looks == between_looks - 1) look_at_consumers();
  }
}

void Producer::add_hold(std::uint64_t first, std::uint64_t count, std::size_t index) noexcept {
  if (count != 0 && held_count_ < held_ranges_.size())
    held_ranges_[held_count_++] = {first, std::min(count, ring_.count()), index};
}

/// After a full barrier (B-hold), or a look at holds that can only go away.
void Producer::collect_holds() {
  held_count_ = 0;
  bool anybody = false;
  for (std::size_t i = 0, end = block_->used(); i < end; ++i) {
    Entry& entry = block_->entry(i);
    std::uint64_t state = entry.state.load(std::memory_order_acquire);
    const EntryKind kind = entry_state::kind(state);
    if (entry_state::state(state) == EntryState::broken && kind == EntryKind::producer) {
      const auto quarantine = Block::quarantine_of(entry);
      constexpr unsigned rarely = 64;                                     // to look costs microseconds
      if (quarantine_looks_++ % rarely == 0 && block_->is_gone(state)) {  // the quarantine ends
        clear_labels(quarantine.first, quarantine.end, role::epoch(role_) - 1);
        entry.state.compare_exchange_strong(state, entry_state::with(state, EntryState::left),
                                            std::memory_order_acq_rel);
        continue;
      }
      anybody = true;
      add_hold(quarantine.first, quarantine.end - quarantine.first, i);
    } else if (entry_state::state(state) == EntryState::active &&
               (kind == EntryKind::latest || kind == EntryKind::overwritten)) {
      anybody = true;
      const auto hold = entry.hold.load(std::memory_order_acquire);  // E-release
      if (hold != no_sequence) add_hold(hold, kind == EntryKind::latest ? 1 : block_->batch(), i);
    } else if (kind == EntryKind::member && block_->on_full() == OnFull::overwrite_oldest &&
               (entry_state::state(state) == EntryState::active || entry_state::state(state) == EntryState::dead)) {
      if (entry_state::state(state) == EntryState::dead &&
          !block_->group_lives(entry.group.load(std::memory_order_relaxed)))
        continue;
      anybody = true;
      const auto member = entry.member.load(std::memory_order_acquire);
      if (member_word::state(member) != MemberState::idle)
        add_hold(member_word::first(member), member_word::count(member), i);
    }
  }
  has_holds_ = anybody;  // who joins later moves `joins`
}

const Producer::Held* Producer::holder_of(std::uint64_t sequence) const noexcept {
  for (std::size_t i = 0; i < held_count_; ++i)
    if (((sequence - held_ranges_[i].first) & ring_.mask) < held_ranges_[i].count) return &held_ranges_[i];
  return nullptr;
}

std::uint64_t Producer::first_held_from(std::uint64_t sequence) const noexcept {
  std::uint64_t first = no_sequence;
  for (std::size_t i = 0; i < held_count_; ++i)
    if (held_ranges_[i].count != 0)
      first = std::min(first, sequence + ((held_ranges_[i].first - sequence) & ring_.mask));
  return first;
}

bool Producer::still_holds(const Held& held, std::uint64_t sequence) {
  Entry& entry = block_->entry(held.index);
  const std::uint64_t state = entry.state.load(std::memory_order_acquire);
  const EntryKind kind = entry_state::kind(state);
  // A dead hold costs a slot in each lap until it is found; to look costs microseconds.
  constexpr std::uint64_t rarely = 1024;
  const std::uint64_t count = ++voids_by_same_;
  if ((count & (count - 1)) == 0 || count % rarely == 0) {
    if (entry_state::state(state) == EntryState::active && block_->drop_if_dead(held.index, state) &&
        kind != EntryKind::member)
      return false;
  }
  const auto covers = [&](std::uint64_t first, std::uint64_t length) {
    return ((sequence - first) & ring_.mask) < length;
  };
  switch (kind) {
    case EntryKind::producer:
      return entry_state::state(state) == EntryState::broken;
    case EntryKind::latest:
    case EntryKind::overwritten: {
      const auto hold = entry.hold.load(std::memory_order_acquire);
      return entry_state::state(state) == EntryState::active && hold != no_sequence &&
             covers(hold, kind == EntryKind::latest ? 1 : block_->batch());
    }
    case EntryKind::member: {
      const auto member = entry.member.load(std::memory_order_acquire);
      return member_word::state(member) != MemberState::idle &&
             covers(member_word::first(member), member_word::count(member));
    }
    default:
      return false;
  }
}

template <class Ready>
std::optional<AcquireStatus> Producer::wait(const Patience& patience, std::uint64_t half_empty, Ready ready) {
  const auto ended = [&]() -> std::optional<AcquireStatus> {
    if (patience.stop != nullptr && patience.stop->stop_requested()) return AcquireStatus::stopped;
    if (!patience.deadline.passed() || HOLDFAST_MUTANT(slot, deadline_not_kept)) return {};
    if (Clock::now() - judged_ >= longest_park) {  // for those who never wait long enough
      judge();
      if (ready()) return {};
    }
    add_one(entry_->refused);
    return AcquireStatus::timed_out;
  };
  if (const auto status = ended()) return status;
  if (ready()) return {};
  for (Backoff backoff{spins_}; backoff.again();)
    if (ready()) return {};
  add_one(entry_->waits);
  // First until half of the ring is free, so that not every release wakes; after that, one slot is enough.
  for (std::uint64_t target = half_empty;; target = half_empty == 0 ? 0 : next_ - ring_.count() + 1) {
    if (const auto status = ended()) return status;
    if (shared_->role.load(std::memory_order_acquire) != role_) return {};
    const auto event = shared_->writer_event.load(std::memory_order_acquire);
    shared_->writer_target.store(HOLDFAST_MUTANT(slot, half_empty_for_ever) ? half_empty : target,
                                 std::memory_order_seq_cst);
    block_->heavy_barrier();  // B-park-writer
    HOLDFAST_STEP(slot, P_park);
    if (ready()) {
      shared_->writer_target.store(no_sequence, std::memory_order_relaxed);
      return {};
    }
    const auto began = Clock::now();
    platform::wait_on(shared_->writer_event, event,
                      std::min<std::chrono::nanoseconds>(longest_park, patience.deadline.remaining()));
    shared_->writer_target.store(no_sequence, std::memory_order_relaxed);
    if (Clock::now() - began >= longest_park) judge();
    if (ready()) return {};
  }
}

/// Whoever is in the way and dead is dropped (I7).
void Producer::judge() {
  judged_ = Clock::now();
  for (std::size_t i = 0, end = block_->used(); i < end; ++i) {
    const auto state = block_->entry(i).state.load(std::memory_order_acquire);
    if (entry_state::kind(state) != EntryKind::producer && !HOLDFAST_MUTANT(slot, dead_consumer_kept))
      block_->drop_if_dead(i, state);
  }
  joins_seen_ = no_sequence;
  if (block_->on_full() != OnFull::overwrite_oldest) look_at_consumers();
}

// ---- the rest ------------------------------------------------------------------------------------------------------

void Producer::stamp_slot(SlotHeader& header, std::size_t bytes) noexcept {
  if (block_->header().time_stamps != 0)
    header.time.store(static_cast<std::uint64_t>(std::chrono::nanoseconds{Clock::now().time_since_epoch()}.count()),
                      std::memory_order_relaxed);
  if (block_->has_checksums())
    static_cast<ChecksummedSlotHeader&>(header).checksum.store(checksum_of(ring_.payload_of(header), next_, bytes),
                                                               std::memory_order_relaxed);
}

DataBlockMutex& Producer::zone_mutex() {
  if (!zone_mutex_) zone_mutex_.emplace(block_->make_zone_mutex());
  return *zone_mutex_;
}

void Producer::adopt() {
  if (holds())
    throw Error{errc::in_use,
                "move the producer of",
                block_->path(),
                "it holds a slot",
                "commit it or drop it first",
                std::make_shared<const ProcessIdentity>(ProcessIdentity::self())};
  if (forked_) fail_thread();
  thread_ = &this_threads_address;
}

void Producer::fail_thread() const {
  throw Error{
      errc::concurrent_use,
      "produce into",
      block_->path(),
      forked_ ? "this is a forked child: the producer is its parent's" : "this producer belongs to another thread",
      forked_ ? "attach in the child" : "use it in that thread, or adopt() it",
      std::make_shared<const ProcessIdentity>(ProcessIdentity::self())};
}

void Producer::commit_any(std::size_t bytes) {
  const std::unique_ptr<Producer> last{abandoned_ ? this : nullptr};  // also if it has been broken
  publish(bytes, stamps_, fences_);
}

void Producer::drop_slot() noexcept {
  current_ = nullptr;
  HOLDFAST_STEP(slot, drop);
  if (abandoned_) delete this;
}

// What the hot paths in slot_protocol.hpp call: a SlotWriter is always a Producer.
AcquireStatus SlotWriter::acquire_slowly(Patience patience) { return static_cast<Producer*>(this)->acquire(patience); }
void SlotWriter::commit_slowly(std::size_t bytes) { static_cast<Producer*>(this)->commit_any(bytes); }
void SlotWriter::drop() noexcept { static_cast<Producer*>(this)->drop_slot(); }
void SlotWriter::wake_readers() noexcept { static_cast<const Producer*>(this)->block().wake_readers(); }
void SlotWriter::stamp(SlotHeader& header, std::size_t bytes) noexcept {
  static_cast<Producer*>(this)->stamp_slot(header, bytes);
}
void SlotWriter::fail_commit(std::size_t bytes) const {
  const auto& producer = *static_cast<const Producer*>(this);
  if (thread_ != &this_threads_address) producer.fail_thread();
  throw Error{std::make_error_code(std::errc::invalid_argument), "commit to", producer.block().path(),
              std::to_string(bytes) + " bytes do not fit into a slot of " + std::to_string(ring_.size),
              "create the block with a larger slot_size"};
}
void SlotWriter::fail_reclaimed() const {
  const auto& producer = *static_cast<const Producer*>(this);
  const auto now = producer.block().role();
  auto other = producer.block().identity(now.entry->state.load(std::memory_order_acquire));
  throw Error{
      errc::reclaimed,
      "produce into",
      producer.block().path(),
      "an operator took the role from this producer; what it committed from slot " +
          std::to_string(std::min(noted_word::number(entry_->seal.load(std::memory_order_acquire), next_), next_)) +
          " on is not delivered",
      "attach again, when the role is free",
      other ? std::make_shared<const ProcessIdentity>(std::move(*other)) : nullptr};
}
}  // namespace holdfast::detail
