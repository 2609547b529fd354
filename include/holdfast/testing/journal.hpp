// testing/journal.hpp - what happened in a run over many processes, in one order, and what that proves about a lock.
// A journal outlives its writers: an entry made before a kill is there after it.
#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

namespace holdfast::harness {
/// What a contender did. A section runs from `entered` to `left`; or to `doomed`, written by whoever is about to kill it,
/// because a later owner may enter from that moment.
enum class Event : std::uint32_t {
  arrived = 1,  ///< is about to ask for the lock
  entered,      ///< has the lock: append it after lock() returned
  left,         ///< is about to give it back: append it before unlock()
  gave_up,      ///< timed out or stopped without the lock
  doomed,       ///< will be killed now; appended by its killer
  recovered,    ///< has the lock, and was told that the owner before it died; append it instead of `entered`
};

struct Entry {
  std::uint64_t nanoseconds = 0;  ///< CLOCK_MONOTONIC
  std::uint32_t who = 0;          ///< one number per contender; a process started anew is a new contender
  Event event{};
  friend bool operator==(const Entry&, const Entry&) = default;
};

/// A file, mapped by all who write to it. Appending is one fetch_add and two stores: no system call, no lock, so that it
/// disturbs the schedule little. The order of entries agrees with every order that a lock enforces.
class Journal {
 public:
  static Journal create(const std::filesystem::path& file, std::size_t capacity);  ///< Reserves the space. Throws Error.
  static Journal open(const std::filesystem::path& file);                          ///< Throws Error.
  Journal(Journal&&) noexcept;
  Journal& operator=(Journal&&) noexcept;
  ~Journal();

  void append(std::uint32_t who, Event event) noexcept;  ///< Full: the entry is counted as dropped, see dropped().
  [[nodiscard]] std::vector<Entry> entries() const;       ///< In order; entries cut short by a kill are left out.
  [[nodiscard]] std::uint64_t dropped() const noexcept;   ///< More than 0: the journal proves nothing.

 private:
  struct Mapping;
  explicit Journal(Mapping* mapping) noexcept : mapping_{mapping} {}
  Mapping* mapping_ = nullptr;
};

/// What the entries of one lock say.
struct History {
  std::uint64_t acquisitions = 0;
  std::uint64_t recoveries = 0;     ///< of these, with the news that the owner before had died
  std::uint64_t overlaps = 0;       ///< entries into a section in which another live contender was: exclusion is broken
  std::uint64_t misordered = 0;     ///< entries that make no sense (left without entered ...): the run proves nothing
  std::uint64_t overtakes = 0;      ///< sum over acquisitions of contenders that arrived earlier and still waited
  std::uint64_t longest_gap_ns = 0; ///< the longest time in which somebody waited and nobody entered or left
  std::vector<std::uint64_t> waits_ns{};    ///< arrived to entered, one for each acquisition
  std::vector<std::uint32_t> order{};       ///< who entered, in order
};
[[nodiscard]] History check_history(std::span<const Entry> entries);
}  // namespace holdfast::harness
