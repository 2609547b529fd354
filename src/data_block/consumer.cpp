#include "data_block/consumer.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include <holdfast/platform/futex.hpp>

namespace holdfast::detail {
namespace {
constexpr char nobodys = 0;  // belongs to no thread: a consumer in a forked child

void check_options(const Block& block, const ConsumerOptions& options, bool names_a_slot) {
  const auto refuse = [&](std::string_view reason) {
    throw Error{std::make_error_code(std::errc::invalid_argument), "consume from", block.path(), reason};
  };
  for (const auto* text : {&options.label, &options.group})
    if (text->size() > label_limit || text->find('\0') != text->npos)
      refuse("label and group have to be texts of up to 63 bytes");
  if (options.mode > ReadMode::latest_only) refuse("mode has a value that is none of the named ones");
  if (!options.group.empty() && options.mode == ReadMode::latest_only)
    refuse("a group shares slots in order; for the latest one only, attach without a group");
  if (options.mode == ReadMode::latest_only && names_a_slot)
    refuse("who reads the latest one only cannot start at a given one");
  block.check_schema(options.schema);
}
}  // namespace

// ---- joining ---------------------------------------------------------------------------------------------------------

Consumer::Consumer(Block::Pointer block, const ConsumerOptions& options, Deadline deadline) : block_{std::move(block)} {
  check_options(*block_, options, options.start.where_ == Where::id);
  shared_ = &block_->shared();
  ring_ = block_->ring();
  fences_ = block_->fences();
  const bool overwrites = block_->on_full() == OnFull::overwrite_oldest;
  kind_ = !options.group.empty()                  ? EntryKind::member
          : options.mode == ReadMode::latest_only ? EntryKind::latest
          : overwrites                            ? EntryKind::overwritten
                                                  : EntryKind::sequential;
  if (kind_ == EntryKind::sequential && !block_->verifies_reads()) held_until_ = no_sequence;  // by the cursor
  simply_released_ = releases_by_cursor() && !fences_;
  claimed_ = block_->claim_entry(kind_, "consume from");
  entry_ = &block_->entry(claimed_.index);
  write_text(entry_->label, options.label);
  try {
    if (kind_ == EntryKind::member)
      join_group(options, deadline);
    else
      join(options, deadline);
  } catch (...) {
    block_->leave(claimed_.index, claimed_.state);
    throw;
  }
  state_ = claimed_.state;
  join_fork_handlers();
}

Consumer::~Consumer() {
  leave_fork_handlers();
  if (forked_) {
    static_cast<void>(bridge_.release());  // its thread is the parent's
    return;
  }
  bridge_.reset();
  block_->leave(claimed_.index, state_);
}

void Consumer::after_fork_in_child() noexcept {
  forked_ = true;
  thread_ = &nobodys;
  simply_released_ = false;  // release() comes here, and leaves the parent's words alone
}

/// `claim` of the producer in role; none: it is being broken, and nothing can be validated now.
std::uint64_t Consumer::claim_in_role(const Block::Role& role) const noexcept {
  const std::uint64_t claim = role.entry->claim.load(std::memory_order_seq_cst);
  return shared_->role.load(std::memory_order_seq_cst) == role.word ? claim : no_sequence;
}

std::uint64_t Consumer::wanted_start(const StartAt& start, std::uint64_t head) const {
  switch (start.where_) {
    case Where::next:
      return head;
    case Where::oldest:
      return 0;
    case Where::id:
      break;
  }
  if (start.first_ > head)
    throw Error{std::make_error_code(std::errc::invalid_argument), "consume from", block_->path(),
                "slot " + std::to_string(start.first_) +
                    " is beyond the last one that was committed, which the next one, " + std::to_string(head) +
                    ", will follow",
                "start at an older one, or with the next"};
  return start.first_;
}

void Consumer::begin_at(std::uint64_t start, std::uint64_t voids) noexcept {
  position_ = unmarked_ = start;
  voids_below_ = voids;
  if (kind_ == EntryKind::member) {
    Group& group = block_->group(group_);
    group.word.store(group_word::make(start, claimed_.index), std::memory_order_release);
    group.start_voids.store(voids, std::memory_order_relaxed);
    group.start.store(start, std::memory_order_release);
  }
  entry_->cursor.store(start, std::memory_order_release);
  entry_->start_voids.store(voids, std::memory_order_relaxed);
  entry_->start.store(start, std::memory_order_release);
}

/// What makes the slots from there on wait for this consumer, or be spared.
void Consumer::pin(std::uint64_t at) noexcept {
  switch (kind_) {
    case EntryKind::sequential:
      entry_->cursor.store(at, std::memory_order_release);
      break;
    case EntryKind::member:
      block_->group(group_).word.store(group_word::make(at, claimed_.index), std::memory_order_release);
      set_member(MemberState::intent, at, member_limit());
      break;
    default:
      entry_->hold.store(at, std::memory_order_release);
  }
}

/// J1 to J4, for one who is no member, and for the first member of a group.
void Consumer::join(const ConsumerOptions& options, Deadline deadline) {
  const bool latest = kind_ == EntryKind::latest;
  see(block_->committed());
  const std::uint64_t wanted = wanted_start(options.start, role_seen_.head);
  const auto oldest_by = [this](std::uint64_t claim) {
    return claim == no_sequence || claim <= ring_.count() ? 0 : std::min(claim - ring_.count(), role_seen_.head);
  };
  std::uint64_t at = std::max(wanted, oldest_by(claim_in_role(role_seen_)));
  bool overwritten = at != wanted;  // what it was to begin with
  if (latest && at < role_seen_.head) at = role_seen_.head - 1;
  Backoff backoff{spins_};
  for (bool active = false;; active = true) {
    pin(at);
    HOLDFAST_STEP(slot, J1);
    if (!active)
      block_->activate(claimed_);
    else
      shared_->joins.fetch_add(1, std::memory_order_seq_cst);  // J3
    block_->heavy_barrier();                                   // B-join
    full_barrier(*shared_);                                    // B-hold
    if (shared_->writer_target.load(std::memory_order_relaxed) != no_sequence) block_->wake_writer();
    HOLDFAST_STEP(slot, J3);
    see(block_->committed());
    const std::uint64_t claim = claim_in_role(role_seen_);  // J4
    // Who is breaking a producer has a head that may be lower than what counts already (K1), until it has settled.
    if (claim == no_sequence || role::is_unsettled(role_seen_.word)) {
      if (deadline.passed())
        throw Error{std::make_error_code(std::errc::timed_out), "consume from", block_->path(),
                    "an operator's order to break its producer has been going on all the time",
                    "continue or end who carries it out"};
      if (!backoff.again())
        platform::wait_on(shared_->reader_event, shared_->reader_event.load(std::memory_order_relaxed),
                          std::chrono::milliseconds{1});
      continue;
    }
    if (at < oldest_by(claim)) {
      if (deadline.passed() && active)
        throw Error{std::make_error_code(std::errc::timed_out), "consume from", block_->path(),
                    "its producer has been overwriting the beginning all the time",
                    "wait longer, or create the block with more slots"};
      overwritten = true;
      at = oldest_by(claim);
      continue;
    }
    // The start is a slot whose label tells how many voids there are below it, or the head.
    const bool pins_all =
        kind_ == EntryKind::sequential || (kind_ == EntryKind::member && block_->on_full() != OnFull::overwrite_oldest);
    const std::uint64_t pinned = pins_all                     ? no_sequence - at
                                 : kind_ == EntryKind::member ? member_limit()
                                 : latest                     ? 1
                                                              : block_->batch();
    if (role_seen_.head > claim || (pins_all && role_seen_.head - at > ring_.count()))
      throw Error{errc::corrupt, "consume from", block_->path(), "its words contradict each other",
                  "end its users, then remove it"};
    const std::uint64_t end = std::min(role_seen_.head, at + pinned);
    std::uint64_t first = at;
    while (first < end && !block_->is_valid(first, role_seen_)) ++first;
    if (first < end) {
      begin_at(first, ring_.header(first).voids.load(std::memory_order_relaxed));
      break;
    }
    if (end < role_seen_.head && !latest) {
      at = end;
      continue;
    }
    Block::Totals totals = block_->totals();
    for (int patience = 1000; totals.head < at && patience != 0; --patience) totals = block_->totals();
    if (!pins_all && !latest && totals.head > end) continue;  // committed meanwhile, and held
    if (pins_all) {  // whatever has been committed from there on is there still
      see_role();
      std::uint64_t voids = 0;
      for (std::uint64_t s = at; s < totals.head && s - at < ring_.count(); ++s)
        voids += block_->is_valid(s, role_seen_) ? 0U : 1U;
      begin_at(at, totals.voids - voids);
    } else {
      begin_at(totals.head, totals.voids);
    }
    break;
  }
  HOLDFAST_STEP(slot, J4);
  if (kind_ == EntryKind::member) set_member(MemberState::idle, 0, 0);
  if (kind_ == EntryKind::overwritten || latest) entry_->hold.store(no_sequence, std::memory_order_release);
  if (!latest && options.start.where_ == Where::id && overwritten && position_ > wanted) {
    gaps_.push_back({wanted, position_ - wanted});
    held_until_ = 0;  // the hot path gives out no gap: the first slot takes the other one
  }
}

// ---- reading -----------------------------------------------------------------------------------------------------------

void Consumer::see(const Block::Role& role) noexcept {
  role_seen_ = role;
  role_ = role.word;
  head_ = &role.entry->head;
  epoch_ = HOLDFAST_MUTANT(slot, label_without_epoch) ? 0 : role::epoch(role_);
}

/// Sequence numbers from position_ up to `to` are passed over: so many voids are below that. It counts from the moment on when
/// the cursor gets to `cursor`.
void Consumer::pass_over(std::uint64_t to, std::uint64_t voids_below, std::uint64_t cursor) noexcept {
  const std::uint64_t count = to - position_;
  // Within bounds even where somebody has written into the block what he should not.
  const std::uint64_t voids = std::min(voids_below - voids_below_, count);
  skipped_ += count - voids;
  voids_ += voids;
  voids_below_ = voids_below;
  gap_first_ = position_;
  gap_count_ = count > voids ? count : 0;
  position_ = to;
  // release: after the cursor stored before (E-books).
  BooksRecord& record = entry_->books[books_turn_ ^= HOLDFAST_MUTANT(slot, one_books_record) ? 0U : 1U];
  record.position.store(cursor, std::memory_order_release);
  record.skipped.store(skipped_, std::memory_order_release);
  record.voids.store(voids_, std::memory_order_release);
}

bool Consumer::deliver(std::uint64_t from, std::uint64_t end, std::size_t at_most) {
  end = std::min(end, from + ring_.count());  // more there cannot be, whatever the words say
  std::uint64_t s = from;
  while (s < end && !is_data(s)) ++s;
  if (s >= end) return false;
  SlotHeader& header = ring_.header(s);
  const std::uint64_t voids = header.voids.load(std::memory_order_relaxed);
  gap_before_ = s;
  gap_count_ = 0;
  if (block_->verifies_reads() && !verify(s)) {
    // It counts as skipped, and is not looked at again.
    last_id_ = last_id();
    if (gaps_.empty()) gaps_.push_back({position_, 0});  // it ends with the next slot
    pass_over(s + 1, voids, s + 1);
    unmarked_ = position_;
    entry_->cursor.store(position_, std::memory_order_release);
    if (kind_ != EntryKind::sequential) entry_->hold.store(no_sequence, std::memory_order_release);
    range_end_ = 0;
    fail_checksum(s);
  }
  if (s != position_) pass_over(s, voids, s + 1);
  if (!gaps_.empty()) {
    gap_first_ = gaps_.front().first;
    gap_count_ = s - gap_first_;
    gaps_.clear();
  }
  HOLDFAST_STEP(slot, read);
  if (at_most < end - s) end = s + at_most;
  do prefetch_after(s++);
  while (s < end && is_data(s) && (!block_->verifies_reads() || verify(s)));
  taken_until_ = s;
  return true;
}

bool Consumer::label_has_come() const noexcept {
  // E-label; then I4: that label counted when it was read. acquire: the second look is not before the first.
  return ring_.header(position_).label.load(std::memory_order_acquire) == slot_label::make(position_, epoch_) &&
         (shared_->role.load(std::memory_order_acquire) == role_ || HOLDFAST_MUTANT(slot, label_without_role));
}

/// One that comes alone. The line of `head`, which would have to come first, is not waited for.
bool Consumer::take_labelled() noexcept {
  if (!label_has_come()) return false;
  readable_until_ = taken_until_ = position_ + 1;
  HOLDFAST_STEP(slot, read);
  return true;
}

bool Consumer::look_sequential(std::size_t at_most) {
  see_role();
  std::uint64_t end = role_seen_.head;
  if (position_ >= end && label_has_come()) end = position_ + 1;  // its producer may have been killed before P9
  readable_until_ = block_->verifies_reads() ? 0 : end;
  if (position_ >= end || !deliver(position_, end, at_most)) return false;
  if (!block_->verifies_reads()) held_until_ = no_sequence;  // by the cursor
  return true;
}

bool Consumer::look_overwritten(std::size_t at_most) {
  see_role();
  std::uint64_t at = position_;
  // Bounded, whatever the words say: the ring has so many ranges.
  for (std::uint64_t rounds = 0; at < role_seen_.head && rounds < 2 * ring_.count(); ++rounds) {
    if (range_end_ <= at) {
      if (!HOLDFAST_MUTANT(slot, read_without_hold))
        entry_->hold.store(at, std::memory_order_release);  // H1, E-release of the range before
      full_barrier(*shared_);                               // B-hold
      HOLDFAST_STEP(slot, H1);
      see_role();
      const std::uint64_t claim = claim_in_role(role_seen_);  // H2
      if (claim == no_sequence) break;
      if (claim > at + ring_.count() && !HOLDFAST_MUTANT(slot, hold_without_a_look)) {
        at = std::min(claim - ring_.count() + start_ahead_, role_seen_.head);
        start_further_ahead();
        continue;
      }
      range_end_ = at + block_->batch();
      held_until_ = block_->verifies_reads() ? 0 : range_end_;
      HOLDFAST_STEP(slot, H2);
    }
    const std::uint64_t end = std::min(role_seen_.head, range_end_);
    if (deliver(at, end, at_most)) {
      readable_until_ = block_->verifies_reads() ? 0 : end;
      return true;
    }
    at = end;
  }
  range_end_ = held_until_ = readable_until_ = start_ahead_ = 0;
  let_go_of_hold();
  return false;
}

void Consumer::let_go_of_hold() noexcept {
  entry_->hold.store(no_sequence, std::memory_order_release);  // E-release
  light_barrier(*shared_, fences_);                            // B-park-writer
  HOLDFAST_STEP(slot, release);
  if (shared_->writer_target.load(std::memory_order_relaxed) != no_sequence) block_->wake_writer();
}

bool Consumer::look_latest() {
  see_role();
  if (role_seen_.head <= position_) return false;
  for (int attempt = 0; attempt < 16; ++attempt) {
    const std::uint64_t newest = role_seen_.head - 1;
    if (!HOLDFAST_MUTANT(slot, read_without_hold)) entry_->hold.store(newest, std::memory_order_release);  // H1
    full_barrier(*shared_);                                                                                // B-hold
    HOLDFAST_STEP(slot, H1);
    see_role();
    const std::uint64_t claim = claim_in_role(role_seen_);  // H2
    HOLDFAST_STEP(slot, H2);
    if (claim != no_sequence && (claim <= newest + ring_.count() || HOLDFAST_MUTANT(slot, hold_without_a_look)) &&
        newest >= position_ && newest < role_seen_.head && deliver(newest, newest + 1, 1))
      return true;
    if (role_seen_.head <= position_) break;
  }
  let_go_of_hold();
  return false;
}

bool Consumer::look(std::size_t at_most) {
  switch (kind_) {
    case EntryKind::sequential:
      return look_sequential(at_most);
    case EntryKind::overwritten:
      return look_overwritten(at_most);
    case EntryKind::latest:
      return look_latest();
    default:
      return look_as_member(at_most);
  }
}

/// Cheaper than a look.
bool Consumer::may_have_some() const noexcept {
  if (head_ == nullptr || shared_->role.load(std::memory_order_relaxed) != role_) return true;
  if (kind_ != EntryKind::member) return head_->load(std::memory_order_acquire) > position_;
  const Group& group = block_->group(group_);
  const std::uint64_t next = group_word::next(group.word.load(std::memory_order_acquire));
  return rest_count_ != 0 || role_seen_.head > next || head_->load(std::memory_order_acquire) > next ||
         group.orphans.load(std::memory_order_relaxed) != 0;
}

/// Throws what speaks against an acquiring call; the first one's thread is the consumer's.
void Consumer::check_acquire(std::size_t at_most) {
  if (thread_ != &this_threads_address) {
    if (thread_ != nullptr) fail_thread();
    thread_ = &this_threads_address;
  }
  if (holds())
    throw Error{errc::in_use,
                "acquire a slot of",
                block_->path(),
                "this consumer holds one already",
                "release it first, or take several at once",
                std::make_shared<const ProcessIdentity>(ProcessIdentity::self())};
  if (at_most == 0)
    throw Error{std::make_error_code(std::errc::invalid_argument), "acquire slots of", block_->path(),
                "none were asked for"};
  if (entry_->state.load(std::memory_order_acquire) != state_) fail_reclaimed();
}

bool Consumer::take(std::size_t at_most) {
  if (!look(at_most)) return false;
  if (!releases_by_cursor()) last_id_ = taken_until_ - 1;
  return true;
}

/// Before it is said that there is nothing: what others may have been given by its label counts. Not in each look: it takes the line
/// from a producer that is writing there.
bool Consumer::take_last(std::size_t at_most) {
  const struct Reset {
    bool& flag;
    ~Reset() { flag = false; }
  } reset{counts_label_};
  counts_label_ = true;
  return take(at_most);
}

AcquireStatus Consumer::acquire(const Patience& patience, std::size_t at_most) {
  if (thread_ != &this_threads_address || holds() || at_most == 0 ||
      entry_->state.load(std::memory_order_acquire) != state_) [[unlikely]]
    check_acquire(at_most);
  redelivered_ = false;
  if (kind_ == EntryKind::member && take(at_most)) return AcquireStatus::ok;
  return acquire_later(patience, at_most);
}

/// Nothing is held; a member has looked once, in vain.
AcquireStatus Consumer::acquire_later(const Patience& patience, std::size_t at_most) {
  // The next message may be on its way: looked for tightly, and taken at once if the hot path may take it, for about as long as a
  // round trip takes. What is there and not for the hot path needs a look.
  constexpr unsigned stream = 4;  // messages since it had to wait last
  const bool in_stream = position_ - nothing_at_ >= stream;
  const bool by_hot_path = at_most == 1 && position_ < held_until_;
  const bool by_label = by_hot_path && kind_ == EntryKind::sequential && !in_stream;
  const auto comes = [&] { return by_label ? take_labelled() : by_hot_path ? try_acquire() : may_have_some(); };
  bool come = comes();
  if (!come && !may_have_some() && !patience.deadline.passed()) {
    // In a stream several are on their way: who looks at once takes the line of `head` from a producer that has the next store to
    // it under way. Without this rest, up to a microsecond, producers on another L3 cache have half the rate. Where others want the
    // processor it is short, as all spinning.
    for (unsigned i = 0; in_stream && i < spins_; ++i) pause_briefly();
    nothing_at_ = position_;
    for (unsigned i = 0; i < 2 * spins_ && !come; ++i) {
      pause_briefly();
      come = comes();
    }
  }
  if (come && by_hot_path) return AcquireStatus::ok;
  if (take(at_most)) return AcquireStatus::ok;
  if (judge_members() && take(at_most)) return AcquireStatus::ok;  // also for those who never wait
  const auto ended = [&]() -> std::optional<AcquireStatus> {
    if (patience.stop != nullptr && patience.stop->stop_requested()) return AcquireStatus::stopped;
    if (!patience.deadline.passed()) return {};
    if (take_last(at_most)) return AcquireStatus::ok;
    if (bridge_) bridge_->arm(std::max(role_seen_.head, position_));
    return is_removed() ? AcquireStatus::removed : AcquireStatus::timed_out;
  };
  if (const auto status = ended()) return *status;
  for (Backoff backoff{spins_}; backoff.again();) {
    if (!may_have_some()) continue;
    if (take(at_most)) return AcquireStatus::ok;
  }
  for (;;) {
    if (const auto status = ended()) return *status;
    const auto event = shared_->reader_event.load(std::memory_order_acquire);
    shared_->readers_waiting.fetch_or(std::uint64_t{1} << claimed_.index, std::memory_order_seq_cst);
    block_->heavy_barrier();  // B-park-reader
    HOLDFAST_STEP(slot, R_park);
    if (take(at_most)) return AcquireStatus::ok;
    const auto began = std::chrono::steady_clock::now();
    platform::wait_on(shared_->reader_event, event,
                      std::min<std::chrono::nanoseconds>(longest_park, patience.deadline.remaining()));
    if (take(at_most)) return AcquireStatus::ok;
    if (std::chrono::steady_clock::now() - began >= longest_park) {
      judge_members();
      if (take_last(at_most)) return AcquireStatus::ok;
      if (entry_->state.load(std::memory_order_acquire) != state_) fail_reclaimed();
      if (is_removed()) return AcquireStatus::removed;
    }
  }
}

/// No producer lives, and nobody can become one: the name is gone. What other members have may come to this one.
bool Consumer::is_removed() const {
  const auto role = block_->role();
  if (kind_ == EntryKind::member ? others_have_slots() : role.head > position_) return false;
  if (!role::is_vacant(role.word) && !block_->is_gone(role.entry->state.load(std::memory_order_acquire))) return false;
  return !block_->has_name();
}

bool Consumer::release_any() noexcept {
  bool whole = true;
  if (forked_) {
    taken_until_ = position_;
  } else {
    if (kind_ == EntryKind::member) {
      let_go_as_member();
      taken_until_ = position_;
    } else if (kind_ == EntryKind::latest) {
      position_ = taken_until_;
      entry_->cursor.store(position_, std::memory_order_release);
      let_go_of_hold();
    } else {
      move_cursor(fences_);
    }
    whole = entry_->state.load(std::memory_order_relaxed) == state_;
  }
  if (abandoned_) delete this;
  return whole;
}

// ---- the rest ------------------------------------------------------------------------------------------------------------

std::optional<std::uint64_t> Consumer::last_id() const noexcept {
  if (!releases_by_cursor()) return last_id_;
  // The hot path notes nothing: what it gave out last ends where the position stands.
  if (holds()) return taken_until_ - 1;
  return position_ == unmarked_ ? last_id_ : std::optional{position_ - 1};
}

Books Consumer::books() const {
  return kind_ == EntryKind::member ? books_of(*block_, picture_of(*block_, group_), group_)
                                    : books_of(*block_, *entry_);
}

DataBlockMutex& Consumer::zone_mutex() {
  if (!zone_mutex_) zone_mutex_.emplace(block_->make_zone_mutex());
  return *zone_mutex_;
}

void Consumer::adopt() {
  if (holds())
    throw Error{errc::in_use,       "move the consumer of",
                block_->path(),     "it holds a slot",
                "release it first", std::make_shared<const ProcessIdentity>(ProcessIdentity::self())};
  if (forked_) fail_thread();
  thread_ = &this_threads_address;
}

bool Consumer::looks_readable() const {
  if (kind_ != EntryKind::member) return block_->committed().head > position_;
  return rest_count_ != 0 || block_->has_orphans(group_) ||
         block_->committed().head > group_word::next(block_->group(group_).word.load(std::memory_order_acquire));
}

int Consumer::event_descriptor() {
  if (forked_) fail_thread();
  if (!bridge_) {
    bridge_ = std::make_unique<EventBridge>(block_, claimed_.index,
                                            kind_ == EntryKind::member ? std::optional{group_} : std::nullopt);
    bridge_->arm(looks_readable() ? 0 : std::max(block_->role().head, position_));
  }
  return bridge_->descriptor();
}

void Consumer::fail_thread() const {
  throw Error{
      errc::concurrent_use,
      "consume from",
      block_->path(),
      forked_ ? "this is a forked child: the consumer is its parent's" : "this consumer belongs to another thread",
      forked_ ? "attach in the child" : "attach one per thread, or adopt() it",
      std::make_shared<const ProcessIdentity>(ProcessIdentity::self())};
}

void Consumer::fail_reclaimed() const {
  throw Error{errc::reclaimed, "consume from", block_->path(), "an operator broke this consumer", "attach again"};
}

void Consumer::fail_checksum(std::uint64_t sequence) const {
  throw Error{errc::checksum_mismatch, "consume from", block_->path(),
              "the bytes of slot " + std::to_string(sequence) + " are not those that were committed",
              "it counts as skipped; find out who writes into this segment"};
}

// What the hot paths in slot_protocol.hpp call: a SlotReader is always a Consumer.
AcquireStatus SlotReader::acquire_slowly(Patience patience, std::size_t at_most) {
  return static_cast<Consumer*>(this)->acquire(patience, at_most);
}
void SlotReader::wake_writer() noexcept { static_cast<const Consumer*>(this)->block().wake_writer(); }
bool SlotReader::release_slowly() noexcept { return static_cast<Consumer*>(this)->release_any(); }
bool SlotReader::has_data(std::uint64_t sequence) const noexcept {
  return static_cast<const Consumer*>(this)->is_data(sequence);
}
bool SlotReader::verify(std::uint64_t sequence) const noexcept {
  if (!static_cast<const Consumer*>(this)->block().has_checksums()) return true;
  auto& header = static_cast<ChecksummedSlotHeader&>(ring_.header(sequence));
  const std::size_t length = std::min<std::uint64_t>(header.length.load(std::memory_order_relaxed), ring_.size);
  return header.checksum.load(std::memory_order_relaxed) == checksum_of(ring_.payload_of(header), sequence, length);
}
}  // namespace holdfast::detail
