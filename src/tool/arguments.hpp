// arguments.hpp - the command line.
#pragma once
#include <chrono>
#include <optional>
#include <string_view>
#include <variant>

#include "tool/settings.hpp"

namespace holdfast::tool {
/// Nothing more to do: help was given, or an error was told.
struct ExitCode {
  int value;
};
[[nodiscard]] std::variant<Settings, ExitCode> parse_arguments(int argc, const char* const* argv);

/// "200us", "1.5ms", "2s", "1min"; a bare "0". Empty: not a duration, negative, or beyond 292 years.
[[nodiscard]] std::optional<std::chrono::nanoseconds> parse_duration(std::string_view text);
}  // namespace holdfast::tool
