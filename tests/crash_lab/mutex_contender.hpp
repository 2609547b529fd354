// mutex_contender.hpp - a contender for the first of two mutexes in a segment: in a worker, and in the test that comes last.
#pragma once
#include <optional>
#include <string>
#include <holdfast/data_block_mutex.hpp>
#include <holdfast/shared_memory.hpp>

#include "section.hpp"

namespace crash_lab {
constexpr std::size_t mutex_segment_size = 2 * holdfast::DataBlockMutex::footprint;

class MutexContender {
 public:
  MutexContender(const fs::path& directory, const std::string& name)
      : contender_{directory, Lasts::until_repaired},
        segment_{holdfast::SharedMemory::create_or_attach(name, mutex_segment_size)} {}

  MutexContender(const MutexContender&) = delete;
  MutexContender& operator=(const MutexContender&) = delete;
  /// After an error inside; who is killed does not come here.
  ~MutexContender() {
    if (mutex_ && mutex_->owns_lock()) mutex_->unlock();
  }

  void make() { mutex_.emplace(holdfast::DataBlockMutex::in(segment_, 0)); }
  [[nodiscard]] holdfast::DataBlockMutex another() {
    return holdfast::DataBlockMutex::in(segment_, holdfast::DataBlockMutex::footprint);
  }

  void lock() { static_cast<void>(enter(holdfast::Deadline::never())); }
  /// False: it is not free.
  [[nodiscard]] bool enter(holdfast::Deadline deadline) {
    return contender_.enter(
        [&] { return mutex_->try_lock_until(deadline); },
        [&] {
          const auto from = mutex_->previous_owner();
          return News{mutex_->outcome() == holdfast::LockOutcome::owner_died, from ? from->pid() : 0};
        });
  }
  void unlock() {
    contender_.leave([&] { mutex_->unlock(); });
  }
  void repair() {
    contender_.repair();
    mutex_->declare_repaired();
  }
  [[nodiscard]] Contender& contender() { return contender_; }
  [[nodiscard]] holdfast::DataBlockMutex& mutex() { return *mutex_; }

 private:
  Contender contender_;
  holdfast::SharedMemory segment_;
  std::optional<holdfast::DataBlockMutex> mutex_;
};
}  // namespace crash_lab
