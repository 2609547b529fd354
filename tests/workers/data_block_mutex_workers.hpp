// data_block_mutex_workers.hpp - the parent's side of data_block_mutex_worker: how tests put processes around a mutex, and see
// what they do.
#pragma once
#include <sys/syscall.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <fstream>
#include <functional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>
#include <holdfast/data_block_mutex.hpp>
#include <holdfast/testing/gtest.hpp>

#include "../exclusion/test_segment.hpp"
#include "../exclusion/wait_until.hpp"

namespace holdfast::test {
/// The state letter in /proc: 'S' sleeps in the kernel, 'T' stopped, 'Z' zombie.
inline char state_of(const harness::WorkerProcess& worker) {
  std::ifstream file{"/proc/" + std::to_string(worker.pid()) + "/stat"};
  std::string line;
  std::getline(file, line);
  const auto end_of_name = line.rfind(") ");
  return end_of_name == std::string::npos ? '?' : line[end_of_name + 2];
}

/// True if that thread sleeps in futex(2), in which nothing of a worker waits but a mutex.
inline bool sleeps_in_mutex(std::int64_t thread) {
  std::ifstream file{"/proc/" + std::to_string(thread) + "/syscall"};
  long call = -1;
  return file >> call && call == SYS_futex;
}

inline std::error_code code_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  return {};
}

/// A worker that has given its ready signal.
inline harness::WorkerProcess start_mutex_worker(std::string_view scenario, std::vector<harness::Argument> arguments,
                                                 const harness::WorkerOptions& options = {}) {
  auto worker = harness::SpawnWorkerWithReadySignal(DATA_BLOCK_MUTEX_WORKER, scenario, arguments, options);
  EXPECT_EQ(worker.wait_for_ready(), harness::Ready::yes) << worker.report();
  return worker;
}

/// Around one mutex in a segment of its own.
class DataBlockMutexTest : public testing::Test {
 protected:
  [[nodiscard]] DataBlockMutex open() const { return DataBlockMutex::create_or_attach(segment_.name()); }
  [[nodiscard]] harness::WorkerProcess spawn(std::string_view scenario,
                                             std::vector<harness::Argument> more = {}) const {
    std::vector<harness::Argument> arguments{segment_.name()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return start_mutex_worker(scenario, std::move(arguments));
  }
  /// Has the mutex.
  [[nodiscard]] harness::WorkerProcess spawn_owner() const { return spawn("hold_until_released"); }
  /// Is asleep in lock().
  [[nodiscard]] harness::WorkerProcess spawn_waiter() const {
    auto waiter = spawn("wait_then_hold");
    EXPECT_TRUE(wait_until([&] { return sleeps_in_mutex(waiter.pid()); })) << waiter.report();
    return waiter;
  }

  static void expect_locked(const harness::WorkerProcess& worker) {
    EXPECT_TRUE(wait_for_output(worker, "locked\n")) << worker.report();
  }
  /// The worker has the mutex, and was told who died last with it, and who first since it was whole.
  static void expect_news(const harness::WorkerProcess& worker, std::int64_t last, std::int64_t first) {
    EXPECT_TRUE(wait_for_output(
        worker, "locked, after the death of " + std::to_string(last) + ", first " + std::to_string(first) + "\n"))
        << worker.report();
  }
  static void expect_news(const harness::WorkerProcess& worker, const harness::WorkerProcess& dead) {
    expect_news(worker, dead.pid(), dead.pid());
  }
  static void expect_news(const DataBlockMutex& mutex, std::int64_t last, std::int64_t first) {
    EXPECT_EQ(mutex.outcome(), LockOutcome::owner_died);
    ASSERT_TRUE(mutex.previous_owner() && mutex.first_lost_owner()) << mutex.news();
    EXPECT_EQ(mutex.previous_owner()->pid(), last);
    EXPECT_EQ(mutex.first_lost_owner()->pid(), first);
  }
  static void expect_news(const DataBlockMutex& mutex, const harness::WorkerProcess& dead) {
    expect_news(mutex, dead.pid(), dead.pid());
  }
  static void finish(harness::WorkerProcess& worker) {
    worker.release();
    harness::ExpectWorkerOk(worker);
  }

  TestSegment segment_;
};
}  // namespace holdfast::test
