// platform/futex.hpp - sleeping on a word of shared memory, and barriers that only one side pays for. No public interface: it
// may change any time. Layer 1: src/platform/<os>/futex.cpp provides it.
#pragma once
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

namespace holdfast::platform {
/// Sleeps while the word has that value, until somebody wakes it, but not longer than that. Returns early for no reason, too.
void wait_on(const std::atomic<std::uint32_t>& word, std::uint32_t value, std::chrono::nanoseconds at_most) noexcept;
void wake_all(const std::atomic<std::uint32_t>& word) noexcept;

struct AwaitedWord {
  const std::atomic<std::uint32_t>* word;
  std::uint32_t value;
};
constexpr std::size_t awaited_limit = 128;
/// The same for several words. False: this kernel cannot (before Linux 5.16), or there are too many.
[[nodiscard]] bool wait_on_any(std::span<const AwaitedWord> words, std::chrono::nanoseconds at_most) noexcept;

/// Once in each process that has one of the threads: lets barrier_in_all_threads() reach its threads. False: not here.
[[nodiscard]] bool join_barriers() noexcept;
/// A full fence in every thread that runs now, of all processes that joined. Costs microseconds.
void barrier_in_all_threads() noexcept;

[[nodiscard]] bool has_one_processor() noexcept;

/// Keeps these pages, from the first boundary on, out of core dumps: a dump delays the proof of death.
void leave_out_of_core_dumps(const std::byte* address, std::size_t size) noexcept;

/// Something that poll() finds readable from signal() to clear().
class Event {
 public:
  Event();  ///< Throws std::system_error.
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event();
  void signal() noexcept;
  void clear() noexcept;
  [[nodiscard]] int descriptor() const noexcept { return descriptor_; }

 private:
  int descriptor_;
};
}  // namespace holdfast::platform
