// The exclusion suite is to be believed only because it rejects locks that do not exclude: the naive lock, by which one of
// fifty increments is lost here each time, and a lock that does nothing. And it accepts one that is known to be right.
#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>
#include <holdfast/testing/gtest.hpp>

#include "counter_file.hpp"
#include "exclusion_suite.hpp"
#include "wait_until.hpp"

namespace {
using namespace holdfast::test;
using namespace std::chrono_literals;
using holdfast::harness::Event;
using holdfast::harness::ExpectWorkerOk;
using holdfast::harness::Journal;
using holdfast::harness::Ready;
using holdfast::harness::SpawnWorker;
using holdfast::harness::SpawnWorkerWithReadySignal;
using holdfast::harness::TempDir;
using holdfast::harness::WorkerOptions;
using holdfast::harness::WorkerProcess;
namespace fs = std::filesystem;

/// Runs until a wrong lock is caught. Each round alone catches it nearly always; that none of so many does is not to be
/// expected in the life of the universe.
constexpr int rounds_until_caught = 40;

/// Processes that go through chosen steps in the order that a test writes down.
class Interleaving : public testing::Test {
 protected:
  void begin(const std::string& kind, std::uint32_t processes, std::uint32_t increments) {
    contention_ = {.kind = kind, .processes = processes, .increments = increments};
    CounterFile{dir_ / "counter"}.create();
    (void)Journal::create(dir_ / "journal", std::size_t{processes} * increments * 3 + 1);
  }
  /// A started process that halts at these gates.
  WorkerProcess start(std::uint32_t who, const std::string& gates) {
    auto arguments = arguments_for(dir_.path(), contention_, who);
    arguments.gates = gates;
    auto worker = SpawnWorkerWithReadySignal(CONTENDER_WORKER, "increment", arguments.pack());
    EXPECT_EQ(worker.wait_for_ready(), Ready::yes) << worker.report();
    worker.release();
    return worker;
  }
  static void expect_reached(const WorkerProcess& worker, const std::string& gate) {
    ASSERT_TRUE(wait_for_output(worker, "reached " + gate + "\n")) << worker.report();
  }
  [[nodiscard]] Verdict verdict() const {
    Verdict verdict;
    verdict.expected = std::uint64_t{contention_.processes} * contention_.increments;
    judge(verdict, dir_.path());
    return verdict;
  }
  [[nodiscard]] static bool has(const Verdict& verdict, std::string_view finding) {
    for (const auto& text : verdict.findings)
      if (text == finding) return true;
    return false;
  }

  TempDir dir_;
  Contention contention_;
};

// 5 processes with 10 increments each, all reported as done, and the counter says 49. Nobody was killed.
TEST_F(Interleaving, NaiveLockLosesOneOfFiftyBecauseANewLockHasNoPidYet) {
  begin("naive", 5, 10);
  auto a = start(0, "made_directory,inside,outside");
  ASSERT_NO_FATAL_FAILURE(expect_reached(a, "made_directory"));  // A owns the lock; its pid is not there yet
  auto b = start(1, "judged_stale,inside");
  ASSERT_NO_FATAL_FAILURE(expect_reached(b, "judged_stale"));  // B takes it for the lock of a dead process
  a.release();
  ASSERT_NO_FATAL_FAILURE(expect_reached(a, "inside"));  // A has read 0
  b.release();
  ASSERT_NO_FATAL_FAILURE(expect_reached(b, "inside"));  // B removed A's lock, made its own, and has read 0 as well
  a.release();
  ASSERT_NO_FATAL_FAILURE(expect_reached(a, "outside"));  // A wrote 1
  b.release();
  ExpectWorkerOk(b);  // B wrote 1, then went on to 10
  a.release();
  ExpectWorkerOk(a);  // A went on to 19
  for (std::uint32_t who = 2; who < 5; ++who) {
    auto other = start(who, "-");
    ExpectWorkerOk(other);
  }

  const auto verdict = this->verdict();
  EXPECT_EQ(verdict.counted, 49U);
  EXPECT_EQ(verdict.history.acquisitions, 50U) << "every operation was a success, by its own report";
  EXPECT_EQ(verdict.history.overlaps, 1U);
  EXPECT_TRUE(has(verdict, "counter 49 instead of 50")) << verdict;
  EXPECT_TRUE(has(verdict, "1 overlapping owners")) << verdict;
}

// Waiting for the pid does not help: the removal names the path, not the dead owner that was found there.
TEST_F(Interleaving, NaiveLockWithGraceHasTwoRescuersOfOneDeadOwnerInside) {
  begin("naive_with_grace", 2, 1);
  auto owner = SpawnWorkerWithReadySignal(CONTENDER_WORKER, "hold", arguments_for(dir_.path(), contention_, 9).pack());
  ASSERT_EQ(owner.wait_for_ready(), Ready::yes) << owner.report();
  owner.kill();
  (void)owner.wait_for_exit();  // reaped: to the naive lock a zombie is alive

  auto b = start(0, "judged_stale,inside");
  auto c = start(1, "judged_stale,inside");
  ASSERT_NO_FATAL_FAILURE(expect_reached(b, "judged_stale"));
  ASSERT_NO_FATAL_FAILURE(expect_reached(c, "judged_stale"));
  b.release();
  ASSERT_NO_FATAL_FAILURE(expect_reached(b, "inside"));
  c.release();
  ASSERT_NO_FATAL_FAILURE(expect_reached(c, "inside"));  // C has removed the lock of B
  b.release();
  ExpectWorkerOk(b);
  c.release();
  ExpectWorkerOk(c);

  const auto verdict = this->verdict();
  EXPECT_EQ(verdict.counted, 1U);
  EXPECT_EQ(verdict.history.overlaps, 1U);
  EXPECT_FALSE(verdict.ok());
}

TEST_F(Interleaving, ALockThatDoesNothingLetsTwoIn) {
  begin("nothing", 2, 1);
  auto a = start(0, "inside");
  auto b = start(1, "inside");
  ASSERT_NO_FATAL_FAILURE(expect_reached(a, "inside"));
  ASSERT_NO_FATAL_FAILURE(expect_reached(b, "inside"));
  a.release();
  ExpectWorkerOk(a);
  b.release();
  ExpectWorkerOk(b);
  const auto verdict = this->verdict();
  EXPECT_EQ(verdict.counted, 1U);
  EXPECT_TRUE(has(verdict, "1 overlapping owners")) << verdict;
}

bool is_caught(const Verdict& verdict) {
  return !verdict.ok() && (verdict.history.overlaps != 0 || verdict.counted < verdict.expected);
}

class ExclusionSuite : public testing::Test {
 protected:
  /// The round in which the suite rejects it, 0 if never.
  template <class Run>
  int caught_in_round(Run run) {
    for (int round = 1; round <= rounds_until_caught; ++round)
      if (is_caught(run(dir_ / std::to_string(round)))) return round;
    return 0;
  }
  TempDir dir_;
};

TEST_F(ExclusionSuite, RejectsTheNaiveLock) {
  dir_.allow_leftovers();
  const int round = caught_in_round([](const fs::path& directory) {
    return contend(directory, {.kind = "naive", .hostility = {150, 4000}});
  });
  EXPECT_GT(round, 0) << "a lock that is known to be wrong was accepted";
  RecordProperty("caught_in_round", round);
}

TEST_F(ExclusionSuite, RejectsALockThatDoesNothing) {
  EXPECT_EQ(second_contender_says(dir_.path(), "nothing"), "locked");
  EXPECT_GT(caught_in_round([](const fs::path& directory) { return contend(directory, {.kind = "nothing"}); }), 0);
}

TEST_F(ExclusionSuite, RejectsALockThatDoesNothingInOneProcess) {
  EXPECT_GT(
      caught_in_round([](const fs::path& directory) { return contend_threads(directory, {.kind = "nothing"}, true); }),
      0);
}

// The hostile scheduler can be put in front of any program; nobody is stopped who did not ask for it.
TEST_F(ExclusionSuite, HostileSchedulerStandsInFrontOfTheWorkers) {
  (void)Journal::create(dir_ / "journal", 1'000'000);
  for (const bool hostile : {true, false}) {
    WorkerOptions options;
    options.environment["HOSTILE_SCHEDULE"] = hostile ? std::optional<std::string>{"1 1000 10"} : std::nullopt;
    auto worker = SpawnWorker(CONTENDER_WORKER, "churn_until_released",
                              arguments_for(dir_.path(), {.kind = "naive"}, 1).pack(), options);
    worker.release();
    ExpectWorkerOk(worker);
    EXPECT_EQ(worker.output() == "stops 0\n", !hostile) << worker.report();
  }
}

TEST_F(ExclusionSuite, AcceptsTheLockOfTheKernel) {
  EXPECT_EQ(second_contender_says(dir_.path(), "flock"), "busy");
  const auto plain = contend(dir_ / "plain", {.kind = "flock"});
  EXPECT_TRUE(plain.ok()) << plain;
  const auto hostile = contend(dir_ / "hostile", {.kind = "flock", .hostility = {150, 4000}});
  EXPECT_TRUE(hostile.ok()) << hostile;
  const auto inside = contend_threads(dir_ / "inside", {.kind = "flock"}, false);
  EXPECT_TRUE(inside.ok()) << inside;
}
}  // namespace
