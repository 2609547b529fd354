#include <holdfast/testing/crash_lab.hpp>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <thread>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "testing/channel.hpp"
#include "testing/tracer.hpp"

namespace holdfast::harness {
namespace {
using Clock = std::chrono::steady_clock;
constexpr std::size_t most_failures = 10;

/// Kills a worker that is still on its way at the deadline: a tracer waits without a limit for the next point.
class Watchdog {
 public:
  Watchdog(WorkerProcess& worker, Deadline deadline)
      : thread_{[this, &worker, deadline](const std::stop_token& stop) {
          std::unique_lock lock{mutex_};
          wake_.wait_until(lock, stop, deadline.time(), [] { return false; });
          if (stop.stop_requested()) return;
          worker.kill();
          has_killed_ = true;
        }} {}
  /// From here on it kills nobody. False: it had to already.
  [[nodiscard]] bool call_off() {
    thread_.request_stop();
    if (thread_.joinable()) thread_.join();
    return !has_killed_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable_any wake_;
  bool has_killed_ = false;
  std::jthread thread_;
};

class Lab {
 public:
  Lab(const CrashScenario& scenario, CrashEngine engine, const CrashOptions& options)
      : scenario_{scenario}, engine_{engine}, options_{options} {
    if (!scenario.victim || !scenario.judge)
      throw Error{std::make_error_code(std::errc::invalid_argument), "run crash scenario", scenario.name,
                  "it has no victim, or no judge"};
    report_.scenario = scenario.name;
    report_.engine = engine;
    if (engine == CrashEngine::steps) worker_options_.environment.emplace(steps_variable, "1");
  }

  CrashReport run() {
    count();
    if (!report_.failures.empty()) return std::move(report_);  // who does not do its part proves nothing
    if (engine_ == CrashEngine::images)
      rescue_images();
    else
      for (const auto rescue : options_.rescues) kill_everywhere(rescue);
    return std::move(report_);
  }

 private:
  void fail(std::string where, std::string what) { report_.failures.push_back({std::move(where), std::move(what)}); }
  [[nodiscard]] bool enough() const { return report_.failures.size() >= most_failures; }
  [[nodiscard]] Deadline patience() const { return Deadline{options_.patience}; }

  WorkerProcess start(const CrashScenario::Start& start_worker, const WorkerOptions& options) const {
    auto worker = start_worker(options);
    if (const auto ready = worker.wait_for_ready(patience()); ready != Ready::yes)
      throw Error{std::make_error_code(std::errc::timed_out), "run crash scenario", scenario_.name,
                  fmt::format("a worker was not ready: {}\n{}", to_string(ready), worker.report())};
    return worker;
  }
  WorkerProcess start_victim() const {
    if (scenario_.prepare) scenario_.prepare();
    return start(scenario_.victim, worker_options_);
  }

  /// A victim that is let to its end: how many points there are, and which, and that it ends well.
  void count() {
    auto victim = start_victim();
    Tracer tracer{victim};
    if (!tracer.run_to_region()) {
      fail("let to its end", fmt::format("the victim never entered a CrashRegion\n{}", victim.report()));
      return;
    }
    if (engine_ == CrashEngine::images) {
      images_.emplace(scenario_.images());
      images_->look();
    }
    while (tracer.advance(engine_)) {
      places_.push_back(tracer.place());
      if (images_) images_->look();
    }
    if (!tracer.is_at_end())
      fail("let to its end", fmt::format("the victim ended inside its region\n{}", victim.report()));
    tracer.let_go();
    if (engine_ == CrashEngine::images) {
      victim.kill();  // who died at each of the images
      report_.points = images_->count();
      return;
    }
    report_.points = places_.size();
    if (!victim.wait_for_exit(patience()).ok())
      fail("let to its end", fmt::format("the victim did not end well\n{}", victim.report()));
    if (const auto wrong = scenario_.judge(); !wrong.empty() && !scenario_.rescuer) fail("let to its end", wrong);
    if (engine_ != CrashEngine::steps) return;
    for (const auto& step : scenario_.steps)
      if (std::find(places_.begin(), places_.end(), step) == places_.end())
        fail("let to its end", fmt::format("step {} was not reached", step));
  }

  /// Numbers from 1 to `all`, all of them or `at_most`, evenly spread.
  [[nodiscard]] std::vector<std::uint64_t> spread(std::uint64_t all, std::uint64_t at_most) const {
    const std::uint64_t stride = at_most == 0 ? 1 : std::max<std::uint64_t>(1, all / at_most);
    std::vector<std::uint64_t> numbers;
    for (std::uint64_t number = 1 + options_.seed % stride; number <= all; number += stride) numbers.push_back(number);
    return numbers;
  }

  void kill_everywhere(Rescue rescue) {
    if (rescue == Rescue::killed && !measure_rescuer()) return;
    for (const auto number : spread(places_.size(), options_.at_most)) {
      if (enough()) return;
      if (rescue != Rescue::killed) {
        kill_at(number, rescue, 0);
        continue;
      }
      for (std::uint64_t point = 1; point <= options_.rescuer_points && !enough(); ++point)
        kill_at(number, rescue, call_of_rescuer(number, point));
    }
  }

  void kill_at(std::uint64_t number, Rescue rescue, std::uint64_t rescuer_call) {
    auto where = fmt::format("killed at {} {} of {} ({}), rescue {}", to_string(engine_), number, places_.size(),
                             places_[number - 1], to_string(rescue));
    if (rescue == Rescue::killed)
      where += fmt::format(", its rescuer at {} {} of {}", to_string(CrashEngine::system_calls), rescuer_call,
                           rescuer_calls_);
    auto victim = start_victim();
    Tracer tracer{victim};
    bool there = tracer.run_to_region();
    for (std::uint64_t n = 0; there && n < number; ++n) there = tracer.advance(engine_);
    if (!there && !tracer.is_at_end()) {
      fail(where, fmt::format("the victim ended before\n{}", victim.report()));
      return;
    }
    std::string wrong = there ? this->rescue(victim, tracer, rescue, rescuer_call) : std::string{};
    if (!there) {  // this time its way was shorter; killed at its end, then
      victim.kill();
      wrong = rescue_after();
    }
    if (wrong.empty()) wrong = scenario_.judge();
    ++report_.runs;
    auto& place = report_.places[engine_ == CrashEngine::instructions && tracer.place().empty() ? "before any step"
                                                                                                : tracer.place()];
    ++place.kills;
    if (wrong.empty()) return;
    ++place.failures;
    fail(std::move(where), std::move(wrong));
  }

  /// What went wrong.
  std::string rescue(WorkerProcess& victim, Tracer& tracer, Rescue rescue, std::uint64_t rescuer_call) {
    if (!scenario_.rescuer) {
      victim.kill();
      return {};
    }
    switch (rescue) {
      case Rescue::after:
        victim.kill();
        return rescue_after();
      case Rescue::before: {
        auto rescuer = start(scenario_.rescuer, {});
        rescuer.release();
        wait_until_asleep(rescuer, patience());
        const auto death = Clock::now();
        victim.kill();
        return expect_end(rescuer, death);
      }
      case Rescue::at: {
        auto rescuer = start(scenario_.rescuer, {});
        rescuer.release();
        const auto death = Clock::now();
        victim.kill();
        return expect_end(rescuer, death);
      }
      case Rescue::by_two: {
        std::vector<WorkerProcess> rescuers;
        for (int i = 0; i < 2; ++i) rescuers.push_back(start(scenario_.rescuer, {}));
        victim.kill();
        const auto death = Clock::now();
        ReleaseTogether(rescuers);
        auto wrong = expect_end(rescuers[0], death);
        return wrong.empty() ? expect_end(rescuers[1], death) : wrong;
      }
      case Rescue::killed: {
        victim.kill();
        auto wrong = kill_rescuer(rescuer_call);
        return wrong.empty() ? rescue_after() : wrong;
      }
      case Rescue::continued: {
        auto rescuer = start(scenario_.rescuer, {});
        rescuer.release();
        wait_until_asleep(rescuer, patience());
        tracer.let_go();
        if (!victim.wait_for_exit(patience()).ok())
          return fmt::format("the victim, continued, did not end well\n{}", victim.report());
        return expect_end(rescuer, Clock::now());
      }
    }
    return {};
  }

  std::string rescue_after() {
    if (!scenario_.rescuer) return {};
    auto rescuer = start(scenario_.rescuer, {});
    const auto begin = Clock::now();
    rescuer.release();
    return expect_end(rescuer, begin);
  }

  std::string expect_end(WorkerProcess& rescuer, Clock::time_point since) {
    if (!rescuer.wait_for_exit(patience()).ok()) return fmt::format("a rescuer did not end well\n{}", rescuer.report());
    report_.recovery_ns.push_back(static_cast<std::uint64_t>((Clock::now() - since).count()));
    return {};
  }

  /// How long a rescuer's way is, by system calls, after a death in the middle of the victim's. False: it did not get through.
  bool measure_rescuer() {
    if (!scenario_.rescuer || places_.empty()) return true;
    auto victim = start_victim();
    {
      Tracer tracer{victim};
      bool there = tracer.run_to_region();
      for (std::uint64_t n = 0; there && n <= places_.size() / 2; ++n) there = tracer.advance(engine_);
      victim.kill();
    }
    auto rescuer = start(scenario_.rescuer, {});
    Tracer tracer{rescuer};
    Watchdog watchdog{rescuer, patience()};
    rescuer_calls_ = 0;
    if (tracer.run_to_region())
      while (tracer.advance(CrashEngine::system_calls)) ++rescuer_calls_;
    const bool in_time = watchdog.call_off();
    if (in_time) tracer.let_go();
    auto wrong = in_time && rescuer.wait_for_exit(patience()).ok()
                     ? scenario_.judge()
                     : fmt::format("it did not end well\n{}", rescuer.report());
    if (wrong.empty()) return true;
    fail("a rescuer, let to its end under its tracer", std::move(wrong));
    return false;
  }

  /// Spread over the rescuer's way, and beginning elsewhere for each of the victim's points: together they come everywhere.
  [[nodiscard]] std::uint64_t call_of_rescuer(std::uint64_t number, std::uint64_t point) const {
    const std::uint64_t stride = std::max<std::uint64_t>(1, rescuer_calls_ / options_.rescuer_points);
    return 1 + (point - 1) * stride + (number * 0x9E3779B97F4A7C15U >> 32U) % stride;
  }

  /// A rescuer that comes to so many of its system calls, or to the end of its region, and dies. What went wrong.
  std::string kill_rescuer(std::uint64_t call) {
    auto rescuer = start(scenario_.rescuer, {});
    Tracer tracer{rescuer};
    Watchdog watchdog{rescuer, patience()};
    bool there = tracer.run_to_region();
    for (std::uint64_t n = 0; there && n < call; ++n) there = tracer.advance(CrashEngine::system_calls);
    if (!watchdog.call_off())
      return fmt::format("a rescuer did not come to where it was to be killed\n{}", rescuer.report());
    rescuer.kill();
    return {};
  }

  void rescue_images() {
    for (const auto number : spread(images_->count(), options_.at_most)) {
      if (enough()) return;
      images_->put_back(number - 1);
      auto wrong = rescue_after();
      if (wrong.empty()) wrong = scenario_.judge();
      ++report_.runs;
      auto& place = report_.places["all images"];
      ++place.kills;
      if (wrong.empty()) continue;
      ++place.failures;
      fail(fmt::format("image {} of {}", number, images_->count()), std::move(wrong));
    }
  }

  const CrashScenario& scenario_;
  CrashEngine engine_;
  const CrashOptions& options_;
  WorkerOptions worker_options_;
  CrashReport report_;
  std::vector<std::string> places_;  // of each point
  std::optional<Images> images_;
  std::uint64_t rescuer_calls_ = 0;
};

/// One line in a report: no tabs and line ends.
std::string in_one_field(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == '\t' || c == '\n'; }, ' ');
  return text;
}
}  // namespace

CrashReport run_crash_scenario(const CrashScenario& scenario, CrashEngine engine, const CrashOptions& options) {
  auto report = Lab{scenario, engine, options}.run();
  if (const char* const directory = std::getenv("HOLDFAST_CRASH_LAB_REPORT"))  // NOLINT(concurrency-mt-unsafe)
    write_report(report, std::filesystem::path{directory} / fmt::format("{}.tsv", current_pid()));
  return report;
}

void write_report(const CrashReport& report, const std::filesystem::path& file) {
  auto text = fmt::format("scenario\t{}\t{}\t{}\t{}\t{}\t{}\n", report.scenario, to_string(report.engine),
                          report.points, report.runs, report.failures.size(), fmt::join(report.recovery_ns, " "));
  for (const auto& [name, place] : report.places)
    text += fmt::format("place\t{}\t{}\t{}\t{}\t{}\n", report.scenario, to_string(report.engine), in_one_field(name),
                        place.kills, place.failures);
  std::ofstream out{file, std::ios::app};
  out << text;
  out.flush();
  if (!out)
    throw Error{std::make_error_code(std::errc::io_error), "write crash report", file.string(),
                "it cannot be written to", "its directory has to exist"};
}

std::string_view to_string(CrashEngine engine) noexcept {
  switch (engine) {
    case CrashEngine::system_calls:
      return "system calls";
    case CrashEngine::instructions:
      return "instructions";
    case CrashEngine::steps:
      return "steps";
    case CrashEngine::images:
      return "images";
  }
  return "?";
}

std::string_view to_string(Rescue rescue) noexcept {
  switch (rescue) {
    case Rescue::after:
      return "after";
    case Rescue::before:
      return "before";
    case Rescue::at:
      return "at";
    case Rescue::by_two:
      return "by two";
    case Rescue::killed:
      return "killed";
    case Rescue::continued:
      return "continued";
  }
  return "?";
}

std::string to_string(const CrashReport& report) {
  auto text = fmt::format("{}: {} points by {}, {} runs, {} failures", report.scenario, report.points,
                          to_string(report.engine), report.runs, report.failures.size());
  if (!report.recovery_ns.empty()) {
    auto sorted = report.recovery_ns;
    std::sort(sorted.begin(), sorted.end());
    text += fmt::format(", recovered within {:.1f} ms (median), {:.1f} ms (longest)",
                        static_cast<double>(sorted[sorted.size() / 2]) / 1e6, static_cast<double>(sorted.back()) / 1e6);
  }
  for (const auto& failure : report.failures) text += fmt::format("\n  {}: {}", failure.where, failure.what);
  return text;
}
}  // namespace holdfast::harness
