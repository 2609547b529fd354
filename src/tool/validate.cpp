#include "tool/validate.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <holdfast/error.hpp>

#include "tool/attach_race.hpp"
#include "tool/block.hpp"
#include "tool/contest.hpp"
#include "tool/counter_file.hpp"
#include "tool/files.hpp"
#include "tool/lock_under_test.hpp"
#include "tool/progress.hpp"
#include "tool/recovery.hpp"
#include "tool/stage.hpp"

namespace holdfast::tool {
namespace fs = std::filesystem;
namespace {
using namespace std::chrono_literals;

/// Where TMPDIR says, also if nothing is there: that is told when it is used.
fs::path temporary_base() {
  if (const char* chosen = std::getenv("TMPDIR"); chosen != nullptr && *chosen != '\0') return chosen;
  std::error_code error;
  auto path = fs::temp_directory_path(error);
  return error ? fs::path{"/tmp"} : path;
}

/// Shared memory, unless somebody has said where: what all workers write to must not wait for a disk.
std::vector<fs::path> scratch_bases(const fs::path& tested) {
  std::vector<fs::path> bases{temporary_base(), tested};
  if (std::getenv("TMPDIR") == nullptr) bases.insert(bases.begin(), "/dev/shm");
  return bases;
}

fs::path checked(const fs::path& directory) {
  std::error_code error;
  if (directory.empty())
    throw Error{std::make_error_code(std::errc::invalid_argument), "validate locking in a directory without name", {}};
  auto path = fs::canonical(directory, error);
  if (!error && !fs::is_directory(path, error) && !error) error = std::make_error_code(std::errc::not_a_directory);
  if (error) throw Error{error, "validate locking in", directory.native()};
  return path;
}

/// What keeps everybody from working there is said once, in one line, before anything is started.
void try_out(const TestedDirectory& directory, const Settings& settings) {
  const auto resource = directory.resource("trial");
  try {
    write_counter(resource, 0);
  } catch (const Error& error) {
    throw Error{error.code(), "validate locking in", directory.path().native()};
  }
  const auto lock = make_lock(resource, settings.fair);
  if (lock->lock(settings.deadline)) lock->unlock();
}

struct Plan {
  ContestPlan contention, threads, race, stress, mutex;
  double weight;
};

Plan plan_for(const Settings& settings) {
  const auto processes = settings.processes;
  Plan plan{.contention = {.name = "contention",
                           .in_words = fmt::format("contention of {} processes", processes),
                           .processes = processes,
                           .increments = settings.increments,
                           .hold = settings.hold},
            .threads = {.name = "threads",
                        .in_words = fmt::format("the same by threads of one process"),
                        .threads = processes,
                        .increments = settings.increments,
                        .hold = settings.hold},
            .race = {.name = "race",
                     .in_words = fmt::format("race of {} processes", processes),
                     .processes = processes,
                     .hold = std::max<std::chrono::nanoseconds>(settings.hold, 1ms),
                     .warm = true},
            .stress = {.name = "stress", .in_words = "stress", .processes = 5, .increments = 10, .hold = settings.hold},
            .mutex = {.name = "mutex",
                      .in_words = fmt::format("mutex, contention of {} processes", settings.processes_of_mutex()),
                      .processes = settings.processes_of_mutex(),
                      .increments = settings.increments_of_mutex(),
                      .hold = settings.hold,
                      .mutex = true},
            .weight = 0};
  plan.weight = plan.contention.weight() + plan.threads.weight() + recovery_weight + plan.race.weight() +
                plan.stress.weight() * settings.iterations + plan.mutex.weight() + mutex_recovery_weight(settings) +
                attach_race_weight(settings) + block_weight(settings);
  return plan;
}

void run_stress(const Stage& stage, ContestPlan plan, std::vector<Contest>& results) {
  for (std::uint32_t i = 0; i < stage.settings.iterations; ++i) {
    plan.name = fmt::format("stress-{}", i + 1);
    plan.in_words = fmt::format("stress, iteration {} of {}", i + 1, stage.settings.iterations);
    results.push_back(run_contest(stage, plan));
    if (results.back().successful < results.back().expected) return;  // the others would take as long to fail
  }
}

/// Where there is no shared memory the locks on files may hold all the same: that is a reason, not the end of the run.
void run_mutex(const Stage& stage, const ContestPlan& plan, MutexResults& results) {
  try {
    const auto mutex = make_mutex(stage.segments.name("trial"), stage.settings.deadline);
    if (mutex->lock(stage.settings.deadline)) mutex->unlock();
  } catch (const Error& error) {
    results.problems.emplace_back(error.what());
    return;
  }
  results.contention = run_contest(stage, plan);
  results.kill = run_mutex_recovery(stage);
  results.attach = run_attach_race(stage);
}
}  // namespace

Results validate(const Settings& settings) {
  Results results;
  results.temporary = !settings.directory;
  std::optional<ScratchDirectory> temporary;
  if (results.temporary) temporary.emplace(std::vector{temporary_base()});
  results.directory = checked(temporary ? temporary->path() : *settings.directory);

  const TestedDirectory directory{results.directory};
  try_out(directory, settings);
  directory.clear();
  results.surroundings = look_around(results.directory);

  const ScratchDirectory scratch{scratch_bases(results.directory)};
  const auto plan = plan_for(settings);
  Progress progress{stderr, plan.weight};
  const TestedSegments segments;
  const Stage stage{settings, directory, segments, scratch, progress, this_program()};
  results.contention = run_contest(stage, plan.contention);
  results.threads = run_contest(stage, plan.threads);
  results.kill = run_recovery(stage);
  results.race = run_contest(stage, plan.race);
  run_stress(stage, plan.stress, results.stress);
  run_mutex(stage, plan.mutex, results.mutex);
  results.block = run_block(stage);
  return results;
}
}  // namespace holdfast::tool
