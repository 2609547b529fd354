// Proves H1 and H2: ready, died before ready and timed out are three answers, and end-of-file is none of them.
#include <csignal>
#include <filesystem>
#include <string>

#include <holdfast/error.hpp>
#include <holdfast/testing/gtest.hpp>
#include <holdfast/testing/temp_dir.hpp>
#include <holdfast/testing/worker_process.hpp>

#include "watched.hpp"

namespace {
using namespace holdfast::harness;
using namespace std::chrono_literals;
using testing::IsSubstring;

TEST(HarnessReady, IsYesAfterTheSignal) {
  auto worker = SpawnWorkerWithReadySignal(HARNESS_WORKER, "ready_and_released");
  EXPECT_EQ(worker.wait_for_ready(30s), Ready::yes) << worker.report();
  EXPECT_TRUE(worker.is_running());
  EXPECT_EQ(worker.wait_for_ready(0s), Ready::yes) << "the answer stays";
  worker.release();
  ExpectWorkerOk(worker);
}

TEST(HarnessReady, IsDiedWhenTheWorkerEndsBefore) {
  for (const auto* scenario : {"end_with_code", "end_by_signal"}) {
    auto worker = SpawnWorkerWithReadySignal(HARNESS_WORKER, scenario, {9});
    EXPECT_EQ(worker.wait_for_ready(30s), Ready::died) << worker.report();
    EXPECT_EQ(worker.wait_for_ready(30s), Ready::died) << "the answer stays";
    EXPECT_FALSE(worker.is_running());
    EXPECT_EQ(worker.wait_for_exit(30s).value, 9);
  }
  auto throws = SpawnWorkerWithReadySignal(HARNESS_WORKER, "throw_exception");
  EXPECT_EQ(throws.wait_for_ready(30s), Ready::died);
  EXPECT_PRED_FORMAT2(IsSubstring, "ended with code 2", throws.report()) << "the exit and the reason are known at once";
  EXPECT_PRED_FORMAT2(IsSubstring, "the detector is on fire", throws.report());
}

TEST(HarnessReady, IsTimedOutWhileTheWorkerOnlyLives) {
  auto worker = SpawnWorkerWithReadySignal(HARNESS_WORKER, "never_ready");
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(worker.wait_for_ready(50ms), Ready::timed_out);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 50ms);
  EXPECT_TRUE(worker.is_running());
  worker.release();
  ExpectWorkerOk(worker);
  EXPECT_EQ(worker.wait_for_ready(30s), Ready::died) << "it ended without having been ready";
}

TEST(HarnessReady, IsYesForAWorkerThatSaidSoAndDied) {
  auto worker = SpawnWorkerWithReadySignal(HARNESS_WORKER, "ready_and_dead");
  EXPECT_EQ(worker.wait_for_exit(30s), (Exit{Exit::By::signal, SIGKILL, false}));
  EXPECT_EQ(worker.wait_for_ready(30s), Ready::yes) << "the byte was sent before the death";
}

TEST(HarnessReady, IsNotTheEndOfTheChannel) {
  auto worker = SpawnWorkerWithReadySignal(HARNESS_WORKER, "close_ready_channel");
  EXPECT_EQ(worker.wait_for_ready(100ms), Ready::timed_out);
  for (const holdfast::Deadline soon = 30s; worker.output() != "closed\n";) ASSERT_FALSE(soon.passed());
  EXPECT_EQ(worker.wait_for_ready(50ms), Ready::timed_out) << "it lives, and cannot become ready any more";
  EXPECT_PRED_FORMAT2(IsSubstring, "ready signal: none, and its channel is closed", worker.report());
  worker.release();
  EXPECT_EQ(worker.wait_for_ready(30s), Ready::died);
  ExpectWorkerOk(worker);
}

TEST(HarnessReady, SeesADeathThatAForkedChildHides) {
  auto worker = SpawnWorkerWithReadySignal(HARNESS_WORKER, "die_leaving_a_child");
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(worker.wait_for_ready(60s), Ready::died) << worker.report();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 50s);
  const Watched child{std::stoll(worker.output())};
  EXPECT_TRUE(child.lives()) << "the child must hold the channel open";
  EXPECT_PRED_FORMAT2(IsSubstring, "ready signal: none\n", worker.report());
}

TEST(HarnessReady, CannotBeAwaitedWithoutAChannel) {
  auto worker = SpawnWorker(HARNESS_WORKER, "ready_and_released");
  EXPECT_THROW((void)worker.wait_for_ready(0s), holdfast::Error);
  worker.release();
  ExpectWorkerOk(worker);  // signal_test_ready() without a parent that asks does nothing
}

TEST(SignalTestReady, SendsOneByte) {
  auto worker = SpawnWorker(HARNESS_WORKER, "signal_twice");
  ExpectWorkerOk(worker);
  EXPECT_EQ(worker.output(), "1\n");
}

TEST(SignalTestReady, OutlivesAParentThatDoesNotListen) {
  auto worker = SpawnWorker(HARNESS_WORKER, "signal_to_nobody");
  ExpectWorkerOk(worker);
}

TEST(SignalTestReady, WritesToNothingButItsChannel) {
  const TempDir dir;
  auto worker = SpawnWorker(HARNESS_WORKER, "signal_to_a_file", {dir / "file"});
  ExpectWorkerOk(worker);
  EXPECT_EQ(std::filesystem::file_size(dir / "file"), 0u);
  EXPECT_PRED_FORMAT2(IsSubstring, "is not an open descriptor of the harness", worker.errors());
}
}  // namespace
