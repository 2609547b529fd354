// A user's test: one writer is killed half-way through a record, the next one is told and repairs.
#include <chrono>
#include <filesystem>

#include <gtest/gtest.h>

#include <holdfast/file_lock.hpp>
#include <holdfast/testing/gtest.hpp>
#include <holdfast/testing/temp_dir.hpp>
#include <holdfast/testing/worker_process.hpp>

namespace {
using namespace holdfast::harness;
using namespace std::chrono_literals;

TEST(RunLog, IsRepairedAfterItsWriterWasKilled) {
  const TempDir dir;
  auto writer = SpawnWorkerWithReadySignal(RUN_LOG_WORKER, "stop_half_way", {dir / "run.log"});
  ASSERT_EQ(writer.wait_for_ready(30s), Ready::yes) << writer.report();
  EXPECT_FALSE(holdfast::FileLock{dir / "run.log"}.try_lock()) << "the writer must hold the lock before it is killed";
  EXPECT_EQ(std::filesystem::file_size(dir / "run.log"), 4u) << "half a record is there";
  writer.kill();

  auto next = SpawnWorker(RUN_LOG_WORKER, "append_and_verify", {dir / "run.log", 20});
  ExpectWorkerOk(next);
  EXPECT_EQ(std::filesystem::file_size(dir / "run.log"), 20u * 8u);
}
}  // namespace
