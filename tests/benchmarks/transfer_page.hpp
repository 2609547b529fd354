// transfer_page.hpp - what the processes of a transfer share beside the transport, and what every message looks like.
#pragma once
#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

namespace holdfast::benchmarks {
constexpr std::size_t most_receivers = 16;

/// Of a transport.
struct Shape {
  std::size_t slots = 64;     ///< a power of two
  std::size_t size = 64;      ///< of a message: a multiple of 8
  std::size_t receivers = 1;  ///< all of them get each message
};

/// Windows are numbered from 1. All processes sleep until the phase is the window's number.
struct TransferPage {
  struct alignas(128) Line {
    std::atomic<std::uint64_t> number;
  };
  struct alignas(128) Receiver {
    std::atomic<std::uint64_t> received;   ///< messages, in this window
    std::atomic<std::uint64_t> last_took;  ///< nanoseconds, monotonic: when the window's last message was read
  };
  static constexpr std::uint32_t over = ~0U;
  alignas(128) std::atomic<std::uint32_t> phase;     ///< In the end: over.
  std::atomic<std::uint64_t> until;                  ///< The window's messages have numbers below this.
  alignas(128) std::atomic<std::uint32_t> made;      ///< Senders that are there, for receivers to attach to.
  alignas(128) std::atomic<std::uint32_t> finished;  ///< Incremented by each process at the end of each window.
  Line awake;                                        ///< Incremented by each receiver at the beginning of each window.
  Line has_all;                                      ///< and when it has received all messages of it.
  alignas(128) std::atomic<std::uint64_t> began;     ///< nanoseconds: just before the first message was written
  std::atomic<std::uint64_t> written;                ///< nanoseconds: just after the last was
  std::array<Receiver, most_receivers> receivers;
  // The distance of the two processors: a line's way there and back, around each window of one sender and one receiver.
  Line ball_there, ball_back;
  alignas(128) std::atomic<std::uint64_t> distance_before, distance_after;  ///< nanoseconds
  // Of round trips: what the window's are like, in nanoseconds.
  alignas(128) std::atomic<double> half_median, half_p99, wake_median, wake_p99;
  Line arrived;                           ///< nanoseconds: when a ping had been received by who had slept
  std::atomic<std::int64_t> answers_pid;  ///< of the process that answers pings
  // Of laps.
  alignas(128) std::atomic<std::uint32_t> laps_written;
  alignas(128) std::atomic<std::uint32_t> laps_read;  ///< by each receiver
  Line spent;                                         ///< nanoseconds: in the sender's calls alone
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free && std::atomic<double>::is_always_lock_free);

/// Every word of a message is its number. All are multiples of eight bytes. Beyond `long_message` one and the same code writes and
/// reads those of all transports: inlined into each, it came out twice as fast for some as for others.
constexpr std::size_t long_message = 512;
[[gnu::noinline]] inline void fill_long(std::span<std::uint64_t> words, std::uint64_t number) noexcept {
  std::fill(words.begin(), words.end(), number);
}
[[nodiscard]] inline std::uint64_t differences_in(std::span<const std::uint64_t> words) noexcept {
  const std::uint64_t first = words.front();
  std::uint64_t differences = 0;
  for (const auto word : words) differences |= word ^ first;
  return differences;
}
[[nodiscard]] [[gnu::noinline]] inline std::uint64_t differences_in_long(
    std::span<const std::uint64_t> words) noexcept {
  return differences_in(words);
}

inline void fill(std::span<std::byte> message, std::uint64_t number) noexcept {
  const std::span words{reinterpret_cast<std::uint64_t*>(message.data()), message.size() / sizeof number};
  if (message.size() > long_message) return fill_long(words, number);
  std::fill(words.begin(), words.end(), number);
}

[[nodiscard]] inline std::uint64_t number_of(std::span<const std::byte> message) noexcept {
  return *reinterpret_cast<const std::uint64_t*>(message.data());
}

/// Reads all of it.
[[nodiscard]] inline bool is_whole(std::span<const std::byte> message) noexcept {
  const std::span words{reinterpret_cast<const std::uint64_t*>(message.data()), message.size() / sizeof(std::uint64_t)};
  return (message.size() > long_message ? differences_in_long(words) : differences_in(words)) == 0;
}
}  // namespace holdfast::benchmarks
