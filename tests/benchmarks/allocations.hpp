// allocations.hpp - counts the calls of operator new in a program that is linked with allocations.cpp.
#pragma once
#include <cstdint>

namespace holdfast::benchmarks {
[[nodiscard]] std::uint64_t allocations() noexcept;  ///< By all threads, since the program began.
}  // namespace holdfast::benchmarks
