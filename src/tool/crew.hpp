// crew.hpp - the worker processes of one scenario.
#pragma once
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>
#include <holdfast/deadline.hpp>
#include <holdfast/testing/worker_process.hpp>

#include "tool/interruption.hpp"
#include "tool/stage.hpp"
#include "tool/task.hpp"

namespace holdfast::tool {
/// What goes wrong with a worker becomes a problem, in words, once for all workers that have the same one.
/// Every wait has a deadline, and throws Interrupted.
class Crew {
 public:
  explicit Crew(const Stage& stage) : stage_{stage} {}

  /// Starts one more; it waits for its release. Throws Error if that cannot be.
  void start(std::string_view scenario, const Task& task);
  /// All of them. False: one is not, and never will be. patience: what they may need beyond starting.
  [[nodiscard]] bool wait_until_ready(std::chrono::nanoseconds patience = {});
  void release_together() { harness::ReleaseTogether(workers_); }
  [[nodiscard]] std::vector<Tally> wait_until_done(
      Deadline deadline);  ///< Of those who told. The others are a problem.

  [[nodiscard]] harness::WorkerProcess& worker(std::size_t index) { return workers_[index]; }
  /// Waits until it has told its tally; it goes on. Empty: it ended without, or did not by the deadline.
  [[nodiscard]] std::optional<Tally> wait_for_tally(std::size_t index, Deadline deadline);
  void expect_done(std::size_t index, Deadline deadline);  ///< Waits for its end; any but the orderly one is a problem.

  [[nodiscard]] std::vector<std::string> problems() const;

 private:
  void note(std::size_t index, const std::string& problem);

  const Stage& stage_;
  std::vector<harness::WorkerProcess> workers_;
  std::vector<EndedByInterruption> ended_;  // destroyed first
  struct Problem {
    std::string text;
    std::size_t first, count;
  };
  std::vector<Problem> problems_;
};
}  // namespace holdfast::tool
