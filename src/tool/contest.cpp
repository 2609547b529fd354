#include "tool/contest.hpp"

#include <algorithm>
#include <filesystem>
#include <memory>

#include <fmt/format.h>
#include <holdfast/error.hpp>

#include "tool/counter_file.hpp"
#include "tool/crew.hpp"
#include "tool/lock_under_test.hpp"

namespace holdfast::tool {
namespace {
using namespace std::chrono_literals;
using harness::Journal;

/// One wait: the others may all be ahead, each with its section, on a machine that has other work.
std::chrono::nanoseconds patience_for_one(const Stage& stage, const ContestPlan& plan) {
  return stage.settings.deadline + plan.contenders() * (2 * plan.hold + 50ms);
}

/// All of it. Only a worker that does not even keep its own deadlines is ended by this one.
std::chrono::nanoseconds patience_for_all(const Stage& stage, const ContestPlan& plan) {
  const std::chrono::nanoseconds for_an_operation = plan.mutex ? 500us : 5ms;
  return 4 * patience_for_one(stage, plan) + plan.operations() * (2 * plan.hold + for_an_operation);
}

void judge(Contest& contest, std::uint64_t dropped) {
  const auto& history = contest.history;
  std::vector<std::string> found;
  if (history.overlaps > 0)
    found.push_back(fmt::format("{} owners entered while another was inside", history.overlaps));
  if (contest.lost() > 0) found.push_back(fmt::format("{} of {} increments lost", contest.lost(), contest.successful));
  if (contest.successful < contest.expected)
    found.push_back(
        fmt::format("{} of {} increments not made", contest.expected - contest.successful, contest.expected));
  if (contest.final > contest.expected)
    found.push_back(fmt::format("the counter says {}, expected {}", contest.final, contest.expected));
  if (history.misordered > 0 || dropped > 0)
    found.push_back(fmt::format("the journal contradicts itself: {} entries", history.misordered + dropped));
  contest.problems.insert(contest.problems.begin(), found.begin(), found.end());
}
}  // namespace

double ContestPlan::weight() const noexcept {
  constexpr double for_a_process = 0.004;
  const double for_an_operation = mutex ? 0.00001 : 0.0002;
  const double section = std::chrono::duration<double>{hold}.count();
  return for_a_process * processes + (for_an_operation + section) * static_cast<double>(operations());
}

Contest run_contest(const Stage& stage, const ContestPlan& plan) {
  constexpr std::uint64_t entries_for_one = 3;
  const auto file = stage.directory.resource(plan.name);
  const auto segment = stage.segments.name(plan.name);
  const auto journal_file = stage.journal_file(plan.name);
  const auto entries = entries_for_one * plan.operations();
  const auto journal = Journal::create(journal_file, entries + plan.contenders());
  std::unique_ptr<Counter> counter;  // of a mutex: keeps its segment until all is judged
  if (plan.mutex)
    counter = make_mutex(segment, stage.settings.deadline);
  else
    counter = std::make_unique<CounterFile>(file);
  counter->write(0);

  bool in_order = false;
  Contest contest;
  contest.contenders = plan.contenders();
  contest.expected = plan.operations();
  {
    const Progress::Phase phase{stage.progress, plan.in_words, plan.weight(), [&journal, entries] {
                                  return static_cast<double>(journal.entries().size()) / static_cast<double>(entries);
                                }};
    Crew crew{stage};
    for (std::uint32_t i = 0; i < plan.processes; ++i)
      crew.start(plan.threads > 1 ? scenario_threads : scenario_contend,
                 {.resource = plan.mutex ? segment : file.native(),
                  .journal = journal_file,
                  .who = i * plan.threads,
                  .threads = plan.threads,
                  .increments = plan.increments,
                  .hold = plan.hold,
                  .patience = patience_for_one(stage, plan),
                  .fair = stage.settings.fair,
                  .mutex = plan.mutex,
                  .warm = plan.warm});
    if (crew.wait_until_ready(patience_for_one(stage, plan))) {
      crew.release_together();
      for (const auto& tally : crew.wait_until_done(patience_for_all(stage, plan))) {
        contest.successful += tally.successful;
        contest.failed += tally.failed;
        contest.lock_cpu += tally.lock_cpu;
      }
    }
    contest.problems = crew.problems();
    in_order = contest.problems.empty();
  }
  contest.attempted = contest.successful + contest.failed;
  try {
    contest.final = counter->read();
  } catch (const Error& error) {
    contest.problems.emplace_back(error.what());
  }
  contest.entries = journal.entries();
  contest.history = harness::check_history(contest.entries);
  contest.duration = duration_of(contest.entries);
  judge(contest, journal.dropped());
  counter.reset();
  if (plan.mutex)
    clear_up_segments(stage, in_order, contest.problems);
  else
    clear_up(stage, file, in_order, contest.problems);
  std::filesystem::remove(journal_file);
  return contest;
}
}  // namespace holdfast::tool
