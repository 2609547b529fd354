#include "data_block/producer.hpp"

#include <algorithm>
#include <thread>
#include <utility>

#include <holdfast/platform/futex.hpp>

namespace holdfast::detail {
namespace {
using Clock = std::chrono::steady_clock;

/// Belongs to no thread: a producer or consumer in a forked child.
constexpr char nobodys = 0;
/// At most so many slots tell what the totals record does not yet.
constexpr std::uint64_t longest_without_totals = 64;

/// One more, of an own word that others read. A locked instruction would wait for all stores before it.
void add_one(std::atomic<std::uint64_t>& word) noexcept {
  word.store(word.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}
}  // namespace

// ---- the role ------------------------------------------------------------------------------------------------------

void Producer::enter() {
  shared_ = &block_->shared();
  ring_ = block_->ring();
  fences_ = block_->fences();
  stamps_ = block_->header().time_stamps != 0 || block_->has_checksums();
  simply_committed_ = !stamps_ && !fences_;
  claimed_ = block_->claim_entry(EntryKind::producer, "produce into");
  entry_ = &block_->entry(claimed_.index);
}

Producer::Producer(Block::Pointer block, Deadline deadline) : block_{std::move(block)} {
  enter();
  try {
    take_over(deadline);
  } catch (...) {
    block_->leave(claimed_.index, claimed_.state);
    throw;
  }
  join_fork_handlers();
}

Producer::Producer(Block::Pointer block, ByForce) : block_{std::move(block)} {
  enter();
  const auto fail = [&](std::string_view reason) {
    block_->leave(claimed_.index, claimed_.state);
    throw Error{std::make_error_code(std::errc::no_such_process), "break the producer of", block_->path(), reason};
  };
  for (;;) {
    const Block::Role now = block_->role();
    const std::size_t index = role::index(now.word);
    const bool settled = !role::is_unsettled(now.word);
    if (role::is_vacant(now.word)) fail("nobody has the role");
    const std::uint64_t in_role = now.entry->state.load(std::memory_order_acquire);
    if (!settled && !block_->is_gone(in_role)) {
      // Both might decide where the broken one has ended.
      auto breaker = block_->identity(in_role);
      block_->leave(claimed_.index, claimed_.state);
      throw Error{errc::in_use,
                  "break the producer of",
                  block_->path(),
                  "somebody else is breaking it",
                  "let that process go on, or end it",
                  breaker ? std::make_shared<const ProcessIdentity>(std::move(*breaker)) : nullptr};
    }
    previous_owner_ = block_->identity(now.entry->state.load(std::memory_order_acquire));
    const std::size_t root = settled ? index : now.entry->previous.load(std::memory_order_relaxed) % entry_limit;
    if (take_from_living(now, root)) break;
  }
  begin_to_produce();
  join_fork_handlers();
}

Producer::~Producer() {
  leave_fork_handlers();
  if (forked_) return;
  std::uint64_t mine = role_;
  const bool left = shared_->role.compare_exchange_strong(mine, role_ | role::vacant, std::memory_order_acq_rel);
  HOLDFAST_STEP(slot, vacant);
  if (!left) {
    // Broken. The entry keeps the quarantine until this process ends, or until here: nobody writes any more.
    const auto quarantine = Block::quarantine_of(*entry_);
    clear_labels(quarantine.first, quarantine.end, role::epoch(role_));
    std::uint64_t state = entry_state::with(claimed_.state, EntryState::broken);
    if (entry_->state.compare_exchange_strong(state, entry_state::with(state, EntryState::left),
                                              std::memory_order_acq_rel))
      return;
  }
  block_->leave(claimed_.index, claimed_.state);
}

void Producer::after_fork_in_child() noexcept {
  forked_ = true;
  thread_ = &nobodys;
}

void Producer::take_over(Deadline deadline) {
  Backoff backoff{spins_};
  for (;;) {
    const Block::Role now = block_->role();
    const std::size_t index = role::index(now.word);
    const std::uint64_t state = now.entry->state.load(std::memory_order_acquire);
    const bool vacant = role::is_vacant(now.word);
    const bool has_left =
        entry_state::state(state) == EntryState::left || entry_state::state(state) == EntryState::free;
    if (vacant || has_left || (block_->is_gone(state) && !HOLDFAST_MUTANT(slot, dead_producer_kept))) {
      const bool taken = !role::is_unsettled(now.word)
                             ? take(now)
                             : take_from_living(now, now.entry->previous.load(std::memory_order_relaxed) % entry_limit);
      if (!taken) continue;
      if (!vacant) {
        if (!HOLDFAST_MUTANT(slot, death_not_told)) outcome_ = LockOutcome::owner_died;
        previous_owner_ = block_->identity(state);
        // Its place is free for others, unless it was broken: then its quarantine is looked after elsewhere.
        std::uint64_t expected = state;
        if (entry_state::state(state) == EntryState::active || entry_state::state(state) == EntryState::joining)
          block_->entry(index).state.compare_exchange_strong(expected, entry_state::with(state, EntryState::dead),
                                                             std::memory_order_acq_rel);
        add_one(entry_->reclaims);
      }
      begin_to_produce();
      return;
    }
    if (deadline.passed()) {
      if (HOLDFAST_MUTANT(slot, refused_but_unsettled)) shared_->role.fetch_or(role::unsettled);
      auto holder = block_->identity(state);
      throw Error{errc::in_use,
                  "produce into",
                  block_->path(),
                  holder ? "its producer is " + to_string(*holder) : "it has a producer that lives",
                  "there can be one at a time; end that one, or wait longer",
                  holder ? std::make_shared<const ProcessIdentity>(*holder) : nullptr};
    }
    if (!backoff.again()) {
      // Whoever has the role may leave it, or die: the second wakes nobody, so the wait is short.
      const auto event = shared_->reader_event.load(std::memory_order_acquire);
      shared_->readers_waiting.fetch_or(std::uint64_t{1} << claimed_.index, std::memory_order_seq_cst);
      if (shared_->role.load(std::memory_order_seq_cst) == now.word)
        platform::wait_on(shared_->reader_event, event,
                          std::min<std::chrono::nanoseconds>(longest_park, deadline.remaining()));
    }
  }
}

/// T1, T2, from a producer that is dead or has left. Its words are read here, after the proof: before it they may be old.
bool Producer::take(const Block::Role& from) {
  Entry& old = *from.entry;
  const std::uint64_t head =
      HOLDFAST_MUTANT(slot, head_before_proof) ? from.head : old.head.load(std::memory_order_acquire);
  const Block::Totals totals = block_->totals_from(Block::record_at(old, head), {from.word, &old, head});
  claim_ = std::max(old.claim.load(std::memory_order_acquire), head);
  if (HOLDFAST_MUTANT(slot, lower_claim)) claim_ = head;
  if (claim_ - head > ring_.count()) claim_ = head + ring_.count();  // of a damaged block
  entry_->base.store(head, std::memory_order_relaxed);
  entry_->claim.store(claim_, std::memory_order_relaxed);
  begin_totals(totals);
  for (auto member : {&Entry::waits, &Entry::refused, &Entry::reclaims})
    (entry_->*member).store((old.*member).load(std::memory_order_relaxed), std::memory_order_relaxed);
  entry_->head.store(head, std::memory_order_release);
  next_ = head;
  HOLDFAST_STEP(slot, T1);
  std::uint64_t expected = from.word;
  role_ = role::make(role::epoch(from.word) + 1, claimed_.index);
  if (HOLDFAST_MUTANT(slot, role_taken_by_store)) expected = shared_->role.load(std::memory_order_seq_cst);
  const bool taken = shared_->role.compare_exchange_strong(expected, role_, std::memory_order_seq_cst);  // T2, E-role
  HOLDFAST_STEP(slot, T2);
  return taken;
}

/// K1 to K8: `root` is the producer that is broken, `from` whoever has the role: root itself, or one that began to break it.
bool Producer::take_from_living(const Block::Role& from, std::size_t root) {
  Entry& broken = block_->entry(root);
  std::uint64_t state = broken.state.load(std::memory_order_acquire);  // names the incarnation (I1)
  const std::uint64_t open = seal_word::open(entry_state::generation(state));
  Block::Totals totals = block_->totals();  // K1: root's, or as who began to break it has them
  if (const auto sealed = broken.seal.load(std::memory_order_acquire); sealed != open) {
    const std::uint64_t seal = seal_word::head(sealed, broken.head.load(std::memory_order_acquire));
    entry_->base.store(seal, std::memory_order_relaxed);
    totals = block_->totals_from(Block::record_at(broken, seal), {from.word, entry_, seal});
  }
  const std::uint64_t head = totals.head;
  entry_->previous.store(root, std::memory_order_relaxed);
  entry_->base.store(head, std::memory_order_relaxed);
  entry_->claim.store(no_sequence, std::memory_order_relaxed);
  begin_totals({head, totals.bytes, totals.voids});
  entry_->head.store(head, std::memory_order_release);
  HOLDFAST_STEP(slot, K1);
  std::uint64_t expected = from.word;
  std::uint64_t unsettled = role::make(role::epoch(from.word) + 1, claimed_.index, role::unsettled);
  if (!shared_->role.compare_exchange_strong(expected, unsettled, std::memory_order_seq_cst)) return false;  // K2
  HOLDFAST_STEP(slot, K2);
  block_->heavy_barrier();  // K3, B-role
  const std::uint64_t claim = broken.claim.load(std::memory_order_seq_cst);
  const std::uint64_t committed = broken.head.load(std::memory_order_seq_cst);
  HOLDFAST_STEP(slot, K3);
  std::uint64_t word = open;
  const bool decided =
      !HOLDFAST_MUTANT(slot, not_sealed) &&
      !broken.seal.compare_exchange_strong(word, seal_word::make(entry_state::generation(state), committed),
                                           std::memory_order_seq_cst);  // K4
  const std::uint64_t seal = decided ? seal_word::head(word, committed) : committed;
  HOLDFAST_STEP(slot, K4);
  if (shared_->role.load(std::memory_order_acquire) != unsettled) return false;  // somebody broke the breaker
  broken.broken_claim.store(std::max(claim, seal), std::memory_order_relaxed);   // K5
  if (entry_state::kind(state) == EntryKind::producer && entry_state::state(state) == EntryState::active)
    broken.state.compare_exchange_strong(state, entry_state::with(state, EntryState::broken),
                                         std::memory_order_acq_rel);
  HOLDFAST_STEP(slot, K5);
  entry_->base.store(seal, std::memory_order_relaxed);  // K6
  totals = block_->totals_from(Block::record_at(broken, seal), {unsettled, entry_, seal});
  bytes_ = totals.bytes;
  voids_ = totals.voids;
  next_ = seal;
  for (auto member : {&Entry::waits, &Entry::refused, &Entry::reclaims})
    (entry_->*member).store((broken.*member).load(std::memory_order_relaxed), std::memory_order_relaxed);
  note_totals(seal, voids_);
  entry_->head.store(seal, std::memory_order_release);
  HOLDFAST_STEP(slot, K6);
  claim_ = std::max(claim, seal);
  if (claim_ - seal > ring_.count()) claim_ = seal + ring_.count();  // of a damaged block
  entry_->claim.store(claim_, std::memory_order_release);            // K7
  HOLDFAST_STEP(slot, K7);
  role_ = role::make(role::epoch(unsettled), claimed_.index);
  const bool taken = shared_->role.compare_exchange_strong(unsettled, role_, std::memory_order_seq_cst);  // K8
  HOLDFAST_STEP(slot, K8);
  return taken;
}

/// T3, and T4 by what acquire() finds not looked at.
void Producer::begin_to_produce() {
  clear_labels(next_, claim_, role::epoch(role_) - 1);
  HOLDFAST_STEP(slot, T3);
  for (std::size_t i = 0; HOLDFAST_MUTANT(slot, live_holds_dropped) && i < block_->used(); ++i) {
    auto& state = block_->entry(i).state;
    if (entry_state::kind(state) != EntryKind::producer) state.store(entry_state::with(state, EntryState::dead));
  }
  looked_until_ = HOLDFAST_MUTANT(slot, no_scan_after_takeover) ? claim_ : next_;
  room_until_ = 0;
  joins_seen_ = no_sequence;
  claimed_.state = entry_state::with(claimed_.state, EntryState::active);
  entry_->state.store(claimed_.state, std::memory_order_release);
}

/// Labels that were never committed, of that epoch or earlier ones. Whoever is late at it, because he was stopped and the role is
/// a successor's now, leaves the successor's alone.
void Producer::clear_labels(std::uint64_t first, std::uint64_t end, std::uint64_t epoch) noexcept {
  if (end <= first || end - first > ring_.count() || HOLDFAST_MUTANT(slot, labels_not_cleared)) return;
  for (std::uint64_t s = first; s != end; ++s) {
    auto& word = ring_.header(s).label;
    std::uint64_t label = word.load(std::memory_order_relaxed);
    if (slot_label::names(label, s) && slot_label::is_not_after(label, epoch))
      word.compare_exchange_strong(label, 0, std::memory_order_relaxed);
  }
}

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
      if (pending() + 1 + block_->batch() <= ring_.count() || HOLDFAST_MUTANT(slot, voids_without_end)) {
        voids_in_a_row_ = pending() + 1;
        voids_end_ = ++next_;
        current_ = nullptr;  // a small ring may have come round to the slot that was acquired last
        ++voids_;
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

/// Of an entry that nobody looks at yet.
void Producer::begin_totals(const Block::Totals& totals) noexcept {
  bytes_ = totals.bytes;
  voids_ = totals.voids;
  totals_turn_ = 0;
  TotalsRecord& record = entry_->totals[0];
  record.bytes.store(bytes_, std::memory_order_relaxed);
  record.voids.store(voids_, std::memory_order_relaxed);
  record.position.store(totals.head, std::memory_order_relaxed);
  entry_->totals[1].position.store(no_sequence, std::memory_order_relaxed);
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
/// each look takes away from the consumers the lines that they have to write to for the next one.
void Producer::let_them_read() {
  constexpr unsigned between_looks = 32;  // pauses
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
  publish(bytes, stamps_, fences_);
  if (abandoned_) delete this;
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
          std::to_string(std::min(seal_word::head(entry_->seal.load(std::memory_order_acquire), next_), next_)) +
          " on is not delivered",
      "attach again, when the role is free",
      other ? std::make_shared<const ProcessIdentity>(std::move(*other)) : nullptr};
}
}  // namespace holdfast::detail
