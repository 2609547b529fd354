// spool_test.cpp - what spool.hpp promises, proved with processes that are killed and that race.
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <holdfast/testing/gtest.hpp>
#include <holdfast/testing/temp_dir.hpp>
#include <holdfast/testing/worker_process.hpp>

#include "spool.hpp"

using namespace holdfast::harness;
using namespace std::chrono_literals;

std::string contents(const std::filesystem::path& file) {
  std::string text;
  std::ifstream{file} >> text;
  return text;
}

TEST(Spool, ShowsNothingOfAWriterThatWasKilledHalfWay) {
  const TempDir box;
  auto writer = SpawnWorkerWithReadySignal(SPOOL_WORKER, "stop_half_way", {box.path()});
  ASSERT_EQ(writer.wait_for_ready(30s), Ready::yes) << writer.report();  // its draft is written
  writer.kill();
  EXPECT_FALSE(std::filesystem::exists(box / "run"));
  EXPECT_TRUE(deliver(box.path(), "run", "complete")) << "the dead one is in nobody's way";
  EXPECT_EQ(contents(box / "run"), "complete");
}

TEST(Spool, HasOneWinnerAmongTenThatDeliverAtOnce) {
  const TempDir box;
  std::vector<WorkerProcess> writers;
  for (int i = 0; i < 10; ++i) writers.push_back(SpawnWorkerWithReadySignal(SPOOL_WORKER, "race", {box.path(), i}));
  for (auto& writer : writers) ASSERT_EQ(writer.wait_for_ready(30s), Ready::yes) << writer.report();
  ReleaseTogether(writers);
  ExpectWorkersOk(writers);

  std::string winners;
  for (std::size_t i = 0; i < writers.size(); ++i)
    if (writers[i].output() == "won") winners += std::to_string(i);
  EXPECT_EQ(winners, contents(box / "run")) << "one winner, and it is his text that stands there";
}
