// Read, and read again until nothing has moved.
#include <algorithm>
#include <array>
#include <utility>

#include "data_block/statistics.hpp"

namespace holdfast::detail {
Books books_of(const Block& block, const Entry& entry) noexcept {
  std::uint64_t seen = no_sequence;
  for (int still = 0, patience = 1'000'000; patience != 0; --patience) {
    const std::uint64_t start = entry.start.load(std::memory_order_acquire);
    if (start == no_sequence) return {};
    const std::uint64_t start_voids = entry.start_voids.load(std::memory_order_relaxed);
    const std::uint64_t cursor = entry.cursor.load(std::memory_order_acquire);
    still = cursor == seen ? still + 1 : 0;
    seen = cursor;
    if (still == 1000) break;  // one record for each cursor: where it stands still, the next look would have shown it
    const BooksRecord* valid = nullptr;
    for (const BooksRecord& record : entry.books) {
      const auto position = record.position.load(std::memory_order_acquire);
      if (position <= cursor && (valid == nullptr || position > valid->position.load(std::memory_order_relaxed)))
        valid = &record;
    }
    if (valid == nullptr) continue;  // both have been written since the cursor was read
    const auto position = valid->position.load(std::memory_order_acquire);
    Books books;
    books.skipped = valid->skipped.load(std::memory_order_acquire);
    books.voids = valid->voids.load(std::memory_order_acquire);
    // As for totals(): whole if its position has not changed (E-books).
    if (position > cursor || valid->position.load(std::memory_order_relaxed) != position) continue;
    // Who has ended is owed what had been committed then.
    Block::Totals now = block.totals();
    const std::uint64_t generation = entry_state::generation(entry.state.load(std::memory_order_acquire));
    const std::uint64_t ended = entry.end.load(std::memory_order_acquire);
    if (const auto end = noted_word::number(ended, now.head);
        end != no_sequence && noted_word::is_of(ended, generation))
      now = {end, 0, noted_word::number(entry.end_voids.load(std::memory_order_relaxed), now.voids)};
    if (now.head < cursor || entry.start.load(std::memory_order_acquire) != start) continue;
    books.committed = now.head - start - (now.voids - start_voids);
    books.delivered = cursor - start - books.skipped - books.voids;
    books.in_flight = books.committed - books.delivered - books.skipped;
    return books;
  }
  return {};  // somebody has written into the words what he should not
}

GroupPicture picture_of(const Block& block, std::size_t index) noexcept {
  const Group& group = block.group(index);
  for (int patience = 1000;; --patience) {
    GroupPicture picture;
    const std::uint64_t word = group.word.load(std::memory_order_acquire);
    picture.next = group_word::next(word);
    picture.start = group.start.load(std::memory_order_acquire);
    if (picture.start == no_sequence) return picture;
    const std::uint64_t head = block.totals().head;
    const auto role = block.role();
    std::array<std::uint64_t, entry_limit> members{};
    std::array<std::uint64_t, entry_limit> held{};  // by their first slots
    std::size_t holders = 0;
    const std::size_t used = block.used();
    for (std::size_t i = 0; i < used; ++i) {
      const Entry& entry = block.entry(i);
      members[i] = entry.member.load(std::memory_order_acquire);
      const MemberCounts& counts = group.counts[i][member_word::parity(members[i]) ? 1 : 0];
      picture.skipped += counts.skipped.load(std::memory_order_acquire);
      picture.voids += counts.voids.load(std::memory_order_acquire);
      picture.redelivered += counts.redelivered.load(std::memory_order_acquire);
      const std::uint64_t state = entry.state.load(std::memory_order_acquire);
      if (entry_state::kind(state) != EntryKind::member || entry.group.load(std::memory_order_relaxed) != index)
        continue;
      const MemberState has = member_word::state(members[i]);
      const std::uint64_t first = member_word::first(members[i]), count = member_word::count(members[i]);
      if (has == MemberState::taken || has == MemberState::again ||
          (has == MemberState::intent && group_word::winner(word) == i && group_word::next(word) == first + count)) {
        // Between A2 and A4 two words name the same slots.
        const auto end = held.begin() + static_cast<std::ptrdiff_t>(holders);
        if (std::find(held.begin(), end, first) != end) continue;
        held[holders++] = first;
        picture.held += count;
        for (std::uint64_t s = first; s != first + count; ++s) picture.held_data += block.is_valid(s, role) ? 1U : 0U;
      }
    }
    // What has been overwritten before it was taken is counted as data: nobody can tell any more.
    const std::uint64_t behind = head > picture.next ? head - picture.next : 0;
    const std::uint64_t readable = std::min(behind, block.ring().count());
    for (std::uint64_t s = head - readable; s != head; ++s) picture.not_taken += block.is_valid(s, role) ? 1U : 0U;
    picture.not_taken += behind - readable;
    bool moved = group.word.load(std::memory_order_acquire) != word;
    for (std::size_t i = 0; i < used; ++i)
      moved = moved || block.entry(i).member.load(std::memory_order_acquire) != members[i];
    picture.exact = !moved;
    if (!moved || patience == 0) return picture;
  }
}

Books books_of(const Block& block, const GroupPicture& picture, std::size_t index) noexcept {
  if (picture.start == no_sequence) return {};
  const Group& group = block.group(index);
  const std::uint64_t end = group.end.load(std::memory_order_acquire);
  std::uint64_t held = picture.held;
  if (group_end::is_ended(end)) {  // the places of those who had them may be somebody else's by now
    const std::uint64_t then = group.end_held.load(std::memory_order_relaxed);
    if (noted_word::is_of(then, group_end::life(end))) held = then & noted_word::mask;
  }
  Books books;
  books.skipped = picture.skipped;
  books.voids = picture.voids;
  books.delivered = picture.next - picture.start - held - picture.skipped - picture.voids;
  books.in_flight = group_end::is_ended(end) ? group_end::undelivered(end) : picture.ahead();
  books.committed = books.delivered + books.skipped + books.in_flight;
  return books;
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
    const GroupPicture picture = picture_of(block, g);
    group.in_motion = !picture.exact;
    group.books = books_of(block, picture, g);
    group.redelivered = picture.redelivered;
    group.holding = groups[g].holding;
    group.ended = !groups[g].lives;
    result.consumers.push_back(std::move(group));
  }
  return result;
}
}  // namespace holdfast::detail
