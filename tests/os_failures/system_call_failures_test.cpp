// Each system call of the library fails in turn, with each errno that it may have: the work is done all the same, or one clear
// error says why not; nothing is left open, and whoever comes next finds everything usable and leaves nothing behind.
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>
#include <holdfast/holdfast.hpp>
#include <holdfast/testing/fault_injection.hpp>
#include <holdfast/testing/gtest.hpp>

#include "../crash_lab/thoroughness.hpp"

namespace {
namespace fs = std::filesystem;
using namespace holdfast::harness;

constexpr std::uint64_t usual_runs = 12;

struct Case {
  std::string work;                      ///< a scenario of the worker
  std::string next = work;               ///< what is done after it
  std::string held_by = {};              ///< who had it before, and was killed
  std::string used_by = {};              ///< who has it, and lives: nothing may be taken from him
  std::string made_by = {};              ///< who made it before, and has ended
  bool network_too = false;              ///< its calls may be done, and reported as failed
  std::vector<std::string> always = {};  ///< faults that are tried in each run: they have found something once
};
void PrintTo(const Case& of, std::ostream* out) { *out << of.work; }

class SystemCallFailures : public testing::TestWithParam<Case> {
 protected:
  SystemCallFailures() {
    // Through a link, so that one is followed.
    fs::create_directory_symlink(".", dir_ / "here");
    fs::create_symlink("run.h5", dir_ / "link");
  }
  void TearDown() override {
    if (user_) {
      user_->release();
      ExpectWorkerOk(*user_);
    }
    user_.reset();
    remove_segments();
  }

  [[nodiscard]] bool is_file_lock() const { return GetParam().work.starts_with("file_lock."); }
  [[nodiscard]] std::string where() const { return is_file_lock() ? (dir_ / "here" / "link").string() : segment_; }
  [[nodiscard]] FaultScenario::Start starter(const std::string& scenario) const {
    return [this, scenario](const WorkerOptions& options) {
      return SpawnWorkerWithReadySignal(FAILING_CALLS_WORKER, scenario, {where()}, options);
    };
  }
  void prepare() {
    if (user_ && user_->is_running()) return;
    remove_segments();
    if (!GetParam().used_by.empty()) {
      user_ = starter(GetParam().used_by)({});
      if (user_->wait_for_ready() != Ready::yes) throw std::runtime_error{user_->report()};
    }
    if (!GetParam().held_by.empty()) {
      auto holder = starter(GetParam().held_by)({});
      if (holder.wait_for_ready() != Ready::yes) throw std::runtime_error{holder.report()};
      holder.kill();
    }
    if (!GetParam().made_by.empty()) {
      auto maker = starter(GetParam().made_by)({});
      maker.release();
      if (!maker.wait_for_exit().ok()) throw std::runtime_error{maker.report()};
    }
  }
  void remove_segments() const {
    for (const auto& path : segments()) fs::remove(path);
  }
  [[nodiscard]] std::vector<fs::path> segments() const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator{"/dev/shm"})
      if (entry.path().filename().string().find(segment_) != std::string::npos) found.push_back(entry.path());
    return found;
  }
  [[nodiscard]] std::string judge(const FaultOutcome& outcome) const {
    std::string wrong;
    if (outcome.reported && !outcome.message.starts_with("cannot ") &&
        !(outcome.message == "std::bad_alloc" && outcome.fault.ends_with("ENOMEM")))
      wrong += "it does not say what it could not do: " + outcome.message + "\n";
    if (outcome.message.ends_with("File exists"))
      wrong += "it tells of names that are its own: " + outcome.message + "\n";
    if (user_) {
      if (!user_->is_running()) wrong += "its user has ended\n" + user_->report();
      if (!is_file_lock() && segments().empty()) wrong += "it was removed under its user\n";
      return wrong;
    }
    for (const auto& path : dir_.leftovers()) wrong += "left: " + path.string() + "\n";
    const bool may_stay = !GetParam().made_by.empty() || !GetParam().held_by.empty();
    if (!may_stay && GetParam().work != "segment.make_to_stay")
      for (const auto& path : segments()) wrong += "left: " + path.string() + "\n";
    return wrong;
  }

  TempDir dir_;
  std::optional<WorkerProcess> user_;
  std::string segment_ = "failing-calls-" + std::to_string(::getpid());
};

const char* value_of(const char* variable) {
  const char* const value = std::getenv(variable);  // NOLINT(concurrency-mt-unsafe)
  return value != nullptr ? value : "";
}

void expect_no_failures(const FaultScenario& scenario, const FaultOptions& options) {
  const auto report = run_fault_scenario(scenario, options);
  EXPECT_TRUE(report.ok()) << to_string(report)
                           << "\none of them again: HOLDFAST_TEST_FAULT=<it> system_call_failures_tests"
                           << " --gtest_filter='*/" << testing::UnitTest::GetInstance()->current_test_info()->name()
                           << "'";
  std::cout << to_string(report) << "\n";
  if (options.at_most == 0)
    for (const auto& [message, count] : report.messages) std::cout << "  " << count << " x " << message << "\n";
}
}  // namespace

/// HOLDFAST_TEST_STEPS=10 tries all of them; HOLDFAST_TEST_FAULT=<where a failure says it was> only that one.
TEST_P(SystemCallFailures, LeadToTheWorkDoneOrOneClearError) {
  FaultScenario scenario{.name = GetParam().work,
                         .prepare = [this] { prepare(); },
                         .worker = starter(GetParam().work),
                         .next = starter(GetParam().next),
                         .judge = [this](const FaultOutcome& outcome) { return judge(outcome); }};
  const auto times = holdfast::test::thoroughness();
  FaultOptions options{.done_as_well = GetParam().network_too,
                       .at_most = times > 1 ? 0 : usual_runs,
                       .seed = holdfast::test::seed_of_this_run(),
                       .only = value_of("HOLDFAST_TEST_FAULT")};
  try {
    expect_no_failures(scenario, options);
    options.at_most = 1;
    if (options.only.empty() && times == 1)
      for (const auto& fault : GetParam().always) {
        options.only = fault;
        expect_no_failures(scenario, options);
      }
  } catch (const holdfast::Error& error) {
    if (error.code() != std::errc::operation_not_permitted) throw;
    GTEST_SKIP() << "NOT TESTED: " << error.what();
  }
}

INSTANTIATE_TEST_SUITE_P(
    , SystemCallFailures,
    testing::Values(
        Case{.work = "file_lock.lock",
             .network_too = true,
             .always = {"readlinkat#1=EIO", "readlinkat#1=EACCES", "mknodat#1=done:EEXIST"}},
        Case{.work = "file_lock.lock_twice", .network_too = true}, Case{.work = "file_lock.lock_unfairly"},
        Case{.work = "file_lock.try", .network_too = true}, Case{.work = "file_lock.leave"},
        Case{.work = "file_lock.busy"}, Case{.work = "file_lock.wait", .network_too = true},
        Case{.work = "file_lock.reclaim",
             .next = "file_lock.lock_anyway",
             .held_by = "file_lock.hold",
             .network_too = true,
             .always = {"read#4=EIO"}},
        Case{.work = "file_lock.held", .used_by = "file_lock.hold"},
        Case{.work = "segment.create_used", .used_by = "segment.hold"},
        Case{.work = "segment.remove_used", .used_by = "segment.hold"},
        Case{.work = "mutex.busy", .used_by = "mutex.hold"}, Case{.work = "block.write_used", .used_by = "block.hold"},
        Case{.work = "segment.create"}, Case{.work = "segment.create_or_attach"},
        Case{.work = "segment.create_anonymous"}, Case{.work = "segment.attach", .made_by = "segment.make_to_stay"},
        Case{.work = "segment.attach_read_only", .made_by = "segment.make_to_stay"},
        Case{.work = "segment.make_to_stay"},
        Case{.work = "segment.remove", .next = "segment.remove_anyway", .made_by = "segment.make_to_stay"},
        Case{.work = "segment.list", .made_by = "segment.make_to_stay"},
        Case{.work = "segment.create", .held_by = "segment.hold"}, Case{.work = "mutex.lock"},
        Case{.work = "mutex.lock_in_segment", .made_by = "segment.make_to_stay"}, Case{.work = "mutex.wait"},
        Case{.work = "mutex.recover", .next = "mutex.lock_anyway", .held_by = "mutex.hold"},
        Case{.work = "block.create"}, Case{.work = "block.write", .made_by = "block.make"},
        Case{.work = "block.wait_for_room", .made_by = "block.make"},
        Case{.work = "block.read", .made_by = "block.make"},
        Case{.work = "block.read_in_group", .made_by = "block.make"},
        Case{.work = "block.poll", .made_by = "block.make", .always = {"eventfd2#1=EMFILE", "clone3#1=EAGAIN"}},
        Case{.work = "block.look", .made_by = "block.make"},
        Case{.work = "block.reclaim", .next = "block.write", .held_by = "block.hold"}),
    [](const testing::TestParamInfo<Case>& tested) {
      auto name = tested.param.work + (tested.param.held_by.empty() ? "" : ".after_a_death");
      std::replace(name.begin(), name.end(), '.', '_');
      return name;
    });
