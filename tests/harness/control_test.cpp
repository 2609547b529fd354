// Proves H6: the parent holds a worker at a point, starts many at once, stops, resumes and kills; each has happened when
// the call returns.
#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include <holdfast/error.hpp>
#include <holdfast/testing/gtest.hpp>
#include <holdfast/testing/worker_process.hpp>

#include "watched.hpp"

namespace {
namespace fs = std::filesystem;
using namespace holdfast::harness;
using namespace std::chrono_literals;

/// The states of all threads of a process, as letters: proc(5), /proc/<pid>/stat.
std::string states_of(std::int64_t pid) {
  std::string states;
  for (const auto& task : fs::directory_iterator{"/proc/" + std::to_string(pid) + "/task"}) {
    std::ifstream in{task.path() / "stat"};
    const std::string stat{std::istreambuf_iterator<char>{in}, {}};
    states += stat.at(stat.rfind(')') + 2);
  }
  return states;
}

TEST(HarnessRelease, LetsOneWaitReturnEach) {
  auto worker = SpawnWorkerWithReadySignal(HARNESS_WORKER, "wait_twice");
  ASSERT_EQ(worker.wait_for_ready(30s), Ready::yes) << worker.report();
  EXPECT_EQ(worker.output(), "waiting for the first\n");
  worker.release();
  const std::string_view after_one = "waiting for the first\nwaiting for the second\n";
  for (const holdfast::Deadline soon = 30s; worker.output() != after_one;) ASSERT_FALSE(soon.passed());
  worker.release();
  ExpectWorkerOk(worker);
  EXPECT_EQ(worker.output(), "waiting for the first\nwaiting for the second\nreleased\n");
}

TEST(HarnessRelease, CountsBeforeTheWait) {
  auto worker = SpawnWorker(HARNESS_WORKER, "wait_twice");
  worker.release();
  worker.release();
  ExpectWorkerOk(worker);
}

TEST(HarnessRelease, IsSeenByAWorkerThatWorksUntilThen) {
  auto worker = SpawnWorkerWithReadySignal(HARNESS_WORKER, "work_until_released");
  ASSERT_EQ(worker.wait_for_ready(30s), Ready::yes) << worker.report();
  worker.release();
  ExpectWorkerOk(worker);
}

TEST(HarnessRelease, DoesNothingToTheDead) {
  auto worker = SpawnWorker(HARNESS_WORKER, "ready_and_released");
  worker.kill();
  worker.release();
  EXPECT_EQ(worker.wait_for_exit(30s).by, Exit::By::signal);
  worker.release();
}

TEST(HarnessBarrier, HoldsAllUntilTheRelease) {
  constexpr std::size_t count = 10;
  constexpr int rounds = 5;
  std::vector<double> skews;
  for (int round = 0; round < rounds; ++round) {
    std::vector<WorkerProcess> workers;
    for (std::size_t i = 0; i < count; ++i)
      workers.push_back(SpawnWorkerWithReadySignal(HARNESS_WORKER, "print_time_of_release"));
    for (auto& worker : workers) ASSERT_EQ(worker.wait_for_ready(30s), Ready::yes) << worker.report();
    const auto release = std::chrono::nanoseconds{std::chrono::steady_clock::now().time_since_epoch()}.count();
    ReleaseTogether(workers);
    ExpectWorkersOk(workers);
    std::vector<std::int64_t> times;
    for (const auto& worker : workers) times.push_back(std::stoll(worker.output()));
    const auto [first, last] = std::minmax_element(times.begin(), times.end());
    EXPECT_GT(*first, release) << "somebody did not wait";
    skews.push_back(static_cast<double>(*last - *first) / 1e6);
  }
  std::sort(skews.begin(), skews.end());
  RecordProperty("median_skew_us", static_cast<int>(skews[rounds / 2] * 1000));
  EXPECT_LT(skews.front(), 500.0) << "ms between the first and the last of ten, in the best of five rounds";
}

TEST(HarnessStop, HasStoppedEveryThreadWhenItReturns) {
  auto worker = SpawnWorkerWithReadySignal(HARNESS_WORKER, "spin_on_threads");
  ASSERT_EQ(worker.wait_for_ready(30s), Ready::yes) << worker.report();
  const std::string all_stopped(states_of(worker.pid()).size(), 'T');
  ASSERT_GE(all_stopped.size(), 4u) << "main thread and three more";
  for (int round = 0; round < 20; ++round) {
    worker.stop();
    ASSERT_EQ(states_of(worker.pid()), all_stopped);
    worker.stop();
    ASSERT_EQ(states_of(worker.pid()), all_stopped) << "a stopped worker can be stopped";
    EXPECT_TRUE(worker.is_running());
    worker.resume();
    ASSERT_EQ(states_of(worker.pid()).find('T'), std::string::npos);
  }
  worker.release();
  ExpectWorkerOk(worker);
}

TEST(HarnessStop, KeepsAReleasedWorkerWhereItIs) {
  auto worker = SpawnWorkerWithReadySignal(HARNESS_WORKER, "wait_twice");
  ASSERT_EQ(worker.wait_for_ready(30s), Ready::yes) << worker.report();
  worker.stop();
  worker.release();
  worker.release();
  EXPECT_EQ(states_of(worker.pid()), "T");
  EXPECT_EQ(worker.output(), "waiting for the first\n");
  worker.resume();
  ExpectWorkerOk(worker);
}

TEST(HarnessStop, IsAnErrorForAWorkerThatHasEnded) {
  auto worker = SpawnWorker(HARNESS_WORKER, "hang");
  worker.kill();
  EXPECT_THROW(worker.stop(), holdfast::Error);
  worker.resume();
  (void)worker.wait_for_exit();
  EXPECT_THROW(worker.stop(), holdfast::Error);
  worker.resume();
}

TEST(HarnessKill, LeavesAZombieUntilItIsReaped) {
  auto worker = SpawnWorkerWithReadySignal(HARNESS_WORKER, "spin_on_threads");
  ASSERT_EQ(worker.wait_for_ready(30s), Ready::yes) << worker.report();
  worker.kill();
  EXPECT_FALSE(worker.is_running());
  EXPECT_EQ(states_of(worker.pid()), "Z");
  worker.kill();  // again: nothing happens
  EXPECT_EQ(states_of(worker.pid()), "Z");
  EXPECT_EQ(worker.wait_for_exit(), (Exit{Exit::By::signal, SIGKILL, false}));
  EXPECT_FALSE(fs::exists("/proc/" + std::to_string(worker.pid())));
  worker.kill();
}

TEST(HarnessKill, EndsAStoppedWorker) {
  auto worker = SpawnWorkerWithReadySignal(HARNESS_WORKER, "hang");
  ASSERT_EQ(worker.wait_for_ready(30s), Ready::yes) << worker.report();
  worker.stop();
  worker.kill();
  EXPECT_EQ(states_of(worker.pid()), "Z");
}

TEST(HarnessKill, SparesWhatTheWorkerForked) {
  auto worker = SpawnWorkerWithReadySignal(HARNESS_WORKER, "hang_with_a_child");
  ASSERT_EQ(worker.wait_for_ready(30s), Ready::yes) << worker.report();
  const Watched child{std::stoll(worker.output())};
  worker.kill();
  (void)worker.wait_for_exit();
  EXPECT_TRUE(child.lives());
}
}  // namespace
