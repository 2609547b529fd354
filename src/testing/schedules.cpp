#include <holdfast/testing/schedules.hpp>

#include <cstdlib>
#include <memory>
#include <random>

#include <fmt/format.h>

#include "testing/channel.hpp"
#include "testing/tracer.hpp"

namespace holdfast::harness {
namespace {
constexpr std::size_t most_failures = 3;

class Explorer {
 public:
  Explorer(const ScheduleScenario& scenario, const ScheduleOptions& options) : scenario_{scenario}, options_{options} {
    if (scenario.actors.size() < 2 || !scenario.judge)
      throw Error{std::make_error_code(std::errc::invalid_argument), "explore schedules of", scenario.name,
                  "it has fewer than two actors, or no judge"};
    report_.scenario = scenario.name;
  }

  ScheduleReport run() {
    if (const char* const word = std::getenv("HOLDFAST_SCHEDULE")) {  // NOLINT(concurrency-mt-unsafe)
      follow(word);
      return std::move(report_);
    }
    std::string word;
    all_words(word, 0);
    std::mt19937_64 random{options_.seed};
    for (std::uint64_t i = 0; i < options_.random_runs && !enough(); ++i) follow(random_word(random));
    return std::move(report_);
  }

 private:
  [[nodiscard]] bool enough() const {
    return report_.failures.size() >= most_failures || (options_.at_most != 0 && report_.runs >= options_.at_most);
  }

  void all_words(std::string& word, std::uint64_t kills) {
    if (enough()) return;
    if (word.size() == options_.depth) return follow(word);
    for (std::size_t actor = 0; actor < scenario_.actors.size(); ++actor) {
      word.push_back(static_cast<char>('a' + actor));
      all_words(word, kills);
      word.pop_back();
      if (kills == options_.kills) continue;
      word.push_back(static_cast<char>('A' + actor));
      all_words(word, kills + 1);
      word.pop_back();
    }
  }

  std::string random_word(std::mt19937_64& random) const {
    std::string word;
    for (std::uint64_t i = 0; i < options_.random_length; ++i)
      word.push_back(static_cast<char>('a' + random() % scenario_.actors.size()));
    for (std::uint64_t kill = 0; kill < options_.kills; ++kill)
      word[random() % word.size()] = static_cast<char>('A' + random() % scenario_.actors.size());
    return word;
  }

  void follow(const std::string& word) {
    ++report_.runs;
    if (auto wrong = outcome_of(word); !wrong.empty())
      report_.failures.push_back({fmt::format("HOLDFAST_SCHEDULE={} (of {})", word, scenario_.name), std::move(wrong)});
  }

  struct Actor {
    WorkerProcess worker;
    std::unique_ptr<Tracer> tracer;
    bool killed = false;
    bool ended = false;  // its region, or its life
  };

  std::string outcome_of(const std::string& word) {
    const Deadline deadline{options_.patience};
    if (scenario_.prepare) scenario_.prepare();
    WorkerOptions told;
    told.environment.emplace(steps_variable, "1");
    std::vector<Actor> actors;
    for (const auto& start : scenario_.actors) {
      actors.push_back({start(told), nullptr});
      auto& [worker, tracer, killed, ended] = actors.back();
      if (worker.wait_for_ready(deadline) != Ready::yes)
        return fmt::format("an actor was not ready\n{}", worker.report());
    }
    for (auto& actor : actors) {
      actor.tracer = std::make_unique<Tracer>(actor.worker);
      if (!actor.tracer->run_to_region())
        return fmt::format("an actor never entered a CrashRegion\n{}", actor.worker.report());
    }
    const auto go_on = [&](Actor& actor) {
      if (actor.ended) return false;
      const auto progress = actor.tracer->advance_unless_asleep();
      report_.steps += progress == Tracer::Progress::step ? 1 : 0;
      if (progress == Tracer::Progress::end) {
        actor.ended = true;
        actor.tracer->let_go();
      }
      return progress != Tracer::Progress::asleep;
    };
    for (const char letter : word) {
      const bool kill = letter >= 'A' && letter <= 'Z';
      const auto number = static_cast<std::size_t>(letter - (kill ? 'A' : 'a'));
      if (number >= actors.size())
        throw Error{std::make_error_code(std::errc::invalid_argument), "follow schedule", word, "no such actor"};
      auto& actor = actors[number];
      if (kill && !actor.ended) {
        actor.worker.kill();
        actor.killed = actor.ended = true;
      } else {
        go_on(actor);
      }
    }
    for (bool all = false; !all && !deadline.passed();) {
      all = true;
      for (auto& actor : actors) {
        go_on(actor);
        all = all && actor.ended;
      }
    }
    for (auto& actor : actors)
      if (!actor.killed && !actor.worker.wait_for_exit(deadline).ok())
        return fmt::format("an actor did not end well\n{}", actor.worker.report());
    return scenario_.judge();
  }

  const ScheduleScenario& scenario_;
  const ScheduleOptions& options_;
  ScheduleReport report_;
};
}  // namespace

ScheduleReport explore_schedules(const ScheduleScenario& scenario, const ScheduleOptions& options) {
  return Explorer{scenario, options}.run();
}

std::string to_string(const ScheduleReport& report) {
  auto text = fmt::format("{}: {} schedules, {} steps, {} failures", report.scenario, report.runs, report.steps,
                          report.failures.size());
  for (const auto& failure : report.failures) text += fmt::format("\n  {}: {}", failure.where, failure.what);
  return text;
}
}  // namespace holdfast::harness
