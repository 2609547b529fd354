// Proves H4: no worker outlives its test, whatever ends the test; and the end of a thread is not the end of the test.
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <optional>
#include <string>
#include <thread>

#include <holdfast/testing/gtest.hpp>
#include <holdfast/testing/worker_process.hpp>

#include "watched.hpp"

namespace {
using namespace holdfast::harness;
using namespace std::chrono_literals;

/// A worker that has started a worker: `how` it lives, and which end its parent will come to.
struct Family {
  WorkerProcess parent;
  Watched child;
};
std::optional<Family> start_family(const char* how, const char* end) {
  // LeakSanitizer needs a process of its own, which one that has left its PID namespace for its children cannot have.
  const WorkerOptions options{.environment = {{"LSAN_OPTIONS", "detect_leaks=0"}}};
  auto parent = SpawnWorkerWithReadySignal(HARNESS_WORKER, "be_a_parent", {how, end}, options);
  if (parent.wait_for_ready(60s) == Ready::yes) {
    Watched child{std::stoll(parent.output())};
    EXPECT_TRUE(child.lives()) << "it must live before its parent ends";
    return Family{std::move(parent), std::move(child)};
  }
  EXPECT_EQ(parent.wait_for_exit(30s).value, 77) << parent.report();
  return std::nullopt;
}

class HarnessOrphan : public testing::TestWithParam<const char*> {};

TEST_P(HarnessOrphan, EndsWhenItsParentIsKilled) {
  auto family = start_family(GetParam(), "hang");
  if (!family) GTEST_SKIP() << "NOT TESTED: this machine does not permit " << GetParam();
  family->parent.kill();
  EXPECT_TRUE(family->child.ends_within(30s));
}

TEST_P(HarnessOrphan, EndsWhenItsParentLeavesWithoutDestructors) {
  auto family = start_family(GetParam(), "exit");
  if (!family) GTEST_SKIP() << "NOT TESTED: this machine does not permit " << GetParam();
  family->parent.release();
  EXPECT_EQ(family->parent.wait_for_exit(30s), (Exit{Exit::By::code, 0, false}));
  EXPECT_TRUE(family->child.ends_within(30s));
}

TEST_P(HarnessOrphan, EndsWithItsWorkerProcess) {
  auto family = start_family(GetParam(), "return");
  if (!family) GTEST_SKIP() << "NOT TESTED: this machine does not permit " << GetParam();
  family->parent.release();
  ExpectWorkerOk(family->parent);
  EXPECT_TRUE(family->child.ends_within(30s));
}

INSTANTIATE_TEST_SUITE_P(Kinds, HarnessOrphan,
                         testing::Values("plain", "waiting", "stopped", "program", "child", "other_user",
                                         "own_namespace"),
                         [](const auto& kind) { return std::string{kind.param}; });

TEST(HarnessThread, MayEndWhileItsWorkersLive) {
  std::optional<WorkerProcess> worker;
  std::thread{[&] { worker = SpawnWorkerWithReadySignal(HARNESS_WORKER, "wait_twice"); }}.join();
  ASSERT_EQ(worker->wait_for_ready(30s), Ready::yes) << worker->report();
  worker->release();
  worker->release();
  ExpectWorkerOk(*worker);
  EXPECT_EQ(worker->output(), "waiting for the first\nwaiting for the second\nreleased\n");
}

TEST(HarnessDestructor, KillsAndReaps) {
  std::optional<Watched> process;
  {
    auto worker = SpawnWorkerWithReadySignal(HARNESS_WORKER, "hang_and_ignore_signals");
    ASSERT_EQ(worker.wait_for_ready(30s), Ready::yes) << worker.report();
    process.emplace(worker.pid());
    ASSERT_TRUE(process->lives());
  }
  EXPECT_FALSE(process->lives());
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "no zombie is left";
}

TEST(HarnessDestructor, EndsWhatAWorkerLeftBehind) {
  std::optional<Watched> child;
  {
    auto worker = SpawnWorker(HARNESS_WORKER, "leave_a_child");
    ExpectWorkerOk(worker);
    child.emplace(std::stoll(worker.output()));
    EXPECT_TRUE(child->lives()) << "it outlives its worker, as a test may want";
  }
  EXPECT_TRUE(child->ends_within(30s));
}

TEST(HarnessDestructor, EndsARunningWorkersChildWhileAForkedProcessHasCopiesOfTheChannels) {
  std::optional<Watched> child;
  pid_t bystander = 0;
  {
    auto worker = SpawnWorkerWithReadySignal(HARNESS_WORKER, "hang_with_a_child");
    ASSERT_EQ(worker.wait_for_ready(30s), Ready::yes) << worker.report();
    child.emplace(std::stoll(worker.output()));
    bystander = ::fork();
    if (bystander == 0)
      for (;;) ::pause();
    EXPECT_TRUE(child->lives());
  }
  EXPECT_TRUE(child->ends_within(30s));
  ::kill(bystander, SIGKILL);
  ::waitpid(bystander, nullptr, 0);
}

TEST(HarnessDestructor, LeavesTheWorkerAloneInAForkedChild) {
  auto worker = SpawnWorkerWithReadySignal(HARNESS_WORKER, "ready_and_released");
  ASSERT_EQ(worker.wait_for_ready(30s), Ready::yes) << worker.report();
  const auto child = ::fork();
  if (child == 0) {
    { const WorkerProcess destroyed = std::move(worker); }
    ::_exit(0);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  worker.release();
  ExpectWorkerOk(worker);
}

TEST(HarnessMove, KeepsTheWorkerAndEndsTheOneReplaced) {
  auto first = SpawnWorkerWithReadySignal(HARNESS_WORKER, "ready_and_released");
  auto second = SpawnWorkerWithReadySignal(HARNESS_WORKER, "ready_and_released");
  ASSERT_EQ(second.wait_for_ready(30s), Ready::yes) << second.report();
  const Watched replaced{first.pid()};
  const auto pid = second.pid();
  first = std::move(second);
  EXPECT_FALSE(replaced.lives());
  EXPECT_EQ(first.pid(), pid);
  EXPECT_EQ(second.pid(), 0);                                   // NOLINT(bugprone-use-after-move)
  EXPECT_THROW((void)second.wait_for_exit(), holdfast::Error);  // NOLINT(bugprone-use-after-move)
  first.release();
  ExpectWorkerOk(first);
}
}  // namespace
