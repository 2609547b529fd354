// Proves H5: a worker's end is reported as what it was, and what it said is kept.
#include <csignal>
#include <string>

#include <gtest/gtest-spi.h>

#include <holdfast/testing/gtest.hpp>
#include <holdfast/testing/worker_process.hpp>

#include "watched.hpp"

namespace {
using namespace holdfast::harness;
using namespace std::chrono_literals;
using testing::IsSubstring;

TEST(HarnessExit, IsOkAfterCodeZeroAtTheEndOfTheScenario) {
  auto worker = SpawnWorker(HARNESS_WORKER, "end_with_code", {0});
  const auto exit = worker.wait_for_exit(30s);
  EXPECT_TRUE(exit.ok()) << worker.report();
  EXPECT_EQ(exit, (Exit{Exit::By::code, 0, true}));
  ExpectWorkerOk(worker);
}

TEST(HarnessExit, KeepsTheScenariosCode) {
  auto worker = SpawnWorker(HARNESS_WORKER, "end_with_code", {7});
  EXPECT_EQ(worker.wait_for_exit(30s), (Exit{Exit::By::code, 7, true})) << worker.report();
  EXPECT_FALSE(worker.wait_for_exit(30s).ok());
  EXPECT_PRED_FORMAT2(IsSubstring, "ended with code 7", worker.report());
}

TEST(HarnessExit, TellsASignalFromACode) {
  for (const int signal : {SIGSEGV, SIGKILL, SIGTERM, SIGABRT}) {
    auto worker = SpawnWorker(HARNESS_WORKER, "end_by_signal", {signal});
    EXPECT_EQ(worker.wait_for_exit(30s), (Exit{Exit::By::signal, signal, false})) << worker.report();
    EXPECT_PRED_FORMAT2(IsSubstring, "was killed by signal " + std::to_string(signal), worker.report());
    auto same_number = SpawnWorker(HARNESS_WORKER, "end_with_code", {signal});
    EXPECT_EQ(same_number.wait_for_exit(30s).by, Exit::By::code);
  }
}

TEST(HarnessExit, IsNotOkWhenTheScenarioLeftEarlyWithCodeZero) {
  for (const auto* way : {"exit", "_exit", "exec"}) {
    auto worker = SpawnWorker(HARNESS_WORKER, "leave_early", {way});
    const auto exit = worker.wait_for_exit(30s);
    EXPECT_EQ(exit, (Exit{Exit::By::code, 0, false})) << way;
    EXPECT_FALSE(exit.ok()) << way;
    EXPECT_PRED_FORMAT2(IsSubstring, "ended with code 0 before its scenario had reached its end", worker.report());
  }
}

TEST(HarnessExit, IsNotOkWhenAForkedChildReturnedInTheWorkersPlace) {
  auto worker = SpawnWorker(HARNESS_WORKER, "let_a_child_return");
  EXPECT_EQ(worker.wait_for_exit(30s), (Exit{Exit::By::code, 0, false})) << worker.report();
  EXPECT_EQ(worker.errors(), "the child has returned\n");
}

TEST(HarnessExit, IsNotOkWhenTheWorkerCrashesAfterItsScenario) {
  auto worker = SpawnWorker(HARNESS_WORKER, "end_after_end");
  EXPECT_EQ(worker.wait_for_exit(30s), (Exit{Exit::By::signal, SIGTERM, true})) << worker.report();
  EXPECT_FALSE(worker.wait_for_exit(30s).ok());
}

TEST(HarnessExit, TellsAnUncaughtException) {
  auto worker = SpawnWorker(HARNESS_WORKER, "throw_exception");
  EXPECT_EQ(worker.wait_for_exit(30s), (Exit{Exit::By::code, 2, false})) << worker.report();
  EXPECT_PRED_FORMAT2(IsSubstring, "scenario throw_exception: uncaught exception: the detector is on fire",
                      worker.errors());

  auto other = SpawnWorker(HARNESS_WORKER, "throw_number");
  EXPECT_EQ(other.wait_for_exit(30s), (Exit{Exit::By::signal, SIGABRT, false})) << other.report();
}

TEST(HarnessExit, ListsTheScenariosWhenThereIsNoneOfThatName) {
  auto worker = SpawnWorker(HARNESS_WORKER, "no_such_scenario");
  EXPECT_EQ(worker.wait_for_exit(30s), (Exit{Exit::By::code, 3, false})) << worker.report();
  EXPECT_PRED_FORMAT2(IsSubstring, "unknown scenario 'no_such_scenario'\n", worker.errors());
  EXPECT_PRED_FORMAT2(IsSubstring, "\n  end_with_code\n", worker.errors());
}

TEST(HarnessExit, ComesAtTheDeadlineForAWorkerThatHangs) {
  for (const auto* scenario : {"hang", "hang_and_ignore_signals"}) {
    auto worker = SpawnWorkerWithReadySignal(HARNESS_WORKER, scenario);
    ASSERT_EQ(worker.wait_for_ready(30s), Ready::yes) << worker.report();
    const Watched process{worker.pid()};
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_EQ(worker.wait_for_exit(50ms), (Exit{Exit::By::deadline, SIGKILL, false})) << worker.report();
    EXPECT_GE(std::chrono::steady_clock::now() - begin, 50ms);
    EXPECT_FALSE(process.lives());
    EXPECT_PRED_FORMAT2(IsSubstring, "ran still at the deadline", worker.report());
    EXPECT_PRED_FORMAT2(IsSubstring, "thread " + std::to_string(worker.pid()) + ": state ", worker.report());
    EXPECT_EQ(worker.wait_for_exit(), (Exit{Exit::By::deadline, SIGKILL, false})) << "the answer stays";
  }
}

TEST(HarnessExit, ComesAtTheDeadlineForAStoppedWorker) {
  auto worker = SpawnWorkerWithReadySignal(HARNESS_WORKER, "hang");
  ASSERT_EQ(worker.wait_for_ready(30s), Ready::yes) << worker.report();
  worker.stop();
  EXPECT_EQ(worker.wait_for_exit(0s).by, Exit::By::deadline) << worker.report();
  EXPECT_PRED_FORMAT2(IsSubstring, ": state T", worker.report());
}

TEST(HarnessExit, TakesForkedProcessesAlongAtTheDeadline) {
  auto worker = SpawnWorkerWithReadySignal(HARNESS_WORKER, "hang_with_a_child");
  ASSERT_EQ(worker.wait_for_ready(30s), Ready::yes) << worker.report();
  const Watched child{std::stoll(worker.output())};
  ASSERT_TRUE(child.lives());
  EXPECT_EQ(worker.wait_for_exit(0s).by, Exit::By::deadline);
  EXPECT_TRUE(child.ends_within(30s));
}

TEST(HarnessExit, KeepsTenMegabytesOfEachStream) {
  constexpr std::size_t size = 10 << 20;
  auto worker = SpawnWorker(HARNESS_WORKER, "flood", {size});
  ExpectWorkerOk(worker);
  const auto output = worker.output(), errors = worker.errors();
  ASSERT_EQ(output.size(), size);
  ASSERT_EQ(errors.size(), size);
  for (std::size_t line = 0; line < size / 64; ++line) {
    ASSERT_EQ(std::stoul(output.substr(line * 64, 63)), line);
    ASSERT_EQ(std::stol(errors.substr(line * 64, 63)), -static_cast<long>(line));
  }
  const auto report = worker.report();
  EXPECT_LT(report.size(), 20000u) << "a report is for people";
  EXPECT_PRED_FORMAT2(IsSubstring, output.substr(size - 64), report) << "it shows the end of a stream";
}

TEST(HarnessExit, RefusesMoreOutputThanTheLimit) {
  auto worker = SpawnWorker(HARNESS_WORKER, "write_until_refused");
  ExpectWorkerOk(worker);
  EXPECT_EQ(worker.errors(), std::to_string(WorkerProcess::stream_limit) + ": " + std::to_string(EPERM) + "\n");
  EXPECT_EQ(worker.output().size(), WorkerProcess::stream_limit);
}

TEST(HarnessExit, KeepsTheLinesOfAKilledWorker) {
  auto worker = SpawnWorkerWithReadySignal(HARNESS_WORKER, "print_and_hang", {"one", "two"});
  ASSERT_EQ(worker.wait_for_ready(30s), Ready::yes) << worker.report();
  EXPECT_EQ(worker.output(), "one\ntwo\n") << "output can be read while the worker runs";
  worker.kill();
  EXPECT_EQ(worker.wait_for_exit(30s), (Exit{Exit::By::signal, SIGKILL, false}));
  EXPECT_EQ(worker.output(), "one\ntwo\n");
}

TEST(HarnessExit, ReportsWhatAPersonNeeds) {
  auto worker = SpawnWorkerWithReadySignal(HARNESS_WORKER, "print_and_hang", {"two words", "", "\x1b[2J", 4711});
  ASSERT_EQ(worker.wait_for_ready(30s), Ready::yes);
  EXPECT_PRED_FORMAT2(IsSubstring, "\n  it runs\n", worker.report());
  worker.kill();
  EXPECT_PRED_FORMAT2(IsSubstring, "was killed by signal 9 (Killed); it is not reaped yet\n", worker.report());
  (void)worker.wait_for_exit();
  EXPECT_EQ(worker.report(), "worker " + std::to_string(worker.pid()) + ": " + HARNESS_WORKER +
                                 " print_and_hang 'two words' '' '\\x1b[2J' 4711\n"
                                 "  it was killed by signal 9 (Killed)\n"
                                 "  ready signal: received\n"
                                 "  standard output, 21 bytes:\n"
                                 "  | two words\n"
                                 "  | \n"
                                 "  | \\x1b[2J\n"
                                 "  | 4711\n"
                                 "  standard error: empty\n");
}

TEST(HarnessExit, CannotBeLearntWhileChildrenAreIgnoredAndThatIsSaid) {
  auto worker = SpawnWorker(HARNESS_WORKER, "start_with_children_ignored");
  ExpectWorkerOk(worker);
  EXPECT_PRED_FORMAT2(IsSubstring, "this process ignores SIGCHLD", worker.output());
}

/// What ExpectWorkerOk adds to a test's results; returns the line of the call.
int failures_of(WorkerProcess& worker, holdfast::Deadline deadline, testing::TestPartResultArray& results) {
  const testing::ScopedFakeTestPartResultReporter reporter{
      testing::ScopedFakeTestPartResultReporter::INTERCEPT_ONLY_CURRENT_THREAD, &results};
  ExpectWorkerOk(worker, deadline);
  return __LINE__ - 1;
}

TEST(ExpectWorkerOk, FailsTheTestAtTheCallersLineWithTheReport) {
  auto code = SpawnWorker(HARNESS_WORKER, "end_with_code", {7});
  auto early = SpawnWorker(HARNESS_WORKER, "leave_early", {"exit"});
  auto crashed = SpawnWorker(HARNESS_WORKER, "end_by_signal", {SIGSEGV});
  auto lied = SpawnWorkerWithReadySignal(HARNESS_WORKER, "ready_and_dead");
  auto hangs = SpawnWorker(HARNESS_WORKER, "hang");
  for (auto* worker : {&code, &early, &crashed, &lied, &hangs}) {
    testing::TestPartResultArray results;
    const int line = failures_of(*worker, worker == &hangs ? 50ms : 30s, results);
    ASSERT_EQ(results.size(), 1) << worker->report();
    const auto& result = results.GetTestPartResult(0);
    EXPECT_EQ(result.type(), testing::TestPartResult::kNonFatalFailure);
    EXPECT_EQ(result.line_number(), line);
    EXPECT_STREQ(result.file_name(), __FILE__);
    EXPECT_PRED_FORMAT2(IsSubstring, worker->report(), result.message());
  }
}

TEST(ExpectWorkerOk, AddsNothingForAWorkerThatPassed) {
  auto worker = SpawnWorker(HARNESS_WORKER, "end_with_code", {0});
  testing::TestPartResultArray results;
  (void)failures_of(worker, 30s, results);
  EXPECT_EQ(results.size(), 0);
}
}  // namespace
