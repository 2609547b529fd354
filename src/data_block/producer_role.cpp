// The role of the producer: taken from the dead, from who has left, from the living by an operator's order (T1 to T4, K1 to K8).
#include <algorithm>
#include <utility>

#include <holdfast/platform/futex.hpp>

#include "data_block/producer.hpp"

namespace holdfast::detail {
namespace {
/// Belongs to no thread: a producer in a forked child.
constexpr char nobodys = 0;
}  // namespace

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
    if (take_from_living(now, settled ? now.word : now.entry->previous.load(std::memory_order_relaxed))) break;
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
                             : take_from_living(now, now.entry->previous.load(std::memory_order_relaxed));
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
  const std::uint64_t head = HOLDFAST_MUTANT(slot, head_before_proof)   ? from.head
                             : HOLDFAST_MUTANT(slot, label_not_counted) ? old.head.load(std::memory_order_acquire)
                                                                        : block_->committed_until(old, from.word);
  const Block::Totals totals = block_->totals_from(Block::record_at(old, head), {from.word, &old, head, from.base});
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

/// K1 to K8: `root` is the role of the producer that is broken, `from` the role now: the same, or one that began to break it.
bool Producer::take_from_living(const Block::Role& from, std::uint64_t root) {
  Entry& broken = block_->entry(role::index(root));
  std::uint64_t state = broken.state.load(std::memory_order_acquire);  // names the incarnation (I1)
  const std::uint64_t open = noted_word::open(entry_state::generation(state));
  Block::Totals totals = block_->totals();  // K1: root's, or as who began to break it has them
  if (const auto sealed = broken.seal.load(std::memory_order_acquire); sealed != open) {
    const std::uint64_t seal = noted_word::number(sealed, broken.head.load(std::memory_order_acquire) + 1);
    entry_->base.store(seal, std::memory_order_relaxed);
    totals = block_->totals_from(Block::record_at(broken, seal), {from.word, entry_, seal, seal});
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
  const std::uint64_t committed = block_->committed_until(broken, root);
  HOLDFAST_STEP(slot, K3);
  std::uint64_t word = open;
  const bool decided =
      !HOLDFAST_MUTANT(slot, not_sealed) &&
      !broken.seal.compare_exchange_strong(word, noted_word::make(entry_state::generation(state), committed),
                                           std::memory_order_seq_cst);  // K4
  const std::uint64_t seal = decided ? noted_word::number(word, committed + 1) : committed;
  HOLDFAST_STEP(slot, K4);
  if (shared_->role.load(std::memory_order_acquire) != unsettled) return false;  // somebody broke the breaker
  broken.broken_claim.store(std::max(claim, seal), std::memory_order_relaxed);   // K5
  if (entry_state::kind(state) == EntryKind::producer && entry_state::state(state) == EntryState::active)
    broken.state.compare_exchange_strong(state, entry_state::with(state, EntryState::broken),
                                         std::memory_order_acq_rel);
  HOLDFAST_STEP(slot, K5);
  entry_->base.store(seal, std::memory_order_relaxed);  // K6
  totals = block_->totals_from(Block::record_at(broken, seal), {unsettled, entry_, seal, seal});
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
}  // namespace holdfast::detail
