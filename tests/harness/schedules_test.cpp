// All orders of steps are run; an order in which something goes wrong is found, told, and replayed.
#include <gmock/gmock.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>

#include <holdfast/testing/gtest.hpp>
#include <holdfast/testing/schedules.hpp>
#include <holdfast/testing/temp_dir.hpp>

namespace {
using namespace holdfast::harness;
using namespace std::chrono_literals;
using testing::HasSubstr;

class Schedules : public testing::Test {
 protected:
  void SetUp() override {
    try {
      static_cast<void>(explore_schedules(counters("count_atomically", 2), {.at_most = 1}));
    } catch (const holdfast::Error& error) {
      if (error.code() != std::errc::operation_not_permitted) throw;
      GTEST_SKIP() << "NOT TESTED: " << error.what();
    }
  }
  [[nodiscard]] std::uint64_t counter() const {
    std::uint64_t number = 0;
    std::ifstream{file_, std::ios::binary}.read(reinterpret_cast<char*>(&number), sizeof number);
    return number;
  }
  [[nodiscard]] ScheduleScenario counters(const char* worker, std::uint64_t count) const {
    ScheduleScenario made{
        .name = worker,
        .prepare =
            [this] {
              std::ofstream{file_, std::ios::binary} << std::string(4096, '\0');
            },
        .actors = {},
        .judge = [this, count] { return counter() == count ? std::string{} : "counted " + std::to_string(counter()); }};
    for (std::uint64_t i = 0; i < count; ++i)
      made.actors.emplace_back([this, worker](const WorkerOptions& options) {
        return SpawnWorkerWithReadySignal(CRASH_LAB_WORKER, worker, {file_}, options);
      });
    return made;
  }
  TempDir dir_;
  std::filesystem::path file_ = dir_ / "words";
};
}  // namespace

TEST_F(Schedules, AreAllOrdersUpToTheDepth) {
  const auto two = explore_schedules(counters("count_atomically", 2), {.depth = 4});
  EXPECT_TRUE(two.ok()) << to_string(two);
  EXPECT_EQ(two.runs, 16U);
  EXPECT_EQ(two.steps, two.runs * 4);
  const auto three = explore_schedules(counters("count_atomically", 3), {.depth = 3, .random_runs = 5});
  EXPECT_TRUE(three.ok()) << to_string(three);
  EXPECT_EQ(three.runs, 27U + 5U);
}

TEST_F(Schedules, FindALostUpdateAndSayHowToReplayIt) {
  const auto report = explore_schedules(counters("count", 2), {.depth = 2});
  ASSERT_FALSE(report.failures.empty());
  EXPECT_THAT(report.failures.front().where, HasSubstr("HOLDFAST_SCHEDULE=ab"));
  EXPECT_EQ(report.failures.front().what, "counted 1");

  ASSERT_EQ(::setenv("HOLDFAST_SCHEDULE", "ab", 1), 0);
  const auto again = explore_schedules(counters("count", 2));
  ASSERT_EQ(::setenv("HOLDFAST_SCHEDULE", "aabb", 1), 0);
  const auto right = explore_schedules(counters("count", 2));
  ::unsetenv("HOLDFAST_SCHEDULE");
  EXPECT_EQ(again.failures.size(), 1U);
  EXPECT_EQ(again.runs, 1U);
  EXPECT_TRUE(right.ok()) << to_string(right);
}

TEST_F(Schedules, KillWhoIsTold) {
  auto killed = counters("count", 2);
  killed.judge = [this] { return counter() == 1 ? std::string{} : "counted " + std::to_string(counter()); };
  ASSERT_EQ(::setenv("HOLDFAST_SCHEDULE", "aAbb", 1), 0);
  const auto report = explore_schedules(killed, {.kills = 1});
  ::unsetenv("HOLDFAST_SCHEDULE");
  EXPECT_TRUE(report.ok()) << to_string(report);
  // Everybody once, at each place: words without a kill, and with one.
  killed.judge = [] { return std::string{}; };
  EXPECT_EQ(explore_schedules(killed, {.depth = 2, .kills = 1}).runs, 4U + 2 * 4U);
}

TEST_F(Schedules, AWedgeIsAFailureAndNoHang) {
  auto lock = counters("lock", 2);
  lock.judge = [] { return std::string{}; };
  EXPECT_TRUE(explore_schedules(lock, {.depth = 3}).ok());
  ASSERT_EQ(::setenv("HOLDFAST_SCHEDULE", "aA", 1), 0);
  const auto report = explore_schedules(lock, {.kills = 1, .patience = 1s});
  ::unsetenv("HOLDFAST_SCHEDULE");
  ASSERT_EQ(report.failures.size(), 1U) << to_string(report);
  EXPECT_THAT(report.failures.front().what, HasSubstr("did not end well"));
}
