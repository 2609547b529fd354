#include "shared_memory/segment.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <mutex>
#include <thread>
#include <utility>

#include <holdfast/error.hpp>
#include <holdfast/steps.hpp>

#include "text.hpp"

namespace holdfast::detail {
using platform::done;
using platform::LockKind;
using Is = SegmentFound::Is;

namespace {
constexpr std::size_t largest_alignment = std::size_t{2} << 20U;
constexpr std::size_t name_limit = 255;  // bytes of a file name

std::string_view remedy_for(std::errc why, std::string_view otherwise) noexcept {
  return why == std::errc::too_many_files_open
             ? "each segment takes one descriptor, and two more for a moment: ulimit -n"
             : otherwise;
}

[[noreturn, gnu::cold]] void fail(const SegmentPlace& place, std::errc why, std::string_view reason = {},
                                  std::string_view remedy = {}) {
  throw Error{std::make_error_code(why), place.operation(), place.path(), reason, remedy_for(why, remedy)};
}

void check_options(std::string_view subject, std::size_t size, const SegmentOptions& options) {
  const auto refuse = [&](std::string_view reason, std::string_view remedy = {}) {
    throw Error{std::make_error_code(std::errc::invalid_argument), "create", subject, reason, remedy};
  };
  if (size == 0) refuse("a segment of 0 bytes cannot be", "ask for at least one");
  if (size > std::numeric_limits<std::size_t>::max() / 4) refuse("no segment can have that many bytes");
  if (options.alignment < page || options.alignment > largest_alignment ||
      (options.alignment & (options.alignment - 1)) != 0)
    refuse("its alignment has to be a power of two from 4096 to 2097152");
}

std::size_t rounded_up(std::size_t size) noexcept { return (size + page - 1) / page * page; }

constexpr std::uint64_t word_size = 8 * sizeof(void*);
std::string word_sizes(const SegmentHeader& header) {
  return "it was made by a process of " + std::to_string(header.word_size) + " bits, this one has " +
         std::to_string(word_size);
}

Is judge(const SegmentFound& found) noexcept {
  const SegmentHeader& header = found.header;
  if (header.magic != segment_magic) return Is::foreign;
  if (header.version != segment_version || header.header_size != sizeof(SegmentHeader)) return Is::other_version;
  if (header.word_size != word_size)
    return header.word_size == 32 || header.word_size == 64 ? Is::other_word_size : Is::corrupt;
  const bool sound = header.file_size == found.facts.size && header.data_offset == data_offset && header.size != 0 &&
                     header.size <= header.file_size && header.file_size - header.size >= data_offset &&
                     header.file_size % page == 0 && header.alignment >= page &&
                     header.alignment <= largest_alignment && (header.alignment & (header.alignment - 1)) == 0;
  return sound ? Is::complete : Is::corrupt;
}

/// Facts and header of what is open.
void examine(SegmentFound& found) {
  if (platform::look_at(found.file.number(), found.facts) != done || !found.facts.regular)
    found.is = Is::foreign;
  else if (found.facts.size == 0)
    found.is = Is::incomplete;
  else if (platform::read_at(found.file.number(), 0, &found.header, sizeof found.header) != sizeof found.header)
    found.is = Is::foreign;
  else
    found.is = judge(found);
}

/// The identity in a field that is padded with zeros.
std::optional<ProcessIdentity> decoded(std::string_view field) {
  return ProcessIdentity::try_decode(field.substr(0, field.find('\0')));
}

struct OpenSegment {
  std::uint64_t device, inode;
  bool writable;
  std::weak_ptr<Segment> segment;
};
/// Guarded by table(): so a forked child finds it whole. Never destroyed, as segments may be static.
std::vector<OpenSegment>& open_segments() {
  static auto& list = *new std::vector<OpenSegment>;
  return list;
}
}  // namespace

// ---- names ---------------------------------------------------------------------------------------------------------

void SegmentPlace::check(std::string_view name, std::string_view operation) {
  const auto refuse = [&](std::errc why, std::string_view reason) {
    throw Error{std::make_error_code(why), operation, name, reason, "a name is one file name, of up to 246 bytes"};
  };
  if (name.empty()) refuse(std::errc::invalid_argument, "the name of a segment cannot be empty");
  if (name.find('/') != name.npos) refuse(std::errc::invalid_argument, "the name of a segment cannot have a / in it");
  if (name.find('\0') != name.npos)
    refuse(std::errc::invalid_argument, "the name of a segment cannot have a NUL in it");
  if (name.size() > name_limit - prefix.size())
    refuse(std::errc::filename_too_long, "the name of a segment is too long");
}

SegmentPlace::SegmentPlace(std::string_view name, std::string_view operation) : name_{name}, operation_{operation} {
  check(name, operation);
  file_.append(prefix).append(name);
  auto opened = platform::open_path(-1, platform::segment_folder());
  if (opened.why != done)
    fail(*this, opened.why, std::string{platform::segment_folder()} + ": " + std::make_error_code(opened.why).message(),
         "shared memory needs a tmpfs there: mount -t tmpfs -o mode=1777 tmpfs /dev/shm");
  folder_ = std::move(opened.descriptor);
}

std::string SegmentPlace::path() const { return std::string{platform::segment_folder()} + "/" + file_; }

SegmentFound look(const SegmentPlace& place, bool for_writing) {
  SegmentFound found;
  auto opened = platform::open_segment(place.folder(), place.file(), for_writing);
  if (opened.why == done) {
    found.file = std::move(opened.descriptor);
    examine(found);
  } else if (opened.why == std::errc::permission_denied) {
    found.is = Is::unreadable;
  } else if (opened.why == std::errc::too_many_symbolic_link_levels || opened.why == std::errc::is_a_directory ||
             opened.why == std::errc::no_such_device_or_address) {  // a link, a directory, a socket
    found.is = Is::foreign;
  } else if (opened.why != std::errc::no_such_file_or_directory) {
    fail(place, opened.why);
  }
  return found;
}

[[gnu::cold]] void fail_unusable(const SegmentPlace& place, const SegmentFound& found) {
  switch (found.is) {
    case Is::other_version:
      throw Error{errc::version_mismatch, place.operation(), place.path(),
                  "it was made by another version of holdfast (layout " + std::to_string(found.header.version) +
                      ", this one reads " + std::to_string(segment_version) + ")",
                  "end its users, then remove the file"};
    case Is::other_word_size:
      throw Error{errc::layout_mismatch, place.operation(), place.path(), word_sizes(found.header),
                  "build its users alike, or end them and remove the file"};
    case Is::corrupt:
      throw Error{errc::corrupt, place.operation(), place.path(), "its header contradicts itself or the file's size",
                  "end its users, then remove the file"};
    case Is::unreadable: {
      platform::Node node;
      std::string owner;
      if (platform::look(place.folder(), place.file(), node) == done)
        owner = "it belongs to user id " + std::to_string(node.owner) + " and is not shared with this user";
      fail(place, std::errc::permission_denied, owner, "create it with Access::group or Access::everyone");
    }
    case Is::absent:
      fail(place, std::errc::no_such_file_or_directory, "nobody has created it");
    case Is::incomplete:
      throw Error{errc::incomplete, place.operation(), place.path(),
                  "it is empty: whoever was to make it has not done so", "create() replaces it"};
    case Is::foreign:
    case Is::complete:
      break;
  }
  throw Error{errc::foreign, place.operation(), place.path(), "what bears this name was not made by holdfast",
              "choose another name, or remove the file"};
}

// ---- who is alive --------------------------------------------------------------------------------------------------

std::optional<ProcessIdentity> creator_of(const SegmentFound& found) {
  return decoded({found.header.creator.data(), found.header.creator.size()});
}

std::vector<ProcessIdentity> users_of(const SegmentFound& found) {
  struct Record {  // a copy of a Participant
    std::uint64_t state;
    std::array<char, sizeof(IdentityText)> text;
  };
  static_assert(sizeof(Record) == sizeof(Participant));
  const int file = found.file.number();
  std::vector<Record> records(participant_limit);
  records.resize(platform::read_at(file, participants_offset, records.data(), participant_limit * sizeof(Record)) /
                 sizeof(Record));
  std::vector<ProcessIdentity> users;
  for (std::size_t i = 0; i < records.size(); ++i) {
    const auto& [state, text] = records[i];
    std::uint64_t now = 0;
    if ((state & 1U) == 0 ||
        platform::read_at(file, participants_offset + i * sizeof(Record), &now, sizeof now) != sizeof now ||
        now != state)
      continue;  // not valid, or being written
    auto identity = decoded({text.data(), text.size()});
    if (!identity) continue;
    // The kernel's lock is proof of life, in every namespace. Without it a process may still be one that closed all of its
    // descriptors.
    if (platform::size_of_lock(file, i, 1) == 1 || identity->liveness() == Liveness::alive)
      users.push_back(std::move(*identity));
  }
  return users;
}

Use use_of(const SegmentFound& found) {
  // A user locks one byte, a remover all of them.
  const auto locked = platform::size_of_lock(found.file.number(), 0, user_bytes);
  if (locked > 1) return Use::being_removed;
  return locked == 1 || (found.is == Is::complete && !users_of(found).empty()) ? Use::in_use : Use::none;
}

void wait_for_remover(const SegmentPlace& place, Deadline deadline) {
  if (deadline.passed())
    fail(place, std::errc::timed_out, "somebody has been removing it all the time", "continue or end that process");
  std::this_thread::sleep_for(std::chrono::milliseconds{1});
}

bool take_away(const SegmentPlace& place, const SegmentFound& found) {
  const int file = found.file.number();
  if (platform::try_lock_bytes(file, 0, user_bytes, LockKind::exclusive) != done) return false;
  HOLDFAST_STEP(segment, T1);
  platform::SegmentFile now;
  const bool free = platform::look_at(file, now) == done && now.has_name && now.size == found.facts.size &&
                    (found.is != Is::complete || users_of(found).empty());
  HOLDFAST_STEP(segment, T2);
  bool removed = false;
  platform::Node bearer;  // of the name: an operator may have put another file there
  if (HOLDFAST_MUTANT(segment, unlocked_too_early)) platform::unlock_bytes(file, 0, user_bytes);
  if (free && platform::look(place.folder(), place.file(), bearer) == done && bearer.device == now.device &&
      bearer.inode == now.inode) {
    const auto why = platform::remove_file(place.folder(), place.file());
    if (why != done && why != std::errc::no_such_file_or_directory) {
      platform::unlock_bytes(file, 0, user_bytes);
      fail(place, why, {}, "what its dead users left has to be removed by its owner or by root");
    }
    HOLDFAST_STEP(segment, T3);
    removed = true;
  }
  platform::unlock_bytes(file, 0, user_bytes);
  HOLDFAST_STEP(segment, T4);
  return removed;
}

// ---- making --------------------------------------------------------------------------------------------------------

Segment::Pointer Segment::make(const SegmentPlace* place, std::string_view name, platform::Descriptor file,
                               std::size_t size, const SegmentOptions& options) {
  const std::string path = place != nullptr ? place->path() : "anonymous segment " + std::string{name};
  const auto refuse = [&](std::errc why, const std::string& reason, std::string_view remedy) {
    throw Error{std::make_error_code(why), "create", path, reason, remedy};
  };
  const std::size_t file_size = rounded_up(data_offset + size);
  const std::uint64_t space = platform::free_space(file.number());
  auto why = space < file_size ? std::errc::no_space_on_device : platform::reserve(file.number(), file_size);
  if (why == std::errc::no_space_on_device)
    refuse(why,
           std::to_string(file_size) + " bytes are needed, " +
               std::to_string(std::min(space, platform::free_space(file.number()))) + " are free",
           "make /dev/shm larger: mount -o remount,size=...; in a container: --shm-size");
  if (why != done) refuse(why, std::make_error_code(why).message() + " (" + std::to_string(file_size) + " bytes)", "");
  if (place == nullptr) why = platform::fix_size(file.number());
  constexpr std::array<std::uint32_t, 3> modes{0600, 0660, 0666};
  if (why == done && place != nullptr && !HOLDFAST_MUTANT(segment, access_not_set))
    why = platform::set_access(file.number(), modes[static_cast<std::size_t>(options.access)]);
  platform::SegmentFile facts;
  if (why == done) why = platform::look_at(file.number(), facts);
  if (why != done) refuse(why, "", "");

  SegmentHeader header{};
  header.magic = segment_magic;
  header.version = segment_version;
  header.header_size = sizeof header;
  header.file_size = file_size;
  header.size = size;
  header.data_offset = data_offset;
  header.alignment = options.alignment;
  header.stays = options.lifetime == Lifetime::until_removed && place != nullptr ? 1 : 0;
  header.prefault = options.prefault ? 1 : 0;
  header.word_size = word_size;
  const std::string creator = ProcessIdentity::self().encode();
  creator.copy(header.creator.data(), header.creator.size());

  Pointer segment{new Segment};
  segment->name_ = name;
  segment->path_ = path;
  segment->named_ = place != nullptr;
  segment->map(std::move(file), facts, header, true);
  std::memcpy(segment->base_, &header, sizeof header);
  segment->enlist(segment->file_.number());  // the first one: always room, and nobody else has it open
  return segment;
}

void Segment::map(platform::Descriptor file, const platform::SegmentFile& facts, const SegmentHeader& header,
                  bool for_writing) {
  auto why = done;
  base_ = platform::map(file.number(), header.file_size, for_writing, header.prefault != 0, data_offset,
                        header.alignment, why);
  if (base_ == nullptr)
    throw Error{std::make_error_code(why),
                "map",
                path_,
                {},
                "it takes " + std::to_string(header.file_size) + " bytes of address space: ulimit -v"};
  file_ = std::move(file);
  facts_ = facts;
  file_size_ = header.file_size;
  size_ = header.size;
  writable_ = for_writing;
  stays_ = header.stays != 0;
  join_fork_handlers();
}

/// From here on others in this process share this mapping: one mutex has one address then.
void Segment::publish(const Pointer& self) {
  const std::lock_guard guard{table()};
  auto& list = open_segments();
  std::erase_if(list, [](const OpenSegment& open) { return open.segment.expired(); });
  list.push_back({self->facts_.device, self->facts_.inode, self->writable_, self});
}

Segment::Pointer Segment::open_already(const platform::SegmentFile& facts, bool for_writing) {
  const std::lock_guard guard{table()};
  for (const OpenSegment& open : open_segments())
    if (open.device == facts.device && open.inode == facts.inode && open.writable == for_writing)
      if (auto segment = open.segment.lock()) return segment;
  return nullptr;
}

Segment::Pointer Segment::create(const SegmentPlace& place, std::size_t size, const SegmentOptions& options,
                                 Deadline deadline, SegmentFound& instead, const Fill& fill) {
  check_options(place.path(), size, options);
  if (HOLDFAST_MUTANT(segment, removed_before_creation)) platform::remove_file(place.folder(), place.file());
  Pointer mine;
  for (;;) {
    instead = look(place, true);
    const bool dead = instead.is == Is::incomplete || (instead.is == Is::complete && instead.header.stays == 0);
    if (dead) {
      const Use use = use_of(instead);
      if (use == Use::being_removed) wait_for_remover(place, deadline);
      if (use == Use::none) static_cast<void>(take_away(place, instead));  // false: somebody was faster
      if (use != Use::in_use) continue;
    }
    if (instead.is != Is::absent) return nullptr;
    if (!mine) {
      auto made = platform::make_nameless(place.folder());
      if (made.why != done) fail(place, made.why, {}, "/dev/shm has to be a tmpfs that this user may write to");
      HOLDFAST_STEP(segment, C1);
      if (HOLDFAST_MUTANT(segment, name_before_content))
        static_cast<void>(platform::give_name(made.descriptor.number(), place.folder(), place.file()));
      mine = make(&place, place.name(), std::move(made.descriptor), size, options);
      if (fill) fill({mine->data(), mine->size()});
      HOLDFAST_STEP(segment, C2);
    }
    const auto why = platform::give_name(mine->file_.number(), place.folder(), place.file());
    if (why == done || HOLDFAST_MUTANT(segment, name_before_content)) break;
    if (why != std::errc::file_exists) fail(place, why, {}, "/proc has to be mounted, or the process privileged");
  }
  HOLDFAST_STEP(segment, C3);
  mine->publish(mine);
  return mine;
}

Segment::Pointer Segment::create_anonymous(std::string_view label, std::size_t size, const SegmentOptions& options) {
  SegmentPlace::check(label, "create");
  check_options(label, size, options);
  auto made = platform::make_anonymous(std::string{SegmentPlace::prefix}.append(label).c_str());
  if (made.why != done) throw Error{std::make_error_code(made.why), "create", label, {}, remedy_for(made.why, "")};
  HOLDFAST_STEP(segment, C1);
  auto segment = make(nullptr, label, std::move(made.descriptor), size, options);
  HOLDFAST_STEP(segment, C2);
  segment->publish(segment);
  return segment;
}

// ---- entering ------------------------------------------------------------------------------------------------------

Segment::Pointer Segment::enter(const SegmentPlace& place, SegmentFound&& found, bool for_writing, Deadline deadline) {
  if (auto segment = open_already(found.facts, for_writing)) return segment;
  HOLDFAST_STEP(segment, A1);
  Pointer segment{new Segment};
  segment->name_ = place.name();
  segment->path_ = place.path();
  segment->named_ = true;
  const auto facts = found.facts;
  Enlisted enlisted = Enlisted::yes;
  if (for_writing) segment->map(std::move(found.file), facts, found.header, true);
  const int file = for_writing ? segment->file_.number() : found.file.number();
  if (for_writing)
    enlisted = segment->enlist(file);
  else if (platform::try_lock_bytes(file, readers_byte, 1, LockKind::shared) != done)
    enlisted = Enlisted::try_again;
  else
    HOLDFAST_STEP(segment, A2);
  if (enlisted == Enlisted::full)
    throw Error{errc::too_many_participants, place.operation(), place.path(),
                std::to_string(participant_limit) + " processes are attached to it", "end one of them"};
  platform::SegmentFile now;
  const bool removed = platform::look_at(file, now) != done || !now.has_name;
  HOLDFAST_STEP(segment, A3);
  if (removed && !HOLDFAST_MUTANT(segment, name_not_looked_at)) return nullptr;
  if (enlisted == Enlisted::try_again) {
    wait_for_remover(place, deadline);
    return nullptr;
  }
  if (!for_writing) segment->map(std::move(found.file), facts, found.header, false);
  segment->publish(segment);
  return segment;
}

Segment::Pointer Segment::enter_anonymous(int descriptor) {
  const std::string shown = "descriptor " + std::to_string(descriptor);
  SegmentFound found;
  // Before it is opened again: what is no file could come to life by that.
  if (const auto why = platform::look_at(descriptor, found.facts); why != done)
    throw Error{std::make_error_code(why), "attach", shown};
  if (!found.facts.regular) throw Error{errc::foreign, "attach", shown, "it is no segment of holdfast"};
  auto opened = platform::reopen(descriptor, true);
  if (opened.why != done)
    throw Error{std::make_error_code(opened.why), "attach", shown, {}, remedy_for(opened.why, "")};
  found.file = std::move(opened.descriptor);
  examine(found);
  if (found.is == Is::other_version)
    throw Error{errc::version_mismatch, "attach", shown, "it was made by another version of holdfast"};
  if (found.is == Is::other_word_size) throw Error{errc::layout_mismatch, "attach", shown, word_sizes(found.header)};
  if (found.is != Is::complete) throw Error{errc::foreign, "attach", shown, "it is no segment of holdfast"};
  if (!found.facts.has_name && !platform::has_fixed_size(found.file.number()))
    throw Error{errc::foreign, "attach", shown, "its size is not sealed: it could shrink while it is used"};
  if (auto segment = open_already(found.facts, true)) return segment;
  HOLDFAST_STEP(segment, A1);
  Pointer segment{new Segment};
  segment->name_ = shown;
  segment->path_ = shown;
  segment->map(std::move(found.file), found.facts, found.header, true);
  auto enlisted = Enlisted::try_again;
  while (enlisted == Enlisted::try_again) enlisted = segment->enlist(segment->file_.number());
  if (enlisted == Enlisted::full)
    throw Error{errc::too_many_participants, "attach", shown,
                std::to_string(participant_limit) + " processes are attached to it", "end one of them"};
  segment->publish(segment);
  return segment;
}

Participant& Segment::participant(std::size_t index) const noexcept {
  return *reinterpret_cast<Participant*>(base_ + participants_offset + index * sizeof(Participant));
}

/// An owner's signature or the news of a mutex refers to it. The owner is looked at first: a rescuer writes the news before
/// it takes the dead owner's place.
bool Segment::is_named(Reference reference) const {
  return any_mutex([&](SharedMutex& mutex, std::uint64_t) {
    if (owner_in(mutex.owner.load(std::memory_order_acquire)) == reference) return true;
    return mutex.unrepaired.load(std::memory_order_acquire) != 0 &&
           (mutex.first_lost.load(std::memory_order_relaxed) == reference ||
            mutex.last_lost.load(std::memory_order_relaxed) == reference);
  });
}

Segment::Enlisted Segment::enlist(int file) {
  const std::string text = ProcessIdentity::self().encode();
  bool full = true;
  // Records that were given to somebody least often come first: who died last is known by name for as long as possible.
  std::array<std::pair<std::uint64_t, std::size_t>, participant_limit> order;
  for (std::size_t index = 0; index < participant_limit; ++index)
    order[index] = {participant(index).state.load(std::memory_order_relaxed) >> 1U, index};
  std::sort(order.begin(), order.end());
  for (const auto& [ignored, index] : order) {
    if (platform::try_lock_bytes(file, index, 1, LockKind::exclusive) != done) {
      // A user's byte, or somebody who is removing the segment, or was a moment ago?
      full = full && platform::size_of_lock(file, index, 1) == 1;
      continue;
    }
    HOLDFAST_STEP(segment, A2);
    Participant& record = participant(index);
    const std::uint64_t before = record.state.load(std::memory_order_acquire);
    const Reference bearer = reference_to(index, before);
    const auto alive = [&] {  // with all of its descriptors closed
      const auto identity = (before & 1U) != 0 ? identity_of(bearer) : std::nullopt;
      return identity && identity->liveness() == Liveness::alive;
    };
    // In this order: who lives now may sign, and die, before the other question is asked.
    const bool taken = alive() || (is_named(bearer) && !HOLDFAST_MUTANT(segment, named_record_reused));
    HOLDFAST_STEP(segment, A4);
    if (taken) {
      platform::unlock_bytes(file, index, 1);
      continue;
    }
    const std::uint64_t generation = (before >> 1U) + 1;
    // Invalid while it is written; readers compare the state before and after. Each word is released, and acquired by them,
    // so that who sees one of the new words sees the new state as well.
    record.state.store(generation << 1U, std::memory_order_relaxed);
    for (std::size_t word = 0; word < record.identity.size(); ++word) {
      std::uint64_t bytes = 0;
      if (word * sizeof bytes < text.size())
        std::memcpy(&bytes, text.data() + word * sizeof bytes,
                    std::min(sizeof bytes, text.size() - word * sizeof bytes));
      record.identity[word].store(bytes, std::memory_order_release);
    }
    record.state.store((generation << 1U) | 1U, std::memory_order_release);
    HOLDFAST_STEP(segment, A5);
    reference_.store(reference_to(index, generation << 1U), std::memory_order_relaxed);
    return Enlisted::yes;
  }
  return full ? Enlisted::full : Enlisted::try_again;
}

/// In a forked child, at the first call that needs its own signature.
[[gnu::cold]] Reference Segment::enlist_again() {
  const std::lock_guard guard{table()};
  if (const Reference mine = reference_.load(std::memory_order_relaxed); mine != 0) return mine;
  auto own = platform::reopen(file_.number(), true);
  if (own.why != done)
    throw Error{
        std::make_error_code(own.why), "use", path_, {}, "a forked child needs a descriptor of its own, and /proc"};
  auto enlisted = Enlisted::try_again;
  while (enlisted == Enlisted::try_again) enlisted = enlist(own.descriptor.number());
  if (enlisted == Enlisted::full)
    throw Error{errc::too_many_participants, "use", path_,
                std::to_string(participant_limit) + " processes are attached to it", "end one of them"};
  // The inherited one goes: it spoke for the parent.
  if (const auto why = platform::replace(file_.number(), own.descriptor.number()); why != done) {
    reference_.store(0, std::memory_order_relaxed);
    throw Error{std::make_error_code(why), "use", path_};
  }
  return reference_.load(std::memory_order_relaxed);
}

void Segment::after_fork_in_child() noexcept {
  reference_.store(0, std::memory_order_relaxed);
  waiting.store(0, std::memory_order_relaxed);
}

std::optional<ProcessIdentity> Segment::identity_of(Reference reference) const {
  if (reference == 0 || index_of(reference) >= participant_limit) return {};
  const Participant& record = participant(index_of(reference));
  const std::uint64_t before = record.state.load(std::memory_order_acquire);
  if (reference_to(index_of(reference), before) != reference) return {};
  std::array<char, sizeof(IdentityText)> text;
  for (std::size_t word = 0; word < record.identity.size(); ++word) {
    const std::uint64_t bytes = record.identity[word].load(std::memory_order_acquire);
    std::memcpy(text.data() + word * sizeof bytes, &bytes, sizeof bytes);
  }
  if (record.state.load(std::memory_order_relaxed) >> 1U != before >> 1U) return {};
  return decoded({text.data(), text.size()});
}

bool Segment::is_attached(Reference reference) const {
  if (reference == 0 || index_of(reference) >= participant_limit) return false;
  return is_mine(reference) || platform::size_of_lock(file_.number(), index_of(reference), 1) != 0;
}

bool Segment::is_gone(Reference reference) const {
  if (is_mine(reference)) return false;
  if (reference == 0 || index_of(reference) >= participant_limit) return true;
  const std::uint64_t state = participant(index_of(reference)).state.load(std::memory_order_acquire);
  // Another generation: a record is taken over from the dead only. Invalid: its process has detached.
  if (reference_to(index_of(reference), state) != reference || (state & 1U) == 0) return true;
  const auto identity = identity_of(reference);
  const auto liveness = identity ? identity->liveness() : Liveness::unknown;
  // Even with its byte locked: by a forked child that has not used the segment.
  return liveness == Liveness::dead || (liveness == Liveness::unknown && !is_attached(reference));
}

Liveness Segment::liveness_of(Reference reference) const {
  if (is_attached(reference)) return Liveness::alive;
  const auto identity = identity_of(reference);
  return identity ? identity->liveness() : Liveness::unknown;
}

bool Segment::is_held_here() const {
  return waiting.load(std::memory_order_relaxed) != 0 || any_mutex([this](SharedMutex& mutex, std::uint64_t) {
           return is_mine(owner_in(mutex.owner.load(std::memory_order_relaxed)));
         });
}

Segment::~Segment() {
  if (base_ == nullptr) return;
  leave_fork_handlers();
  if (const Reference mine = reference_.load(std::memory_order_relaxed);
      mine != 0 && !HOLDFAST_MUTANT(segment, record_left_valid)) {
    auto& state = participant(index_of(mine)).state;
    state.store(state.load(std::memory_order_relaxed) & ~std::uint64_t{1}, std::memory_order_release);
  }
  platform::unmap(base_, file_size_);
  file_.close();  // other processes see it gone from here on, unless a forked child still has a copy
  HOLDFAST_STEP(segment, D1);
  if (!named_ || stays_ || HOLDFAST_MUTANT(segment, left_behind)) return;
  try {
    const SegmentPlace place{name_, "detach"};
    const auto found = look(place, true);
    HOLDFAST_STEP(segment, D2);
    if (found.is == Is::complete && found.facts.device == facts_.device && found.facts.inode == facts_.inode)
      static_cast<void>(take_away(place, found));
  } catch (const std::exception&) {
    // It is left to the next create(), as after a kill.
  }
}
}  // namespace holdfast::detail
