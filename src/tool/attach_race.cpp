#include "tool/attach_race.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <set>
#include <thread>

#include <fmt/format.h>

#include "tool/crew.hpp"
#include "tool/lock_under_test.hpp"

namespace holdfast::tool {
namespace {
using namespace std::chrono_literals;
using harness::Event;
using harness::Journal;

constexpr std::uint32_t entries_for_one = 3;

class Race {
 public:
  Race(const Stage& stage, AttachRace& result, std::string name, const std::filesystem::path& journal_file)
      : stage_{stage},
        result_{result},
        name_{std::move(name)},
        journal_file_{journal_file},
        journal_{
            Journal::create(journal_file, std::size_t{entries_for_one} * result.processes * settings().attach_rounds)},
        crew_{stage} {}

  void run() {
    const Progress::Phase phase{stage_.progress, "mutex, attach", attach_race_weight(settings()),
                                [this] { return static_cast<double>(done_.load()) / settings().attach_rounds; }};
    for (std::uint32_t who = 0; who < result_.processes; ++who)
      crew_.start(scenario_attach, {.resource = name_,
                                    .journal = journal_file_,
                                    .who = who,
                                    .increments = settings().attach_rounds,
                                    .patience = patience(),
                                    .mutex = true});
    if (crew_.wait_until_ready() && play()) (void)crew_.wait_until_done(2 * patience());
    const auto& problems = crew_.problems();
    result_.problems.insert(result_.problems.end(), problems.begin(), problems.end());
    judge();
  }

 private:
  [[nodiscard]] const Settings& settings() const noexcept { return stage_.settings; }
  /// All the others may be ahead, on a machine that has other work.
  [[nodiscard]] std::chrono::nanoseconds patience() const { return settings().deadline + result_.processes * 50ms; }

  [[nodiscard]] bool play() {
    while (done_ < settings().attach_rounds) {
      const auto released_at = std::chrono::steady_clock::now();
      crew_.release_together();
      if (!wait_for_all(released_at) || !are_together()) return false;
      crew_.release_together();
      ++done_;
    }
    return true;
  }

  /// Until every process has incremented. False: one will not.
  [[nodiscard]] bool wait_for_all(std::chrono::steady_clock::time_point released_at) {
    const auto since = static_cast<std::uint64_t>(released_at.time_since_epoch() / 1ns);
    for (const Deadline deadline{2 * patience()};; std::this_thread::sleep_for(100us)) {
      const bool last_look = deadline.passed() || !all_run();
      std::set<std::uint32_t> there, lost;
      for (const auto& entry : journal_.latest(std::size_t{entries_for_one} * result_.processes)) {
        if (entry.nanoseconds < since) continue;  // of the round before
        if (entry.event == Event::left) there.insert(entry.who);
        if (entry.event == Event::gave_up) lost.insert(entry.who);
      }
      if (there.size() == result_.processes) return true;
      throw_if_interrupted();
      if (!lost.empty() || last_look) {
        result_.problems.push_back(
            fmt::format("round {}: only {} of {} processes came", done_.load() + 1, there.size(), result_.processes));
        for (const auto who : lost) (void)crew_.wait_for_tally(who, patience());  // it says why
        for (std::uint32_t who = 0; who < result_.processes; ++who)
          if (!crew_.worker(who).is_running()) crew_.expect_done(who, 0s);
        return false;
      }
    }
  }

  [[nodiscard]] bool all_run() {
    for (std::uint32_t who = 0; who < result_.processes; ++who)
      if (!crew_.worker(who).is_running()) return false;
    return true;
  }

  /// Whoever comes now finds all their increments: those of this round and, if the segment has lived on, of rounds before.
  [[nodiscard]] bool are_together() {
    std::uint64_t count = 0;
    try {
      count = make_mutex(attach_race_segment(name_, done_), patience())->read();
    } catch (const Error& error) {
      result_.problems.push_back(fmt::format("round {}: {}", done_.load() + 1, error.what()));
      return false;
    }
    if (count > 0 && count % result_.processes == 0) return true;
    result_.problems.push_back(fmt::format(
        "round {}: {} processes have incremented, and the counter says {}: they were not all in one segment, "
        "or not one at a time",
        done_.load() + 1, result_.processes, count));
    return false;
  }

  void judge() {
    result_.rounds = done_;
    const auto history = harness::check_history(journal_.entries());
    if (history.overlaps > 0)
      result_.problems.push_back(fmt::format("{} owners entered while another was inside", history.overlaps));
    for (const auto wait : history.waits_ns)
      result_.times.emplace_back(std::chrono::nanoseconds{static_cast<std::int64_t>(wait)});
  }

  const Stage& stage_;
  AttachRace& result_;
  std::string name_;
  const std::filesystem::path& journal_file_;
  Journal journal_;
  Crew crew_;
  std::atomic<std::uint32_t> done_{0};
};
}  // namespace

std::string attach_race_segment(const std::string& name, std::uint32_t round) {
  return name + (round / 2 % 2 == 0 ? "-even" : "-odd");
}

double attach_race_weight(const Settings& settings) noexcept {
  return settings.processes_of_mutex() * (0.004 + 0.0003 * settings.attach_rounds);
}

AttachRace run_attach_race(const Stage& stage) {
  AttachRace race{.processes = stage.settings.processes_of_mutex()};
  const auto journal_file = stage.journal_file("mutex-attach");
  Race{stage, race, stage.segments.name("attach"), journal_file}.run();  // all its workers have ended after this
  clear_up_segments(stage, race.problems.empty(), race.problems);
  std::filesystem::remove(journal_file);
  return race;
}
}  // namespace holdfast::tool
