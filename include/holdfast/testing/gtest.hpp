// testing/gtest.hpp - the harness in GoogleTest's words. Header only: holdfast::testing itself does not need GoogleTest.
// Builds on testing/{crash_lab,temp_dir,worker_process}.hpp.
#pragma once
#include <gtest/gtest.h>

#include <chrono>
#include <ostream>
#include <span>
#include <string_view>

#include <holdfast/testing/crash_lab.hpp>
#include <holdfast/testing/temp_dir.hpp>
#include <holdfast/testing/worker_process.hpp>

namespace holdfast::harness {
/// Waits for the end of the worker. Unless it ended with code 0 at the end of its scenario, the test fails (and goes on)
/// at the caller's line, with the worker's report. A worker that runs at the deadline is killed.
inline void ExpectWorkerOk(WorkerProcess& worker, Deadline deadline = std::chrono::seconds{60},
                           const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  if (!worker.wait_for_exit(deadline).ok()) ADD_FAILURE_AT(file, line) << worker.report();
}

/// The same for all of them, with one deadline for all together.
inline void ExpectWorkersOk(std::span<WorkerProcess> workers, Deadline deadline = std::chrono::seconds{60},
                            const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  for (auto& worker : workers) ExpectWorkerOk(worker, deadline, file, line);
}

inline void PrintTo(Ready ready, std::ostream* out) { *out << to_string(ready); }
inline void PrintTo(const Exit& exit, std::ostream* out) { *out << to_string(exit); }

inline void PrintTo(CrashEngine engine, std::ostream* out) { *out << to_string(engine); }
inline void PrintTo(Rescue rescue, std::ostream* out) { *out << to_string(rescue); }

namespace detail {
/// Lets a TempDir that complains fail the running test, in every program that includes this header.
inline const bool complaints_fail_tests = [] {
  on_complaint([](std::string_view complaint) { ADD_FAILURE() << complaint; });
  return true;
}();
}  // namespace detail
}  // namespace holdfast::harness
