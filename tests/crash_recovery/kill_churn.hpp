// kill_churn.hpp - processes that take and leave one lock are killed at random, every few milliseconds, half of the time
// the one that is inside, and others are started in their place. A journal says whether two were ever inside at once,
// and how long nobody got in.
#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>
#include <holdfast/testing/journal.hpp>

#include "../exclusion/contender_arguments.hpp"

namespace holdfast::test {
struct Churn {
  std::string kind = "file_lock";  ///< see LockUnderTest
  std::uint32_t processes = 8;
  std::uint32_t threads = 1;  ///< contenders in each process
  std::chrono::milliseconds duration{3000};
  std::uint64_t least_kills_inside = 10;       ///< On a busy machine it goes on until then, for a minute at most.
  std::chrono::milliseconds longest_pause{8};  ///< between two kills; shortest 1 ms
  unsigned aimed_percent = 50;                 ///< of the kills: at the one that is inside
  std::chrono::microseconds hold{100};
  std::chrono::microseconds think{0};  ///< on average, between two sections: so long that the lock is often free
  std::uint32_t children = 0;  ///< of each process, forked at random moments; they outlive it until the very end
  Hostility hostility{};
  std::uint64_t seed = 0;
  unsigned stopped_percent = 20;  ///< Instead of a kill: stopped until the next one, as on a machine without time.
  bool leave_zombies = true;      ///< Some of the dead are reaped late.
  bool until_first_overlap = false;
};

struct ChurnReport {
  std::vector<std::string> findings;  ///< Empty: the lock has held.
  harness::History history;
  std::uint64_t kills = 0;
  std::uint64_t kills_inside = 0;                            ///< of these, of one that was inside when it was doomed
  std::uint64_t suspensions = 0;                             ///< processes that were stopped and continued
  std::chrono::steady_clock::duration longest_suspension{};  ///< of these
  std::uint64_t stops = 0;  ///< of threads by the hostile scheduler, as told by those that lived to the end
  std::uint64_t seed = 0;
  [[nodiscard]] bool ok() const noexcept { return findings.empty(); }
};
std::ostream& operator<<(std::ostream& out, const ChurnReport& report);

/// `directory` must not exist. At the end the workers are told to finish, and have to; then one more object of the lock is
/// made, used and dropped, and nothing may be left on disk.
[[nodiscard]] ChurnReport kill_churn(const std::filesystem::path& directory, const Churn& churn);

/// HOLDFAST_CHURN_SEED, or one that differs from run to run.
[[nodiscard]] std::uint64_t churn_seed();
/// HOLDFAST_CHURN_SECONDS, or this.
[[nodiscard]] std::chrono::milliseconds churn_duration(std::chrono::milliseconds otherwise);
}  // namespace holdfast::test
