// channel.hpp - what connects a worker with the process that started it. No public interface.
// src/testing/<os>/worker_channel.cpp provides it.
#pragma once
#include <cstdint>

namespace holdfast::harness {
/// Environment of a worker: the numbers of what it inherits.
inline constexpr char ready_variable[] = "PLH_TEST_READY_FD";
inline constexpr char control_variable[] = "HOLDFAST_TEST_CONTROL_FD";    ///< socket: release bytes in, end mark out
inline constexpr char lifeline_variable[] = "HOLDFAST_TEST_LIFELINE_FD";  ///< pipe: nobody writes; its end is the end
inline constexpr char steps_variable[] = "HOLDFAST_TEST_STEPS";  ///< set: step() tells the tracer; see tracer.hpp
inline constexpr char end_mark = 'E';
inline constexpr char release_mark = 'R';

[[nodiscard]] std::int64_t current_pid() noexcept;

enum class Released { yes, no, abandoned, no_parent };
[[nodiscard]] Released receive_release() noexcept;   ///< Waits. no_parent: this program was not started by the harness.
[[nodiscard]] Released look_for_release() noexcept;  ///< Neither waits nor takes.

/// For a worker that the kernel does not kill when its parent's end of the lifeline is closed: the init of a PID namespace.
void watch_lifeline() noexcept;
void report_end() noexcept;  ///< Tells the parent that the scenario has returned.
}  // namespace holdfast::harness
