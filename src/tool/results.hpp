// results.hpp - what a run found out. Each scenario lists what it holds against the lock: nothing there, and it holds.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>
#include <holdfast/testing/journal.hpp>

#include "tool/machine.hpp"

namespace holdfast::tool {
/// Contenders increment one counter.
struct Contest {
  std::uint64_t contenders = 0;
  std::uint64_t expected = 0;    ///< Increments that were asked for.
  std::uint64_t attempted = 0;   ///< Who does not get the lock once, tries no further.
  std::uint64_t successful = 0;  ///< Reported as done.
  std::uint64_t failed = 0;
  std::uint64_t final = 0;                ///< What the counter says.
  std::chrono::nanoseconds duration{0};   ///< From the first arrival to the last leaving.
  std::chrono::nanoseconds lock_cpu{0};   ///< CPU time inside lock(), of all.
  harness::History history{};             ///< Waits, order, overlaps, overtakes.
  std::vector<harness::Entry> entries{};  ///< Of the journal.
  std::vector<std::string> problems{};

  [[nodiscard]] std::uint64_t lost() const noexcept { return successful - std::min(successful, final); }
  [[nodiscard]] double operations_per_second() const noexcept;
  [[nodiscard]] std::chrono::nanoseconds total_wait() const noexcept;
  [[nodiscard]] std::optional<std::chrono::nanoseconds> mean_wait() const noexcept;  ///< Empty: nobody got the lock.
  [[nodiscard]] std::optional<std::chrono::nanoseconds> longest_wait() const noexcept;
  [[nodiscard]] double overtakes_per_acquisition() const noexcept;
  /// Milliseconds of CPU for each second that somebody spent in lock().
  [[nodiscard]] double cpu_per_second_of_waiting() const noexcept;
};

/// Owners are killed.
struct Recovery {
  std::vector<std::chrono::nanoseconds> waiters{};    ///< From the kill until one who slept has the lock.
  std::vector<std::chrono::nanoseconds> newcomers{};  ///< From asking for it, the owner being dead, until having it.
  std::chrono::nanoseconds lock_cpu{0};               ///< CPU time inside lock(), of the one who slept last.
  std::chrono::nanoseconds slept{0};                  ///< How long that one was in lock().
  std::vector<harness::Entry> entries{};              ///< Of the last round: 0 the owner, 1 the waiter, 2 the newcomer.
  std::vector<std::string> problems{};

  [[nodiscard]] double cpu_per_second_of_waiting() const noexcept;
};

/// Processes come to a mutex at once that none of them has made before.
struct AttachRace {
  std::uint32_t processes = 0;
  std::uint32_t rounds = 0;                       ///< In which all came, and ended in one segment.
  std::vector<std::chrono::nanoseconds> times{};  ///< Of each process in each round: from nothing to having the mutex.
  std::vector<std::string> problems{};
};

/// The mutex in a segment of shared memory.
struct MutexResults {
  Contest contention;
  Recovery kill;
  AttachRace attach;
  std::vector<std::string> problems{};  ///< What keeps it from being tried at all.
};

/// Messages go through a block, and every word of each is checked.
struct Transfer {
  std::uint32_t messages = 0;
  std::uint64_t delivered = 0;           ///< To the readers of all messages, whole and in order, by both together.
  std::uint64_t torn = 0;                ///< Seen by any of the three.
  std::uint64_t latest = 0;              ///< Seen by the reader of the latest.
  std::chrono::nanoseconds duration{0};  ///< From before the first message is written until all have read the last.
  std::vector<std::string> problems{};

  static constexpr std::uint32_t readers_of_all = 2;
  [[nodiscard]] std::uint64_t expected() const noexcept { return std::uint64_t{readers_of_all} * messages; }
  [[nodiscard]] std::uint64_t lost() const noexcept { return expected() - std::min(expected(), delivered + torn); }
  [[nodiscard]] double messages_per_second() const noexcept;
};

/// Readers are killed, each with the oldest slot of a full ring.
struct ReaderKills {
  std::vector<std::chrono::nanoseconds> times{};  ///< From the kill until the writer has written one more message.
  std::vector<std::string> problems{};
};

/// The block in a segment of shared memory.
struct BlockResults {
  Transfer transfer;
  Recovery writer;
  ReaderKills reader;
  std::vector<std::string> problems{};  ///< What keeps it from being tried at all.
};

/// From the first arrival to the last leaving.
[[nodiscard]] std::chrono::nanoseconds duration_of(const std::vector<harness::Entry>& entries);
/// Empty if there is none.
[[nodiscard]] std::optional<std::chrono::nanoseconds> median(std::vector<std::chrono::nanoseconds> times);
[[nodiscard]] std::optional<std::chrono::nanoseconds> longest(const std::vector<std::chrono::nanoseconds>& times);
[[nodiscard]] double milliseconds(std::chrono::nanoseconds time) noexcept;

struct Results {
  std::filesystem::path directory;
  bool temporary = false;
  Surroundings surroundings;
  Contest contention, threads, race;
  std::vector<Contest> stress;
  Recovery kill;
  MutexResults mutex;
  BlockResults block;

  [[nodiscard]] std::vector<std::string> problems() const;  ///< Of all scenarios, each with its scenario's name.
  [[nodiscard]] bool holds() const { return problems().empty(); }
};
}  // namespace holdfast::tool
