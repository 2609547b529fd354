// processes.hpp - what the kernel says about processes that are being measured.
#pragma once
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <stdexcept>
#include <string_view>
#include <thread>
#include <holdfast/deadline.hpp>
#include <holdfast/platform/descriptor.hpp>
#include <holdfast/testing/worker_process.hpp>

namespace holdfast::benchmarks {
/// Its main thread sleeps in the kernel, waiting for an event that may take long (state S).
[[nodiscard]] inline bool is_asleep(std::int64_t pid) {
  std::array<char, 32> path{};
  std::snprintf(path.data(), path.size(), "/proc/%lld/stat", static_cast<long long>(pid));
  const platform::Descriptor stat{::open(path.data(), O_RDONLY | O_CLOEXEC)};
  std::array<char, 256> text{};
  const auto size = stat ? ::read(stat.number(), text.data(), text.size()) : -1;
  if (size <= 0) return false;
  const std::string_view line{text.data(), static_cast<std::size_t>(size)};
  const auto name_end = line.rfind(')');  // a program's name may contain anything, the fields after it may not
  return name_end != std::string_view::npos && line.substr(name_end).starts_with(") S");
}

/// Why a run cannot go on: what a worker says of itself.
class WorkerFailed : public std::runtime_error {
 public:
  explicit WorkerFailed(const harness::WorkerProcess& worker) : std::runtime_error{worker.report()} {}
};

/// Looks again and again, and leaves the processor to those it waits for in between: what is measured may run on it. False: not
/// by the deadline. Throws WorkerFailed if the worker has ended.
template <class Condition>
[[nodiscard]] bool reached(Condition condition, const harness::WorkerProcess& worker, Deadline deadline) {
  for (; !condition(); std::this_thread::sleep_for(std::chrono::microseconds{100})) {
    if (!worker.is_running()) throw WorkerFailed{worker};
    if (deadline.passed()) return false;
  }
  return true;
}
/// The same within a minute, or it throws.
template <class Condition>
void wait_until(Condition condition, const harness::WorkerProcess& worker) {
  if (!reached(condition, worker, std::chrono::seconds{60})) throw WorkerFailed{worker};
}

/// Processor time of this process, in user space and in the kernel.
[[nodiscard]] inline std::chrono::nanoseconds cpu_time() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return std::chrono::seconds{time.tv_sec} + std::chrono::nanoseconds{time.tv_nsec};
}
}  // namespace holdfast::benchmarks
