// wait_until.hpp - waits for what can be seen but does not announce itself: a name in a queue, a line of output.
#pragma once
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <thread>
#include <holdfast/deadline.hpp>
#include <holdfast/file_lock.hpp>
#include <holdfast/testing/worker_process.hpp>

namespace holdfast::test {
/// How long to wait for what comes at once, on the busiest machine. HOLDFAST_TEST_PATIENCE has other seconds, for those who
/// know that it does not come.
[[nodiscard]] inline std::chrono::seconds longest_wait(std::chrono::seconds usual = std::chrono::seconds{30}) {
  const char* const given = std::getenv("HOLDFAST_TEST_PATIENCE");
  return given != nullptr ? std::chrono::seconds{std::atol(given)} : usual;
}

/// Looks until it is true, for that long at most. Between two looks it leaves the processor to those it waits for.
template <class Condition>
[[nodiscard]] bool wait_until(Condition condition, Deadline deadline = longest_wait()) {
  while (!condition()) {
    if (deadline.passed()) return condition();
    std::this_thread::sleep_for(std::chrono::microseconds{200});
  }
  return true;
}

/// The worker has printed this, or has ended without.
[[nodiscard]] inline bool wait_for_output(const harness::WorkerProcess& worker, std::string_view text) {
  const auto printed = [&] { return worker.output().find(text) != std::string::npos; };
  return wait_until([&] { return printed() || !worker.is_running(); }) && printed();
}

/// Exactly so many are queued up for the lock.
[[nodiscard]] inline bool wait_for_queue(const std::filesystem::path& resource, std::size_t length) {
  return wait_until([&] {
    const auto holder = FileLock::holder(resource);
    return holder && holder->queue.size() == length;
  });
}
}  // namespace holdfast::test
