// Containers: processes in different PID namespaces may bear the same pid, and the kernel compares thread ids to tell who owns a
// robust mutex, and who died with it. A DataBlockMutex is refused to all but those of the namespace in which it was made.
#include <gtest/gtest.h>

#include <string>
#include <vector>
#include <holdfast/data_block_mutex.hpp>

#include "../workers/data_block_mutex_workers.hpp"

namespace {
using holdfast::DataBlockMutex;
using holdfast::errc;
using holdfast::harness::Argument;
using holdfast::harness::Exit;
using holdfast::harness::ExpectWorkerOk;
using holdfast::harness::SpawnWorker;
using holdfast::harness::WorkerProcess;
using holdfast::test::code_of;
using holdfast::test::DataBlockMutexTest;

class DataBlockMutexNamespaces : public DataBlockMutexTest {
 protected:
  void SetUp() override {
    auto worker = SpawnWorker(DATA_BLOCK_MUTEX_WORKER, "under", {"pid", "mounts", "proc", "--", "nothing"});
    const auto exit = worker.wait_for_exit();
    constexpr int not_permitted_here = 77;
    if (exit.by == Exit::By::code && exit.value == not_permitted_here)
      GTEST_SKIP() << "NOT TESTED: " << worker.errors();
    ExpectWorkerOk(worker);
  }
  /// Uses the mutex as process 1 of a PID namespace of its own.
  [[nodiscard]] WorkerProcess spawn_first_of_a_namespace(std::vector<Argument> steps = {"pid", "mounts",
                                                                                        "proc"}) const {
    steps.insert(steps.end(), {"--", "use", segment_.name()});
    return holdfast::test::start_mutex_worker("under", std::move(steps));
  }
  static void expect_refused(const WorkerProcess& worker) {
    const auto code = make_error_code(errc::other_pid_namespace);
    const auto words = "pid 1, error holdfast:" + std::to_string(code.value()) + ": ";
    EXPECT_TRUE(worker.output().starts_with(words)) << worker.report();
  }
};

TEST_F(DataBlockMutexNamespaces, OfTwoThatAreBothProcessOneTheSecondIsRefused) {
  auto first = spawn_first_of_a_namespace();
  ASSERT_EQ(first.output(), "pid 1, attached\nlocked\n") << first.report();
  auto second = spawn_first_of_a_namespace();
  expect_refused(second);
  auto third = spawn_first_of_a_namespace({"pid"});  // sees its parent's /proc
  expect_refused(third);
  EXPECT_EQ(code_of([&] { static_cast<void>(open()); }), errc::other_pid_namespace) << "nor does this process get it";
  finish(second);
  finish(third);
  EXPECT_EQ(first.output(), "pid 1, attached\nlocked\n") << "it is as it was";
  finish(first);
}

TEST_F(DataBlockMutexNamespaces, OneMadeOutsideIsRefusedInside) {
  auto mutex = open();
  mutex.lock();
  auto inside = spawn_first_of_a_namespace();
  expect_refused(inside);
  EXPECT_TRUE(mutex.owns_lock());
  mutex.unlock();
  finish(inside);
  EXPECT_EQ(mutex.lock(), holdfast::LockOutcome::clean);
  mutex.unlock();
}
}  // namespace
