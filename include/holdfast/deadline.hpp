// deadline.hpp - the end of a wait. One Deadline passed to three calls bounds all three together.
// Layer 0: builds on the standard library only.
#pragma once
#include <algorithm>
#include <chrono>
#include <type_traits>

namespace holdfast {
/// A point on the monotonic clock, fixed when it is made, or never. Steps of the wall clock do not move it; time the
/// machine spends suspended does not count (CLOCK_MONOTONIC). Cost: one look at the clock when made from a duration.
class Deadline {
 public:
  using Clock = std::chrono::steady_clock;

  [[nodiscard]] static constexpr Deadline never() noexcept { return Deadline{Clock::time_point::max(), Exactly{}}; }

  /// That long from now; a negative duration has passed already, one beyond the clock's range means never.
  template <class Rep, class Period>
  Deadline(std::chrono::duration<Rep, Period> from_now)  // NOLINT(*-explicit-*)
      : at_{sum(Clock::now(), from_now, Seconds{from_now})} {}

  /// At that time. Times of other clocks are converted once, here.
  template <class OtherClock, class Duration>
  Deadline(std::chrono::time_point<OtherClock, Duration> at)  // NOLINT(*-explicit-*)
      : at_{converted(at)} {}

  [[nodiscard]] constexpr bool is_never() const noexcept { return at_ == Clock::time_point::max(); }
  [[nodiscard]] constexpr Clock::time_point time() const noexcept { return at_; }
  [[nodiscard]] bool passed() const noexcept { return !is_never() && Clock::now() >= at_; }

  /// What is left, never negative; nanoseconds::max() for a deadline that never comes.
  [[nodiscard]] std::chrono::nanoseconds remaining() const noexcept {
    if (is_never()) return std::chrono::nanoseconds::max();
    return std::max<std::chrono::nanoseconds>(at_ - Clock::now(), std::chrono::nanoseconds::zero());
  }

 private:
  using Seconds = std::chrono::duration<double>;
  static constexpr Seconds day{86400};
  struct Exactly {};
  constexpr Deadline(Clock::time_point at, Exactly) noexcept : at_{at} {}

  /// base + d, where d is about that many seconds. Compared in floating point, because the exact sum may fit no integer;
  /// within a day of the limit means never. What is no number has passed.
  template <class Rep, class Period>
  static Clock::time_point sum(Clock::time_point base, std::chrono::duration<Rep, Period> d, Seconds about) {
    if (about >= Seconds{Clock::time_point::max() - base} - day) return Clock::time_point::max();
    if (!(about > -Seconds{base.time_since_epoch()} - day)) return Clock::time_point{};
    return base + std::chrono::ceil<Clock::duration>(d);
  }

  template <class OtherClock, class Duration>
  static Clock::time_point converted(std::chrono::time_point<OtherClock, Duration> at) {
    const Seconds since_epoch{at.time_since_epoch()};
    if constexpr (std::is_same_v<OtherClock, Clock>) {
      return sum(Clock::time_point{}, at.time_since_epoch(), since_epoch);
    } else {
      using Common = std::common_type_t<Duration, typename OtherClock::duration>;
      const auto there = OtherClock::now().time_since_epoch();
      const auto here = Clock::now();
      const Seconds about = since_epoch - Seconds{there};
      // First what could not even be subtracted.
      if (about >= Seconds{Clock::time_point::max() - here} || since_epoch >= Seconds{Common::max()} - day)
        return Clock::time_point::max();
      if (!(about > -Seconds{here.time_since_epoch()})) return Clock::time_point{};
      return sum(here, at.time_since_epoch() - there, about);
    }
  }

  Clock::time_point at_;
};
}  // namespace holdfast
