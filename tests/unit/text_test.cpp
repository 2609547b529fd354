// Names and durations as people read them.
#include "text.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <ctime>
#include <limits>
#include <set>
#include <string>

using namespace std::chrono_literals;
using holdfast::text::clock_time;
using holdfast::text::escaped;
using holdfast::text::in_words;

TEST(Text, LeavesWhatATerminalShows) {
  EXPECT_EQ(escaped("/run/app data/db.lock ~'\""), "/run/app data/db.lock ~'\"");
  EXPECT_EQ(escaped("Grüße, 東京, 🔒"), "Grüße, 東京, 🔒");
  EXPECT_EQ(escaped(""), "");
}

TEST(Text, EscapesWhatATerminalObeys) {
  EXPECT_EQ(escaped("a\nb\tc\\d"), R"(a\nb\tc\\d)");
  EXPECT_EQ(escaped(std::string_view{"\0\x01\x1b\x7f\r", 5}), R"(\x00\x01\x1b\x7f\x0d)");
  EXPECT_EQ(escaped("\xc2\x9b"), R"(\xc2\x9b)") << "C1 control sequence introducer";
  EXPECT_EQ(escaped("\xe2\x80\xae"), R"(\xe2\x80\xae)") << "right-to-left override";
  EXPECT_EQ(escaped("\xe2\x80\xa8"), R"(\xe2\x80\xa8)") << "line separator";
}

TEST(Text, EscapesWhatIsNotUtf8) {
  EXPECT_EQ(escaped("\xff"), R"(\xff)");
  EXPECT_EQ(escaped("\xc3"), R"(\xc3)") << "cut short";
  EXPECT_EQ(escaped("\xc3("), R"(\xc3()") << "no continuation";
  EXPECT_EQ(escaped("\xc0\xaf"), R"(\xc0\xaf)") << "overlong";
  EXPECT_EQ(escaped("\xe0\x80\xaf"), R"(\xe0\x80\xaf)") << "overlong";
  EXPECT_EQ(escaped("\xed\xa0\x80"), R"(\xed\xa0\x80)") << "surrogate";
  EXPECT_EQ(escaped("\xf4\x90\x80\x80"), R"(\xf4\x90\x80\x80)") << "beyond Unicode";
  EXPECT_EQ(escaped("\xf0\x9f\x94\x92\xf0"), "\xf0\x9f\x94\x92\\xf0");
}

TEST(Text, ShowsDifferentNamesDifferently) {
  std::set<std::string> seen;
  for (int first = 0; first < 256; ++first)
    for (int second = 0; second < 256; ++second)
      EXPECT_TRUE(seen.insert(escaped(std::string{static_cast<char>(first), static_cast<char>(second)})).second);
}

TEST(Text, SaysDurationsInSensibleUnits) {
  EXPECT_EQ(in_words(0ns), "0 ms");
  EXPECT_EQ(in_words(-5s), "0 ms");
  EXPECT_EQ(in_words(1ns), "0.0 ms");
  EXPECT_EQ(in_words(320us), "0.3 ms");
  EXPECT_EQ(in_words(9999us), "9.9 ms");
  EXPECT_EQ(in_words(10ms), "10 ms");
  EXPECT_EQ(in_words(250ms), "250 ms");
  EXPECT_EQ(in_words(999'999us), "999 ms");
  EXPECT_EQ(in_words(1s), "1.0 s");
  EXPECT_EQ(in_words(3210ms), "3.2 s");
  EXPECT_EQ(in_words(59'999ms), "59.9 s");
  EXPECT_EQ(in_words(60s), "1 min 0 s");
  EXPECT_EQ(in_words(245s), "4 min 5 s");
  EXPECT_EQ(in_words(1h), "1 h 0 min");
  EXPECT_EQ(in_words(3h + 12min + 59s), "3 h 12 min");
  EXPECT_EQ(in_words(24h), "1 d 0 h");
  EXPECT_EQ(in_words(123h), "5 d 3 h");
  EXPECT_EQ(in_words(std::chrono::nanoseconds::max()), "106751 d 23 h");
  EXPECT_EQ(in_words(std::chrono::nanoseconds::min()), "0 ms");
}

namespace {
class TextLocalTime : public testing::Test {
 protected:
  void SetUp() override { set("TZ", "CET-1CEST,M3.5.0,M10.5.0/3"); }
  void TearDown() override {
    had_ ? set("TZ", before_.c_str()) : static_cast<void>(::unsetenv("TZ"));
    ::tzset();
  }
  static void set(const char* name, const char* value) {
    ::setenv(name, value, 1);
    ::tzset();
  }

 private:
  bool had_ = std::getenv("TZ") != nullptr;
  std::string before_ = had_ ? std::getenv("TZ") : "";
};
}  // namespace

TEST_F(TextLocalTime, GivesTheDateOnlyIfItIsNotToday) {
  using namespace std::chrono;
  const auto at = [](sys_days day, seconds time) { return system_clock::time_point{day + time}; };
  const sys_days day{2026y / November / 21};
  EXPECT_EQ(clock_time(at(day, 11h + 1min + 7s), at(day, 20h)), "12:01:07");
  EXPECT_EQ(clock_time(at(day, 11h + 1min + 7s), at(day + days{1}, 20h)), "2026-11-21 12:01:07");
  EXPECT_EQ(clock_time(at(day, 11h), at(sys_days{2027y / November / 21}, 11h)), "2026-11-21 12:00:00");
  EXPECT_EQ(clock_time(at(day, 23h + 30min), at(day + days{1}, 1h)), "00:30:00") << "the local day counts";
  EXPECT_EQ(clock_time(at(sys_days{2026y / July / 1}, 10h), at(sys_days{2026y / July / 1}, 10h)), "12:00:00")
      << "summer";
}
