#include "data_block/block.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <thread>
#include <utility>

#include <holdfast/platform/futex.hpp>

#include "data_block/statistics.hpp"

namespace holdfast::detail {
namespace {
constexpr std::size_t slot_count_limit = std::size_t{1} << 32U;
/// So many places are used before one that has history is given to somebody else.
constexpr std::size_t kept_places = 16;

constexpr std::uint64_t rounded_up(std::uint64_t size, std::uint64_t to) noexcept { return (size + to - 1) / to * to; }

[[noreturn, gnu::cold]] void refuse(std::string_view path, const std::string& reason, std::string_view remedy = {}) {
  throw Error{std::make_error_code(std::errc::invalid_argument), "create the block", path, reason, remedy};
}

void check_text(std::string_view name, std::string_view operation, std::string_view text, std::string_view what) {
  if (text.size() <= label_limit && text.find('\0') == text.npos) return;
  throw Error{std::make_error_code(std::errc::invalid_argument), operation, name,
              std::string{what}.append(" has to be a text of up to 63 bytes")};
}

BlockHeader header_for(std::string_view path, const DataBlockOptions& options) {
  if (options.slot_size == 0) refuse(path, "its slots would have 0 bytes", "set slot_size");
  if (options.slot_size > std::numeric_limits<std::uint32_t>::max())
    refuse(path, "a slot can have up to 4294967295 bytes");
  if (options.slot_count < 2 || options.slot_count > slot_count_limit)
    refuse(path, "a ring has at least 2 slots, and at most 2^32");
  if (options.on_full > OnFull::refuse || options.checksum > Checksum::every_read)
    refuse(path, "on_full or checksum has a value that is none of the named ones");
  check_text(path, "create the block", options.schema.name, "the schema's name");
  BlockHeader header{};
  header.magic = block_magic;
  header.version = block_version;
  header.header_size = sizeof header;
  header.slot_size = options.slot_size;
  header.slot_count = std::bit_ceil(options.slot_count);
  header.zone_size = options.zone_size;
  header.on_full = static_cast<std::uint32_t>(options.on_full);
  header.checksum = static_cast<std::uint32_t>(options.checksum);
  header.time_stamps = options.time_stamps ? 1 : 0;
#if defined(HOLDFAST_DETAIL_TSAN)
  header.fences = 1;  // ThreadSanitizer does not see the other kind
#else
  header.fences = platform::join_barriers() ? 0 : 1;
#endif
  header.schema_layout = options.schema.layout;
  header.schema_version = options.schema.version;
  options.schema.name.copy(header.schema_name.data(), label_limit);
  const auto geometry =
      geometry_of(header.slot_size, header.slot_count, header.zone_size, options.checksum != Checksum::none);
  if (!geometry) refuse(path, "no block can be that large");
  header.block_size = geometry->size;
  return header;
}

/// Everything that is not zero in a new block.
void fill(std::span<std::byte> data, const BlockHeader& header) {
  std::memcpy(data.data(), &header, sizeof header);
  auto& shared = *reinterpret_cast<Shared*>(data.data() + page);
  // The last entry stands for the producer that there has never been: nothing committed, vacant.
  const std::size_t nobody = entry_limit - 1;
  shared.role.store(role::make(0, nobody, role::vacant), std::memory_order_relaxed);
  shared.writer_target.store(no_sequence, std::memory_order_relaxed);
  for (Entry& entry : shared.entries) {
    entry.hold.store(no_sequence, std::memory_order_relaxed);
    for (auto* word : {&entry.seal, &entry.end, &entry.end_voids})
      word->store(noted_word::open(0), std::memory_order_relaxed);
    entry.start.store(no_sequence, std::memory_order_relaxed);
  }
}

[[noreturn, gnu::cold]] void fail_layout(const Block& block, const std::string& what) {
  throw Error{errc::layout_mismatch, "create or attach to the block", block.path(), what,
              "attach to it as it is, or end its users"};
}
}  // namespace

std::optional<Geometry> geometry_of(std::uint64_t slot_size, std::uint64_t slot_count, std::uint64_t zone_size,
                                    bool checksums) noexcept {
  constexpr std::uint64_t limit = std::uint64_t{1} << 46U;  // far below what would overflow, far above any memory
  if (zone_size > limit || slot_size > limit || slot_count == 0 || slot_count > slot_count_limit) return {};
  Geometry result{};
  result.shared = page;
  result.zone_mutex = rounded_up(result.shared + sizeof(Shared), DataBlockMutex::alignment);
  result.zone = result.zone_mutex + DataBlockMutex::footprint;
  result.slots = rounded_up(result.zone + zone_size, page);
  result.payload = checksums || slot_size >= page ? 64 : sizeof(SlotHeader);
  result.stride = rounded_up(result.payload + slot_size, 64);
  if (result.stride > limit / slot_count) return {};
  result.size = result.slots + result.stride * slot_count;
  return result;
}

std::string text_in(const Label& label) {
  std::array<char, sizeof(Label)> text{};
  for (std::size_t i = 0; i < label.size(); ++i) {
    const std::uint64_t word = label[i].load(std::memory_order_relaxed);
    std::memcpy(text.data() + i * sizeof word, &word, sizeof word);
  }
  return {text.data(), std::find(text.begin(), text.end(), '\0')};
}

void write_text(Label& label, const std::string& text) noexcept {
  std::array<char, sizeof(Label)> padded{};
  text.copy(padded.data(), label_limit);
  for (std::size_t i = 0; i < label.size(); ++i) {
    std::uint64_t word = 0;
    std::memcpy(&word, padded.data() + i * sizeof word, sizeof word);
    label[i].store(word, std::memory_order_relaxed);
  }
}

// ---- creating, attaching -------------------------------------------------------------------------------------------

Block::Pointer Block::create(std::string_view name, const DataBlockOptions& options) {
  const SegmentPlace place{name, "create"};
  const BlockHeader header = header_for(place.path(), options);
  SegmentFound instead;
  auto segment = Segment::create(place, header.block_size, options.segment, patience_with_removers, instead,
                                 [&](auto data) { fill(data, header); });
  if (!segment) fail_existing(place, instead);
  return std::make_shared<Block>(std::move(segment), std::string{name}, place.operation());
}

Block::Pointer Block::create_or_attach(std::string_view name, const DataBlockOptions& options, Deadline deadline) {
  const SegmentPlace place{name, "create or attach to"};
  const BlockHeader header = header_for(place.path(), options);
  for (;;) {
    SegmentFound there;
    auto segment = Segment::create(place, header.block_size, options.segment, deadline, there,
                                   [&](auto data) { fill(data, header); });
    const bool created = segment != nullptr;
    if (!created) {
      if (there.is != SegmentFound::Is::complete) fail_unusable(place, there);
      segment = Segment::enter(place, std::move(there), true, deadline);
      if (!segment) continue;
    }
    auto block = std::make_shared<Block>(std::move(segment), std::string{name}, place.operation());
    if (created) return block;
    const BlockHeader& found = block->header();
    const auto compare = [&](std::uint64_t has, std::uint64_t wanted, std::string_view what) {
      if (has != wanted)
        fail_layout(
            *block,
            std::string{what}.append(" is ").append(std::to_string(has)).append(", ").append(std::to_string(wanted)) +
                " was asked for");
    };
    compare(found.slot_size, header.slot_size, "its slot size");
    compare(found.slot_count, header.slot_count, "its slot count");
    compare(found.zone_size, header.zone_size, "the size of its zone");
    compare(found.time_stamps, header.time_stamps, "its choice of time stamps");
    compare(found.checksum, header.checksum, "its choice of checksums");
    if (found.on_full != header.on_full)
      fail_layout(*block, std::string{"when it is full it is to "}
                              .append(to_string(block->on_full()))
                              .append(", ")
                              .append(to_string(options.on_full))
                              .append(" was asked for"));
    block->check_schema(options.schema);
    return block;
  }
}

Block::Pointer Block::attach(std::string_view name, bool for_writing, Deadline deadline) {
  const SegmentPlace place{name, "attach to"};
  return std::make_shared<Block>(attach_to(place, for_writing, deadline), std::string{name}, place.operation());
}

Block::Block(Segment::Pointer segment, std::string name, std::string_view operation)
    : segment_{std::move(segment)}, name_{std::move(name)} {
  const auto fail = [&](std::error_code why, std::string_view reason, std::string_view remedy) {
    throw Error{why, operation, path(), reason, remedy};
  };
  if (segment_->size() < page) fail(errc::foreign, "it is a segment, but no block", "choose another name");
  std::memcpy(&header_, segment_->data(), sizeof header_);
  if (header_.magic != block_magic) fail(errc::foreign, "it is a segment, but no block", "choose another name");
  if (header_.version != block_version || header_.header_size != sizeof header_)
    fail(errc::version_mismatch, "it was made by another version of holdfast", "end its users, then remove it");
  const auto geometry = geometry_of(header_.slot_size, header_.slot_count, header_.zone_size, header_.checksum != 0);
  const bool sound =
      geometry && header_.slot_size != 0 && header_.slot_size <= std::numeric_limits<std::uint32_t>::max() &&
      header_.slot_count >= 2 && std::has_single_bit(header_.slot_count) && geometry->size == header_.block_size &&
      geometry->size == segment_->size() && header_.on_full <= static_cast<std::uint32_t>(OnFull::refuse) &&
      header_.checksum <= static_cast<std::uint32_t>(Checksum::every_read) && header_.time_stamps <= 1 &&
      header_.fences <= 1 && header_.schema_name.back() == '\0';
  if (!sound) fail(errc::corrupt, "its header contradicts itself", "end its users, then remove it");
  if (!fences() && !segment_->read_only() && !platform::join_barriers())
    fail(std::make_error_code(std::errc::function_not_supported),
         "its users order their steps by membarrier, which this process may not call",
         "permit membarrier in the system call filter, or create the block where it is not permitted either");
  std::byte* const data = segment_->data();
  shared_ = reinterpret_cast<Shared*>(data + geometry->shared);
  zone_mutex_offset_ = geometry->zone_mutex;
  zone_ = {data + geometry->zone, header_.zone_size};
  ring_.first = data + geometry->slots;
  ring_.mask = header_.slot_count - 1;
  ring_.stride = geometry->stride;
  ring_.payload = static_cast<std::uint32_t>(geometry->payload);
  ring_.size = static_cast<std::uint32_t>(header_.slot_size);
  ring_.ahead = header_.slot_count >= 32 ? 4 : 1;
  batch_ = std::max<std::uint64_t>(1, header_.slot_count / 8);
  platform::leave_out_of_core_dumps(ring_.first, ring_.stride * ring_.count());
}

DataBlockOptions Block::options() const {
  DataBlockOptions options;
  options.slot_size = header_.slot_size;
  options.slot_count = header_.slot_count;
  options.on_full = on_full();
  options.schema = {header_.schema_name.data(), header_.schema_version, header_.schema_layout};
  options.zone_size = header_.zone_size;
  options.checksum = static_cast<Checksum>(header_.checksum);
  options.time_stamps = header_.time_stamps != 0;
  return options;
}

DataBlockMutex Block::make_zone_mutex() const {
  SharedMemory memory{segment_};
  return DataBlockMutex::in(memory, zone_mutex_offset_);
}

void Block::check_schema(const Schema& wanted) const {
  if (wanted.name.empty()) return;
  const Schema has = options().schema;
  if (has == wanted) return;
  const auto in_words = [](const Schema& schema) {
    return schema.name.empty() ? std::string{"none"}
                               : "'" + schema.name + "' version " + std::to_string(schema.version) + " (layout " +
                                     std::to_string(schema.layout) + ")";
  };
  throw Error{errc::schema_mismatch, "attach to the block", path(),
              "its schema is " + in_words(has) + ", wanted is " + in_words(wanted),
              "use the program that belongs to this version of the data"};
}

bool Block::has_name() const noexcept {
  platform::SegmentFile facts;
  return platform::look_at(segment_->descriptor(), facts) != platform::done || facts.has_name;
}

// ---- what the words say ----------------------------------------------------------------------------------------------

void Block::heavy_barrier() const noexcept {
  if (fences())
    full_barrier(*shared_);
  else
    platform::barrier_in_all_threads();
}

std::size_t Block::used() const noexcept {
  return std::min<std::uint64_t>(shared_->used.load(std::memory_order_acquire), entry_limit);
}

Block::Role Block::role() const noexcept {
  for (;;) {
    const std::uint64_t word = shared_->role.load(std::memory_order_acquire);  // E-role
    Entry& in_role = entry(role::index(word));
    const std::uint64_t head = in_role.head.load(std::memory_order_acquire);  // E-commit
    const std::uint64_t base = in_role.base.load(std::memory_order_acquire);
    if (shared_->role.load(std::memory_order_acquire) == word) return {word, &in_role, head, base};
  }
}

std::uint64_t Block::committed_until(const Entry& entry, std::uint64_t role) const noexcept {
  const std::uint64_t head = entry.head.load(std::memory_order_acquire);
  if (ring_.header(head).label.load(std::memory_order_acquire) == slot_label::in_role(head, role))
    return head + 1;                                  // E-label
  return entry.head.load(std::memory_order_acquire);  // a label that has been there and gone: the head has passed it
}

Block::Role Block::committed() const noexcept {
  for (;;) {
    Role now = role();
    now.head = committed_until(*now.entry, now.word);
    if (shared_->role.load(std::memory_order_acquire) == now.word) return now;
  }
}

Block::Quarantine Block::quarantine_of(const Entry& entry) noexcept {
  const auto state = entry.state.load(std::memory_order_acquire);
  if (entry_state::state(state) != EntryState::broken || entry_state::kind(state) != EntryKind::producer) return {};
  if (HOLDFAST_MUTANT(slot, no_quarantine)) return {};
  const auto end = entry.broken_claim.load(std::memory_order_relaxed);
  const auto first = noted_word::number(entry.seal.load(std::memory_order_relaxed), end);
  return first < end ? Quarantine{first, end} : Quarantine{};
}

bool Block::is_quarantined(std::uint64_t sequence) const noexcept {
  for (std::size_t i = 0, end = used(); i < end; ++i) {
    const Quarantine quarantine = quarantine_of(entry(i));
    if (quarantine.first <= sequence && sequence < quarantine.end) return true;
  }
  return false;
}

bool Block::is_valid(std::uint64_t sequence, const Role& role) const noexcept {
  const SlotHeader& header = ring_.header(sequence);
  const std::uint64_t label = header.label.load(std::memory_order_acquire);  // E-totals
  if (label == slot_label::in_role(sequence, role.word) || HOLDFAST_MUTANT(slot, label_not_looked_at)) return true;
  // The label after the quarantines: one that has ended meanwhile has cleared it.
  return slot_label::names(label, sequence) && sequence < role.base &&
         (!is_quarantined(sequence) || HOLDFAST_MUTANT(slot, quarantine_not_looked_at)) &&
         header.label.load(std::memory_order_acquire) == label;
}

TotalsRecord& Block::record_at(Entry& entry, std::uint64_t head) noexcept {
  auto& [first, second] = entry.totals;
  const auto a = first.position.load(std::memory_order_acquire), b = second.position.load(std::memory_order_acquire);
  if (a > head) return second;
  if (b > head) return first;
  return a >= b ? first : second;
}

Block::Totals Block::totals_from(const TotalsRecord& record, const Role& role) const noexcept {
  const auto position = record.position.load(std::memory_order_acquire);
  Totals totals{role.head, record.bytes.load(std::memory_order_acquire), record.voids.load(std::memory_order_acquire)};
  for (std::uint64_t s = position; s < role.head && s - position < ring_.count(); ++s) {
    if (is_valid(s, role))
      totals.bytes += std::min<std::uint64_t>(ring_.header(s).length.load(std::memory_order_acquire), ring_.size);
    else
      ++totals.voids;
  }
  return totals;
}

Block::Totals Block::totals() const noexcept {
  std::uint64_t seen = no_sequence;
  for (int still = 0, patience = 1'000'000;; --patience) {
    const Role now = committed();
    const TotalsRecord& record = record_at(*now.entry, now.head);
    const auto position = record.position.load(std::memory_order_acquire);
    const Totals totals = totals_from(record, now);
    // The record is whole if its position has not changed: its producer makes it none first (E-books). The slots are those that
    // were meant if nobody has claimed them since for what comes after (E-totals).
    const bool whole = position <= now.head && record.position.load(std::memory_order_relaxed) == position;
    const bool unclaimed = position == now.head ||
                           now.entry->claim.load(std::memory_order_relaxed) - position <= ring_.count() ||
                           HOLDFAST_MUTANT(slot, totals_without_claim);
    if (whole && unclaimed && shared_->role.load(std::memory_order_relaxed) == now.word) return totals;
    // Where the head stands still, somebody has written into the words what he should not.
    still = now.head == seen ? still + 1 : 0;
    seen = now.head;
    if (still == 100 || patience == 0) return {now.head, 0, 0};
  }
}

// ---- entries -------------------------------------------------------------------------------------------------------

bool Block::group_lives(std::size_t group) const noexcept {
  for (std::size_t i = 0, end = used(); i < end; ++i) {
    const auto state = entry(i).state.load(std::memory_order_acquire);
    if (entry_state::state(state) == EntryState::active && entry_state::kind(state) == EntryKind::member &&
        entry(i).group.load(std::memory_order_relaxed) == group)
      return true;
  }
  return false;
}

Block::Claimed Block::claim_entry(EntryKind kind, std::string_view operation) {
  const std::uint32_t me = segment_->reference();
  const auto try_to_claim = [&](std::size_t i) -> std::optional<Claimed> {
    Entry& found = entry(i);
    std::uint64_t word = found.state.load(std::memory_order_acquire);
    const EntryState state = entry_state::state(word);
    const bool member = entry_state::kind(word) == EntryKind::member;
    switch (state) {
      case EntryState::active:
        drop_if_dead(i, word);
        return {};
      case EntryState::joining:
        if (!is_gone(word)) return {};
        break;
      case EntryState::broken:  // of a producer: its quarantine has to be ended first
        if (entry_state::kind(word) == EntryKind::producer || !is_gone(word)) return {};
        break;
      case EntryState::dead:
        // Its slots may still be handed on.
        if (member && member_word::state(found.member.load(std::memory_order_acquire)) != MemberState::idle &&
            group_lives(found.group.load(std::memory_order_relaxed)))
          return {};
        break;
      case EntryState::free:
      case EntryState::left:
        break;
      default:
        return {};  // no such state: somebody else wrote it
    }
    const std::uint64_t mine = entry_state::make(entry_state::generation(word) + 1, me, kind, EntryState::joining);
    if (!found.state.compare_exchange_strong(word, mine, std::memory_order_acq_rel)) return {};
    // Its head is needed still, or its seal by who begins to break it anew.
    const std::uint64_t role = shared_->role.load(std::memory_order_acquire);
    const Entry& in_role = entry(role::index(role));
    if ((&in_role == &found && !HOLDFAST_MUTANT(slot, place_in_role_reused)) ||
        (role::is_unsettled(role) && role::index(in_role.previous.load(std::memory_order_relaxed)) == i)) {
      found.state.store(word, std::memory_order_release);
      return {};
    }
    return Claimed{i, mine};
  };
  const auto departed = [&](std::size_t i) {
    return entry_state::state(entry(i).state.load(std::memory_order_relaxed)) != EntryState::free;
  };
  std::optional<Claimed> claimed;
  for (std::size_t i = 0; i < kept_places && !claimed; ++i)
    if (!departed(i)) claimed = try_to_claim(i);
  for (std::size_t i = 0; i < entry_limit && !claimed; ++i) claimed = try_to_claim(i);
  if (!claimed)
    throw Error{errc::too_many_participants, operation, path(),
                "all " + std::to_string(entry_limit) + " places belong to live producers and consumers",
                "end one of them"};
  std::uint64_t used = shared_->used.load(std::memory_order_relaxed);
  while (used <= claimed->index && !shared_->used.compare_exchange_weak(used, claimed->index + 1)) {
  }

  Entry& mine = entry(claimed->index);
  // The parity of a member's word selects a record in each group that this place ever was in: both are made equal, so that
  // it may go on changing.
  const std::uint64_t member = mine.member.load(std::memory_order_relaxed);
  const bool parity = member_word::parity(member);
  for (Group& group : shared_->groups) {
    auto& counts = group.counts[claimed->index];
    const auto& valid = counts[parity ? 1 : 0];
    auto& other = counts[parity ? 0 : 1];
    other.skipped.store(valid.skipped.load(std::memory_order_relaxed), std::memory_order_relaxed);
    other.voids.store(valid.voids.load(std::memory_order_relaxed), std::memory_order_relaxed);
    other.redelivered.store(valid.redelivered.load(std::memory_order_relaxed), std::memory_order_relaxed);
  }
  mine.member.store(member_word::idle(parity), std::memory_order_relaxed);
  // release: who reads one of these and then `role` finds that the producer who was here has it no more.
  for (auto* word : {&mine.head, &mine.claim, &mine.base}) word->store(0, std::memory_order_release);
  for (auto* word : {&mine.cursor, &mine.previous, &mine.broken_claim, &mine.waits, &mine.refused, &mine.reclaims,
                     &mine.start_voids, &mine.group})
    word->store(0, std::memory_order_relaxed);
  for (auto* word : {&mine.hold, &mine.start}) word->store(no_sequence, std::memory_order_relaxed);
  for (auto* word : {&mine.seal, &mine.end, &mine.end_voids})
    word->store(noted_word::open(entry_state::generation(claimed->state)), std::memory_order_relaxed);
  for (auto& record : mine.books)
    for (auto* word : {&record.position, &record.skipped, &record.voids}) word->store(0, std::memory_order_relaxed);
  for (auto& record : mine.totals)
    for (auto* word : {&record.position, &record.bytes, &record.voids}) word->store(0, std::memory_order_relaxed);
  write_text(mine.label, {});
  return *claimed;
}

void Block::activate(Claimed& claimed) {
  claimed.state = entry_state::with(claimed.state, EntryState::active);
  entry(claimed.index).state.store(claimed.state, std::memory_order_release);  // E-active, J2
  HOLDFAST_STEP(slot, J2);
  if (HOLDFAST_MUTANT(slot, join_not_counted)) return;
  shared_->joins.fetch_add(1, std::memory_order_seq_cst);  // J3
  heavy_barrier();                                         // B-join
}

/// Of the tenant that has this state: who comes late, because he was stopped, changes nothing of a later one's (I1).
void Block::note_end(Entry& ended, std::uint64_t state) const noexcept {
  const Totals now = totals();
  const std::uint64_t generation = entry_state::generation(state);
  const auto note = [&](std::atomic<std::uint64_t>& word, std::uint64_t value) {
    std::uint64_t open = noted_word::open(generation);
    word.compare_exchange_strong(open, noted_word::make(generation, value), std::memory_order_acq_rel);
  };
  note(ended.end_voids, now.voids);
  note(ended.end, now.head);
}

/// If it has no member any more.
void Block::note_end_of_group(std::uint64_t index) const noexcept {
  if (index >= group_limit) return;
  Group& ending = group(index);
  std::uint64_t end = ending.end.load(std::memory_order_acquire);  // names the life, before it is judged
  if (group_end::is_ended(end) || group_lives(index)) return;
  const GroupPicture picture = picture_of(*this, index);
  // The same from all who note the end of this life; of an earlier one it does not count.
  ending.end_held.store(noted_word::make(group_end::life(end), picture.held), std::memory_order_relaxed);
  ending.end.compare_exchange_strong(end, group_end::with_end(end, picture.ahead()), std::memory_order_acq_rel);
}

void Block::leave(std::size_t index, std::uint64_t state) noexcept {
  Entry& mine = entry(index);
  const std::uint64_t group_index = mine.group.load(std::memory_order_relaxed);
  if (entry_state::kind(state) != EntryKind::producer) note_end(mine, state);
  // A member that had adopted more than it was asked for leaves the rest to others.
  const bool has_slots = entry_state::kind(state) == EntryKind::member &&
                         member_word::state(mine.member.load(std::memory_order_relaxed)) != MemberState::idle;
  if (has_slots)
    group(group_index % group_limit).orphans.fetch_or(std::uint64_t{1} << index, std::memory_order_release);
  std::uint64_t expected = state;
  if (!mine.state.compare_exchange_strong(expected,
                                          entry_state::with(state, has_slots ? EntryState::dead : EntryState::left),
                                          std::memory_order_acq_rel)) {
    // Broken meanwhile, or taken for dead by one who knows better than the kernel: only the first is ours.
    expected = entry_state::with(state, EntryState::broken);
    if (entry_state::kind(state) != EntryKind::producer)
      mine.state.compare_exchange_strong(expected, entry_state::with(state, EntryState::left),
                                         std::memory_order_acq_rel);
  }
  HOLDFAST_STEP(slot, leave);
  if (entry_state::kind(state) == EntryKind::member) note_end_of_group(group_index);
  full_barrier(*shared_);  // B-park-writer
  if (shared_->writer_target.load(std::memory_order_relaxed) != no_sequence) wake_writer();
  wake_readers();  // a member's slots may be for others
}

bool Block::drop_if_dead(std::size_t index, std::uint64_t state) {
  if (entry_state::state(state) != EntryState::active) return false;
  if (!is_gone(state) && !HOLDFAST_MUTANT(slot, dropped_without_proof)) return false;
  Entry& found = entry(index);
  const std::uint64_t group_index =
      found.group.load(std::memory_order_relaxed);  // of this tenant: read while it has it
  std::uint64_t expected = state;
  if (!found.state.compare_exchange_strong(expected, entry_state::with(state, EntryState::dead),
                                           std::memory_order_acq_rel))
    return false;  // I1
  if (entry_state::kind(state) != EntryKind::producer) note_end(found, state);
  entry(role::index(shared_->role.load(std::memory_order_relaxed))).reclaims.fetch_add(1, std::memory_order_relaxed);
  if (entry_state::kind(state) == EntryKind::member) {
    if (group_index < group_limit)
      group(group_index).orphans.fetch_or(std::uint64_t{1} << index, std::memory_order_release);
    note_end_of_group(group_index);
  }
  wake_readers();
  if (shared_->writer_target.load(std::memory_order_relaxed) != no_sequence) wake_writer();
  return true;
}

void Block::judge_members(std::size_t group_index) {
  for (std::size_t i = 0, end = used(); i < end; ++i) {
    Entry& member = entry(i);
    const std::uint64_t state = member.state.load(std::memory_order_acquire);
    if (entry_state::kind(state) != EntryKind::member || member.group.load(std::memory_order_relaxed) != group_index)
      continue;
    if (entry_state::state(state) == EntryState::active)
      drop_if_dead(i, state);
    else if (entry_state::state(state) == EntryState::dead &&
             member_word::state(member.member.load(std::memory_order_relaxed)) != MemberState::idle)
      group(group_index).orphans.fetch_or(std::uint64_t{1} << i, std::memory_order_relaxed);  // the hint was lost
  }
}

bool Block::has_orphans(std::size_t group_index) const {
  const Group& of = group(group_index);
  if (of.orphans.load(std::memory_order_acquire) == 0) return false;
  const std::uint64_t adopter = of.adopter.load(std::memory_order_acquire);
  return adopter == 0 || segment_->is_gone(static_cast<Reference>(adopter));
}

// ---- waking --------------------------------------------------------------------------------------------------------

void Block::wake_readers() const noexcept {
  shared_->readers_waiting.exchange(0, std::memory_order_acq_rel);
  shared_->reader_event.fetch_add(1, std::memory_order_release);
  platform::wake_all(shared_->reader_event);
}

void Block::wake_writer() const noexcept {
  shared_->writer_target.store(no_sequence, std::memory_order_relaxed);
  shared_->writer_event.fetch_add(1, std::memory_order_release);
  platform::wake_all(shared_->writer_event);
}

unsigned Backoff::most_spins() noexcept {
  static const unsigned most = platform::has_one_processor() ? 0 : 32;
  return most;
}

bool Backoff::again() noexcept {
  constexpr std::chrono::microseconds yielding{50}, nobody_ran{2};
  if (until_ == Clock::time_point{}) {
    if (spun_++ < spins_) {
      pause_briefly();
      return true;
    }
    now_ = Clock::now();
    until_ = now_ + yielding;
  }
  if (now_ >= until_) return false;
  std::this_thread::yield();
  // Where others want the processor, one yield may last milliseconds: deadlines are looked at after it.
  const auto before = std::exchange(now_, Clock::now());
  spins_ = std::min(now_ - before < nobody_ran ? 2 * spins_ + 1 : spins_ / 2, most_spins());
  return true;
}
}  // namespace holdfast::detail
