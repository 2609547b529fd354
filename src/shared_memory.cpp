#include <holdfast/shared_memory.hpp>

#include <algorithm>
#include <utility>

#include <holdfast/platform/directory.hpp>
#include <holdfast/platform/wait.hpp>

#include "shared_memory/segment.hpp"
#include "text.hpp"

namespace holdfast {
using detail::Segment;
using detail::SegmentFound;
using detail::SegmentPlace;
using detail::Use;
using Is = SegmentFound::Is;

namespace {
std::shared_ptr<const ProcessIdentity> first_user(const SegmentFound& found) {
  const auto users = detail::users_of(found);
  return users.empty() ? nullptr : std::make_shared<const ProcessIdentity>(users.front());
}

}  // namespace

[[gnu::cold]] void detail::fail_existing(const SegmentPlace& place, const SegmentFound& found) {
  if (found.is != Is::complete) detail::fail_unusable(place, found);
  const auto user = first_user(found);
  const bool stays = found.header.stays != 0;
  throw Error{std::make_error_code(std::errc::file_exists),
              place.operation(),
              place.path(),
              user    ? "it exists, and is used by " + to_string(*user)
              : stays ? "it exists, and stays until it is removed"
                      : "it exists, and somebody is attached to it read-only",
              stays ? "attach to it, or remove it first" : "attach to it, or end its users",
              user};
}

namespace {
[[noreturn, gnu::cold]] void fail_in_use(const SegmentPlace& place, const SegmentFound& found) {
  const auto user = first_user(found);
  throw Error{
      errc::in_use,          place.operation(),
      place.path(),          user ? "it is used by " + to_string(*user) : "somebody is attached to it read-only",
      "end its users first", user};
}

/// What the dead left is not attached to, unless it was to stay.
bool can_be_entered(const SegmentFound& found) {
  return found.is == Is::complete && (found.header.stays != 0 || detail::use_of(found) != Use::none);
}

}  // namespace

Segment::Pointer detail::attach_to(const SegmentPlace& place, bool for_writing, Deadline deadline) {
  for (bool watching = false;; watching = true) {
    // Watched before it is looked at: what changes in between is told. Not at the first look, which mostly finds it: to end
    // a watch takes the kernel milliseconds.
    const auto changes = watching ? platform::watch_changes(place.folder()) : platform::Descriptor{};
    SegmentFound found = detail::look(place, for_writing);
    if (can_be_entered(found)) {
      if (auto segment = Segment::enter(place, std::move(found), for_writing, deadline)) return segment;
      continue;
    }
    const bool may_come = found.is == Is::absent || found.is == Is::incomplete || found.is == Is::complete;
    if (!may_come) detail::fail_unusable(place, found);
    if (deadline.passed()) {
      if (found.is == Is::complete)
        throw Error{std::make_error_code(std::errc::no_such_file_or_directory), place.operation(), place.path(),
                    "all its users are dead, and nobody has created it again", "create() replaces it"};
      detail::fail_unusable(place, found);
    }
    if (!watching) continue;
    // What the dead left may still be entered by one who saw the last of them alive (A2), and that changes nothing in the
    // folder: it is looked at again now and then.
    constexpr auto without_watch = std::chrono::milliseconds{10}, beside_an_orphan = std::chrono::milliseconds{100};
    const auto until = Deadline::Clock::now() + (changes ? beside_an_orphan : without_watch);
    const bool sleeps = changes && found.is != Is::complete;
    static_cast<void>(
        platform::wait_for(changes.number(), -1, sleeps ? deadline : Deadline{std::min(deadline.time(), until)}));
  }
}

SharedMemory::SharedMemory(std::shared_ptr<Segment> segment) noexcept : segment_{std::move(segment)} {}
SharedMemory::SharedMemory(SharedMemory&&) noexcept = default;
SharedMemory& SharedMemory::operator=(SharedMemory&&) noexcept = default;
SharedMemory::~SharedMemory() = default;

SharedMemory SharedMemory::create(std::string_view name, std::size_t size, const SegmentOptions& options) {
  const SegmentPlace place{name, "create"};
  SegmentFound instead;
  auto segment = Segment::create(place, size, options, detail::patience_with_removers, instead);
  if (!segment) detail::fail_existing(place, instead);
  return SharedMemory{std::move(segment)};
}

SharedMemory SharedMemory::create_or_attach(std::string_view name, std::size_t size, const SegmentOptions& options,
                                            Deadline deadline) {
  const SegmentPlace place{name, "create or attach"};
  for (;;) {
    SegmentFound there;
    if (auto segment = Segment::create(place, size, options, deadline, there)) return SharedMemory{std::move(segment)};
    if (there.is != Is::complete) detail::fail_unusable(place, there);
    if (there.header.size != size)
      throw Error{errc::layout_mismatch, place.operation(), place.path(),
                  "it has " + std::to_string(there.header.size) + " bytes, " + std::to_string(size) + " were asked for",
                  "attach to it as it is, or end its users"};
    if (auto segment = Segment::enter(place, std::move(there), true, deadline)) return SharedMemory{std::move(segment)};
  }
}

SharedMemory SharedMemory::attach(std::string_view name, Deadline deadline) {
  return SharedMemory{detail::attach_to(SegmentPlace{name, "attach"}, true, deadline)};
}

SharedMemory SharedMemory::attach_read_only(std::string_view name, Deadline deadline) {
  return SharedMemory{detail::attach_to(SegmentPlace{name, "attach"}, false, deadline)};
}

SharedMemory SharedMemory::create_anonymous(std::string_view label, std::size_t size, const SegmentOptions& options) {
  return SharedMemory{Segment::create_anonymous(label, size, options)};
}

SharedMemory SharedMemory::attach(int descriptor) { return SharedMemory{Segment::enter_anonymous(descriptor)}; }

bool SharedMemory::remove(std::string_view name) {
  const SegmentPlace place{name, "remove"};
  const Deadline deadline = detail::patience_with_removers;
  for (;;) {
    const SegmentFound found = detail::look(place, true);
    if (found.is == Is::absent) return false;
    if (found.is != Is::complete && found.is != Is::incomplete) detail::fail_unusable(place, found);
    const Use use = detail::use_of(found);
    if (use == Use::in_use) fail_in_use(place, found);
    if (use == Use::being_removed)
      detail::wait_for_remover(place, deadline);
    else if (detail::take_away(place, found))
      return true;
  }
}

std::vector<SegmentInfo> SharedMemory::list() {
  std::vector<SegmentInfo> result;
  std::vector<std::string> names;
  auto opened = platform::open_path(-1, platform::segment_folder());
  if (opened.why == std::errc::no_such_file_or_directory) return result;
  if (opened.why == platform::done) opened = platform::open_directory(opened.descriptor.number(), ".");
  if (opened.why == platform::done) opened.why = platform::list(opened.descriptor.number(), names);
  if (opened.why != platform::done) throw Error{std::make_error_code(opened.why), "list", platform::segment_folder()};
  for (const auto& file : names) {
    if (!file.starts_with(SegmentPlace::prefix) || file.size() == SegmentPlace::prefix.size()) continue;
    SegmentInfo info;
    info.name = file.substr(SegmentPlace::prefix.size());
    const SegmentFound found = detail::look(SegmentPlace{info.name, "list"}, false);
    info.size = found.facts.size;
    switch (found.is) {
      case Is::absent:  // removed meanwhile
        continue;
      case Is::incomplete:
        info.state = SegmentState::incomplete;
        break;
      case Is::other_version:
      case Is::other_word_size:
        info.state = SegmentState::other_version;
        break;
      case Is::unreadable:
        info.state = SegmentState::unreadable;
        break;
      case Is::foreign:
      case Is::corrupt:
        break;
      case Is::complete:
        info.size = found.header.size;
        info.creator = detail::creator_of(found);
        info.users = detail::users_of(found);
        info.state = detail::use_of(found) == Use::in_use ? SegmentState::in_use : SegmentState::orphaned;
        break;
    }
    result.push_back(std::move(info));
  }
  std::sort(result.begin(), result.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return result;
}

namespace {
[[noreturn, gnu::cold]] void fail_moved_from() {
  throw Error{std::make_error_code(std::errc::operation_not_permitted), "use", "a SharedMemory",
              "it was moved from, or detached"};
}
}  // namespace

std::span<std::byte> SharedMemory::bytes() {
  if (!segment_) fail_moved_from();
  if (segment_->read_only())
    throw Error{std::make_error_code(std::errc::permission_denied), "write to", segment_->path(),
                "it is attached read-only", "attach() it instead"};
  return {segment_->data(), segment_->size()};
}
std::span<const std::byte> SharedMemory::bytes() const noexcept {
  return segment_ ? std::span<const std::byte>{segment_->data(), segment_->size()} : std::span<const std::byte>{};
}
bool SharedMemory::read_only() const noexcept { return segment_ && segment_->read_only(); }
const std::string& SharedMemory::name() const noexcept {
  static const std::string none;
  return segment_ ? segment_->name() : none;
}
int SharedMemory::descriptor() const noexcept { return segment_ ? segment_->descriptor() : -1; }

void SharedMemory::check_range(std::size_t offset, std::size_t size, std::size_t alignment) const {
  if (!segment_) fail_moved_from();
  const std::size_t room = segment_->size();
  if (offset <= room && size <= room - offset && offset % alignment == 0) return;
  throw Error{std::make_error_code(std::errc::invalid_argument), "use", segment_->path(),
              std::to_string(size) + " bytes at offset " + std::to_string(offset) + " do not fit: it has " +
                  std::to_string(room) + " bytes, and the offset has to be a multiple of " + std::to_string(alignment)};
}

void SharedMemory::detach() {
  if (segment_ && segment_->is_held_here())
    throw Error{errc::in_use,      "detach",
                segment_->path(),  "a thread of this process has a mutex in it, or waits for one",
                "unlock it first", std::make_shared<const ProcessIdentity>(ProcessIdentity::self())};
  segment_.reset();
}

std::string_view to_string(SegmentState state) noexcept {
  switch (state) {
    case SegmentState::in_use:
      return "in use";
    case SegmentState::orphaned:
      return "orphaned";
    case SegmentState::incomplete:
      return "incomplete";
    case SegmentState::other_version:
      return "made by another version of holdfast";
    case SegmentState::foreign:
      return "not made by holdfast";
    case SegmentState::unreadable:
      return "not readable for this user";
  }
  return "unknown";
}

std::string to_string(const SegmentInfo& info) {
  std::string result = text::escaped(info.name) + ": " + std::to_string(info.size) + " bytes, ";
  result += to_string(info.state);
  for (std::size_t i = 0; i < info.users.size(); ++i) result += (i == 0 ? " by " : ", ") + to_string(info.users[i]);
  return result;
}
}  // namespace holdfast
