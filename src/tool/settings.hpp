// settings.hpp - what a run of `holdfast validate` was asked for, and the limits of what may be asked.
#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>

namespace holdfast::tool {
struct Settings {
  std::optional<std::filesystem::path> directory = {};  ///< Empty: a temporary one.
  std::uint32_t processes = 10;
  std::uint32_t increments = 20;
  std::uint32_t iterations = 5;
  std::chrono::nanoseconds hold{0};
  std::chrono::nanoseconds deadline =
      std::chrono::seconds{30};  ///< The longest wait for a lock that others do not hold.
  bool fair = true;
  bool json = false;
  std::optional<std::filesystem::path> timeline = {};
};

constexpr std::uint32_t most_processes = 1000;
constexpr std::uint32_t most_iterations = 1000;
constexpr std::uint32_t most_operations = 2'000'000;  ///< Processes times increments: each takes 48 bytes of journal.
constexpr std::chrono::nanoseconds longest_hold = std::chrono::minutes{1};
constexpr std::chrono::nanoseconds longest_deadline = std::chrono::hours{24};
}  // namespace holdfast::tool
