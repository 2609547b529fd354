#include "text.hpp"

#include <algorithm>
#include <cstdint>
#include <ctime>

#include <fmt/format.h>

namespace holdfast::text {
namespace {
/// Length of the well-formed, printable UTF-8 sequence that `bytes` begins with; 0 if there is none.
std::size_t printable_sequence(std::string_view bytes) noexcept {
  const auto at = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[i])); };
  const auto first = at(0);
  if (first < 0x80) return first >= 0x20 && first != 0x7f ? 1 : 0;
  const std::size_t length = first >> 5 == 0x06 ? 2 : first >> 4 == 0x0e ? 3 : first >> 3 == 0x1e ? 4 : 0;
  if (length == 0 || bytes.size() < length) return 0;
  auto code_point = first & (0x7fU >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if (at(i) >> 6 != 0x02) return 0;
    code_point = code_point << 6 | (at(i) & 0x3f);
  }
  constexpr std::uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool overlong = code_point < smallest[length];
  const bool surrogate = code_point >= 0xd800 && code_point <= 0xdfff;
  const bool control = code_point < 0xa0;                                  // C1: some terminals obey them
  const bool reorders = (code_point >= 0x202a && code_point <= 0x202e) ||  // bidirectional overrides make a text
                        (code_point >= 0x2066 && code_point <= 0x2069) ||  // read differently from what it is
                        code_point == 0x2028 || code_point == 0x2029;      // line and paragraph separator
  return overlong || surrogate || control || reorders || code_point > 0x10ffff ? 0 : length;
}
}  // namespace

std::string escaped(std::string_view bytes) {
  std::string result;
  result.reserve(bytes.size());
  while (!bytes.empty()) {
    std::size_t taken = 1;
    switch (bytes.front()) {
      case '\n':
        result += "\\n";
        break;
      case '\t':
        result += "\\t";
        break;
      case '\\':
        result += "\\\\";
        break;
      default:
        if (const auto length = printable_sequence(bytes)) {
          result += bytes.substr(0, length);
          taken = length;
        } else {
          fmt::format_to(std::back_inserter(result), "\\x{:02x}", static_cast<unsigned char>(bytes.front()));
        }
    }
    bytes.remove_prefix(taken);
  }
  return result;
}

std::string in_words(std::chrono::nanoseconds duration) {
  using namespace std::chrono_literals;
  const auto ns = std::max(duration, 0ns).count();
  constexpr std::int64_t ms = 1'000'000, s = 1000 * ms, min = 60 * s, h = 60 * min, d = 24 * h;
  const auto units = [&](std::int64_t unit) { return ns / unit; };
  const auto tenths = [&](std::int64_t unit) { return fmt::format("{}.{}", ns / unit, ns % unit * 10 / unit); };
  if (ns == 0) return "0 ms";
  if (ns < 10 * ms) return tenths(ms) + " ms";
  if (ns < s) return fmt::format("{} ms", units(ms));
  if (ns < min) return tenths(s) + " s";
  if (ns < h) return fmt::format("{} min {} s", units(min), ns % min / s);
  if (ns < d) return fmt::format("{} h {} min", units(h), ns % h / min);
  return fmt::format("{} d {} h", units(d), ns % d / h);
}

std::string clock_time(std::chrono::system_clock::time_point time, std::chrono::system_clock::time_point now) {
  const auto broken_down = [](std::chrono::system_clock::time_point t) {
    const std::time_t seconds = std::chrono::system_clock::to_time_t(t);
    std::tm result{};
    ::localtime_r(&seconds, &result);
    return result;
  };
  const std::tm t = broken_down(time), today = broken_down(now);
  auto clock = fmt::format("{:02}:{:02}:{:02}", t.tm_hour, t.tm_min, t.tm_sec);
  if (t.tm_year == today.tm_year && t.tm_yday == today.tm_yday) return clock;
  return fmt::format("{:04}-{:02}-{:02} {}", t.tm_year + 1900, t.tm_mon + 1, t.tm_mday, clock);
}
}  // namespace holdfast::text
