// experiments.hpp - what is measured, one round at a time: every call measures all locks once, one after the other, and
// begins with another one each time, so that a machine that is busy for a while is so for all of them.
#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>
#include <holdfast/testing/journal.hpp>
#include <holdfast/testing/temp_dir.hpp>
#include <holdfast/testing/worker_process.hpp>

#include "results.hpp"

namespace holdfast::benchmarks {
struct Options {
  std::vector<std::string> locks = {"file_lock", "file_lock_unfair", "flock", "naive"};
  std::uint32_t processes = 10;
  std::chrono::nanoseconds hold = std::chrono::microseconds{200};
  std::chrono::nanoseconds contention = std::chrono::seconds{1};  ///< for each lock in each round
  std::size_t batches = 20;                                       ///< of uncontended pairs
  std::chrono::nanoseconds batch = std::chrono::milliseconds{5};
  std::uint32_t hand_overs = 100;
  std::chrono::nanoseconds asleep = std::chrono::milliseconds{1};  ///< how long a waiter has slept when it is its turn
  std::uint32_t kills = 20;
  std::uint32_t kills_of_big = 3;
  std::vector<std::uint32_t> memory_mib = {64, 256, 1024};  ///< touched by the big ones
  std::chrono::nanoseconds waiting = std::chrono::seconds{1};
  std::vector<std::uint32_t> queues = {10, 30, 100};
};

/// Locks that are known not to exclude are measured as well, and nobody minds what they do.
[[nodiscard]] bool must_exclude(const std::string& lock);

/// All experiments on one file system. Throws Error or std::exception when a worker fails.
class Experiments {
 public:
  Experiments(const Options& options, std::string file_system, const std::filesystem::path& directory,
              const std::filesystem::path& journals, Results& results, std::vector<std::string>& failures)
      : options_{options},
        file_system_{std::move(file_system)},
        directory_{directory},
        journals_{journals},
        results_{results},
        failures_{failures} {}

  void pairs(std::size_t round);                                   ///< uncontended lock and unlock
  void contention(std::size_t round, const std::string& section);  ///< "work" or "sleep" is what they do inside
  void hand_over(std::size_t round);                               ///< to one process that sleeps on it
  void kill(std::size_t round);                                    ///< of a small owner
  void kill_of_big(std::size_t round);                             ///< over its memory
  void waiting(std::size_t round);                                 ///< what sleeping costs
  void queue(std::size_t round);                                   ///< hand-over with ever more waiters

 private:
  struct Run;
  [[nodiscard]] std::vector<std::string> locks_from(std::size_t round, bool with_naive) const;
  [[nodiscard]] std::filesystem::path next(const std::string& what);
  void fail(const std::string& lock, const std::string& what);
  void judge(const std::string& lock, const harness::Journal& journal, std::uint64_t acquisitions);
  void expect_ok(std::span<harness::WorkerProcess> workers);
  void contend(const Subject& subject, std::size_t round, std::uint32_t processes, const std::string& section,
               std::chrono::nanoseconds duration);
  void kill_one(const Subject& subject, std::size_t round, std::uint32_t mib);

  const Options& options_;
  std::string file_system_;
  std::filesystem::path directory_, journals_;
  Results& results_;
  std::vector<std::string>& failures_;
  std::uint64_t number_ = 0;
};
}  // namespace holdfast::benchmarks
