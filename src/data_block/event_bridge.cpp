#include "data_block/event_bridge.hpp"

#include <chrono>
#include <exception>
#include <utility>

namespace holdfast::detail {
EventBridge::EventBridge(Block::Pointer block, std::size_t index, std::optional<std::size_t> group)
    : block_{std::move(block)}, index_{index}, group_{group}, thread_{[this](const std::stop_token& stop) {
        run(stop);
      }} {}

EventBridge::~EventBridge() {
  thread_.request_stop();
  block_->wake_readers();
}

void EventBridge::arm(std::uint64_t head) {
  {
    const std::lock_guard guard{mutex_};
    event_.clear();
    head_ = head;
    armed_ = true;
  }
  changed_.notify_one();
}

/// Looks who is dead, every now and then (I7).
bool EventBridge::dead_left_slots() noexcept {
  if (!group_) return false;
  try {
    const auto now = std::chrono::steady_clock::now();
    if (now - judged_ >= longest_park) {
      judged_ = now;
      block_->judge_members(*group_);
    }
    return block_->has_orphans(*group_);
  } catch (const std::exception&) {
    return false;  // no memory for it now
  }
}

void EventBridge::run(const std::stop_token& stop) {
  Shared& shared = block_->shared();
  for (;;) {
    std::uint64_t head = 0;
    {
      std::unique_lock lock{mutex_};
      if (!changed_.wait(lock, stop, [this] { return armed_; })) return;
      head = head_;
    }
    while (!stop.stop_requested()) {
      const auto event = shared.reader_event.load(std::memory_order_acquire);
      shared.readers_waiting.fetch_or(std::uint64_t{1} << index_, std::memory_order_seq_cst);
      block_->heavy_barrier();  // B-park-reader
      if (block_->role().head > head || dead_left_slots()) {
        const std::lock_guard guard{mutex_};
        if (head_ != head) break;  // armed anew meanwhile
        armed_ = false;
        event_.signal();
        break;
      }
      platform::wait_on(shared.reader_event, event, longest_park);
    }
    if (stop.stop_requested()) return;
  }
}
}  // namespace holdfast::detail
