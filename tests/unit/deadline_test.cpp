// A Deadline is fixed when it is made, takes every clock and every representation, and never overflows.
#include <holdfast/deadline.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <limits>
#include <ratio>

using holdfast::Deadline;
using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;
using System = std::chrono::system_clock;

namespace {
/// A clock of somebody else's: counts in tenths of a second, and started a week ago.
struct TenthsClock {
  using rep = std::int32_t;
  using period = std::deci;
  using duration = std::chrono::duration<rep, period>;
  using time_point = std::chrono::time_point<TenthsClock>;
  [[maybe_unused]] static constexpr bool is_steady = false;
  static time_point now() {
    static const auto began = Steady::now() - 7 * 24h;
    return time_point{std::chrono::duration_cast<duration>(Steady::now() - began)};
  }
};

/// True if the deadline lies that far from a moment between `before` and now.
bool lies_between(const Deadline& deadline, Steady::time_point before, std::chrono::nanoseconds distance) {
  return deadline.time() >= before + distance && deadline.time() <= Steady::now() + distance;
}
}  // namespace

TEST(Deadline, OfADurationIsThatLongFromNow) {
  const auto before = Steady::now();
  EXPECT_TRUE(lies_between(Deadline{250ms}, before, 250ms));
  EXPECT_TRUE(lies_between(Deadline{std::chrono::duration<double>{1.5}}, before, 1500ms));
  EXPECT_TRUE(lies_between(Deadline{24h * 365}, before, 24h * 365));
}

TEST(Deadline, StaysWhereItIsWhileTimePasses) {
  const Deadline deadline{1h};
  const auto at = deadline.time();
  const auto first = deadline.remaining();
  while (deadline.remaining() == first) {
  }
  EXPECT_LT(deadline.remaining(), first);
  EXPECT_EQ(deadline.time(), at);
}

TEST(Deadline, OfAZeroOrNegativeDurationHasPassed) {
  for (const Deadline& deadline :
       {Deadline{0s}, Deadline{-1ns}, Deadline{std::chrono::hours::min()}, Deadline{std::chrono::nanoseconds::min()},
        Deadline{std::chrono::duration<double>{-std::numeric_limits<double>::infinity()}}}) {
    EXPECT_TRUE(deadline.passed());
    EXPECT_EQ(deadline.remaining(), 0ns);
    EXPECT_FALSE(deadline.is_never());
  }
}

TEST(Deadline, BeyondTheClocksRangeNeverComes) {
  for (const Deadline& deadline :
       {Deadline::never(), Deadline{std::chrono::hours::max()}, Deadline{std::chrono::nanoseconds::max()},
        Deadline{std::chrono::duration<double>{1e300}},
        Deadline{std::chrono::duration<float>{std::numeric_limits<float>::infinity()}},
        Deadline{std::chrono::duration<std::uint64_t, std::ratio<86400 * 365>>{std::uint64_t{1} << 63}}}) {
    EXPECT_TRUE(deadline.is_never());
    EXPECT_FALSE(deadline.passed());
    EXPECT_EQ(deadline.remaining(), std::chrono::nanoseconds::max());
  }
}

TEST(Deadline, OfWhatIsNoNumberHasPassed) {
  EXPECT_TRUE(Deadline{std::chrono::duration<double>{std::numeric_limits<double>::quiet_NaN()}}.passed());
}

TEST(Deadline, RoundsUpSoThatItNeverComesTooEarly) {
  using Third = std::chrono::duration<std::int64_t, std::ratio<1, 3'000'000'000>>;
  const auto before = Steady::now();
  EXPECT_GE(Deadline{Third{1}}.time(), before + 1ns);
}

TEST(Deadline, OfASteadyTimeIsExactlyThatTime) {
  const auto at = Steady::now() + 5s;
  EXPECT_EQ(Deadline{at}.time(), at);
  const auto whole = std::chrono::time_point_cast<std::chrono::seconds>(at);
  EXPECT_EQ(Deadline{whole}.time(), Steady::time_point{whole});
}

TEST(Deadline, OfAnotherClockIsConverted) {
  const auto before = Steady::now();
  const auto soon = System::now() + 2s;
  const Deadline deadline{soon};
  EXPECT_GT(deadline.time(), before + 1s);
  EXPECT_LT(deadline.time(), Steady::now() + 3s);
  EXPECT_TRUE(Deadline{System::now() - 1s}.passed());
  EXPECT_TRUE(Deadline{System::time_point{}}.passed());
  const Deadline tenths{TenthsClock::now() + TenthsClock::duration{20}};
  EXPECT_GT(tenths.time(), before + 1s);
  EXPECT_LT(tenths.time(), Steady::now() + 3s);
}

TEST(Deadline, OfTheEndsOfAnyClockNeverComesOrHasPassed) {
  EXPECT_TRUE(Deadline{Steady::time_point::max()}.is_never());
  EXPECT_TRUE(Deadline{System::time_point::max()}.is_never());
  EXPECT_TRUE((Deadline{std::chrono::time_point<System, std::chrono::hours>::max()}).is_never());
  EXPECT_TRUE((Deadline{std::chrono::time_point<Steady, std::chrono::hours>::max()}).is_never());
  // Fits the steady clock, which counts from the machine's start, but not the system clock's nanoseconds.
  EXPECT_TRUE((Deadline{std::chrono::sys_seconds{std::chrono::sys_days{std::chrono::year{2280} / 1 / 1}}}).is_never());
  EXPECT_TRUE(Deadline{Steady::time_point::min()}.passed());
  EXPECT_TRUE(Deadline{System::time_point::min()}.passed());
  EXPECT_TRUE((Deadline{std::chrono::time_point<System, std::chrono::hours>::min()}).passed());
  EXPECT_TRUE((Deadline{std::chrono::time_point<Steady, std::chrono::hours>::min()}).passed());
}
