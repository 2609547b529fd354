// step_marks.hpp - marks that a worker sets for its tracer: system calls without effect that nobody else makes.
#pragma once
#include <sys/syscall.h>
#include <unistd.h>

namespace holdfast::test {
constexpr int begin_of_steps = -4711, end_of_steps = -4712;  // descriptors that cannot be closed
inline void mark_begin_of_steps() { ::syscall(SYS_close, begin_of_steps); }
inline void mark_end_of_steps() { ::syscall(SYS_close, end_of_steps); }
}  // namespace holdfast::test
