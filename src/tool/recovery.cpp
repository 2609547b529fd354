#include "tool/recovery.hpp"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <optional>
#include <thread>

#include <fmt/format.h>

#include "tool/crew.hpp"

namespace holdfast::tool {
namespace {
using namespace std::chrono_literals;
using harness::Event;
using harness::Journal;
using std::chrono::nanoseconds;

constexpr std::uint32_t owner = 0, waiter = 1, newcomer = 2;
constexpr nanoseconds short_sleep = 20ms, long_sleep = 1s;  // in the last round: what a second of waiting costs

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

/// One round. Each step returns false if the rest of the round would mean nothing.
class Round {
 public:
  Round(const Stage& stage, Recovery& recovery, const std::filesystem::path& resource,
        const std::filesystem::path& journal_file, nanoseconds sleep)
      : stage_{stage},
        recovery_{recovery},
        resource_{resource},
        journal_file_{journal_file},
        sleep_{sleep},
        journal_{Journal::create(journal_file, 64)},
        crew_{stage} {}

  void run() {
    start(owner);
    start(waiter);
    start(newcomer);
    if (crew_.wait_until_ready()) (void)(own() && fall_asleep() && kill_owner() && kill_waiter());
    const auto& problems = crew_.problems();
    recovery_.problems.insert(recovery_.problems.end(), problems.begin(), problems.end());
    recovery_.entries = journal_.entries();
    if (const auto overlaps = harness::check_history(recovery_.entries).overlaps)
      problem(fmt::format("{} owners entered while another was inside", overlaps));
  }

 private:
  void start(std::uint32_t who) {
    crew_.start(scenario_own, {.resource = resource_,
                               .journal = journal_file_,
                               .who = who,
                               .patience = stage_.settings.deadline,
                               .fair = stage_.settings.fair});
  }

  void problem(std::string text) { recovery_.problems.push_back(std::move(text)); }
  [[nodiscard]] Deadline patience() const { return 4 * stage_.settings.deadline; }

  [[nodiscard]] bool own() {
    crew_.worker(owner).release();
    const auto tally = crew_.wait_for_tally(owner, patience());
    return tally && tally->error.empty();
  }

  /// It has arrived, and sleeps in the kernel.
  [[nodiscard]] bool fall_asleep() {
    crew_.worker(waiter).release();
    const auto deadline = patience();
    while (!time_of(journal_.entries(), waiter, {Event::arrived}) || !is_asleep(crew_.worker(waiter).pid())) {
      throw_if_interrupted();
      if (deadline.passed() || !crew_.worker(waiter).is_running()) break;  // a waiter that never sleeps is tested awake
      std::this_thread::sleep_for(200us);
    }
    const Deadline end{sleep_};
    for (; !end.passed(); throw_if_interrupted())
      std::this_thread::sleep_for(std::min<nanoseconds>(end.remaining(), 20ms));
    return true;
  }

  [[nodiscard]] bool kill_owner() {
    kill(owner);
    const auto tally = crew_.wait_for_tally(waiter, patience());
    if (!recovered("the waiter", tally, owner)) return false;
    const auto entries = journal_.entries();
    recovery_.waiters.push_back(between(entries, owner, Event::doomed, waiter));
    recovery_.slept = between(entries, waiter, Event::arrived, waiter);
    recovery_.lock_cpu = tally->lock_cpu;
    return true;
  }

  [[nodiscard]] bool kill_waiter() {
    kill(waiter);
    crew_.worker(newcomer).release();
    const auto tally = crew_.wait_for_tally(newcomer, patience());
    if (!recovered("the newcomer", tally, waiter)) return false;
    recovery_.newcomers.push_back(between(journal_.entries(), newcomer, Event::arrived, newcomer));
    crew_.worker(newcomer).release();
    crew_.expect_done(newcomer, patience());
    return true;
  }

  void kill(std::uint32_t who) {
    journal_.append(who, Event::doomed);
    crew_.worker(who).kill();
  }

  [[nodiscard]] bool recovered(std::string_view who, const std::optional<Tally>& tally, std::uint32_t dead) {
    if (!tally || !tally->error.empty()) {
      problem(fmt::format("{} did not get the lock of an owner that was killed", who));
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
  const std::filesystem::path& resource_;
  const std::filesystem::path& journal_file_;
  nanoseconds sleep_;  // of the waiter, before the owner is killed
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
    const auto journal_file = stage.journal_file(name);
    const auto sleep = i + 1 < recovery_rounds ? short_sleep : long_sleep;
    Round{stage, recovery, resource, journal_file, sleep}.run();  // all its workers have ended after this
    clear_up(stage, resource, recovery.problems.empty(), recovery.problems);
    std::filesystem::remove(journal_file);
  }
  return recovery;
}
}  // namespace holdfast::tool
