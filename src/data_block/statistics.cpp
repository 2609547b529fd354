// Books and statistics, from words that others are writing: read, and read again until nothing has moved.
#include <algorithm>
#include <array>
#include <utility>

#include "data_block/consumer.hpp"

namespace holdfast::detail {
namespace {
struct Committed {
  std::uint64_t head, voids;
};

/// What counts as committed for who has ended: what had been then.
template <class Words>
Committed committed_for(const Block& block, const Words& words) {
  const std::uint64_t end = words.end.load(std::memory_order_acquire);
  if (end != no_sequence) return {end, words.end_voids.load(std::memory_order_relaxed)};
  const auto totals = block.totals();
  return {totals.head, totals.voids};
}

const BooksRecord& record_at(const Entry& entry, std::uint64_t cursor) noexcept {
  const auto& [first, second] = entry.books;
  const auto a = first.position.load(std::memory_order_acquire), b = second.position.load(std::memory_order_acquire);
  if (a > cursor) return second;
  if (b > cursor) return first;
  return a >= b ? first : second;
}
}  // namespace

Books books_of(const Block& block, const Entry& entry) {
  for (;;) {
    const std::uint64_t start = entry.start.load(std::memory_order_acquire);
    if (start == no_sequence) return {};
    const std::uint64_t cursor = entry.cursor.load(std::memory_order_acquire);
    const BooksRecord& record = record_at(entry, cursor);
    const bool has_record = record.position.load(std::memory_order_acquire) <= cursor;  // before the first gap: none
    Books books;
    books.skipped = has_record ? record.skipped.load(std::memory_order_acquire) : 0;
    books.voids = has_record ? record.voids.load(std::memory_order_acquire) : 0;
    const std::uint64_t start_voids = entry.start_voids.load(std::memory_order_relaxed);
    const Committed now = committed_for(block, entry);
    if (entry.cursor.load(std::memory_order_acquire) != cursor || entry.start.load(std::memory_order_acquire) != start)
      continue;
    books.committed = now.head - start - (now.voids - start_voids);
    books.delivered = cursor - start - books.skipped - books.voids;
    books.in_flight = books.committed - books.delivered - books.skipped;
    return books;
  }
}

bool books_of_group(const Block& block, std::size_t index, Books& books, std::uint64_t& redelivered) {
  const Group& group = block.group(index);
  const Ring& ring = block.ring();
  for (int attempt = 0;; ++attempt) {
    const std::uint64_t word = group.word.load(std::memory_order_acquire);
    const std::uint64_t start = group.start.load(std::memory_order_acquire);
    books = {};
    redelivered = 0;
    if (start == no_sequence) return true;
    std::array<std::uint64_t, entry_limit> members{};
    const auto role = block.role();
    std::uint64_t held_data = 0, held = 0;
    const std::size_t used = block.used();
    for (std::size_t i = 0; i < used; ++i) {
      const Entry& entry = block.entry(i);
      members[i] = entry.member.load(std::memory_order_acquire);
      const MemberCounts& counts = group.counts[i][member_word::parity(members[i]) ? 1 : 0];
      books.skipped += counts.skipped.load(std::memory_order_acquire);
      books.voids += counts.voids.load(std::memory_order_acquire);
      redelivered += counts.redelivered.load(std::memory_order_acquire);
      const std::uint64_t state = entry.state.load(std::memory_order_acquire);
      if (entry_state::kind(state) != EntryKind::member || entry.group.load(std::memory_order_relaxed) != index)
        continue;
      const MemberState has = member_word::state(members[i]);
      const std::uint64_t first = member_word::first(members[i]), count = member_word::count(members[i]);
      if (has == MemberState::taken || has == MemberState::again ||
          (has == MemberState::intent && group_word::winner(word) == i && group_word::next(word) == first + count)) {
        held += count;
        for (std::uint64_t s = first; s != first + count; ++s) held_data += block.is_valid(s, role) ? 1U : 0U;
      }
    }
    const std::uint64_t next = group_word::next(word);
    const Committed now = committed_for(block, group);
    // Voids below `next`: those below the head, less those between. What has been overwritten is taken for data.
    std::uint64_t data_ahead = 0;
    const std::uint64_t behind = now.head > next ? now.head - next : 0;
    const std::uint64_t readable = std::min(behind, ring.count());
    for (std::uint64_t s = now.head - readable; s != now.head; ++s) data_ahead += block.is_valid(s, role) ? 1U : 0U;
    data_ahead += behind - readable;
    bool moved = group.word.load(std::memory_order_acquire) != word || block.totals().head != role.head;
    for (std::size_t i = 0; i < used; ++i)
      moved = moved || block.entry(i).member.load(std::memory_order_acquire) != members[i];
    constexpr int patience = 1000;
    if (moved && attempt < patience) continue;
    books.delivered = next - start - held - books.skipped - books.voids;
    books.in_flight = held_data + data_ahead;
    books.voids += held - held_data;
    books.committed = books.delivered + books.skipped + books.in_flight;
    return !moved;
  }
}

BlockStatistics statistics_of(const Block& block) {
  BlockStatistics result;
  const auto totals = block.totals();
  const auto role = block.role();
  result.next = totals.head;
  result.committed = totals.head - totals.voids;
  result.bytes = totals.bytes;
  result.voids = totals.voids;
  result.waits = role.entry->waits.load(std::memory_order_relaxed);
  result.refused = role.entry->refused.load(std::memory_order_relaxed);
  result.reclaims = role.entry->reclaims.load(std::memory_order_relaxed);
  if (!role::is_vacant(role.word)) result.producer = block.identity(role.entry->state.load(std::memory_order_acquire));

  struct InGroup {
    std::vector<ProcessIdentity> members;
    std::optional<SlotId> holding;
    bool any = false, lives = false;
  };
  std::array<InGroup, group_limit> groups;
  for (std::size_t i = 0, end = block.used(); i < end; ++i) {
    const Entry& entry = block.entry(i);
    const std::uint64_t state = entry.state.load(std::memory_order_acquire);
    const EntryState is = entry_state::state(state);
    const EntryKind kind = entry_state::kind(state);
    const bool active = is == EntryState::active;
    if (is == EntryState::free || is == EntryState::joining || kind == EntryKind::producer || kind == EntryKind::none)
      continue;
    if (kind == EntryKind::member) {
      InGroup& group = groups[entry.group.load(std::memory_order_relaxed) % group_limit];
      group.any = true;
      group.lives = group.lives || active;
      if (active)
        if (auto identity = block.identity(state)) group.members.push_back(std::move(*identity));
      const std::uint64_t member = entry.member.load(std::memory_order_acquire);
      if (member_word::state(member) == MemberState::taken || member_word::state(member) == MemberState::again)
        group.holding = std::min(group.holding.value_or(no_sequence), member_word::first(member));
      continue;
    }
    if (entry.start.load(std::memory_order_acquire) == no_sequence) continue;
    ConsumerStatistics consumer;
    consumer.label = text_in(entry.label);
    consumer.mode = kind == EntryKind::latest ? ReadMode::latest_only : ReadMode::sequential;
    consumer.books = books_of(block, entry);
    consumer.ended = !active;
    consumer.place = (entry_state::generation(state) << 8U) | i;
    if (active) {
      if (auto identity = block.identity(state)) consumer.members.push_back(std::move(*identity));
      const auto hold = entry.hold.load(std::memory_order_acquire);
      if (kind == EntryKind::sequential && consumer.books.in_flight != 0)
        consumer.holding = entry.cursor.load(std::memory_order_acquire);
      else if (kind != EntryKind::sequential && hold != no_sequence)
        consumer.holding = hold;
    }
    if (entry_state::generation(entry.state.load(std::memory_order_acquire)) == entry_state::generation(state))
      result.consumers.push_back(std::move(consumer));
  }
  for (std::size_t g = 0; g < group_limit; ++g) {
    if (!groups[g].any) continue;
    ConsumerStatistics group;
    group.group = text_in(block.group(g).name);
    group.members = std::move(groups[g].members);
    group.in_motion = !books_of_group(block, g, group.books, group.redelivered);
    group.holding = groups[g].holding;
    group.ended = !groups[g].lives;
    result.consumers.push_back(std::move(group));
  }
  return result;
}
}  // namespace holdfast::detail
