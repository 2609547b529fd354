// shared_section.hpp - a mutex in a segment, and beside it what it protects: plain words that go wrong where two are inside.
#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <holdfast/data_block_mutex.hpp>
#include <holdfast/shared_memory.hpp>

namespace holdfast::test {
struct SharedSection {
  std::uint64_t before;  ///< the mutex does not stand at the beginning of its segment
  alignas(DataBlockMutex::alignment) std::array<std::byte, DataBlockMutex::footprint> mutex;
  std::array<std::byte, DataBlockMutex::footprint> other_mutex;
  std::uint64_t counter;   ///< Plain: increments are lost where two are inside.
  std::uint64_t overlaps;  ///< How often somebody came in while another one was inside.
  std::uint64_t inside;    ///< The pid of who is inside, or of who died there; else 0.
  std::uint64_t progress;  ///< How often somebody was inside, dead or not: says when there is something to kill.
  std::uint64_t step;      ///< How far somebody who is to be killed has come.

  // For those who are killed inside. Whoever is there adds 1 to `first`, to his own account and to `second`, in this order.
  std::uint64_t first, second;
  std::uint64_t damaged;  ///< 1: somebody was told of a death and did not declare the data repaired.
  std::array<std::uint64_t, 16> accounts;
};
static_assert(std::is_trivially_copyable_v<SharedSection>);

inline SharedMemory section_segment(std::string_view name) {
  return SharedMemory::create_or_attach(name, sizeof(SharedSection));
}
inline DataBlockMutex mutex_of(SharedMemory& segment) {
  return DataBlockMutex::in(segment, offsetof(SharedSection, mutex));
}

/// For words that processes read or write without the mutex.
inline std::atomic_ref<std::uint64_t> shared(std::uint64_t& word) { return std::atomic_ref<std::uint64_t>{word}; }
/// For words that only the owner of the mutex may touch: each access is one, whatever the optimizer thinks.
inline volatile std::uint64_t& plain(std::uint64_t& word) { return word; }

/// Lets everybody in.
struct NoMutex {
  void lock() {}
  void unlock() {}
};
}  // namespace holdfast::test
