// contest.hpp - contenders increment one counter: the scenarios contention, threads, race, stress, and the mutex's.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>

#include "tool/results.hpp"
#include "tool/stage.hpp"

namespace holdfast::tool {
struct ContestPlan {
  std::string name;      ///< Part of file names.
  std::string in_words;  ///< For people who wait.
  std::uint32_t processes = 1;
  std::uint32_t threads = 1;  ///< In each process.
  std::uint32_t increments = 1;
  std::chrono::nanoseconds hold{0};
  bool mutex = false;  ///< A mutex in a segment, not a lock on a file.
  bool warm = false;   ///< As in Task.

  [[nodiscard]] std::uint64_t contenders() const noexcept { return std::uint64_t{processes} * threads; }
  [[nodiscard]] std::uint64_t operations() const noexcept { return contenders() * increments; }
  [[nodiscard]] double weight() const noexcept;  ///< About how long it takes; for the progress bar.
};

/// Starts all workers, releases them together, and judges. Throws Error if that cannot be done, and Interrupted.
[[nodiscard]] Contest run_contest(const Stage& stage, const ContestPlan& plan);
}  // namespace holdfast::tool
