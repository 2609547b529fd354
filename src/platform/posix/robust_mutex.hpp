// robust_mutex.hpp - a mutex of the kernel's making that tells of its owner's death. Inline: it is on the hot path.
// Layer 1.
#pragma once
#include <cerrno>
#include <cstddef>
#include <ctime>
#include <new>

#include <pthread.h>

#include <holdfast/deadline.hpp>
#include <holdfast/steps.hpp>

// ThreadSanitizer does not know pthread_mutex_clocklock.
#if defined(__SANITIZE_THREAD__)
#define HOLDFAST_TSAN
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HOLDFAST_TSAN
#endif
#endif
#ifdef HOLDFAST_TSAN
#include <sanitizer/tsan_interface.h>
#endif

namespace holdfast::platform {
using RobustMutex = pthread_mutex_t;

/// 0, or the reason. Locks: EBUSY, ETIMEDOUT, EDEADLK (this thread has it), EOWNERDEAD (locked, to be made consistent),
/// ENOTRECOVERABLE.
inline int make_robust(std::byte* place) noexcept {
  pthread_mutexattr_t attributes;
  int why = ::pthread_mutexattr_init(&attributes);
  if (why != 0) return why;
  why = ::pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  if (why == 0 && !HOLDFAST_MUTANT(mutex, not_robust))
    why = ::pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  // Costs nothing: a robust mutex knows its owner anyway.
  if (why == 0) why = ::pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
  if (why == 0) why = ::pthread_mutex_init(::new (place) RobustMutex, &attributes);
  ::pthread_mutexattr_destroy(&attributes);
  return why;
}
/// False: what stands there has been written over since make_robust(). Where the C library does not show of what type a mutex is:
/// true.
[[nodiscard]] bool is_robust(const RobustMutex& mutex) noexcept;
inline int try_lock(RobustMutex& mutex) noexcept { return ::pthread_mutex_trylock(&mutex); }
inline int lock_until(RobustMutex& mutex, Deadline::Clock::time_point end) noexcept {
  const auto since_start = std::chrono::duration_cast<std::chrono::nanoseconds>(end.time_since_epoch()).count();
  const timespec at{static_cast<time_t>(since_start / 1'000'000'000), static_cast<long>(since_start % 1'000'000'000)};
#ifdef HOLDFAST_TSAN
  __tsan_mutex_pre_lock(&mutex, __tsan_mutex_try_lock);
  const int why = ::pthread_mutex_clocklock(&mutex, CLOCK_MONOTONIC, &at);
  const bool locked = why == 0 || why == EOWNERDEAD;
  __tsan_mutex_post_lock(&mutex, __tsan_mutex_try_lock | (locked ? 0U : __tsan_mutex_try_lock_failed), 0);
  return why;
#else
  return ::pthread_mutex_clocklock(&mutex, CLOCK_MONOTONIC, &at);
#endif
}
inline int make_consistent(RobustMutex& mutex) noexcept { return ::pthread_mutex_consistent(&mutex); }
inline int unlock(RobustMutex& mutex) noexcept { return ::pthread_mutex_unlock(&mutex); }

/// False: something else than the C library handles what this thread has locked when it dies.
[[nodiscard]] bool deaths_of_this_thread_are_seen() noexcept;
}  // namespace holdfast::platform
