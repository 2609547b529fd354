// settings.hpp - what a run of `holdfast validate` was asked for, and the limits of what may be asked.
#pragma once
#include <algorithm>
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
  std::uint32_t kills = 100;  ///< Of owners of a mutex that somebody sleeps on.
  std::uint32_t attach_rounds = 100;
  std::uint32_t messages = 20'000;  ///< Through a block.
  std::uint32_t block_kills = 20;   ///< Of writers of a block, and of readers.
  std::chrono::nanoseconds hold{0};
  std::chrono::nanoseconds deadline =
      std::chrono::seconds{30};  ///< The longest wait for a lock that others do not hold.
  bool fair = true;
  bool json = false;
  std::optional<std::filesystem::path> timeline = {};

  [[nodiscard]] std::uint32_t processes_of_mutex() const noexcept { return std::min(processes, most_at_one_mutex); }
  /// Of each. Without a hold those asked for are over before the last process has come: then there are more of them.
  [[nodiscard]] std::uint32_t increments_of_mutex() const noexcept {
    constexpr std::uint32_t enough = 20'000;
    return hold.count() > 0 ? increments : std::max(increments, enough / processes_of_mutex());
  }

  static constexpr std::uint32_t most_at_one_mutex = 100;  ///< A segment has room for 128 users.
};

constexpr std::uint32_t most_processes = 1000;
constexpr std::uint32_t most_iterations = 1000;
constexpr std::uint32_t most_kills = 100'000;
constexpr std::uint32_t most_operations = 2'000'000;  ///< Processes times increments: each takes 48 bytes of journal.
constexpr std::chrono::nanoseconds longest_hold = std::chrono::minutes{1};
constexpr std::chrono::nanoseconds longest_deadline = std::chrono::hours{24};
}  // namespace holdfast::tool
