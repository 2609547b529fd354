#include "allocations.hpp"

#include <atomic>
#include <cstdlib>
#include <new>

namespace holdfast::benchmarks {
namespace {
constinit std::atomic<std::uint64_t> count{0};
}
std::uint64_t allocations() noexcept { return count.load(std::memory_order_relaxed); }
}  // namespace holdfast::benchmarks

// The array and nothrow forms of the standard library call this one; over-aligned objects are not counted.
void* operator new(std::size_t size) {
  holdfast::benchmarks::count.fetch_add(1, std::memory_order_relaxed);
  if (void* const memory = std::malloc(size != 0 ? size : 1)) return memory;
  throw std::bad_alloc{};
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
