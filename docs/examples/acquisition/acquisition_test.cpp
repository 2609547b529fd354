// acquisition_test.cpp - detector, display and recorder are killed and started again in the middle of a run: nothing is
// recorded twice, out of order or torn, and what is not recorded is told.
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <holdfast/testing/gtest.hpp>
#include <holdfast/testing/temp_dir.hpp>
#include <holdfast/testing/worker_process.hpp>

#include "frame.hpp"

using namespace holdfast;
using namespace holdfast::harness;
using namespace std::chrono_literals;

/// The last number that it has told after that word.
std::optional<std::uint64_t> told(const WorkerProcess& program, const std::string& word) {
  const auto output = program.output();
  const auto end = output.rfind('\n');
  const auto at = end == output.npos ? end : ('\n' + output.substr(0, end)).rfind('\n' + word + ' ');
  if (at == output.npos) return {};
  std::uint64_t number = 0;
  std::from_chars(output.data() + at + word.size() + 1, output.data() + end, number);
  return number;
}

/// Waits until it has told at least that number. False: it ended before, or has not in half a minute.
/// Looks again and again: these are programs as users have them, and what they print announces itself to nobody.
bool tells(const WorkerProcess& program, const std::string& word, std::uint64_t least) {
  for (const Deadline deadline{30s}; !deadline.passed(); std::this_thread::sleep_for(1ms)) {
    const bool runs = program.is_running();
    if (const auto number = told(program, word); number && *number >= least) return true;
    if (!runs) return false;
  }
  return false;
}

std::vector<SlotRange> gaps_in(const std::string& output) {
  std::vector<SlotRange> gaps;
  std::istringstream lines{output};
  for (std::string line; std::getline(lines, line);) {
    std::string missed, from, slot;
    SlotRange gap;
    if (std::istringstream{line} >> missed >> gap.count >> from >> slot >> gap.first && missed == "missed")
      gaps.push_back(gap);
  }
  return gaps;
}

bool is_whole(const Frame& frame) {
  for (std::size_t place = 0; place < frame.pixels.size(); ++place)
    if (frame.pixels[place] != pixel(frame.number, place)) return false;
  return true;
}

class Acquisition : public testing::Test {
 protected:
  [[nodiscard]] WorkerProcess start_detector() const { return SpawnWorker(DETECTOR, block); }
  [[nodiscard]] WorkerProcess start_display() const { return SpawnWorker(DISPLAY, block); }
  [[nodiscard]] WorkerProcess start_recorder(const std::string& file = "run") const {
    return SpawnWorker(RECORDER, block, {dir / file});
  }

  [[nodiscard]] std::vector<Record> recorded(const std::string& name = "run") const {
    std::vector<Record> records;
    std::ifstream file{dir / name, std::ios::binary};
    for (Record record{}; file.read(reinterpret_cast<char*>(&record), sizeof record);) records.push_back(record);
    return records;
  }

  const TempDir dir;
  const std::string block = "acquisition_test." + std::to_string(::getpid());
};

TEST_F(Acquisition, GoesOnWhoeverIsKilled) {
  auto detector = start_detector();
  auto display = start_display();
  auto recorder = start_recorder();
  ASSERT_TRUE(tells(display, "frame", 0)) << display.report();
  ASSERT_TRUE(tells(recorder, "recorded", 100)) << recorder.report();

  display.kill();
  const auto shown = told(display, "frame").value();
  display = start_display();
  ASSERT_TRUE(tells(display, "frame", shown + 1)) << display.report();

  detector.kill();
  const auto exposed = told(detector, "exposed").value();
  const auto killed = "taking over from process " + std::to_string(detector.pid()) + ' ';
  detector = start_detector();
  ASSERT_TRUE(tells(recorder, "recorded", exposed + 100)) << recorder.report() << detector.report();
  EXPECT_NE(detector.output().find(killed), std::string::npos) << detector.report();

  recorder.kill();
  EXPECT_TRUE(gaps_in(recorder.output()).empty()) << "a detector that dies leaves no hole: " << recorder.report();
  const auto last = recorded().back();
  ASSERT_TRUE(tells(detector, "exposed", last.frame.number + 3 * 64)) << "longer than the ring: " << detector.report();
  recorder = start_recorder();
  ASSERT_TRUE(tells(recorder, "recorded", last.frame.number + 4 * 64)) << recorder.report();

  ASSERT_EQ(::kill(static_cast<pid_t>(detector.pid()), SIGTERM), 0);
  for (auto* program : {&detector, &display, &recorder})
    EXPECT_EQ(program->wait_for_exit(30s), (Exit{Exit::By::code, 0})) << program->report();

  const auto records = recorded();
  const auto gaps = gaps_in(recorder.output());
  ASSERT_EQ(gaps.size(), 1U) << recorder.report();
  EXPECT_EQ(gaps[0].first, last.id + 1) << "from where its file ended";
  for (std::size_t i = 0; i < records.size(); ++i) {
    ASSERT_TRUE(is_whole(records[i].frame)) << "record " << i;
    if (i == 0) continue;
    const auto& before = records[i - 1];
    if (before.id == last.id) {
      EXPECT_EQ(gaps[0].first + gaps[0].count, records[i].id);
      EXPECT_LE(records[i].frame.number - before.frame.number - 1, gaps[0].count);
    } else {
      ASSERT_EQ(records[i].frame.number, before.frame.number + 1) << "record " << i;
    }
  }
  EXPECT_EQ(records.back().frame.number + 1, told(detector, "exposed")) << "up to the last one";
  EXPECT_NE(recorder.output().find(", 0 skipped, 0 in flight\n"), std::string::npos) << recorder.report();
  for (const auto& segment : SharedMemory::list()) EXPECT_NE(segment.name, block) << "left behind";
}

TEST_F(Acquisition, WhereAllWereKilledARunDoesNotGoOnInTheFileOfAnother) {
  {
    auto detector = start_detector();
    auto recorder = start_recorder();
    ASSERT_TRUE(tells(recorder, "recorded", 50)) << recorder.report();
    recorder.kill();
    detector.kill();
  }
  const auto before = recorded();
  auto detector = start_detector();
  ASSERT_TRUE(tells(detector, "exposed", before.size() + 100)) << "beyond where the file ended: " << detector.report();
  auto late = start_recorder();
  EXPECT_EQ(late.wait_for_exit(30s), (Exit{Exit::By::code, 1})) << late.report();
  EXPECT_NE(late.errors().find("another run"), std::string::npos) << late.report();
  EXPECT_EQ(recorded().size(), before.size());
  auto recorder = start_recorder("next run");
  ASSERT_TRUE(tells(recorder, "recorded", before.size() + 200)) << recorder.report();
  ASSERT_EQ(::kill(static_cast<pid_t>(detector.pid()), SIGTERM), 0);
  for (auto* program : {&detector, &recorder})
    EXPECT_EQ(program->wait_for_exit(30s), (Exit{Exit::By::code, 0})) << program->report();
  EXPECT_NE(recorded("next run").front().frame.run, before.front().frame.run);
}
