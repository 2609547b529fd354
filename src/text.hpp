// text.hpp - how holdfast writes names and durations that people read.
// Layer 0. No public interface.
#pragma once
#include <chrono>
#include <string>
#include <string_view>

namespace holdfast::text {
/// For messages on a terminal or in a log: printable ASCII and well-formed UTF-8 stay, a backslash is doubled, everything
/// else becomes \n, \t or \xNN. Different inputs have different outputs.
[[nodiscard]] std::string escaped(std::string_view bytes);

/// "0.3 ms", "250 ms", "3.2 s", "4 min 5 s", "3 h 12 min", "5 d 3 h"; a negative duration is "0 ms".
[[nodiscard]] std::string in_words(std::chrono::nanoseconds duration);

/// "12:01:07" if it is today, else "2026-11-21 12:01:07", both local time.
[[nodiscard]] std::string clock_time(std::chrono::system_clock::time_point time,
                                     std::chrono::system_clock::time_point now);
}  // namespace holdfast::text
