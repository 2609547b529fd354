// Fault injection finds out who does not look at what the system says, and has nothing against who does.
#include <gmock/gmock.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <holdfast/testing/fault_injection.hpp>
#include <holdfast/testing/gtest.hpp>

namespace {
using namespace holdfast::harness;
using namespace std::chrono_literals;
using testing::AllOf;
using testing::Contains;
using testing::Field;
using testing::HasSubstr;
using testing::Key;

class FaultInjection : public testing::Test {
 protected:
  void SetUp() override {
    try {
      static_cast<void>(run("right", {.at_most = 1}));
    } catch (const holdfast::Error& error) {
      if (error.code() != std::errc::operation_not_permitted) throw;
      GTEST_SKIP() << "NOT TESTED: " << error.what();
    }
  }
  [[nodiscard]] FaultReport run(const char* way, const FaultOptions& options = {}) const {
    const auto start = [this](const char* name) {
      return [this, name](const WorkerOptions& given) {
        return SpawnWorkerWithReadySignal(FAULT_WORKER, name, {file_}, given);
      };
    };
    FaultScenario scenario{.name = way, .prepare = [this] { std::filesystem::remove(file_); }, .worker = start(way)};
    scenario.judge = [this](const FaultOutcome& outcome) -> std::string {
      if (std::filesystem::exists(file_.string() + ".new")) return "something is left";
      std::ifstream file{file_};
      const std::string text{std::istreambuf_iterator<char>{file}, {}};
      return outcome.reported || text == "done\n" ? "" : "nothing was written, and nothing said";
    };
    return run_fault_scenario(scenario, options);
  }
  /// That fault is found, and this is said about it.
  static void expect_found(const FaultReport& report, const char* fault, const char* what) {
    EXPECT_THAT(report.failures,
                Contains(AllOf(Field(&CrashFailure::where, fault), Field(&CrashFailure::what, HasSubstr(what)))))
        << to_string(report);
  }
  TempDir dir_;
  std::filesystem::path file_ = dir_ / "note";
};
}  // namespace

TEST_F(FaultInjection, HasNothingAgainstWhoLooksAtEachResultAndTidiesUp) {
  const auto report = run("right");
  EXPECT_TRUE(report.ok()) << to_string(report);
  EXPECT_EQ(report.runs, report.faults);
  EXPECT_THAT(report.places, Contains(Key("write ENOSPC")));
  EXPECT_THAT(report.places, Contains(Key("openat EMFILE")));
  EXPECT_THAT(report.places, Contains(Key("close done, EIO")));
  EXPECT_EQ(report.places.at("write ENOSPC").reported, 1U);
  EXPECT_EQ(report.places.at("close done, EIO").reported, 0U);
  EXPECT_THAT(report.messages, Contains(Key(HasSubstr("No space left on device"))));
}

TEST_F(FaultInjection, FindsADescriptorThatIsLeftOpen) {
  expect_found(run("leaking"), "write#1=ENOSPC", "1 more: descriptor of");
}
TEST_F(FaultInjection, FindsASuccessWithoutItsWork) {
  expect_found(run("unchecked"), "write#1=ENOSPC", "nothing was written, and nothing said");
}
TEST_F(FaultInjection, FindsAnAbort) { expect_found(run("aborting"), "write#1=ENOSPC", "Aborted"); }
TEST_F(FaultInjection, FindsAnErrorWithoutWords) {
  expect_found(run("mumbling"), "openat#1=EACCES", "did not say why");
}
TEST_F(FaultInjection, FindsAHang) {
  expect_found(run("hanging", {.only = "write#1=ENOSPC", .patience = 2s}), "write#1=ENOSPC", "it hung");
}

TEST_F(FaultInjection, OneFaultIsRepeatedByItsName) {
  const auto report = run("unchecked", {.only = "write#1=EINTR"});
  EXPECT_EQ(report.runs, 1U);
  expect_found(report, "write#1=EINTR", "nothing was written, and nothing said");
  expect_found(run("unchecked", {.only = "write#7=EINTR"}), "write#7=EINTR", "there is no such fault");
}

TEST_F(FaultInjection, CallsThatAreSparedDoNotFail) {
  const auto report = run("unchecked", {.spared = {"write"}});
  EXPECT_TRUE(report.ok()) << to_string(report);
  EXPECT_THAT(report.places, Contains(Key("openat EMFILE")));
}
