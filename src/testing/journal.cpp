#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <unordered_map>
#include <holdfast/error.hpp>
#include <holdfast/testing/journal.hpp>

#include "testing/shared_file.hpp"

namespace holdfast::harness {
namespace {
/// One entry, in two words so that the second can publish the first.
///
///   what           nanoseconds     state                              next step
///   0              any             free, or taken and not yet filled  its taker stores nanoseconds, then what
///   event << 32|who  the entry's   published, never changes again
///
/// E1 publish  append's store of `what` -> read's load of it: who sees an event sees its time.
///
/// Crash: killed between taking a place and publishing it, a writer leaves `what` at 0 for ever. Readers skip it.
struct Place {
  std::atomic<std::uint64_t> nanoseconds;
  std::atomic<std::uint64_t> what;
};

struct Header {
  std::array<char, 16> magic;
  std::uint64_t capacity;  // written before anybody else can open the file
  std::byte padding[40];
  std::atomic<std::uint64_t> taken;  // places handed out, and beyond the capacity the number of attempts
  std::byte padding_after[56];       // the counter is alone in its cache line
};
constexpr std::array<char, 16> journal_magic{"holdfast jrnl 1"};

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);  // or it would not work across processes
static_assert(sizeof(Place) == 16 && sizeof(Header) == 128);

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

void Journal::append(std::uint32_t who, Event event) noexcept {
  const auto time = now();
  // relaxed: one counter has one order, and it agrees with happens-before. A lock worth its name makes what one owner
  // did before unlock() happen before what the next does after lock(), so `left` gets the smaller number.
  const auto index = mapping_->header->taken.fetch_add(1, std::memory_order_relaxed);
  if (index >= mapping_->places.size()) return;
  Place& place = mapping_->places[index];
  place.nanoseconds.store(time, std::memory_order_relaxed);                                                   // E1
  place.what.store(std::uint64_t{static_cast<std::uint32_t>(event)} << 32 | who, std::memory_order_release);  // E1
}

std::vector<Entry> Journal::read(std::size_t first, std::size_t last) const {
  std::vector<Entry> result;
  result.reserve(last - first);
  for (const Place& place : mapping_->places.subspan(first, last - first)) {
    const auto what = place.what.load(std::memory_order_acquire);  // E1
    if (what == 0) continue;
    result.push_back({place.nanoseconds.load(std::memory_order_relaxed), static_cast<std::uint32_t>(what),
                      static_cast<Event>(what >> 32)});
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

namespace {
struct Contender {
  enum class State { outside, waiting, inside } state = State::outside;
  bool doomed = false;
  std::uint64_t arrived_at = 0;
};

/// The state of all contenders after some entries.
class Checker {
 public:
  void step(const Entry& entry) {
    // The clock is read before the place is taken, so times may be out of order by what passed between the two.
    last_time_ = std::max(last_time_, entry.nanoseconds);
    Contender& contender = contenders_[entry.who];
    switch (entry.event) {
      case Event::arrived:
        if (contender.state != Contender::State::outside) return misordered();
        contender.state = Contender::State::waiting;
        contender.arrived_at = entry.nanoseconds;
        if (!contender.doomed) begin_wait(entry.who);
        return;
      case Event::entered:
      case Event::recovered:
        if (contender.state != Contender::State::waiting) return misordered();
        enter(entry, contender);
        return;
      case Event::left:
        if (contender.state != Contender::State::inside) return misordered();
        contender.state = Contender::State::outside;
        std::erase(inside_, entry.who);
        progress();
        return;
      case Event::gave_up:
        if (contender.state != Contender::State::waiting) return misordered();
        contender.state = Contender::State::outside;
        end_wait(entry.who);
        return;
      case Event::doomed:
        if (contender.doomed) return misordered();
        contender.doomed = true;
        end_wait(entry.who);
        std::erase(inside_, entry.who);
        return;
    }
    misordered();  // a number that is no event
  }

  [[nodiscard]] History finish() {
    if (!waiting_.empty()) end_gap();
    history_.unfinished = waiting_.size() + inside_.size();
    return std::move(history_);
  }

 private:
  void misordered() { ++history_.misordered; }

  void enter(const Entry& entry, Contender& contender) {
    if (!inside_.empty()) ++history_.overlaps;
    ++history_.acquisitions;
    if (entry.event == Event::recovered) ++history_.recoveries;
    history_.order.push_back(entry.who);
    history_.waits_ns.push_back(entry.nanoseconds - std::min(entry.nanoseconds, contender.arrived_at));
    progress();
    history_.overtakes += static_cast<std::uint64_t>(end_wait(entry.who));
    contender.state = Contender::State::inside;
    if (!contender.doomed) inside_.push_back(entry.who);
  }

  void begin_wait(std::uint32_t who) {
    if (waiting_.empty()) gap_began_ = last_time_;
    waiting_.push_back(who);
  }
  /// Returns how many waited before it and still do.
  std::ptrdiff_t end_wait(std::uint32_t who) {
    const auto found = std::find(waiting_.begin(), waiting_.end(), who);
    if (found == waiting_.end()) return 0;
    const auto earlier = found - waiting_.begin();
    waiting_.erase(found);
    if (waiting_.empty()) end_gap();
    return earlier;
  }
  void progress() {
    if (!waiting_.empty()) end_gap();
    gap_began_ = last_time_;
  }
  void end_gap() { history_.longest_gap_ns = std::max(history_.longest_gap_ns, last_time_ - gap_began_); }

  History history_;
  std::unordered_map<std::uint32_t, Contender> contenders_;
  std::vector<std::uint32_t> waiting_;  // live ones, in order of arrival
  std::vector<std::uint32_t> inside_;   // live ones
  std::uint64_t last_time_ = 0;
  std::uint64_t gap_began_ = 0;  // of meaning while somebody waits
};
}  // namespace

History check_history(std::span<const Entry> entries) {
  Checker checker;
  for (const Entry& entry : entries) checker.step(entry);
  return checker.finish();
}
}  // namespace holdfast::harness
