// testing/worker.hpp - the worker's side of a test with real processes: a small executable with a table of scenarios.
// Builds on error.hpp. System calls: src/testing/<os>. The parent's side: testing/worker_process.hpp.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace holdfast::harness {
/// Tells the parent that the situation which it waits for has come about: one byte to the pipe that is named in
/// PLH_TEST_READY_FD (PLH_TEST_READY_HANDLE on Windows). Once per program image: later calls, and calls without a parent
/// that asks, do nothing. Never throws; a channel that does not work is told on standard error. Any thread may call it.
void signal_test_ready() noexcept;

/// The piece of work that the crash lab (testing/crash_lab.hpp) kills this process in: from the constructor to the destructor, in
/// one thread, once in the life of a process. Without effect in a process that is not traced. Cost: one system call each.
class CrashRegion {
 public:
  CrashRegion() noexcept;
  CrashRegion(const CrashRegion&) = delete;
  CrashRegion& operator=(const CrashRegion&) = delete;
  ~CrashRegion();
};

/// A named step has been done: a point at which the crash lab may kill, stop or delay this process. The name outlives the call.
/// Without effect, and without a system call, in a process that the crash lab has not started for its steps.
void step(const char* name) noexcept;

/// What a scenario knows about its start, and the parent's hold on it.
class WorkerContext {
 public:
  WorkerContext(std::string_view scenario, std::span<char* const> arguments) noexcept
      : scenario_{scenario}, arguments_{arguments} {}

  [[nodiscard]] std::string_view scenario() const noexcept { return scenario_; }
  [[nodiscard]] std::size_t argument_count() const noexcept { return arguments_.size(); }
  [[nodiscard]] std::string argument(std::size_t index) const;  ///< From 0. Throws Error if there are fewer.
  [[nodiscard]] std::int64_t number(std::size_t index) const;   ///< Throws Error, too, if it is not a whole number.

  /// Waits for the parent's release(). 0 after it, so that a scenario can end with `return context.wait_for_release()`;
  /// 4 if there is no parent any more (the worker is about to be killed then). Started by hand: waits for a line.
  /// Processes that a scenario forked may wait, too; each release() wakes one of them.
  int wait_for_release();

  /// True from release() until a wait_for_release() takes it, and when there is no parent any more. For loops that work
  /// until told to end. Cost: one system call.
  [[nodiscard]] bool released() const;

 private:
  std::string_view scenario_;
  std::span<char* const> arguments_;
};

struct Scenario {
  const char* name;
  int (*run)(WorkerContext& context);  ///< Returns the exit code; 0 is a pass.
};

/// main() of a worker: runs the scenario that argv[1] names with the arguments after it, and tells the parent that it
/// reached its end. Returns the exit code: that of the scenario; 1 if the scenario returned 0 and a TempDir of it
/// complained; 2 after a std::exception, what() on standard error; 3 for an unknown scenario, with a list of the known
/// ones. Standard output is line-buffered from here on, so that a killed worker's lines are not lost.
[[nodiscard]] int run_worker(std::span<const Scenario> scenarios, int argc, char** argv);
}  // namespace holdfast::harness
