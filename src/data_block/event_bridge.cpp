#include "data_block/event_bridge.hpp"

#include <chrono>
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
      if (block_->role().head > head ||
          (group_ && block_->group(*group_).orphans.load(std::memory_order_acquire) != 0)) {
        const std::lock_guard guard{mutex_};
        if (head_ != head) break;  // armed anew meanwhile
        armed_ = false;
        event_.signal();
        break;
      }
      const auto began = std::chrono::steady_clock::now();
      platform::wait_on(shared.reader_event, event, longest_park);
      if (group_ && std::chrono::steady_clock::now() - began >= longest_park) block_->judge_members(*group_);
    }
    if (stop.stop_requested()) return;
  }
}
}  // namespace holdfast::detail
