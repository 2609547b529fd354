// data_block_mutex_contention - DataBlockMutex beside a raw robust pthread_mutex_t and the mutexes of Boost.Interprocess,
// with real processes, in one run and in turns. Exit code: 0, also if a target is missed; 1 if a mutex let two in,
// allocated, made a system call or lost a death that it should not, or a worker failed; 2 if it cannot run here.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <initializer_list>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <holdfast/deadline.hpp>
#include <holdfast/testing/journal.hpp>
#include <holdfast/testing/temp_dir.hpp>
#include <holdfast/testing/worker_process.hpp>

#include "contest_page.hpp"
#include "machine.hpp"
#include "mutex_peers.hpp"
#include "processes.hpp"
#include "results.hpp"
#include "targets.hpp"
#include "turns.hpp"

namespace {
using namespace holdfast::benchmarks;
using namespace std::chrono_literals;
using holdfast::Deadline;
using holdfast::harness::Argument;
using holdfast::harness::Event;
using holdfast::harness::Exit;
using holdfast::harness::Journal;
using holdfast::harness::Ready;
using holdfast::harness::TempDir;
using holdfast::harness::WorkerProcess;
using std::chrono::nanoseconds;

constexpr double us = 1e3, s = 1e9;  // in nanoseconds
const std::string ours = "data_block_mutex", limit = "pthread_robust";
const std::vector<std::string> experiment_names = {"pairs", "system-calls", "contention", "kill", "hang"};

struct Options {
  std::vector<std::string> mutexes = usual_mutexes();
  std::vector<std::string> experiments = experiment_names;
  std::size_t rounds = 10;
  std::size_t batches = 30;  // of uncontended pairs, in each round
  nanoseconds batch = 1ms;
  std::int64_t pairs_without_system_calls = 1'000'000;
  std::vector<std::uint32_t> processes = {2, 10};
  std::uint32_t windows = 10;  // in which they contend, in each round
  nanoseconds window = 20ms;
  std::uint32_t kills = 10;  // in each round
  nanoseconds asleep = 1ms;
  nanoseconds patience_with_hanging = 2s;
  std::string json_file;
};

class Experiments {
 public:
  Experiments(const Options& options, const std::filesystem::path& directory)
      : options_{options}, directory_{directory} {}

  void pairs(std::size_t round);
  void system_calls();
  void contention(std::size_t round);
  void kill(std::size_t round);
  void hang();  ///< of a waiter whose owner was killed, for those that do not recover

  [[nodiscard]] const Results& results() const noexcept { return results_; }
  [[nodiscard]] const std::vector<std::string>& failures() const noexcept { return failures_; }
  /// What is no number: system calls of a pair, by mutex.
  [[nodiscard]] const std::map<std::string, std::string>& first_system_calls() const noexcept { return calls_; }
  [[nodiscard]] const std::map<std::string, std::string>& hangs() const noexcept { return hangs_; }

 private:
  [[nodiscard]] static Subject subject(const std::string& experiment, const std::string& mutex) {
    return {experiment, "memory", mutex};
  }
  [[nodiscard]] static bool recovers(const std::string& mutex) { return mutex == ours || mutex == limit; }

  /// Each time another one is first.
  [[nodiscard]] static std::vector<std::string> in_turn(std::vector<std::string> mutexes, std::size_t round) {
    if (!mutexes.empty())
      std::rotate(mutexes.begin(), mutexes.begin() + static_cast<std::ptrdiff_t>(round % mutexes.size()),
                  mutexes.end());
    return mutexes;
  }
  [[nodiscard]] Place next_place() {
    return {directory_, fmt::format("holdfast-benchmark-{}-{}", ::getpid(), ++number_)};
  }
  /// Made, and kept until the result is destroyed.
  [[nodiscard]] static std::shared_ptr<void> make(const std::string& kind, const Place& place) {
    return with_mutex_type(kind, [&]<class Mutex>(std::type_identity<Mutex>) -> std::shared_ptr<void> {
      return std::make_shared<Mutex>(place, Part::makes_it);
    });
  }
  [[nodiscard]] std::optional<nanoseconds> kill_one(const std::string& mutex, Deadline deadline);

  const Options& options_;
  std::filesystem::path directory_;
  Results results_;
  std::vector<std::string> failures_;
  std::map<std::string, std::string> calls_, hangs_;
  std::uint64_t number_ = 0;
};

WorkerProcess started(std::string_view scenario, const std::vector<Argument>& arguments) {
  auto worker = holdfast::harness::SpawnWorkerWithReadySignal(MUTEX_BENCHMARK_WORKER, scenario, arguments);
  if (worker.wait_for_ready(60s) != Ready::yes) throw std::runtime_error{worker.report()};
  return worker;
}

void expect_ok(WorkerProcess& worker) {
  if (!worker.wait_for_exit(60s).ok()) throw std::runtime_error{worker.report()};
}

void Experiments::pairs(std::size_t round) {
  const auto place = next_place();
  auto worker = holdfast::harness::SpawnWorker(MUTEX_BENCHMARK_WORKER, "pairs",
                                               {directory_, place.name, options_.batches, options_.batch.count(),
                                                fmt::format("{}", fmt::join(in_turn(options_.mutexes, round), ","))});
  expect_ok(worker);
  std::istringstream lines{worker.output()};
  std::size_t pass = 0;
  std::string kind;
  for (double done = 0, time = 0, allocated = 0; lines >> pass >> kind >> done >> time >> allocated;) {
    results_.add(subject("pairs", kind), "pair_ns", round, time / done);
    results_.add(subject("pairs", kind), "allocations", round, allocated);
    if (kind == ours && allocated != 0)
      failures_.push_back(fmt::format("{}: {} allocations in {} uncontended pairs", kind, allocated, done));
  }
}

void Experiments::system_calls() {
  for (const auto& mutex : options_.mutexes) {
    const auto place = next_place();
    const auto made = make(mutex, place);
    auto worker = holdfast::harness::SpawnWorker(MUTEX_BENCHMARK_WORKER, "system_calls",
                                                 {directory_, place.name, mutex, options_.pairs_without_system_calls});
    const auto exit = worker.wait_for_exit(60s);
    constexpr int by_system_call = 10, without_filter = 11;
    if (exit.by != Exit::By::code) throw std::runtime_error{worker.report()};
    if (exit.value == 0)
      calls_[mutex] = "none";
    else if (exit.value == by_system_call)
      calls_[mutex] = "makes system calls, the first is number " + worker.output();
    else if (exit.value == without_filter)
      calls_[mutex] = "not found out: the kernel lets nobody filter system calls here";
    else
      throw std::runtime_error{worker.report()};
    if (mutex == ours && exit.value == by_system_call)
      failures_.push_back(mutex + ": an uncontended pair " + calls_[mutex]);
  }
}

/// The contenders for one mutex. They sleep until they are let go, and again afterwards.
class Contest {
 public:
  Contest(std::string mutex, const Place& place, std::shared_ptr<void> made, std::uint32_t processes)
      : mutex_{std::move(mutex)},
        made_{std::move(made)},
        page_file_{place.directory / (place.name + "-page")},
        page_{page_file_} {
    for (std::uint32_t who = 0; who < processes; ++who)
      workers_.push_back(started("contend", {place.directory, place.name, mutex_, page_file_, who}));
  }
  Contest(const Contest&) = delete;
  Contest& operator=(const Contest&) = delete;
  ~Contest() { std::filesystem::remove(page_file_); }

  [[nodiscard]] const std::string& mutex() const noexcept { return mutex_; }

  /// Sections per second, while all of them contend.
  [[nodiscard]] double run(nanoseconds window) {
    std::vector<std::uint64_t> before;
    for (std::size_t who = 0; who < workers_.size(); ++who) before.push_back(done_by(who));
    Turns::reach(page_->phase, ++phase_);
    for (std::size_t who = 0; who < workers_.size(); ++who)
      if (!reached([&] { return done_by(who) > before[who]; }, workers_[who], 60s))
        throw std::runtime_error{fmt::format("{}: one of {} processes never gets in", mutex_, workers_.size())};
    const auto sections_before = done();
    const auto begin = std::chrono::steady_clock::now();
    std::this_thread::sleep_for(window);  // the length of a measurement; nothing is waited for
    const auto sections = done() - sections_before;
    const nanoseconds time = std::chrono::steady_clock::now() - begin;
    Turns::reach(page_->phase, ++phase_);
    const auto all_paused = [&] { return page_->paused.number.load() == workers_.size() * (phase_ / 2); };
    if (!reached(all_paused, workers_.front(), 60s))
      throw std::runtime_error{fmt::format("{}: one of {} processes never comes out", mutex_, workers_.size())};
    return static_cast<double>(sections) / static_cast<double>(time.count()) * s;
  }

  /// Lost increments, of how many.
  [[nodiscard]] std::pair<std::uint64_t, std::uint64_t> end() {
    Turns::reach(page_->phase, ContestPage::over);
    for (auto& worker : workers_) expect_ok(worker);
    return {done() - page_->sections.number.load(), done()};
  }

 private:
  [[nodiscard]] std::uint64_t done_by(std::size_t who) const { return page_->own.at(who).number.load(); }
  [[nodiscard]] std::uint64_t done() const {
    std::uint64_t sum = 0;
    for (std::size_t who = 0; who < workers_.size(); ++who) sum += done_by(who);
    return sum;
  }

  std::string mutex_;
  std::shared_ptr<void> made_;
  std::filesystem::path page_file_;
  SharedPage<ContestPage> page_;
  std::vector<WorkerProcess> workers_;
  std::uint32_t phase_ = 0;
};

/// In short windows, all mutexes in turns: which of the contenders have a processor, and what else the machine does, changes
/// from one second to the next, and with it the throughput, by a factor of two.
void Experiments::contention(std::size_t round) {
  for (const auto processes : options_.processes) {
    std::vector<std::unique_ptr<Contest>> contests;
    for (const auto& mutex : in_turn(options_.mutexes, round)) {
      const auto place = next_place();
      contests.push_back(std::make_unique<Contest>(mutex, place, make(mutex, place), processes));
    }
    const auto experiment = fmt::format("{} processes", processes);
    for (std::uint32_t pass = 0; pass < options_.windows; ++pass) {
      for (auto& contest : contests)
        results_.add(subject(experiment, contest->mutex()), "sections_per_s", round, contest->run(options_.window));
      std::rotate(contests.begin(), contests.begin() + 1, contests.end());
    }
    for (auto& contest : contests)
      if (const auto [lost, done] = contest->end(); lost != 0)
        failures_.push_back(
            fmt::format("{} with {} processes: {} of {} increments lost", contest->mutex(), processes, lost, done));
  }
}

/// From just before the kill until the one asleep has it. Empty: it has not by the deadline.
std::optional<nanoseconds> Experiments::kill_one(const std::string& mutex, Deadline deadline) {
  constexpr std::uint32_t owner = 0, waiter = 1;
  const auto place = next_place();
  const auto made = make(mutex, place);
  const auto file = directory_ / (place.name + "-journal");
  auto journal = Journal::create(file, 16);
  auto waiting = started("own", {directory_, place.name, mutex, file, waiter});
  auto victim = started("own", {directory_, place.name, mutex, file, owner});
  const auto last_is = [&](std::uint32_t who, std::initializer_list<Event> events) {
    const auto last = journal.latest(1);
    return !last.empty() && last.front().who == who &&
           std::find(events.begin(), events.end(), last.front().event) != events.end();
  };
  victim.release();
  if (!reached([&] { return last_is(owner, {Event::entered}); }, victim, 60s))
    throw std::runtime_error{mutex + ": a free mutex is not had"};
  waiting.release();
  const auto is_waiting = [&] { return last_is(waiter, {Event::arrived}) && is_asleep(waiting.pid()); };
  if (!reached(is_waiting, waiting, 60s)) throw std::runtime_error{mutex + ": the waiter does not wait"};
  std::this_thread::sleep_for(options_.asleep);  // how long it has slept is part of the experiment
  if (!is_waiting()) throw std::runtime_error{mutex + ": the waiter does not sleep"};
  journal.append(owner, Event::doomed);
  victim.kill();
  const bool recovered = reached(
      [&] {
        return last_is(waiter, {Event::entered, Event::recovered});
      },
      waiting, deadline);
  std::optional<nanoseconds> time;
  if (recovered) {
    const auto entries = journal.entries();
    const auto& inside = entries.back();
    const auto& killed = entries.at(entries.size() - 2);
    time = nanoseconds{static_cast<std::int64_t>(inside.nanoseconds - killed.nanoseconds)};
    if (mutex == ours && inside.event != Event::recovered)
      failures_.push_back(mutex + ": no news of the owner's death");
    waiting.release();
    expect_ok(waiting);
  }
  std::filesystem::remove(file);
  return time;
}

void Experiments::kill(std::size_t round) {
  auto mutexes = options_.mutexes;
  std::erase_if(mutexes, [](const std::string& mutex) { return !recovers(mutex); });
  for (std::uint32_t i = 0; i < options_.kills; ++i)
    for (const auto& mutex : in_turn(mutexes, round + i)) {
      if (const auto time = kill_one(mutex, 10s))
        results_.add(subject("kill", mutex), "recovery_us", round, static_cast<double>(time->count()) / us);
      else
        failures_.push_back(mutex + ": the waiter sleeps still, 10 s after its owner was killed");
    }
}

void Experiments::hang() {
  for (const auto& mutex : options_.mutexes) {
    if (recovers(mutex) || mutex == "nothing" || mutex == "flock") continue;
    const auto time = kill_one(mutex, options_.patience_with_hanging);
    hangs_[mutex] = time ? fmt::format("has it after {} us", number(static_cast<double>(time->count()) / us))
                         : fmt::format("sleeps still after {} s, when it is killed",
                                       number(std::chrono::duration<double>{options_.patience_with_hanging}.count()));
  }
}

std::vector<Target> targets(const Results& results, const Options& options) {
  const auto ratio = [&](const std::string& experiment, const std::string& metric) {
    return spread_of(results.ratios({experiment, "memory", ours}, {experiment, "memory", limit}, metric));
  };
  std::vector<Target> list{{"uncontended pair / raw robust mutex", "", false, 1.05, ratio("pairs", "pair_ns")}};
  for (const auto processes : options.processes) {
    const auto experiment = fmt::format("{} processes", processes);
    list.push_back({fmt::format("{}, throughput / raw robust mutex", experiment), "", true, 0.95,
                    ratio(experiment, "sections_per_s")});
  }
  list.push_back({"killed owner to sleeper / raw robust mutex", "", false, 1.2, ratio("kill", "recovery_us")});
  return list;
}

class Tables {
 public:
  Tables(std::ostream& out, const Experiments& experiments, const Options& options)
      : out_{out}, experiments_{experiments}, options_{options} {}

  void print() const {
    out_ << "Medians [lowest .. highest round]; ratios round by round.\n";
    compare("pairs", "pair_ns", "uncontended lock and unlock, ns");
    if (!experiments_.first_system_calls().empty()) {
      out_ << fmt::format("\nsystem calls in {} uncontended pairs\n", options_.pairs_without_system_calls);
      for (const auto& mutex : options_.mutexes) row(mutex, experiments_.first_system_calls().at(mutex));
    }
    for (const auto processes : options_.processes)
      compare(fmt::format("{} processes", processes), "sections_per_s",
              fmt::format("{} processes, section of one increment, sections/s", processes));
    compare("kill", "recovery_us", "SIGKILL of the owner, until a process asleep has the mutex, us");
    recoveries();
  }

 private:
  [[nodiscard]] const Results& results() const { return experiments_.results(); }

  void row(const std::string& name, const std::string& first, const std::string& second = {}) const {
    out_ << fmt::format("  {:<28} {:<38} {}", name, first, second) << '\n';
  }

  void compare(const std::string& experiment, const std::string& metric, const std::string& title) const {
    bool any = false;
    for (const auto& mutex : options_.mutexes) {
      const auto spread = spread_of(results().rounds({experiment, "memory", mutex}, metric));
      if (!spread) continue;
      if (!std::exchange(any, true)) {
        out_ << '\n' << title << '\n';
        row("", "", "ratio to " + limit);
      }
      const auto ratio = results().ratios({experiment, "memory", mutex}, {experiment, "memory", limit}, metric);
      row(mutex, to_string(spread), mutex == limit ? "1" : to_string(spread_of(ratio)));
    }
  }

  void recoveries() const {
    const auto has_kills = [&](const std::string& mutex) {
      return !results().samples({"kill", "memory", mutex}, "recovery_us").empty();
    };
    if (experiments_.hangs().empty() && std::none_of(options_.mutexes.begin(), options_.mutexes.end(), has_kills))
      return;
    out_ << "\nThe owner is killed (SIGKILL), and a process that sleeps on the mutex...\n";
    for (const auto& mutex : options_.mutexes) {
      const auto samples = results().samples({"kill", "memory", mutex}, "recovery_us");
      if (!samples.empty())
        row(mutex, fmt::format("has it after {} us, median of {}", number(median(samples)), samples.size()),
            fmt::format("worst {} us; is told {}", number(percentile(samples, 100)),
                        mutex == ours ? "that its owner died, and who it was" : "that its owner died"));
      else if (const auto found = experiments_.hangs().find(mutex); found != experiments_.hangs().end())
        row(mutex, found->second);
    }
  }

  std::ostream& out_;
  const Experiments& experiments_;
  const Options& options_;
};

void make_quick(Options& options) {
  options.rounds = 2;
  options.batches = 4;
  options.pairs_without_system_calls = 10'000;
  options.processes = {2, 4};
  options.windows = 2;
  options.kills = 2;
  options.patience_with_hanging = 200ms;
}

int run(const Options& options) {
  // Journals and pages in memory: written to a disk, they would be part of what is measured.
  if (std::filesystem::is_directory("/dev/shm")) ::setenv("TMPDIR", "/dev/shm", 1);
  auto directory = std::make_unique<TempDir>();
  Experiments experiments{options, directory->path()};
  auto about = machine();
  const auto wanted = [&](const std::string& name) {
    return std::find(options.experiments.begin(), options.experiments.end(), name) != options.experiments.end();
  };
  if (wanted("system-calls")) experiments.system_calls();
  for (std::size_t round = 0; round < options.rounds; ++round) {
    std::cerr << fmt::format("round {} of {}\n", round + 1, options.rounds);
    if (wanted("pairs")) experiments.pairs(round);
    if (wanted("contention")) experiments.contention(round);
    if (wanted("kill")) experiments.kill(round);
  }
  if (wanted("hang")) experiments.hang();
  about["load_after"] = load();

  const auto& results = experiments.results();
  const auto& failures = experiments.failures();
  const auto reached = targets(results, options);
  std::cout << in_words(about) << '\n';
#ifndef HOLDFAST_BENCHMARK_BOOST
  std::cout << "WITHOUT BOOST: its headers were not there when this was built; boost_* is not measured.\n";
#endif
  Tables{std::cout, experiments, options}.print();
  print_targets(std::cout, reached);
  for (const auto& failure : failures) std::cout << "FAILURE " << failure << '\n';
  if (!options.json_file.empty()) {
    std::ofstream file{options.json_file};
    file << nlohmann::json{{"machine", about},
                           {"rounds", options.rounds},
                           {"results", results.json()},
                           {"system_calls", experiments.first_system_calls()},
                           {"hangs", experiments.hangs()},
                           {"targets", json(reached)},
                           {"failures", failures}}
                .dump(1)
         << '\n';
    if (!file.flush()) throw std::runtime_error{"cannot write " + options.json_file};
  }
  return failures.empty() ? 0 : 1;
}

CLI::Option* add_microseconds(CLI::App& app, const std::string& name, nanoseconds& time,
                              const std::string& description) {
  return app.add_option_function<std::uint32_t>(
      name, [&time](const std::uint32_t& value) { time = std::chrono::microseconds{value}; }, description);
}
}  // namespace

int main(int argc, char** argv) {
  Options options;
  bool quick = false;
  CLI::App app{"DataBlockMutex measured beside a raw robust pthread_mutex_t and the mutexes of Boost.Interprocess"};
  app.add_option("--experiments", options.experiments, "all, or some of: pairs system-calls contention kill hang")
      ->check(CLI::IsMember(experiment_names))
      ->delimiter(',');
  auto mutexes = usual_mutexes();
  mutexes.insert(mutexes.end(), {"flock", "nothing"});
  app.add_option("--mutexes", options.mutexes,
                 "some of: data_block_mutex pthread_robust boost_interprocess_mutex boost_named_mutex; flock; nothing, "
                 "which is no lock")
      ->check(CLI::IsMember(mutexes).description(""))
      ->delimiter(',');
  app.add_option("--rounds", options.rounds, "how often everything is measured in turns")->capture_default_str();
  app.add_option("--batches", options.batches, "of uncontended pairs, in each round")->capture_default_str();
  app.add_option("--processes", options.processes, "numbers of contenders")
      ->check(CLI::Range(std::size_t{1}, most_contenders).description(""))
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--windows", options.windows, "in which all contend, for each mutex in each round")
      ->capture_default_str();
  add_microseconds(app, "--window-us", options.window, "length of each (default 20000)");
  add_microseconds(app, "--asleep-us", options.asleep, "how long a waiter has slept before the kill (default 1000)");
  app.add_option("--kills", options.kills, "for each mutex in each round")->capture_default_str();
  app.add_option("--json", options.json_file, "writes the results to this file as well");
  app.add_flag("--quick", quick, "everything once over: does it work? The figures mean little");
  CLI11_PARSE(app, argc, argv);
  if (quick) make_quick(options);
  try {
    return run(options);
  } catch (const holdfast::Error& error) {
    std::cerr << error.what() << '\n';
    return 2;
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
