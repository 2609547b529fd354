// thoroughness.hpp - how many times as many points as usual are looked at (HOLDFAST_TEST_STEPS), and which (HOLDFAST_TEST_SEED).
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <random>

namespace holdfast::test {
inline std::uint64_t thoroughness() {
  const char* const given = std::getenv("HOLDFAST_TEST_STEPS");  // NOLINT(concurrency-mt-unsafe)
  return given != nullptr ? std::max<std::uint64_t>(1, std::strtoull(given, nullptr, 10)) : 1;
}

/// Where an even spread over points begins, and which orders are drawn: as HOLDFAST_TEST_SEED says, else another one in each run.
/// A failure names its point, or its order, itself.
inline std::uint64_t seed_of_this_run() {
  static const std::uint64_t seed = [] {
    const char* const given = std::getenv("HOLDFAST_TEST_SEED");  // NOLINT(concurrency-mt-unsafe)
    return given != nullptr ? std::strtoull(given, nullptr, 10) : std::uint64_t{std::random_device{}()};
  }();
  return seed;
}
}  // namespace holdfast::test
