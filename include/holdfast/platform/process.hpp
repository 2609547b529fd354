// platform/process.hpp - what an operating system has to tell about processes. No public interface: it may change any time.
// Layer 1: src/platform/<os>/process.cpp provides it.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include <holdfast/platform/descriptor.hpp>

namespace holdfast::platform {
/// What tells one incarnation of a process from all others, as far as this process can read it; empty or 0: cannot.
struct ProcessFacts {
  std::string boot;                  ///< 32 hex digits, one value per start of the kernel
  std::uint64_t pid_namespace = 0;
  std::uint64_t time_namespace = 0;
  std::int64_t pid = 0;
  std::uint64_t start = 0;           ///< ticks since boot, in the reader's time namespace
  std::uint64_t image = 0;           ///< differs after exec; equal for all copies of this library in one program image
  std::string program;
  std::string host;
};
[[nodiscard]] ProcessFacts facts_of_self();
[[nodiscard]] std::optional<ProcessFacts> facts_of(std::int64_t pid);  ///< Empty: there is no such process.

enum class ProcessState { running, gone, unknown };
/// Judges the process that bore this pid and start time in the caller's own PID and time namespaces. A stopped process
/// and one whose main thread has ended are running; a zombie is gone.
[[nodiscard]] ProcessState state_of(std::int64_t pid, std::uint64_t start);

/// A descriptor that becomes readable when the process ends. Empty where the system has none (an old kernel, a filter),
/// or if the process is gone: ask state_of() after this call, and it is about the process that is being watched.
[[nodiscard]] Descriptor watch_death(std::int64_t pid);
}  // namespace holdfast::platform
