// exclusion_suite.hpp - does a lock exclude? Contention by real processes, or by threads of one, judged by a journal and
// by a counter that loses increments where two are inside. A function over the kind of lock: right kinds must come out
// without findings, wrong kinds with some.
#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>
#include <holdfast/testing/journal.hpp>

#include "contender_arguments.hpp"

namespace holdfast::test {
struct Contention {
  std::string kind = "file_lock";  ///< see LockUnderTest
  std::uint32_t processes = 10;
  std::uint32_t increments = 20;  ///< by each of them
  std::chrono::microseconds hold{0};
  Hostility hostility{};
  std::uint64_t seed = 1;
};

struct Verdict {
  std::vector<std::string> findings;  ///< Why the lock is not to be trusted; empty: it has held.
  std::uint64_t expected = 0;         ///< increments
  std::uint64_t counted = 0;          ///< of these, in the counter at the end
  harness::History history;

  [[nodiscard]] bool ok() const noexcept { return findings.empty(); }
};
std::ostream& operator<<(std::ostream& out, const Verdict& verdict);

/// All processes are started and ready before they are let go together. `directory` must not exist: it is made, and holds
/// everything of this run.
[[nodiscard]] Verdict contend(const std::filesystem::path& directory, const Contention& contention);

/// The same by threads of this process: all through one object, as with a std::mutex, or each through its own. With a
/// FileLock they increment a plain variable as well, so that ThreadSanitizer sees whether the lock orders memory.
[[nodiscard]] Verdict contend_threads(const std::filesystem::path& directory, const Contention& contention,
                                      bool one_object);

/// What one attempt of a second process says while a first one holds the lock: "busy", "locked", or what went wrong.
[[nodiscard]] std::string second_contender_says(const std::filesystem::path& directory, const std::string& kind);

/// Adds what the journal of a finished run and the counter say to the findings of a verdict.
void judge(Verdict& verdict, const std::filesystem::path& directory);

/// The files that every run has in its directory.
[[nodiscard]] ContenderArguments arguments_for(const std::filesystem::path& directory, const Contention& contention,
                                               std::uint32_t who);
}  // namespace holdfast::test
