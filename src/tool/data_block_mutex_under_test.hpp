// data_block_mutex_under_test.hpp - a DataBlockMutex with a counter behind it, in one segment.
#pragma once
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <holdfast/data_block_mutex.hpp>
#include <holdfast/shared_memory.hpp>

#include "tool/lock_under_test.hpp"

namespace holdfast::tool {
class DataBlockMutexUnderTest : public MutexUnderTest {
 public:
  DataBlockMutexUnderTest(const std::string& segment, Deadline deadline)
      : segment_{SharedMemory::create_or_attach(segment, size, {}, deadline)},
        mutex_{DataBlockMutex::in(segment_, 0, deadline)},
        counter_{segment_.as<std::uint64_t>(DataBlockMutex::footprint)} {}

  bool lock(Deadline deadline) override {
    if (!mutex_.try_lock_until(deadline)) return false;
    died_before_.reset();
    if (mutex_.outcome() == LockOutcome::clean) return true;
    const auto previous = mutex_.previous_owner();
    died_before_ = previous ? previous->pid() : 0;
    mutex_.declare_repaired();  // one number is always whole; the next death shall be news again
    return true;
  }
  void unlock() override { mutex_.unlock(); }
  [[nodiscard]] std::optional<std::int64_t> died_before() const override { return died_before_; }

  // Relaxed: it is the mutex that has to order them.
  [[nodiscard]] std::uint64_t read() const override { return counter().load(std::memory_order_relaxed); }
  void write(std::uint64_t value) override { counter().store(value, std::memory_order_relaxed); }

 private:
  static constexpr std::size_t size = DataBlockMutex::footprint + sizeof(std::uint64_t);
  [[nodiscard]] std::atomic_ref<std::uint64_t> counter() const { return std::atomic_ref{counter_}; }

  SharedMemory segment_;
  DataBlockMutex mutex_;
  std::uint64_t& counter_;
  std::optional<std::int64_t> died_before_;
};
}  // namespace holdfast::tool
