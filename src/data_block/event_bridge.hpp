// event_bridge.hpp - a thread of the consumer's process that sleeps like any consumer and makes a descriptor readable.
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>

#include <holdfast/platform/futex.hpp>

#include "data_block/block.hpp"

namespace holdfast::detail {
class EventBridge {
 public:
  /// For the consumer with that entry, and of that group, if it is a member.
  EventBridge(Block::Pointer block, std::size_t index, std::optional<std::size_t> group);
  ~EventBridge();
  EventBridge(const EventBridge&) = delete;
  EventBridge& operator=(const EventBridge&) = delete;

  /// The descriptor becomes readable once anything is committed beyond that head, or a dead member has left slots.
  void arm(std::uint64_t head);
  [[nodiscard]] int descriptor() const noexcept { return event_.descriptor(); }

 private:
  void run(const std::stop_token& stop);
  [[nodiscard]] bool dead_left_slots() noexcept;
  Block::Pointer block_;
  std::size_t index_;
  std::optional<std::size_t> group_;
  platform::Event event_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  bool armed_ = false;
  std::uint64_t head_ = 0;
  std::chrono::steady_clock::time_point judged_{};  // the thread's own
  std::jthread thread_;
};
}  // namespace holdfast::detail
