#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <span>
#include <string_view>
#include <vector>
#include <holdfast/error.hpp>
#include <holdfast/testing/journal.hpp>

#include "testing/shared_file.hpp"

namespace holdfast::harness {
namespace {
/// One entry, in four words, so that the last one stored can publish the others.
///
///   what             the others    state                              next step
///   0                any           free, or taken and not yet filled  its taker stores the others, then what
///   event << 32|who  the entry's   published, never changes again
///
/// E1 publish  append's store of `what` -> read's load of it: who sees an event sees its time and its value.
///
/// Crash: killed between taking a place and publishing it, a writer leaves `what` at 0 for ever. Readers skip it.
struct Place {
  std::atomic<std::uint64_t> nanoseconds;
  std::atomic<std::uint64_t> what;
  std::atomic<std::uint64_t> value, count;
};

struct Header {
  std::array<char, 16> magic;
  std::uint64_t capacity;  // written before anybody else can open the file
  std::byte padding[40];
  std::atomic<std::uint64_t> taken;  // places handed out, and beyond the capacity the number of attempts
  std::byte padding_after[56];       // the counter is alone in its cache line
};
constexpr std::array<char, 16> journal_magic{"holdfast jrnl 2"};

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);  // or it would not work across processes
static_assert(sizeof(Place) == 32 && sizeof(Header) == 128);

std::uint64_t now() noexcept {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
          .count());
}
}  // namespace

/// The mapped file seen as a journal. It is never made from scratch: the bytes of a new file are zero, which is a valid
/// empty journal but for magic and capacity.
struct Journal::Mapping {
  SharedFile file;
  Header* header;
  std::span<Place> places;

  explicit Mapping(SharedFile shared)
      : file{shared},
        header{static_cast<Header*>(file.address)},
        places{reinterpret_cast<Place*>(header + 1), (file.size - sizeof(Header)) / sizeof(Place)} {}
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() { close_shared_file(file); }

  [[nodiscard]] std::size_t used() const noexcept {
    return std::min<std::uint64_t>(header->taken.load(std::memory_order_relaxed), places.size());  // relaxed: E1 orders
  }
};

Journal Journal::create(const std::filesystem::path& file, std::size_t capacity) {
  if (capacity > (std::numeric_limits<std::size_t>::max() / 2 - sizeof(Header)) / sizeof(Place))
    throw Error{make_error_code(std::errc::value_too_large), "create", file.native()};
  auto mapping = std::make_unique<Mapping>(create_shared_file(file, sizeof(Header) + capacity * sizeof(Place)));
  mapping->header->magic = journal_magic;
  mapping->header->capacity = capacity;
  return Journal{mapping.release()};
}

Journal Journal::open(const std::filesystem::path& file) {
  const auto refuse = [&file](std::string_view reason) {
    throw Error{make_error_code(errc::foreign), "open the journal", file.native(), reason};
  };
  const SharedFile shared = open_shared_file(file);
  if (shared.size < sizeof(Header)) {
    close_shared_file(shared);
    refuse("it is too short to be one");
  }
  auto mapping = std::make_unique<Mapping>(shared);
  if (mapping->header->magic != journal_magic || mapping->header->capacity != mapping->places.size())
    refuse("it was not made by Journal::create");
  return Journal{mapping.release()};
}

Journal::~Journal() { delete mapping_; }

void Journal::append(std::uint32_t who, Event event, std::uint64_t value, std::uint64_t count) noexcept {
  const auto time = now();
  // relaxed: one counter has one order, and it agrees with happens-before. A lock worth its name makes what one owner
  // did before unlock() happen before what the next does after lock(), so `left` gets the smaller number.
  const auto index = mapping_->header->taken.fetch_add(1, std::memory_order_relaxed);
  if (index >= mapping_->places.size()) return;
  Place& place = mapping_->places[index];
  place.nanoseconds.store(time, std::memory_order_relaxed);                                                   // E1
  place.value.store(value, std::memory_order_relaxed);                                                        // E1
  place.count.store(count, std::memory_order_relaxed);                                                        // E1
  place.what.store(std::uint64_t{static_cast<std::uint32_t>(event)} << 32 | who, std::memory_order_release);  // E1
}

std::vector<Entry> Journal::read(std::size_t first, std::size_t last) const {
  std::vector<Entry> result;
  result.reserve(last - first);
  for (const Place& place : mapping_->places.subspan(first, last - first)) {
    const auto what = place.what.load(std::memory_order_acquire);  // E1
    if (what == 0) continue;
    result.push_back({place.nanoseconds.load(std::memory_order_relaxed), static_cast<std::uint32_t>(what),
                      static_cast<Event>(what >> 32), place.value.load(std::memory_order_relaxed),
                      place.count.load(std::memory_order_relaxed)});
  }
  return result;
}

std::vector<Entry> Journal::entries() const { return read(0, mapping_->used()); }

std::vector<Entry> Journal::latest(std::size_t count) const {
  const auto used = mapping_->used();
  return read(used - std::min(count, used), used);
}

std::uint64_t Journal::dropped() const noexcept {
  const auto taken = mapping_->header->taken.load(std::memory_order_relaxed);
  return taken - std::min<std::uint64_t>(taken, mapping_->places.size());
}
}  // namespace holdfast::harness
