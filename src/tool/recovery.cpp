#include "tool/recovery.hpp"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <optional>
#include <thread>

#include <fmt/format.h>

#include "tool/block_worker.hpp"
#include "tool/crew.hpp"

namespace holdfast::tool {
namespace {
using namespace std::chrono_literals;
using harness::Event;
using harness::Journal;
using std::chrono::nanoseconds;

constexpr nanoseconds short_sleep = 20ms, long_sleep = 1s;  // in the last round: what a second of waiting costs
constexpr nanoseconds brief_sleep = 1ms;

std::optional<nanoseconds> time_of(const std::vector<harness::Entry>& entries, std::uint32_t who,
                                   std::initializer_list<Event> events) {
  for (const auto& entry : entries)
    if (entry.who == who && std::find(events.begin(), events.end(), entry.event) != events.end())
      return nanoseconds{static_cast<std::int64_t>(entry.nanoseconds)};
  return std::nullopt;
}

nanoseconds between(const std::vector<harness::Entry>& entries, std::uint32_t from, Event event, std::uint32_t to) {
  const auto start = time_of(entries, from, {event}), end = time_of(entries, to, {Event::entered, Event::recovered});
  return start && end ? *end - *start : 0ns;
}

struct RoundPlan {
  std::string resource{};  ///< A file, or a segment.
  std::string_view what = "lock";
  const char* scenario = scenario_own;
  std::filesystem::path journal_file{};
  bool mutex = false;
  std::uint32_t waiters = 1;
  nanoseconds sleep{};         ///< Of each waiter, before its owner is killed.
  std::uint32_t messages = 0;  ///< Of a block, by all its writers; its reader has to see them. 0: there is no reader.
};

/// One round. Process 0 is the first owner, then come the waiters, each the owner after the one before; then the
/// newcomer; the last is the reader, if there is one. Each step returns false if the rest of the round would mean nothing.
class Round {
 public:
  Round(const Stage& stage, Recovery& recovery, const RoundPlan& plan)
      : stage_{stage},
        recovery_{recovery},
        plan_{plan},
        newcomer_{plan.waiters + 1},
        reader_{newcomer_ + 1},
        journal_{Journal::create(plan.journal_file, std::size_t{8} * (reader_ + 1))},
        crew_{stage} {}

  void run() {
    for (std::uint32_t who = 0; who <= newcomer_; ++who) start(plan_.scenario, who);
    if (has_reader()) start(scenario_read_all, reader_);
    if (crew_.wait_until_ready()) {
      if (has_reader()) crew_.worker(reader_).release();
      if (own() && kill_owners_of_waiters() && kill_owner_before_newcomer() && has_reader()) expect_all_read();
    }
    const auto& problems = crew_.problems();
    recovery_.problems.insert(recovery_.problems.end(), problems.begin(), problems.end());
    recovery_.entries = journal_.entries();
    if (const auto overlaps = harness::check_history(recovery_.entries).overlaps)
      problem(fmt::format("{} owners entered while another was inside", overlaps));
  }

 private:
  void start(const char* scenario, std::uint32_t who) {
    crew_.start(scenario, {.resource = plan_.resource,
                           .journal = plan_.journal_file,
                           .who = who,
                           .increments = plan_.messages,
                           .patience = stage_.settings.deadline,
                           .fair = stage_.settings.fair,
                           .mutex = plan_.mutex,
                           .warm = plan_.mutex});  // whose first use would be dearer than the recovery
  }

  void problem(std::string text) { recovery_.problems.push_back(std::move(text)); }
  [[nodiscard]] Deadline patience() const { return 4 * stage_.settings.deadline; }

  [[nodiscard]] bool has_reader() const noexcept { return plan_.messages > 0; }
  void expect_all_read() {
    (void)crew_.wait_for_tally(reader_, patience());  // what is wrong, it says itself
    crew_.expect_done(reader_, patience());
  }

  [[nodiscard]] bool own() {
    crew_.worker(0).release();
    const auto tally = crew_.wait_for_tally(0, patience());
    return tally && tally->error.empty();
  }

  [[nodiscard]] bool kill_owners_of_waiters() {
    for (std::uint32_t waiter = 1; waiter < newcomer_; ++waiter) {
      fall_asleep(waiter);
      if (!kill_owner_of(waiter)) return false;
    }
    return true;
  }

  /// It has arrived, and sleeps in the kernel.
  void fall_asleep(std::uint32_t waiter) {
    crew_.worker(waiter).release();
    const auto deadline = patience();
    while (!time_of(journal_.entries(), waiter, {Event::arrived}) || !is_asleep(crew_.worker(waiter).pid()) ||
           (has_reader() && crew_.worker(reader_).is_running() && !is_asleep(crew_.worker(reader_).pid()))) {
      throw_if_interrupted();
      if (deadline.passed() || !crew_.worker(waiter).is_running()) break;  // a waiter that never sleeps is tested awake
      std::this_thread::sleep_for(200us);
    }
    const Deadline end{plan_.sleep};  // how long it has slept is part of what is measured
    for (; !end.passed(); throw_if_interrupted())
      std::this_thread::sleep_for(std::min<nanoseconds>(end.remaining(), 20ms));
  }

  [[nodiscard]] bool kill_owner_of(std::uint32_t waiter) {
    kill(waiter - 1);
    const auto tally = crew_.wait_for_tally(waiter, patience());
    if (!recovered("the waiter", tally, waiter - 1)) return false;
    const auto entries = journal_.entries();
    recovery_.waiters.push_back(between(entries, waiter - 1, Event::doomed, waiter));
    recovery_.slept = between(entries, waiter, Event::arrived, waiter);
    recovery_.lock_cpu = tally->lock_cpu;
    return true;
  }

  [[nodiscard]] bool kill_owner_before_newcomer() {
    kill(newcomer_ - 1);
    crew_.worker(newcomer_).release();
    const auto tally = crew_.wait_for_tally(newcomer_, patience());
    if (!recovered("the newcomer", tally, newcomer_ - 1)) return false;
    recovery_.newcomers.push_back(between(journal_.entries(), newcomer_, Event::arrived, newcomer_));
    crew_.worker(newcomer_).release();
    crew_.expect_done(newcomer_, patience());
    return true;
  }

  void kill(std::uint32_t who) {
    journal_.append(who, Event::doomed);
    crew_.worker(who).kill();
  }

  [[nodiscard]] bool recovered(std::string_view who, const std::optional<Tally>& tally, std::uint32_t dead) {
    if (!tally || !tally->error.empty()) {
      problem(fmt::format("{} did not get the {} of an owner that was killed", who, plan_.what));
      return false;
    }
    if (!tally->died_before) {
      problem(fmt::format("{} was not told that the owner before it was killed", who));
      return false;
    }
    if (const auto pid = crew_.worker(dead).pid(); *tally->died_before != pid) {
      problem(fmt::format("{} was told that process {} died; it was process {}", who, *tally->died_before, pid));
      return false;
    }
    return true;
  }

  const Stage& stage_;
  Recovery& recovery_;
  const RoundPlan& plan_;
  std::uint32_t newcomer_, reader_;
  Journal journal_;
  Crew crew_;
};
}  // namespace

Recovery run_recovery(const Stage& stage) {
  Recovery recovery;
  for (int i = 0; i < recovery_rounds && recovery.problems.empty(); ++i) {
    const Progress::Phase phase{stage.progress, fmt::format("kill, round {} of {}", i + 1, recovery_rounds),
                                recovery_weight / recovery_rounds, [] { return 0.0; }};
    const auto name = fmt::format("kill-{}", i + 1);
    const auto resource = stage.directory.resource(name);
    const RoundPlan plan{.resource = resource.native(),
                         .journal_file = stage.journal_file(name),
                         .sleep = i + 1 < recovery_rounds ? short_sleep : long_sleep};
    Round{stage, recovery, plan}.run();  // all its workers have ended after this
    clear_up(stage, resource, recovery.problems.empty(), recovery.problems);
    std::filesystem::remove(plan.journal_file);
  }
  return recovery;
}

namespace {
/// In rounds, each with a segment of its own. kind: "mutex-kill"
template <class Plan>
Recovery recover_segments(const Stage& stage, std::uint32_t kills, double weight, std::string_view kind,
                          Plan plan_for) {
  Recovery recovery;
  for (std::uint32_t done = 0; done < kills && recovery.problems.empty(); done += kills_in_a_round) {
    const auto waiters = std::min(kills - done, kills_in_a_round);
    const auto name = fmt::format("{}-{}", kind, done + 1);
    const Progress::Phase phase{stage.progress, fmt::format("{} of {}", name, kills), weight / kills * waiters,
                                [] { return 0.0; }};
    RoundPlan plan = plan_for(waiters);
    plan.resource = stage.segments.name(name);
    plan.journal_file = stage.journal_file(name);
    plan.waiters = waiters;
    plan.sleep = brief_sleep;
    Round{stage, recovery, plan}.run();
    clear_up_segments(stage, recovery.problems.empty(), recovery.problems);
    std::filesystem::remove(plan.journal_file);
  }
  return recovery;
}
}  // namespace

double mutex_recovery_weight(const Settings& settings) noexcept { return 0.012 * settings.kills; }

Recovery run_mutex_recovery(const Stage& stage) {
  return recover_segments(stage, stage.settings.kills, mutex_recovery_weight(stage.settings), "mutex-kill",
                          [](std::uint32_t) { return RoundPlan{.mutex = true}; });
}

double role_recovery_weight(const Settings& settings) noexcept { return 0.016 * settings.block_kills; }

Recovery run_role_recovery(const Stage& stage) {
  return recover_segments(
      stage, stage.settings.block_kills, role_recovery_weight(stage.settings), "block-writer",
      [](std::uint32_t waiters) {
        const auto writers = waiters + 2;
        return RoundPlan{.what = "role", .scenario = scenario_own_role, .messages = writers * messages_of_a_writer};
      });
}
}  // namespace holdfast::tool
