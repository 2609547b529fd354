#include <holdfast/testing/fault_injection.hpp>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <thread>

#include <fmt/format.h>
#include <holdfast/error.hpp>

#include "testing/plausible_errors.hpp"
#include "testing/tracer.hpp"

namespace holdfast::harness {
namespace {
constexpr std::size_t most_failures = 10;
constexpr std::string_view reported = "reported: ";

/// A call by its name and its number among those of that name: the way to it may be longer or shorter the next time.
struct Fault {
  std::string call;
  std::uint64_t number = 0;
  PlausibleError error;

  [[nodiscard]] std::string kind() const { return call + (error.done ? " done, " : " ") + error_name(error.error); }
  [[nodiscard]] std::string text() const {
    return fmt::format("{}#{}={}{}", call, number, error.done ? "done:" : "", error_name(error.error));
  }
};

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HOLDFAST_DETAIL_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HOLDFAST_DETAIL_SANITIZED 1
#endif
/// Its memory is not the worker's business, and it has no answer to being refused any.
bool is_a_sanitizers([[maybe_unused]] std::string_view call) {
#if defined(HOLDFAST_DETAIL_SANITIZED)
  return call == "mmap" || call == "munmap" || call == "madvise" || call == "mprotect";
#else
  return false;
#endif
}

class Lab {
 public:
  Lab(const FaultScenario& scenario, const FaultOptions& options) : scenario_{scenario}, options_{options} {
    if (!scenario.worker)
      throw Error{std::make_error_code(std::errc::invalid_argument), "run fault scenario", scenario.name,
                  "it has no worker"};
    report_.scenario = scenario.name;
  }

  FaultReport run() {
    list();
    if (!report_.failures.empty()) return std::move(report_);  // who does not do its part proves nothing
    if (!options_.only.empty()) {
      const auto wanted =
          std::find_if(faults_.begin(), faults_.end(), [&](const Fault& one) { return one.text() == options_.only; });
      if (wanted == faults_.end())
        fail(options_.only, "there is no such fault here");
      else
        run_with(*wanted);
      return std::move(report_);
    }
    const std::uint64_t all = faults_.size();
    const std::uint64_t runs = options_.at_most == 0 ? all : std::min(all, options_.at_most);
    const std::uint64_t first = all == 0 ? 0 : options_.seed % all;
    for (std::uint64_t run = 0; run < runs && report_.failures.size() < most_failures; ++run)
      run_with(faults_[(first + run * all / runs) % all]);
    return std::move(report_);
  }

 private:
  void fail(std::string where, std::string what) { report_.failures.push_back({std::move(where), std::move(what)}); }
  [[nodiscard]] Deadline patience() const { return Deadline{options_.patience}; }

  WorkerProcess start(const FaultScenario::Start& start_worker) const {
    auto worker = start_worker({});
    if (const auto ready = worker.wait_for_ready(patience()); ready != Ready::yes)
      throw Error{std::make_error_code(std::errc::timed_out), "run fault scenario", scenario_.name,
                  fmt::format("a worker was not ready: {}\n{}", to_string(ready), worker.report())};
    return worker;
  }

  void list() {
    if (scenario_.prepare) scenario_.prepare();
    auto worker = start(scenario_.worker);
    Tracer tracer{worker};
    if (!tracer.run_to_region())
      return fail("undisturbed", "the worker never entered a CrashRegion\n" + worker.report());
    std::map<std::string, std::uint64_t> numbers;
    while (tracer.advance_to_call()) {
      ++report_.calls;
      const auto name = tracer.call_name();
      const auto number = ++numbers[name];
      if (is_spared(name)) continue;
      for (const auto& error : plausible_errors(tracer.call(), options_.done_as_well))
        faults_.push_back({name, number, error});
    }
    report_.faults = faults_.size();
    if (!tracer.is_at_end()) fail("undisturbed", "the worker ended inside its region\n" + worker.report());
    tracer.let_go();
    if (!worker.wait_for_exit(patience()).ok()) fail("undisturbed", "the worker did not end well\n" + worker.report());
    if (auto wrong = look_after({"undisturbed", false}); !wrong.empty()) fail("undisturbed", std::move(wrong));
  }

  /// The next one, and then the judge. What is wrong.
  std::string look_after(const FaultOutcome& outcome) {
    if (scenario_.next) {
      auto next = start(scenario_.next);
      next.release();
      if (!next.wait_for_exit(patience()).ok()) return "the next one did not end well\n" + next.report();
    }
    return scenario_.judge ? scenario_.judge(outcome) : std::string{};
  }

  void run_with(const Fault& fault) {
    if (scenario_.prepare) scenario_.prepare();
    auto worker = start(scenario_.worker);
    {
      Tracer tracer{worker};
      bool there = tracer.run_to_region();
      for (std::uint64_t number = 0; there && number < fault.number;) {
        there = tracer.advance_to_call();
        if (there && tracer.call_name() == fault.call) ++number;
      }
      // This time it may be made for something else, such as a futex that wakes and does not wait.
      if (there && may_be(tracer.call(), fault.error))
        static_cast<void>(tracer.let_call_fail(fault.error.error, fault.error.done));
      tracer.let_go();
    }
    auto& place = report_.places[fault.kind()];
    ++report_.runs;
    ++place.runs;
    FaultOutcome outcome{fault.text(), false};
    auto wrong = what_worker_did(worker, outcome);
    if (outcome.reported) {
      ++place.reported;
      ++report_.messages[outcome.message];
    }
    if (auto later = look_after(outcome); !later.empty()) wrong += (wrong.empty() ? "" : "\n") + later;
    if (wrong.empty()) return;
    ++place.failures;
    if (outcome.reported) wrong += "\nit had reported: " + outcome.message;
    fail(fault.text(), std::move(wrong));
  }

  [[nodiscard]] bool is_spared(const std::string& call) const {
    const auto& spared = options_.spared;
    return is_a_sanitizers(call) || std::find(spared.begin(), spared.end(), call) != spared.end();
  }
  [[nodiscard]] static bool may_be(const Tracer::Call& call, const PlausibleError& error) {
    const auto errors = plausible_errors(call, true);
    return std::any_of(errors.begin(), errors.end(),
                       [&](const PlausibleError& one) { return one.error == error.error && one.done == error.done; });
  }

  std::string what_worker_did(WorkerProcess& worker, FaultOutcome& outcome) const {
    const auto exit = worker.wait_for_exit(patience());
    if (exit.ok()) return {};
    if (exit.by == Exit::By::deadline) return "it hung\n" + worker.report();
    if (exit != Exit{Exit::By::code, exit_reported, true}) return "it did not end well\n" + worker.report();
    outcome.reported = true;
    std::istringstream lines{worker.errors()};
    for (std::string line; std::getline(lines, line);)
      if (line.starts_with(reported)) outcome.message = line.substr(reported.size());
    return outcome.message.empty() ? "it failed, and did not say why\n" + worker.report() : std::string{};
  }

  const FaultScenario& scenario_;
  const FaultOptions& options_;
  FaultReport report_;
  std::vector<Fault> faults_;
};

/// By kind and what it refers to, with how many of them there are.
std::map<std::string, int> what_is_open() {
  namespace fs = std::filesystem;
  std::map<std::string, int> all;
  std::error_code gone;  // a descriptor that was open when the directory was read, such as that directory
  for (const auto& entry : fs::directory_iterator{"/proc/self/fd"}) {
    const auto target = fs::read_symlink(entry.path(), gone);
    if (!gone && !(target.native().starts_with("/proc/") && target.filename() == "fd"))
      ++all["descriptor of " + target.string()];
  }
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator{"/proc/self/task"}) ++all["thread"];
  std::ifstream maps{"/proc/self/maps"};
  for (std::string line; std::getline(maps, line);)
    if (const auto path = line.find('/'); path != std::string::npos) {
      const auto name = line.substr(path);
      if (!name.starts_with("/usr/") && !name.starts_with("/lib")) ++all["mapping of " + name];  // loaded when needed
    }
  return all;
}
}  // namespace

FaultReport run_fault_scenario(const FaultScenario& scenario, const FaultOptions& options) {
  return Lab{scenario, options}.run();
}

std::string to_string(const FaultReport& report) {
  std::uint64_t reported_runs = 0;
  for (const auto& [name, place] : report.places) reported_runs += place.reported;
  auto text = fmt::format("{}: {} system calls, {} faults, {} runs, {} of them reported, {} failures", report.scenario,
                          report.calls, report.faults, report.runs, reported_runs, report.failures.size());
  for (const auto& failure : report.failures) text += fmt::format("\n  {}: {}", failure.where, failure.what);
  return text;
}

int report_error(const std::exception& error) noexcept {
  const auto* const own = dynamic_cast<const Error*>(&error);
  const bool clear = own == nullptr || !own->subject().empty();
  std::fprintf(stderr, "%.*s%s\n", static_cast<int>(reported.size()), reported.data(), clear ? error.what() : "");
  return exit_reported;
}

LeakCheck::LeakCheck() : before_{what_is_open()} {}

std::string LeakCheck::leaks() const {
  // Who has been joined is still listed for a moment.
  for (const Deadline deadline{std::chrono::seconds{5}};;) {
    std::string text;
    bool thread = false;
    for (const auto& [what, count] : what_is_open()) {
      const auto known = before_.find(what);
      const int more = count - (known != before_.end() ? known->second : 0);
      if (more <= 0) continue;
      text += fmt::format("{}{} more: {}", text.empty() ? "" : ", ", more, what);
      thread = thread || what == "thread";
    }
    if (!thread || deadline.passed()) return text;
    std::this_thread::yield();
  }
}
}  // namespace holdfast::harness
