// contest_page.hpp - what contenders for a mutex share, each part in a cache line of its own.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>

namespace holdfast::benchmarks {
constexpr std::size_t most_contenders = 64;

struct ContestPage {
  struct alignas(64) Line {
    std::atomic<std::uint64_t> number;
  };
  static constexpr std::uint32_t over = ~0U;
  alignas(64) std::atomic<std::uint32_t> phase;  ///< Odd: they contend. Even: they sleep. In the end: over.
  Line paused;                                   ///< Incremented by each at the end of each odd phase.
  Line sections;  ///< Incremented in two steps by whoever has the mutex: less than the sum of `own` if two were inside.
  std::array<Line, most_contenders> own;  ///< Sections of each.
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
}  // namespace holdfast::benchmarks
