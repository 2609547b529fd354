// counter.hpp - a number that is read, incremented and written back in two steps. Without exclusion increments are lost;
// that is what it is for.
#pragma once
#include <cstdint>

namespace holdfast::tool {
class Counter {
 public:
  Counter() = default;
  Counter(const Counter&) = delete;
  Counter& operator=(const Counter&) = delete;
  virtual ~Counter() = default;

  [[nodiscard]] virtual std::uint64_t read() const = 0;  ///< Both throw Error if it cannot be.
  virtual void write(std::uint64_t value) = 0;
};
}  // namespace holdfast::tool
