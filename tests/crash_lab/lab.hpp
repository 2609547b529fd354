// lab.hpp - what the tests of the crash lab share: the runs of a scenario, and what the journal says of each.
#pragma once
#include <algorithm>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>
#include <holdfast/testing/crash_lab.hpp>
#include <holdfast/testing/gtest.hpp>
#include <holdfast/testing/schedules.hpp>
#include <holdfast/testing/temp_dir.hpp>
#include <holdfast/testing/worker_process.hpp>

#include "section.hpp"
#include "thoroughness.hpp"

namespace crash_lab {
using holdfast::harness::check_history;
using holdfast::harness::CrashEngine;
using holdfast::harness::CrashOptions;
using holdfast::harness::CrashReport;
using holdfast::harness::CrashScenario;
using holdfast::harness::Ready;
using holdfast::harness::Rescue;
using holdfast::harness::run_crash_scenario;
using holdfast::harness::SpawnWorkerWithReadySignal;
using holdfast::harness::TempDir;
using holdfast::harness::WorkerOptions;
using holdfast::harness::WorkerProcess;

using holdfast::test::seed_of_this_run;
using holdfast::test::thoroughness;

/// One engine, all kinds of rescue; `each` of them at so many points, 0: at all. Fails with what the lab says, and tells what it
/// did. False: nothing could be done here.
inline bool expect_rescued(const CrashScenario& scenario, CrashEngine engine, std::uint64_t each,
                           const std::vector<Rescue>& rescues, std::uint64_t rescuer_points = 2) {
  CrashReport report;
  try {
    report = run_crash_scenario(scenario, engine,
                                {.rescues = rescues,
                                 .at_most = each * thoroughness(),
                                 .rescuer_points = rescuer_points * thoroughness(),
                                 .seed = seed_of_this_run()});
  } catch (const holdfast::Error& error) {
    if (error.code() == std::errc::operation_not_permitted) {
      [&] { GTEST_SKIP() << "NOT TESTED: " << error.what(); }();
      return false;
    }
    throw;
  }
  EXPECT_TRUE(report.ok()) << "seed " << seed_of_this_run() << "\n" << to_string(report);
  std::cout << to_string(report) << "\n";
  for (const auto& [place, kills] : report.places) std::cout << "  " << place << ": " << kills.kills << " kills\n";
  return true;
}
inline std::vector<Rescue> all_rescues() {
  return {std::begin(holdfast::harness::all_rescues), std::end(holdfast::harness::all_rescues)};
}
/// Kills at system calls: rescue after each of them, or `after` of them, and the other kinds of rescue at some.
inline void expect_rescued_at_system_calls(const CrashScenario& scenario, std::uint64_t others,
                                           std::uint64_t after = 0) {
  if (!expect_rescued(scenario, CrashEngine::system_calls, after, {Rescue::after})) return;
  auto rescues = all_rescues();
  rescues.erase(std::find(rescues.begin(), rescues.end(), Rescue::after));
  expect_rescued(scenario, CrashEngine::system_calls, others, rescues);
}

/// All orders of the first `depth` steps, and some random ones; in each of these as many are killed as is said.
inline void expect_no_order_goes_wrong(const holdfast::harness::ScheduleScenario& scenario, std::uint64_t depth,
                                       std::uint64_t random_runs, std::uint64_t kills = 0) {
  holdfast::harness::ScheduleReport report;
  try {
    report = explore_schedules(scenario, {.depth = depth,
                                          .random_runs = random_runs * thoroughness(),
                                          .random_length = 24,
                                          .kills = kills,
                                          .seed = seed_of_this_run()});
  } catch (const holdfast::Error& error) {
    if (error.code() != std::errc::operation_not_permitted) throw;
    GTEST_SKIP() << "NOT TESTED: " << error.what();
  }
  EXPECT_TRUE(report.ok()) << "seed " << seed_of_this_run() << "\n" << to_string(report);
  std::cout << to_string(report) << "\n";
}

/// The journal of a run that is over. Empty: nothing is wrong with it.
inline std::string judge_journal(const fs::path& directory) {
  Section section{directory};
  for (std::uint32_t i = 0; i < section.page().contenders; ++i)
    if (section.page().all[i].phase != Phase::idle && has_ended(section.page().all[i].pid)) section.doom(i);
  const auto history = check_history(section.journal().entries());
  if (section.journal().dropped() != 0) return "the journal was too short";
  if (history.overlaps != 0) return std::to_string(history.overlaps) + " overlaps";
  if (history.misordered != 0) return std::to_string(history.misordered) + " entries of the journal make no sense";
  if (history.unfinished != 0) return std::to_string(history.unfinished) + " contenders are still waiting or inside";
  return {};
}

/// The letter in /proc/<pid>/stat: 'S' sleeps, 't' stands still under its tracer, 'Z' has ended; '-': there is none.
inline char state_of(std::int64_t pid) {
  std::ifstream file{"/proc/" + std::to_string(pid) + "/stat"};
  std::string text;
  std::getline(file, text);
  const auto name_end = text.rfind(')');
  return name_end == std::string::npos ? '-' : text.at(name_end + 2);
}
}  // namespace crash_lab
