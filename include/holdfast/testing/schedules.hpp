// testing/schedules.hpp - lets two or three workers take turns at their named steps, in every order up to a depth, and kills one
// of them in between. Builds on testing/crash_lab.hpp. System calls: src/testing/<os>.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <holdfast/testing/crash_lab.hpp>

namespace holdfast::harness {
/// What is scheduled. Each actor is a worker as a victim of a CrashScenario is; let to their ends they all end well, in whatever
/// order they take their steps, and whoever of them is killed.
struct ScheduleScenario {
  std::string name;
  std::function<void()> prepare = {};
  std::vector<CrashScenario::Start> actors;  ///< two or more
  std::function<std::string()> judge;        ///< after each run: what is wrong; empty: nothing
};

struct ScheduleOptions {
  std::uint64_t depth = 6;        ///< all orders of so many first steps are run
  std::uint64_t random_runs = 0;  ///< and so many of random_length steps, by the seed
  std::uint64_t random_length = 40;
  std::uint64_t kills = 0;  ///< in each run, at most; where, is part of the order
  std::uint64_t seed = 1;
  std::uint64_t at_most = 0;          ///< runs; 0: all
  std::chrono::seconds patience{20};  ///< for all actors of a run to end; later is a wedge
};

struct ScheduleReport {
  std::string scenario;
  std::uint64_t runs = 0;
  std::uint64_t steps = 0;                  ///< taken in all runs
  std::vector<CrashFailure> failures = {};  ///< `where` is the line that replays it
  [[nodiscard]] bool ok() const noexcept { return failures.empty() && runs > 0; }
};

/// A schedule is a word: a small letter lets that actor (a, b, ...) go on to its next named step, a capital letter kills it.
/// Where the word ends, all take turns until they have ended. An actor that sleeps, or has ended, is passed over, and goes on by
/// itself to its next step when it is woken; so the same word may take different ways where waits with time-outs end by
/// themselves.
///
/// Runs all words of `depth` letters, or with HOLDFAST_SCHEDULE set just that word. Stops at the third failure, which is told with
/// the word that replays it. Errors and threads: as run_crash_scenario.
[[nodiscard]] ScheduleReport explore_schedules(const ScheduleScenario& scenario, const ScheduleOptions& options = {});

[[nodiscard]] std::string to_string(const ScheduleReport& report);
}  // namespace holdfast::harness
