// hostile_schedule.hpp - an adversarial scheduler: a shared library that stops a thread at random before a system call
// on directories, files or locks, so that the moments between two steps of a protocol last long enough to be hit.
//
// Use it linked into a worker, and started by hostile_schedule(); or in front of any program:
//   HOSTILE_SCHEDULE="<seed> <per mille of calls> <longest stop in us>" LD_PRELOAD=./libhostile_schedule.so program
#pragma once
#include <cstdint>

/// From now on each thread of this process stops before that many per mille of its calls, for 0 to `longest_us`.
extern "C" void hostile_schedule(std::uint64_t seed, unsigned per_mille, unsigned longest_us) noexcept;
/// How often a thread of this process was stopped so far: proof that the library stands where it should.
extern "C" std::uint64_t hostile_schedule_stops() noexcept;
