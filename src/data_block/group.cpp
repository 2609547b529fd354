// Work sharing: each slot goes to one member, and what a dead member had to another one (G1 to G5, A1 to A6).
#include <algorithm>
#include <thread>
#include <utility>
#include <vector>

#include <holdfast/platform/segment.hpp>

#include "data_block/consumer.hpp"

namespace holdfast::detail {
namespace {
/// Joiners of groups take turns: one lock of the kernel, on a byte that need not exist, ends with its holder.
class GroupRegistry {
 public:
  GroupRegistry(const Block& block, Deadline deadline) {
    constexpr std::uint64_t registry_byte = std::uint64_t{1} << 41U;
    auto opened = platform::reopen(block.segment().descriptor(), true);
    if (opened.why != platform::done)
      throw Error{
          std::make_error_code(opened.why), "join a group of", block.path(), {}, "a descriptor, and /proc, are needed"};
    file_ = std::move(opened.descriptor);
    while (platform::try_lock_bytes(file_.number(), registry_byte, 1, platform::LockKind::exclusive) !=
           platform::done) {
      if (deadline.passed())
        throw Error{std::make_error_code(std::errc::timed_out), "join a group of", block.path(),
                    "another process has been joining all the time", "continue or end it"};
      std::this_thread::sleep_for(std::chrono::milliseconds{1});  // to join takes microseconds, unless it is stopped
    }
  }

 private:
  platform::Descriptor file_;
};
}  // namespace

template <class Function>
void Consumer::for_each_member(Function function) const {
  for (std::size_t i = 0, end = block_->used(); i < end; ++i) {
    if (i == claimed_.index) continue;
    Entry& entry = block_->entry(i);
    const std::uint64_t state = entry.state.load(std::memory_order_acquire);
    if (entry_state::kind(state) == EntryKind::member && entry.group.load(std::memory_order_relaxed) == group_ &&
        (entry_state::state(state) == EntryState::active || entry_state::state(state) == EntryState::dead))
      function(i, entry, state);
  }
}

// ---- joining ---------------------------------------------------------------------------------------------------------

void Consumer::join_group(const ConsumerOptions& options, Deadline deadline) {
  parity_ = member_word::parity(entry_->member.load(std::memory_order_relaxed));
  const GroupRegistry registry{*block_, deadline};
  join_group_locked(options, deadline);
}

/// False: the group has been without an active member, perhaps for a moment only, in which the producer did not wait for it.
bool Consumer::enter_group(std::size_t g) {
  group_ = g;
  entry_->group.store(g, std::memory_order_relaxed);
  std::vector<std::pair<const Entry*, std::uint64_t>> before;
  for_each_member([&](std::size_t, const Entry& entry, std::uint64_t state) {
    if (entry_state::state(state) == EntryState::active) before.emplace_back(&entry, state);
  });
  block_->activate(claimed_);
  position_ = group_word::next(block_->group(g).word.load(std::memory_order_acquire));
  for (const auto& [entry, state] : before)
    if (entry->state.load(std::memory_order_acquire) == state) return true;  // the same life, without a break
  claimed_.state = entry_state::with(claimed_.state, EntryState::joining);
  entry_->state.store(claimed_.state, std::memory_order_release);
  return false;
}

void Consumer::join_group_locked(const ConsumerOptions& options, Deadline deadline) {
  for (std::size_t i = 0, end = block_->used(); i < end; ++i) {
    const std::uint64_t state = block_->entry(i).state.load(std::memory_order_acquire);
    if (entry_state::kind(state) == EntryKind::member) block_->drop_if_dead(i, state);
  }
  std::optional<std::size_t> ended;
  for (std::size_t g = 0; g < group_limit; ++g) {
    const std::string name = text_in(block_->group(g).name);
    if (block_->group_lives(g)) {
      if (name != options.group) continue;
      if (enter_group(g)) return;
      return join_group_locked(options, deadline);  // it has just ended
    }
    // Its own old place, else one that was never used, else any that nobody is in.
    if (name == options.group || !ended || name.empty()) {
      if (!ended || text_in(block_->group(*ended).name) != options.group) ended = g;
    }
  }
  if (!ended)
    throw Error{errc::too_many_participants, "join a group of", block_->path(),
                "there are " + std::to_string(group_limit) + " groups with live members", "end one of them"};
  // A new life. Nobody looks at a group without active members.
  group_ = *ended;
  Group& group = block_->group(group_);
  group.end.store(group_end::next_life(group.end.load(std::memory_order_relaxed)), std::memory_order_release);  // first
  for_each_member([&](std::size_t, Entry& entry, std::uint64_t state) {
    entry.member.store(member_word::idle(member_word::parity(entry.member.load(std::memory_order_relaxed))),
                       std::memory_order_release);
    entry.state.compare_exchange_strong(state, entry_state::with(state, EntryState::left), std::memory_order_acq_rel);
  });
  for (auto& counts : group.counts)
    for (auto& record : counts)
      for (auto* word : {&record.skipped, &record.voids, &record.redelivered})
        word->store(0, std::memory_order_relaxed);
  for (auto* word : {&group.orphans, &group.adopter}) word->store(0, std::memory_order_relaxed);
  group.start.store(no_sequence, std::memory_order_relaxed);
  write_text(group.name, options.group);
  entry_->group.store(group_, std::memory_order_relaxed);
  join(options, deadline);
}

// ---- taking ------------------------------------------------------------------------------------------------------------

/// G1: whoever won before is told so, should it not have noticed yet: then nobody needs the word for that any more.
void Consumer::confirm(std::uint64_t word) noexcept {
  if (HOLDFAST_MUTANT(slot, winner_not_confirmed)) return;
  Entry& entry = block_->entry(group_word::winner(word));
  std::uint64_t member = entry.member.load(std::memory_order_acquire);
  // The group after the word: the place may have another tenant by now, in another group.
  const std::uint64_t state = entry.state.load(std::memory_order_acquire);
  if (member_word::state(member) == MemberState::intent && entry_state::kind(state) == EntryKind::member &&
      entry.group.load(std::memory_order_relaxed) == group_ &&
      member_word::first(member) + member_word::count(member) == group_word::next(word))
    entry.member.compare_exchange_strong(member, member_word::with(member, MemberState::taken),
                                         std::memory_order_seq_cst);
}

/// `claim`, after the own word has named slots: who claims more sees it (B-hold).
std::uint64_t Consumer::claim_after_naming() noexcept {
  full_barrier(*shared_);  // B-hold
  for (int rounds = 1000; rounds != 0; --rounds) {
    see_role();
    const std::uint64_t claim = claim_in_role(role_seen_);
    if (claim != no_sequence) return claim;
    if (!role::is_unsettled(role_seen_.word)) continue;  // it has moved
    // Who is being broken writes up to its own claim, and raises it no more (B-role).
    const std::size_t broken = role::index(role_seen_.entry->previous.load(std::memory_order_relaxed));
    block_->heavy_barrier();
    const std::uint64_t last = block_->entry(broken).claim.load(std::memory_order_seq_cst);
    if (shared_->role.load(std::memory_order_seq_cst) == role_seen_.word) return last;
  }
  return no_sequence;  // somebody has written into the words what he should not: all counts as overwritten
}

/// How many of the first of them the producer may have overwritten before they were taken.
std::uint64_t Consumer::lost_of(std::uint64_t first, std::uint64_t count) noexcept {
  const std::uint64_t claim = claim_after_naming();
  return claim <= first + ring_.count() ? 0 : std::min(claim - ring_.count() - first, count);
}

/// The same for what a dead member's word has named until the own one did. The producer may have gone past such slots, and left them
/// as they are (P4); but one that looked while the words changed may have seen neither, for what it had claimed then.
std::uint64_t Consumer::lost_of_orphan(std::uint64_t first, std::uint64_t count) noexcept {
  if (block_->on_full() != OnFull::overwrite_oldest) return 0;
  const std::uint64_t claim = claim_after_naming(), head = role_seen_.head, n = ring_.count();
  const auto lost = [&](std::uint64_t s) {
    if (claim <= s + n) return false;
    // Turns of this slot below head are over: whoever used one has labelled it, or left the label cleared. The next one:
    const std::uint64_t turn = head <= s ? s : s + (head - s + n - 1) / n * n;
    const std::uint64_t label = ring_.header(s).label.load(std::memory_order_acquire);
    return claim > turn || label == 0 || slot_label::is_after(label, s);
  };
  while (count != 0 && !lost(first + count - 1)) --count;
  return count;
}

bool Consumer::look_as_member(std::size_t at_most) {
  Group& group = block_->group(group_);
  const std::uint64_t limit = block_->verifies_reads() ? 1 : std::min<std::uint64_t>(at_most, member_limit());
  const bool overwrites = block_->on_full() == OnFull::overwrite_oldest;
  // However many there are, and whatever somebody has written into the words: the caller looks at its deadline in between.
  for (int rounds = 4096; rounds != 0; --rounds) {
    gaps_.reserve(gaps_.size() + 2);  // before anything is taken: to note what is lost may not fail
    if (rest_count_ != 0) {
      if (hold_as_member(rest_first_, rest_count_, 0, true, limit)) return true;
      continue;  // only voids: the own word names the rest still
    }
    if (group.orphans.load(std::memory_order_acquire) != 0 && adopt_orphan(limit)) return true;
    if (rest_count_ != 0) continue;
    std::uint64_t word = group.word.load(std::memory_order_acquire);
    if (group_word::winner(word) != claimed_.index) confirm(word);  // G1
    HOLDFAST_STEP(slot, G1);
    const std::uint64_t next = group_word::next(word);
    std::uint64_t oldest = 0;
    // A head that has counted once is good for what is below it (I4), and its line is the producer's.
    if (overwrites || role_seen_.head < next + limit) {
      see_role();
      const std::uint64_t claim = claim_in_role(role_seen_);
      if (claim == no_sequence) break;
      oldest = claim <= ring_.count() ? 0 : std::min(claim - ring_.count(), role_seen_.head);
    }
    // Who waits for the group writes nothing that it has not read, however far it has claimed.
    const bool lapped = overwrites && oldest > next;
    if (!lapped && next >= role_seen_.head) break;
    std::uint64_t count = std::min(role_seen_.head - next, limit);
    if (lapped) {
      count = std::min(std::min(oldest + start_ahead_, role_seen_.head) - next, member_word::count_limit);
      if (next + count >= oldest) start_further_ahead();
    }
    set_member(MemberState::intent, next, count);  // G2
    HOLDFAST_STEP(slot, G2);
    if (!group.word.compare_exchange_strong(word, group_word::make(next + count, claimed_.index),
                                            std::memory_order_seq_cst))
      continue;  // G3: somebody else was faster
    HOLDFAST_STEP(slot, G3);
    set_member(MemberState::taken, next, count);  // G4
    HOLDFAST_STEP(slot, G4);
    if (hold_as_member(next, count, lapped ? count : overwrites ? lost_of(next, count) : 0, false, count)) return true;
  }
  start_ahead_ = 0;
  if (member_word::state(entry_->member.load(std::memory_order_relaxed)) == MemberState::intent)
    set_member(MemberState::idle, 0, 0);
  return false;
}

/// For the gaps that come with the next slots. Others may have had what lies between two of them.
void Consumer::note_lost(std::uint64_t first, std::uint64_t count) noexcept {
  if (count == 0) return;
  if (!gaps_.empty() && gaps_.back().first + gaps_.back().count == first)
    gaps_.back().count += count;
  else
    gaps_.push_back({first, count});
}

/// Gives out the first `at_most` of what the own word names; the rest comes at the next looks.
bool Consumer::hold_as_member(std::uint64_t first, std::uint64_t all, std::uint64_t lost, bool redelivered,
                              std::uint64_t at_most) {
  const std::uint64_t count = std::min(all, std::max(lost, at_most));
  rest_first_ = first + count;
  rest_count_ = all - count;
  if (redelivered) see_role();  // what is valid depends on it, and who adopts need not have read anything
  member_skipped_ = lost;
  member_voids_ = member_redelivered_ = 0;
  std::uint64_t first_data = no_sequence;
  for (std::uint64_t s = first + lost; s != first + count; ++s) {
    prefetch_after(s);
    if (!is_data(s))
      ++member_voids_;
    else if (first_data == no_sequence)
      first_data = s;
  }
  note_lost(first, lost);
  const bool damaged = first_data != no_sequence && block_->verifies_reads() && !verify(first_data);
  if (damaged) {
    member_skipped_ += 1;  // the limit is one then
    note_lost(first_data, 1);
  }
  if (first_data == no_sequence || damaged) {
    let_go_as_member();
    if (damaged) fail_checksum(first_data);
    return false;
  }
  redelivered_ = redelivered && !HOLDFAST_MUTANT(slot, redelivery_not_told);
  if (redelivered) member_redelivered_ = count - lost - member_voids_;
  gap_count_ = 0;
  if (!gaps_.empty()) {
    gap_first_ = gaps_.front().first;
    gap_count_ = gaps_.front().count;
    gaps_.erase(gaps_.begin());
  }
  position_ = gap_before_ = first_data;
  taken_until_ = first + count;
  return true;
}

/// G5: released and counted by one store.
void Consumer::let_go_as_member() noexcept {
  if (HOLDFAST_MUTANT(slot, released_before_counted)) set_member(MemberState::idle, 0, 0);
  if ((member_skipped_ | member_voids_ | member_redelivered_) != 0) {
    auto& counts = block_->group(group_).counts[claimed_.index];
    const MemberCounts& valid = counts[parity_ ? 1 : 0];
    MemberCounts& other = counts[parity_ ? 0 : 1];
    const auto add = [](std::atomic<std::uint64_t>& to, const std::atomic<std::uint64_t>& from, std::uint64_t more) {
      to.store(from.load(std::memory_order_relaxed) + more, std::memory_order_release);
    };
    add(other.skipped, valid.skipped, member_skipped_);
    add(other.voids, valid.voids, member_voids_);
    add(other.redelivered, valid.redelivered, member_redelivered_);
    parity_ = !parity_;
  }
  HOLDFAST_STEP(slot, G5_counts);
  if (rest_count_ != 0)
    set_member(MemberState::again, rest_first_, rest_count_);
  else
    set_member(MemberState::idle, 0, 0);  // E-release
  HOLDFAST_STEP(slot, G5);
  light_barrier(*shared_, fences_);  // B-park-writer
  if (shared_->writer_target.load(std::memory_order_relaxed) != no_sequence) block_->wake_writer();
}

// ---- adopting ----------------------------------------------------------------------------------------------------------

bool Consumer::judge_members() {
  if (kind_ != EntryKind::member) return false;
  const auto now = std::chrono::steady_clock::now();
  if (now - judged_ < longest_park) return false;
  judged_ = now;
  block_->judge_members(group_);
  return true;
}

bool Consumer::others_have_slots() const noexcept {
  bool have = false;
  for_each_member([&](std::size_t, const Entry& entry, std::uint64_t) {
    have = have || member_word::state(entry.member.load(std::memory_order_acquire)) != MemberState::idle;
  });
  return have;
}

/// Of a dead member: it has won, or it never will.
void Consumer::settle_intent(std::size_t index) noexcept {
  Entry& entry = block_->entry(index);
  std::uint64_t member = entry.member.load(std::memory_order_acquire);
  if (member_word::state(member) != MemberState::intent) return;
  const std::uint64_t word = block_->group(group_).word.load(std::memory_order_seq_cst);
  const bool won = group_word::winner(word) == index &&
                   group_word::next(word) == member_word::first(member) + member_word::count(member);
  // Fails if it won and somebody confirmed it (G1).
  entry.member.compare_exchange_strong(
      member, won ? member_word::with(member, MemberState::taken) : member_word::idle(member_word::parity(member)),
      std::memory_order_seq_cst);
}

bool Consumer::adopt_orphan(std::uint64_t at_most) {
  Group& group = block_->group(group_);
  const std::uint64_t me = entry_state::reference(state_);
  std::uint64_t adopter = group.adopter.load(std::memory_order_acquire);
  // By a thread of this process, too, one at a time.
  if (adopter != 0 && !block_->segment().is_gone(static_cast<Reference>(adopter))) return false;
  if (!group.adopter.compare_exchange_strong(adopter, me, std::memory_order_acq_rel)) return false;  // A1
  HOLDFAST_STEP(slot, A1);
  struct Done {
    std::atomic<std::uint64_t>& lock;
    ~Done() { lock.store(0, std::memory_order_release); }  // A6
  };
  std::uint64_t first = 0, count = 0;
  {
    const Done done{group.adopter};
    std::uint64_t hints = group.orphans.load(std::memory_order_acquire);
    for_each_member([&](std::size_t i, Entry& entry, std::uint64_t state) {
      if (count != 0 || entry_state::state(state) != EntryState::dead) return;
      hints &= ~(std::uint64_t{1} << i);
      settle_intent(i);
      const std::uint64_t orphan = entry.member.load(std::memory_order_acquire);
      if (member_word::state(orphan) != MemberState::idle) {
        bool named_by_another = false;
        for_each_member([&](std::size_t j, Entry& other, std::uint64_t) {
          const std::uint64_t word = other.member.load(std::memory_order_acquire);
          const MemberState has = member_word::state(word);
          named_by_another = named_by_another || (j != i && member_word::first(word) == member_word::first(orphan) &&
                                                  (has == MemberState::taken || has == MemberState::again));
        });
        if (HOLDFAST_MUTANT(slot, orphan_cleared_first))
          entry.member.store(member_word::idle(member_word::parity(orphan)));
        if (!named_by_another || HOLDFAST_MUTANT(slot, adopted_twice)) {
          first = member_word::first(orphan);
          count = member_word::count(orphan);
          set_member(MemberState::again, first, count);  // A2
          HOLDFAST_STEP(slot, A2);
        }
        if (!HOLDFAST_MUTANT(slot, move_not_counted))
          shared_->joins.fetch_add(1, std::memory_order_seq_cst);  // A3, B-move
        HOLDFAST_STEP(slot, A3);
        entry.member.store(member_word::idle(member_word::parity(orphan)), std::memory_order_seq_cst);  // A4
        HOLDFAST_STEP(slot, A4);
      }
      entry.state.compare_exchange_strong(state, entry_state::with(state, EntryState::left),
                                          std::memory_order_acq_rel);  // A5
      HOLDFAST_STEP(slot, A5);
      group.orphans.fetch_and(~(std::uint64_t{1} << i), std::memory_order_acq_rel);
    });
    // Hints to what is no orphan.
    if (count == 0 && hints != 0) group.orphans.fetch_and(~hints, std::memory_order_acq_rel);
  }
  HOLDFAST_STEP(slot, A6);
  if (count == 0) return false;
  return hold_as_member(first, count, lost_of_orphan(first, count), true, at_most);
}
}  // namespace holdfast::detail
