#include "process_wide.hpp"

#include <atomic>
#include <random>

#include <pthread.h>

#include <holdfast/error.hpp>

namespace holdfast::detail {
namespace {
/// Never destroyed: FileLocks with static storage may outlive everything else.
struct ProcessWide {
  std::mutex table, gate;
  ForkAware* first = nullptr;
  std::atomic<std::uint64_t> name_number{0};
};
ProcessWide& process_wide() noexcept {
  static ProcessWide& the_one = *new ProcessWide;
  return the_one;
}
/// Random, so that two copies of this library in one process, or a child and its parent, do not make the same names.
std::uint64_t name_number_start() {
  std::random_device random;
  return std::uint64_t{random()} << 32U;
}
}  // namespace

struct ForkHandlers {
  static void prepare() noexcept {
    process_wide().table.lock();
    process_wide().gate.lock();
  }
  static void in_parent() noexcept {
    process_wide().gate.unlock();
    process_wide().table.unlock();
  }
  static void in_child() noexcept {
    process_wide().name_number = 0;
    for (ForkAware* one = process_wide().first; one != nullptr; one = one->newer_) one->after_fork_in_child();
    in_parent();
  }
};

void ForkAware::join_fork_handlers() {
  static const int handlers = ::pthread_atfork(ForkHandlers::prepare, ForkHandlers::in_parent, ForkHandlers::in_child);
  if (handlers != 0) throw Error{std::error_code{handlers, std::generic_category()}, "register", "fork handlers"};
  const std::lock_guard guard{table()};
  newer_ = process_wide().first;
  if (newer_ != nullptr) newer_->older_ = this;
  process_wide().first = this;
}

void ForkAware::leave_fork_handlers() noexcept {
  const std::lock_guard guard{table()};
  (older_ != nullptr ? older_->newer_ : process_wide().first) = newer_;
  if (newer_ != nullptr) newer_->older_ = older_;
}

std::mutex& table() noexcept { return process_wide().table; }
std::mutex& fork_gate() noexcept { return process_wide().gate; }

std::uint64_t next_name_number() noexcept {
  auto& number = process_wide().name_number;
  auto current = number.load(std::memory_order_relaxed);  // relaxed: only the value counts
  if (current == 0) number.compare_exchange_strong(current, name_number_start(), std::memory_order_relaxed);
  return number.fetch_add(1, std::memory_order_relaxed) + 1;
}

std::uint64_t this_thread_number() noexcept {
  static std::atomic<std::uint64_t> last{0};
  thread_local const std::uint64_t mine = last.fetch_add(1, std::memory_order_relaxed) + 1;
  return mine;
}
}  // namespace holdfast::detail
