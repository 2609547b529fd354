// testing/journal.hpp - what happened in a run over many processes, in one order, and what that proves about a lock.
// A journal outlives its writers: an entry made before a kill is there after it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <utility>
#include <vector>

namespace holdfast::harness {
/// What a contender did. A section runs from `entered` to `left`; or to `doomed`, written by whoever is about to kill it,
/// because a later owner may enter from that moment.
enum class Event : std::uint32_t {
  arrived = 1,  ///< is about to ask for the lock
  entered,      ///< has the lock: append it after lock() returned
  left,         ///< is about to give it back: append it before unlock()
  gave_up,      ///< timed out or stopped without the lock
  doomed,       ///< will be killed now; appended by its killer, before the kill
  recovered,    ///< has the lock, and was told that the owner before it died; append it instead of `entered`
};

struct Entry {
  std::uint64_t nanoseconds = 0;  ///< std::chrono::steady_clock (on Linux CLOCK_MONOTONIC), read just before the append
  std::uint32_t who = 0;          ///< one number per contender; a process started anew is a new contender
  Event event{};
  friend bool operator==(const Entry&, const Entry&) = default;
};

/// A file, mapped by all who write to it. Appending is one fetch_add and two stores: no system call, no lock, so that it
/// disturbs the schedule little. The order of entries agrees with every order that a lock enforces.
///
/// Threads   append, entries, latest and dropped: from any thread of any process at once.
/// Signals   append is async-signal-safe.
/// fork      the child writes to the same journal.
/// Kills     A writer killed inside append loses that one entry, never another's.
class Journal {
 public:
  /// Makes the file and reserves its space, so that no later append can run out of disk. Throws Error: there is such a
  /// file, no space, no such directory.
  [[nodiscard]] static Journal create(const std::filesystem::path& file, std::size_t capacity);
  [[nodiscard]] static Journal open(
      const std::filesystem::path& file);  ///< Throws Error; errc::foreign: not a journal.
  Journal(Journal&& other) noexcept : mapping_{std::exchange(other.mapping_, nullptr)} {}
  Journal& operator=(Journal&& other) noexcept {
    std::swap(mapping_, other.mapping_);
    return *this;
  }
  ~Journal();

  void append(std::uint32_t who, Event event) noexcept;  ///< Full: the entry is counted as dropped, see dropped().
  [[nodiscard]] std::vector<Entry> entries() const;      ///< In order; entries cut short by a kill are left out.
  [[nodiscard]] std::vector<Entry> latest(
      std::size_t count) const;                          ///< The last of entries(), without reading the rest.
  [[nodiscard]] std::uint64_t dropped() const noexcept;  ///< More than 0: the journal proves nothing.

 private:
  struct Mapping;
  explicit Journal(Mapping* mapping) noexcept : mapping_{mapping} {}
  [[nodiscard]] std::vector<Entry> read(std::size_t first, std::size_t last) const;
  Mapping* mapping_ = nullptr;
};

/// What the entries of one lock say. Written for a run that is over: every contender has ended or was killed.
struct History {
  std::uint64_t acquisitions = 0;
  std::uint64_t recoveries = 0;  ///< of these, with the news that the owner before had died
  std::uint64_t overlaps = 0;    ///< entries into a section in which another live contender was: exclusion is broken
  std::uint64_t misordered = 0;  ///< entries that make no sense (left without entered ...): the run proves nothing
  std::uint64_t unfinished = 0;  ///< contenders that at the end still waited or were inside, and nobody killed them
  std::uint64_t overtakes = 0;   ///< sum over acquisitions of contenders that arrived earlier and still waited
  std::uint64_t longest_gap_ns = 0;       ///< the longest time in which somebody waited and nobody entered or left
  std::vector<std::uint64_t> waits_ns{};  ///< arrived to entered, one for each acquisition
  std::vector<std::uint32_t> order{};     ///< who entered, in order
};

/// The rules. There are no false alarms: an overlap counts only if the one inside had entered and neither left nor been
/// doomed before the other entered, all by the order of the journal.
///   doomed      ends the section, or the wait, of a contender; what it still writes before it dies is allowed, and no
///               later owner is blamed for it. Entering while another is inside is an overlap even for the doomed.
///   misordered  arrived twice; entered, recovered or gave_up without arrived; left without entered; doomed twice
///   gap         begins when somebody waits, at the last entering or leaving or at the first arrival, whichever is later;
///               ends at the next entering or leaving, when nobody waits any more, or with the last entry
[[nodiscard]] History check_history(std::span<const Entry> entries);
}  // namespace holdfast::harness
