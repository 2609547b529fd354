// platform/process.hpp - what an operating system has to tell about processes. No public interface: it may change any time.
// Layer 1: src/platform/<os>/process.cpp provides it.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include <holdfast/platform/descriptor.hpp>

namespace holdfast::platform {
/// What tells one incarnation of a process from all others, as far as this process can read it; empty or 0: cannot.
struct ProcessFacts {
  std::string boot{};                ///< 32 lower-case hex digits, one value per start of the kernel
  std::uint64_t pid_namespace = 0;   ///< the one that `pid` is counted in: the reader's; 1 if the kernel has only one
  std::uint64_t time_namespace = 0;  ///< the reader's; 1 if the kernel has only one
  std::int64_t pid = 0;
  std::uint64_t start = 0;  ///< ticks since boot, in the reader's time namespace
  std::uint64_t image = 0;  ///< differs after exec and fork; equal for all copies of this library in one program image
  std::string program{};
  std::string host{};
};
/// Both throw Error if there is no descriptor or memory left to look: what cannot be read for now is not left out.
[[nodiscard]] ProcessFacts facts_of_self();
[[nodiscard]] std::optional<ProcessFacts> facts_of(std::int64_t pid);  ///< Empty: there is no such process.

/// The time namespace of the caller now; 0 if that cannot be read. A process can change it while it runs.
[[nodiscard]] std::uint64_t time_namespace_of_self() noexcept;

enum class ProcessState {
  running,
  gone,
  replaced,  ///< gone, if start times still count from where they did: what bears the pid started at another time
  unknown,
};
/// Judges the process that bore this pid and start time in the caller's own PID and time namespaces. A stopped process
/// and one whose main thread has ended are running; a zombie is gone.
[[nodiscard]] ProcessState state_of(std::int64_t pid, std::uint64_t start) noexcept;

/// A descriptor that becomes readable when the process ends. Empty where the system has none (an old kernel, a filter),
/// or if the process is gone: ask state_of() after this call, and it is about the process that is being watched.
[[nodiscard]] Descriptor watch_death(std::int64_t pid) noexcept;

/// The wall clock's time at `start`, which was read in the caller's time namespace.
[[nodiscard]] std::chrono::system_clock::time_point wall_time_of(std::uint64_t start) noexcept;

/// A pointer for what forked children must not inherit: null at first, and null again in the child after fork, and after
/// a raw clone as well. Not for children that share their parent's memory (vfork). Cost: two loads, no system call where
/// the kernel itself clears it (Linux 4.14).
[[nodiscard]] std::atomic<const void*>& pointer_of_this_process() noexcept;
}  // namespace holdfast::platform
