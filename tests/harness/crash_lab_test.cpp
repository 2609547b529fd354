// The crash lab finds out wrong protocols, whichever engine looks at them, and has nothing against right ones.
#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <string>

#include <holdfast/testing/crash_lab.hpp>
#include <holdfast/testing/gtest.hpp>
#include <holdfast/testing/temp_dir.hpp>

namespace {
using namespace holdfast::harness;
using namespace std::chrono_literals;
using testing::HasSubstr;

class CrashLab : public testing::TestWithParam<CrashEngine> {
 protected:
  using Words = std::array<std::uint64_t, 6>;

  void SetUp() override {
    prepare();
    try {
      static_cast<void>(run_crash_scenario(scenario("write_whole"), CrashEngine::steps));
    } catch (const holdfast::Error& error) {
      if (error.code() != std::errc::operation_not_permitted) throw;
      GTEST_SKIP() << "NOT TESTED: " << error.what();
    }
  }
  void prepare() const { std::ofstream{file_, std::ios::binary} << std::string(4096, '\0'); }
  [[nodiscard]] Words words() const {
    Words words{};
    std::ifstream{file_, std::ios::binary}.read(reinterpret_cast<char*>(words.data()), sizeof words);
    return words;
  }
  [[nodiscard]] CrashScenario scenario(const char* victim, const char* rescuer = nullptr) const {
    CrashScenario made{.name = victim,
                       .prepare = [this] { prepare(); },
                       .victim = starter(victim),
                       .judge = [] { return std::string{}; },
                       .images = [this] { return std::vector{file_}; }};
    if (rescuer != nullptr) made.rescuer = starter(rescuer);
    return made;
  }
  [[nodiscard]] CrashScenario::Start starter(const char* name) const {
    return [this, name](const WorkerOptions& options) {
      return SpawnWorkerWithReadySignal(CRASH_LAB_WORKER, name, {file_}, options);
    };
  }
  [[nodiscard]] CrashScenario torn() const {
    auto made = scenario("write_torn");
    made.judge = [this] { return words()[0] == words()[1] ? std::string{} : "torn"; };
    return made;
  }
  [[nodiscard]] CrashScenario whole() const {
    auto made = scenario("write_whole", "write_whole");
    made.judge = [this] {
      const auto now = words();
      const auto value = now[2 + now[4]];
      return value >= 1 && value <= 3 ? std::string{} : "it has " + std::to_string(value);
    };
    return made;
  }
  TempDir dir_;
  std::filesystem::path file_ = dir_ / "words";
};
INSTANTIATE_TEST_SUITE_P(, CrashLab,
                         testing::Values(CrashEngine::system_calls, CrashEngine::instructions, CrashEngine::steps,
                                         CrashEngine::images),
                         [](const testing::TestParamInfo<CrashEngine>& engine) {
                           std::string name{to_string(engine.param)};
                           std::replace(name.begin(), name.end(), ' ', '_');
                           return name;
                         });
}  // namespace

TEST_P(CrashLab, HasNothingAgainstAProtocolThatIsRight) {
  auto scenario = whole();
  const auto report = run_crash_scenario(scenario, GetParam());
  EXPECT_TRUE(report.ok()) << to_string(report);
  EXPECT_EQ(report.runs, report.points);
  EXPECT_EQ(report.recovery_ns.size(), report.runs);
}

TEST_P(CrashLab, FindsOutAProtocolThatIsTorn) {
  const auto report = run_crash_scenario(torn(), GetParam());
  EXPECT_FALSE(report.ok()) << to_string(report);
  ASSERT_FALSE(report.failures.empty());
  EXPECT_EQ(report.failures.front().what, "torn");
}

TEST_P(CrashLab, SaysWhenAVictimDoesNotDoItsPart) {
  for (const char* victim : {"exit_early", "no_region"}) {
    const auto report = run_crash_scenario(scenario(victim), GetParam());
    EXPECT_FALSE(report.ok()) << victim << ": " << to_string(report);
  }
}

TEST_P(CrashLab, SaysOfAVictimThatSomebodyElseKilledAtAnyInstantThatItEnded) {
  for (int run = 0; run < 100; ++run) {
    const auto report = run_crash_scenario(scenario("killed_on_its_way"), GetParam());
    ASSERT_FALSE(report.failures.empty());
    EXPECT_THAT(report.failures[0].what, HasSubstr("the victim ended inside its region"));
  }
}

using CrashLabRescues = CrashLab;
INSTANTIATE_TEST_SUITE_P(, CrashLabRescues, testing::Values(CrashEngine::steps),
                         [](const auto&) { return std::string{"steps"}; });

TEST_P(CrashLabRescues, EachKindOfRescueSucceedsWhereTheProtocolIsRight) {
  const auto report =
      run_crash_scenario(whole(), GetParam(), {.rescues = {std::begin(all_rescues), std::end(all_rescues)}});
  EXPECT_TRUE(report.ok()) << to_string(report);
  // by killed, a rescuer at each of three points
  EXPECT_EQ(report.runs, report.points * (std::size(all_rescues) + 2));
}

TEST_P(CrashLabRescues, AWedgeIsAFailureAndNoHang) {
  const auto report = run_crash_scenario(scenario("lock", "lock"), GetParam(), {.patience = 1s});
  ASSERT_EQ(report.failures.size(), 1U) << to_string(report);
  EXPECT_THAT(report.failures[0].where, HasSubstr("toy.locked"));
  EXPECT_THAT(report.failures[0].what, HasSubstr("a rescuer did not end well"));
}

// Whoever is to be killed on its way never gets there.
TEST_P(CrashLabRescues, AWedgeOfATracedRescuerIsAFailureAndNoHang) {
  for (const char* rescuer : {"lock", "lock_asleep"}) {
    auto wedged = scenario("lock", rescuer);
    const auto report = run_crash_scenario(wedged, GetParam(), {.rescues = {Rescue::killed}, .patience = 1s});
    ASSERT_EQ(report.failures.size(), 1U) << to_string(report);
    EXPECT_THAT(report.failures[0].where, HasSubstr("under its tracer"));
    EXPECT_THAT(report.failures[0].what, HasSubstr("it did not end well"));
  }
}

TEST_P(CrashLabRescues, AStepThatIsNeverReachedIsAFailure) {
  auto scenario = whole();
  scenario.steps = {"toy.written", "toy.unheard_of"};
  const auto report = run_crash_scenario(scenario, GetParam());
  ASSERT_EQ(report.failures.size(), 1U) << to_string(report);
  EXPECT_THAT(report.failures[0].what, HasSubstr("toy.unheard_of"));
}

TEST_P(CrashLabRescues, PlacesAndRecoveryTimesAreReported) {
  const auto report = run_crash_scenario(whole(), GetParam());
  EXPECT_EQ(report.places.at("toy.written").kills, 1U);
  EXPECT_EQ(report.places.at("toy.valid").kills, 1U);
  write_report(report, dir_ / "report");
  std::ifstream written{dir_ / "report"};
  const std::string text{std::istreambuf_iterator<char>{written}, {}};
  EXPECT_THAT(text, HasSubstr("scenario\twrite_whole\tsteps\t2\t2\t0\t"));
  EXPECT_THAT(text, HasSubstr("place\twrite_whole\tsteps\ttoy.written\t1\t0\n"));
}
