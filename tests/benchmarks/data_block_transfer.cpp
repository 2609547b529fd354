// data_block_transfer - DataBlock beside a minimal ring, which is safe against nothing, and the usual ways to bring messages
// to another process; with real processes, each on its processor, in one run and in turns. Every message is verified.
// Exit code: 0, also if a target is missed; 1 if a message was lost, torn or came twice where it must not, DataBlock
// allocated or made a system call for a message, did not recover, or a worker failed; 2 if it cannot run here.
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <holdfast/data_block.hpp>
#include <holdfast/deadline.hpp>
#include <holdfast/testing/journal.hpp>
#include <holdfast/testing/temp_dir.hpp>
#include <holdfast/testing/worker_process.hpp>

#include "machine.hpp"
#include "place.hpp"
#include "processes.hpp"
#include "results.hpp"
#include "shared_page.hpp"
#include "system_call_filter.hpp"
#include "targets.hpp"
#include "transfer_page.hpp"
#include "transfer_report.hpp"
#include "turns.hpp"

namespace {
using namespace holdfast::benchmarks;
using namespace holdfast::benchmarks::transfer;
using namespace std::chrono_literals;
using holdfast::DataBlockConsumer;
using holdfast::Deadline;
using holdfast::harness::Argument;
using holdfast::harness::Event;
using holdfast::harness::Exit;
using holdfast::harness::Journal;
using holdfast::harness::Ready;
using holdfast::harness::TempDir;
using holdfast::harness::WorkerProcess;
using std::chrono::nanoseconds;

constexpr double us = 1e3, ms = 1e6, s = 1e9;  // in nanoseconds
/// The first two that this process may use, or one, twice.
std::array<int, 2> processors() {
  cpu_set_t usable;
  CPU_ZERO(&usable);
  if (::sched_getaffinity(0, sizeof usable, &usable) != 0) throw std::runtime_error{"sched_getaffinity"};
  std::vector<int> found;
  for (int i = 0; i < CPU_SETSIZE && found.size() < 2; ++i)
    if (CPU_ISSET(static_cast<std::size_t>(i), &usable)) found.push_back(i);
  return {found.front(), found.back()};
}

void expect_ready(WorkerProcess& worker) {
  if (worker.wait_for_ready(60s) != Ready::yes) throw WorkerFailed{worker};
}

void expect_ok(WorkerProcess& worker) {
  if (!worker.wait_for_exit(60s).ok()) throw WorkerFailed{worker};
}

/// What workers that were killed have left in shared memory.
void remove_leftovers(const Place& place) {
  for (const auto* const end : {"", "-there", "-back"}) {
    try {
      holdfast::SharedMemory::remove(place.name + end);
    } catch (const holdfast::Error& error) {
      std::cerr << error.what() << '\n';
    }
    std::error_code ignored;
    std::filesystem::remove(std::filesystem::path{"/dev/shm"} / (place.name + end), ignored);  // Boost's
  }
}

/// iceoryx needs its daemon. It leaves shared memory behind if it is not asked to end.
class RouDi {
 public:
  explicit RouDi([[maybe_unused]] const std::filesystem::path& directory) {
#ifdef HOLDFAST_BENCHMARK_ICEORYX
    const auto config = directory / "roudi.toml";
    std::ofstream file{config};
    file << "[general]\nversion = 1\n[[segment]]\n";
    for (const auto& [size, count] : {std::pair{128, 512},
                                      {1024, 512},
                                      {8 << 10, 512},
                                      {80 << 10, 256},
                                      {(1 << 20) + 4096, 32},
                                      {(4 << 20) + 4096, 32}})
      file << fmt::format("[[segment.mempool]]\nsize = {}\ncount = {}\n", size, count);
    file.close();
    daemon_.emplace(holdfast::harness::SpawnWorker(HOLDFAST_BENCHMARK_ROUDI, "--config-file", {config}));
    wait_until([&] { return daemon_->output().find("RouDi is ready") != std::string::npos; }, *daemon_);
#endif
  }
  RouDi(const RouDi&) = delete;
  RouDi& operator=(const RouDi&) = delete;
  ~RouDi() {
    if (!daemon_ || !daemon_->is_running()) return;
    ::kill(static_cast<pid_t>(daemon_->pid()), SIGTERM);
    daemon_->wait_for_exit(30s);
  }

 private:
  std::optional<WorkerProcess> daemon_;
};

/// The processes of one transport. They sleep until they are let go, and again afterwards.
class Contest {
 public:
  struct Part {
    std::string scenario;
    std::size_t processor = 0;  ///< of the two
    std::string last_argument = "0";
  };

  Contest(std::string kind, const Place& place, const Shape& shape, const std::vector<Part>& parts)
      : kind_{std::move(kind)},
        place_{place},
        shape_{shape},
        page_file_{place.directory / (place.name + "-page")},
        page_{page_file_} {
    for (const auto& part : parts)
      workers_.push_back(holdfast::harness::SpawnWorkerWithReadySignal(
          TRANSFER_BENCHMARK_WORKER, part.scenario,
          {place.directory, place.name, kind_, page_file_, processors().at(part.processor), shape.slots, shape.size,
           shape.receivers, part.last_argument}));
    for (auto& worker : workers_) expect_ready(worker);
  }
  Contest(const Contest&) = delete;
  Contest& operator=(const Contest&) = delete;
  ~Contest() {
    workers_.clear();
    if (!ended_) remove_leftovers(place_);
    std::filesystem::remove(page_file_);
  }

  [[nodiscard]] const std::string& kind() const noexcept { return kind_; }
  [[nodiscard]] const Shape& shape() const noexcept { return shape_; }
  [[nodiscard]] const TransferPage& page() const noexcept { return *page_; }
  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }

  /// Returns when that many messages have been sent and received.
  void run(std::uint64_t count) {
    count_ = count;
    done_ += count;
    page_->until.store(done_);
    Turns::reach(page_->phase, ++window_);
    const auto all = static_cast<std::uint32_t>(workers_.size() * window_);
    const Deadline deadline{60s};
    while (!Turns::wait_a_while_for(page_->finished, all, 200ms))
      for (const auto& worker : workers_)
        if (!worker.is_running() || deadline.passed()) throw WorkerFailed{worker};
  }
  /// From the first message, just before it was written, until all have read the last.
  [[nodiscard]] nanoseconds time() const {
    std::uint64_t ended = 0;
    for (std::size_t who = 0; who < shape_.receivers; ++who)
      ended = std::max(ended, page_->receivers.at(who).last_took.load());
    return nanoseconds{static_cast<std::int64_t>(ended - page_->began.load())};
  }
  /// Runs until that many messages take about that time, and remembers how many they are: whole laps of the ring.
  void calibrate(nanoseconds time) {
    std::uint64_t count = shape_.slots;
    for (run(count); this->time() < time / 4 && count < 1U << 28U; run(count)) count *= 2;
    const auto wanted = static_cast<double>(count) * static_cast<double>(time.count()) /
                        static_cast<double>(std::max<std::int64_t>(1, this->time().count()));
    usual_count_ = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(wanted) / shape_.slots) * shape_.slots;
  }
  void run() { run(usual_count_); }

  void end() {
    Turns::reach(page_->phase, TransferPage::over);
    for (auto& worker : workers_) expect_ok(worker);
    ended_ = true;
  }

 private:
  std::string kind_;
  Place place_;
  Shape shape_;
  std::filesystem::path page_file_;
  SharedPage<TransferPage> page_;
  std::vector<WorkerProcess> workers_;
  std::uint32_t window_ = 0;
  std::uint64_t count_ = 0, done_ = 0, usual_count_ = 0;
  bool ended_ = false;
};

/// Null: it changed during the window, or was not measured.
const Distance* distance(const TransferPage& page) {
  const auto of = [](const std::atomic<std::uint64_t>& nanoseconds) -> const Distance* {
    for (const auto& distance : distances)
      if (nanoseconds.load() < distance.below) return &distance;
    return nullptr;
  };
  const auto* const before = of(page.distance_before);
  return before == of(page.distance_after) ? before : nullptr;
}

class Experiments {
 public:
  Experiments(const Options& options, const std::filesystem::path& directory)
      : options_{options}, directory_{directory} {}

  void transfer(std::size_t round);
  void round_trips(std::size_t round);
  void sleepers(std::size_t round);
  void fan_out(std::size_t round);
  void more_consumers(std::size_t round);
  void recovery();
  void system_calls();

  [[nodiscard]] const Results& results() const noexcept { return results_; }
  [[nodiscard]] const std::vector<std::string>& failures() const noexcept { return failures_; }
  /// What is no number: system calls and allocations of a message, by transport.
  [[nodiscard]] const std::map<std::string, std::string>& costs() const noexcept { return costs_; }

 private:
  [[nodiscard]] static Subject subject(const std::string& experiment, const std::string& kind) {
    return {experiment, "memory", kind};
  }
  [[nodiscard]] Shape shape_of(std::size_t size, std::size_t receivers = 1) const {
    return {size < 1 << 20 ? options_.slots : 8, size, receivers};
  }
  [[nodiscard]] Place next_place() {
    return {directory_, fmt::format("holdfast-benchmark-{}-{}", ::getpid(), ++number_)};
  }
  void fail(const std::string& kind, const std::string& doing, const std::exception& error) {
    failures_.push_back(fmt::format("{}, {}: {}", kind, doing, error.what()));
  }
  template <class Make, class Window>
  void in_turns(std::vector<std::string> kinds, const std::string& doing, std::size_t round, Make make, Window window);
  [[nodiscard]] std::pair<nanoseconds, nanoseconds> kill_writer();
  [[nodiscard]] nanoseconds kill_reader();

  const Options& options_;
  std::filesystem::path directory_;
  Results results_;
  std::vector<std::string> failures_;
  std::map<std::string, std::string> costs_;
  std::uint64_t number_ = 0;
};

/// All of them are there, and sleep; then in short windows each in turn, and each time another one is first: what else the
/// machine does changes from one second to the next.
template <class Make, class Window>
void Experiments::in_turns(std::vector<std::string> kinds, const std::string& doing, std::size_t round, Make make,
                           Window window) {
  std::vector<std::unique_ptr<Contest>> contests;
  const auto attempt = [&](const std::string& kind, auto action) {
    try {
      action();
      return true;
    } catch (const WorkerFailed& error) {
      fail(kind, doing, error);
      return false;
    }
  };
  for (const auto& kind : kinds) attempt(kind, [&] { contests.push_back(make(kind)); });
  for (std::size_t turn = 0; turn < options_.windows; ++turn)
    for (std::size_t i = 0; i < contests.size(); ++i) {
      auto& contest = contests[(i + turn + round) % contests.size()];
      if (contest && !attempt(contest->kind(), [&] { window(*contest); })) contest.reset();
    }
  for (auto& contest : contests)
    if (contest) attempt(contest->kind(), [&] { contest->end(); });
}

void Experiments::transfer(std::size_t round) {
  for (const auto size : options_.sizes) {
    const auto experiment = "transfer, " + in_bytes(size);
    const auto make = [&](const std::string& kind) {
      std::vector<Contest::Part> parts{{"send", 0}, {"receive", 1}};
      if (kind == "data_block_display") parts.push_back({"display", 1});
      auto contest = std::make_unique<Contest>(kind, next_place(), shape_of(size), parts);
      contest->calibrate(options_.window);
      return contest;
    };
    in_turns(options_.transports, experiment, round, make, [&](Contest& contest) {
      contest.run();
      const auto time = static_cast<double>(contest.time().count());
      const auto received = contest.page().receivers.front().received.load();
      const auto add = [&](const std::string& where) {
        results_.add(subject(where, contest.kind()), "messages_per_s", round, static_cast<double>(received) / time * s);
        results_.add(subject(where, contest.kind()), "written_per_s", round,
                     static_cast<double>(contest.count()) / time * s);
      };
      add(experiment);
      if (const auto* const apart = distance(contest.page())) add(experiment + ", " + apart->name);
    });
  }
}

void Experiments::round_trips(std::size_t round) {
  auto kinds = options_.transports;
  std::erase_if(kinds, [](const std::string& kind) { return kind.starts_with(ours + "_"); });
  for (const auto size : options_.round_trip_sizes) {
    const auto experiment = "round trip, " + in_bytes(size);
    const auto make = [&](const std::string& kind) {
      auto contest = std::make_unique<Contest>(kind, next_place(), shape_of(size, 0),
                                               std::vector<Contest::Part>{{"ping", 0, "busy"}, {"pong", 1, "busy"}});
      contest->run(contest->shape().slots);
      return contest;
    };
    in_turns(kinds, experiment, round, make, [&](Contest& contest) {
      contest.run(std::max<std::uint64_t>(100, static_cast<std::uint64_t>(static_cast<double>(options_.window.count()) /
                                                                          contest.page().half_median / 2)));
      results_.add(subject(experiment, contest.kind()), "half_ns", round, contest.page().half_median.load());
      results_.add(subject(experiment, contest.kind()), "half_p99_ns", round, contest.page().half_p99.load());
    });
  }
}

void Experiments::sleepers(std::size_t round) {
  for (const auto size : options_.round_trip_sizes) {
    const auto experiment = "to a sleeper, " + in_bytes(size);
    const auto make = [&](const std::string& kind) {
      auto contest =
          std::make_unique<Contest>(kind, next_place(), shape_of(size, 0),
                                    std::vector<Contest::Part>{{"ping", 0, "asleep"}, {"pong", 1, "asleep"}});
      contest->run(1);
      return contest;
    };
    in_turns({ours, sleeper}, experiment, round, make, [&](Contest& contest) {
      contest.run(options_.pings_to_sleepers);
      const auto& page = contest.page();
      results_.add(subject(experiment, contest.kind()), "wake_us", round, page.wake_median.load() / us);
      results_.add(subject(experiment, contest.kind()), "wake_p99_us", round, page.wake_p99.load() / us);
      results_.add(subject(experiment, contest.kind()), "half_us", round, page.half_median.load() / us);
    });
  }
}

/// The sender on one processor, receivers on the other one and the first in turns.
std::vector<Contest::Part> fan_out_parts(const std::string& suffix, std::size_t receivers, bool all_on_other) {
  std::vector<Contest::Part> parts{{"send" + suffix, 0}};
  for (std::size_t who = 0; who < receivers; ++who)
    parts.push_back({"receive" + suffix, all_on_other ? 1 : (who + 1) % 2, std::to_string(who)});
  return parts;
}

void Experiments::fan_out(std::size_t round) {
  for (const auto receivers : options_.fan_out_receivers)
    for (const auto size : options_.fan_out_sizes) {
      const auto experiment = fmt::format("{} receivers, {}", receivers, in_bytes(size));
      const auto make = [&](const std::string& kind) {
        auto contest = std::make_unique<Contest>(kind, next_place(), shape_of(size, receivers),
                                                 fan_out_parts("", receivers, false));
        contest->calibrate(options_.window * 2);
        return contest;
      };
      in_turns({ours, fan_out_limit}, experiment, round, make, [&](Contest& contest) {
        contest.run();
        results_.add(subject(experiment, contest.kind()), "messages_per_s", round,
                     static_cast<double>(contest.count()) / static_cast<double>(contest.time().count()) * s);
      });
    }
}

/// The kinds are numbers of consumers here, so that these are what takes turns.
void Experiments::more_consumers(std::size_t round) {
  constexpr std::size_t size = 64;
  std::vector<std::string> kinds;
  for (const auto consumers : options_.consumers) {
    kinds.push_back(fmt::format("{} {}", ours, consumers));
    kinds.push_back(fmt::format("{} {}", fan_out_limit, consumers));
  }
  const std::string experiment = "producer's cost";
  const auto make = [&](const std::string& kind) {
    const auto space = kind.find(' ');
    const auto consumers = std::stoul(kind.substr(space));
    auto contest = std::make_unique<Contest>(kind.substr(0, space), next_place(), shape_of(size, consumers),
                                             fan_out_parts("_in_laps", consumers, true));
    contest->run(contest->shape().slots);
    return contest;
  };
  in_turns(kinds, experiment, round, make, [&](Contest& contest) {
    contest.run(contest.shape().slots * 40);
    results_.add(subject(experiment, fmt::format("{} {}", contest.kind(), contest.shape().receivers)), "slot_ns", round,
                 static_cast<double>(contest.page().spent.number.load()) / static_cast<double>(contest.count()));
  });
}

void expect_message(DataBlockConsumer& consumer, std::uint64_t number) {
  auto slot = consumer.acquire_consume_slot(30s);
  if (!slot) throw std::runtime_error{fmt::format("message {} does not come", number)};
  if (slot.id() != number || number_of(slot.bytes()) != number || !is_whole(slot.bytes()))
    throw std::runtime_error{fmt::format("message {} is not what was committed", number)};
}

/// From just before the kill until a process that was started after it has committed. Second: until that one runs.
std::pair<nanoseconds, nanoseconds> Experiments::kill_writer() {
  const auto place = next_place();
  const auto file = directory_ / (place.name + "-journal");
  auto journal = Journal::create(file, 16);
  auto victim = holdfast::harness::SpawnWorkerWithReadySignal(DATA_BLOCK_BENCHMARK_WORKER, "write_half", {place.name});
  expect_ready(victim);
  auto consumer = DataBlockConsumer::attach(place.name, {.start = holdfast::StartAt::oldest()});
  expect_message(consumer, 0);
  journal.append(0, Event::doomed);
  victim.kill();
  auto successor = holdfast::harness::SpawnWorker(DATA_BLOCK_BENCHMARK_WORKER, "write_on", {place.name, file});
  expect_message(consumer, 1);
  expect_ok(successor);
  const auto entries = journal.entries();
  std::filesystem::remove(file);
  const auto since_kill = [&](std::size_t entry) {
    return nanoseconds{static_cast<std::int64_t>(entries.at(entry).nanoseconds - entries.at(0).nanoseconds)};
  };
  return {since_kill(2), since_kill(1)};
}

/// From just before the kill of a reader that holds the slot which is waited for, until the producer has it.
nanoseconds Experiments::kill_reader() {
  const auto place = next_place();
  const auto file = directory_ / (place.name + "-journal");
  auto journal = Journal::create(file, 16);
  auto producer =
      holdfast::harness::SpawnWorkerWithReadySignal(DATA_BLOCK_BENCHMARK_WORKER, "fill_and_wait", {place.name, file});
  expect_ready(producer);
  auto reader = holdfast::harness::SpawnWorkerWithReadySignal(DATA_BLOCK_BENCHMARK_WORKER, "hold", {place.name});
  expect_ready(reader);
  producer.release();
  wait_until([&] { return journal.latest(1).size() == 1 && is_asleep(producer.pid()); }, producer);
  journal.append(0, Event::doomed);
  reader.kill();
  expect_ok(producer);
  const auto entries = journal.entries();
  std::filesystem::remove(file);
  return nanoseconds{static_cast<std::int64_t>(entries.at(2).nanoseconds - entries.at(1).nanoseconds)};
}

void Experiments::recovery() {
  for (std::size_t i = 0; i < options_.kills; ++i) {
    try {
      const auto [committed, started] = kill_writer();
      results_.add(subject("recovery", ours), "writer_ms", i, static_cast<double>(committed.count()) / ms);
      results_.add(subject("recovery", ours), "process_start_ms", i, static_cast<double>(started.count()) / ms);
    } catch (const std::exception& error) {
      fail(ours, "writer killed", error);
    }
    try {
      results_.add(subject("recovery", ours), "reader_ms", i, static_cast<double>(kill_reader().count()) / ms);
    } catch (const std::exception& error) {
      fail(ours, "reader killed", error);
    }
  }
}

void Experiments::system_calls() {
  for (const auto& kind : options_.transports) {
    if (!kind.starts_with(ours) && options_.transports.size() > 1) continue;
    const auto place = next_place();
    auto worker =
        holdfast::harness::SpawnWorker(DATA_BLOCK_BENCHMARK_WORKER, "messages",
                                       {place.directory, place.name, kind, options_.messages_without_system_calls});
    const auto exit = worker.wait_for_exit(60s);
    remove_leftovers(place);  // it ends without an orderly end
    if (exit.by != Exit::By::code) {
      fail(kind, "system calls", WorkerFailed{worker});
    } else if (exit.value == 0) {
      costs_[kind] = worker.output() + " allocations, no system call";
      if (kind.starts_with(ours) && worker.output() != "0") failures_.push_back(kind + ": " + costs_[kind]);
    } else if (exit.value == exit_by_system_call) {
      costs_[kind] = "makes system calls, the first is number " + worker.output();
      if (kind.starts_with(ours)) failures_.push_back(kind + ": " + costs_[kind]);
    } else if (exit.value == exit_without_filter) {
      costs_[kind] = "not found out: the kernel lets nobody filter system calls here";
    } else {
      fail(kind, "system calls", WorkerFailed{worker});
    }
  }
}

void make_quick(Options& options) {
  options.rounds = 1;
  options.windows = 2;
  options.window = 1ms;
  options.sizes = {8, 4 << 10, 1 << 20};
  options.round_trip_sizes = {64};
  options.fan_out_sizes = {64};
  options.pings_to_sleepers = 5;
  options.kills = 3;
  options.messages_without_system_calls = 10'000;
}

int run(const Options& options) {
  // Journals, pages, rings in memory: written to a disk, they would be part of what is measured.
  if (std::filesystem::is_directory("/dev/shm")) ::setenv("TMPDIR", "/dev/shm", 1);
  auto directory = std::make_unique<TempDir>();
  Experiments experiments{options, directory->path()};
  auto about = machine();
  const auto wanted = [&](const std::string& name) {
    return std::find(options.experiments.begin(), options.experiments.end(), name) != options.experiments.end();
  };
  {
    std::optional<RouDi> roudi;
    if (std::find(options.transports.begin(), options.transports.end(), "iceoryx") != options.transports.end() &&
        (wanted("transfer") || wanted("round-trips")))
      roudi.emplace(directory->path());
    if (wanted("system-calls")) experiments.system_calls();
    for (std::size_t round = 0; round < options.rounds; ++round) {
      std::cerr << fmt::format("round {} of {}\n", round + 1, options.rounds);
      if (wanted("transfer")) experiments.transfer(round);
      if (wanted("round-trips")) experiments.round_trips(round);
      if (wanted("sleepers")) experiments.sleepers(round);
      if (wanted("fan-out")) experiments.fan_out(round);
      if (wanted("more-consumers")) experiments.more_consumers(round);
    }
  }
  if (wanted("recovery")) experiments.recovery();
  about["load_after"] = load();

  const auto& results = experiments.results();
  const auto& failures = experiments.failures();
  auto reached = targets(results, options);
  std::erase_if(reached, [](const Target& target) { return !target.reached; });
  std::cout << in_words(about) << '\n';
  if (processors().front() == processors().back())
    std::cout << "ONE PROCESSOR ONLY: sender and receiver take turns on it.\n";
#ifndef HOLDFAST_BENCHMARK_BOOST
  std::cout << "WITHOUT BOOST: its headers were not there when this was built; boost_message_queue is not measured.\n";
#endif
#ifndef HOLDFAST_BENCHMARK_ZEROMQ
  std::cout << "WITHOUT ZEROMQ: libzmq was not there when this was built; zeromq is not measured.\n";
#endif
#ifndef HOLDFAST_BENCHMARK_ICEORYX
  std::cout << "WITHOUT ICEORYX: it was not there when this was built; iceoryx is not measured.\n";
#endif
  print_tables(std::cout, results, experiments.costs(), options);
  print_targets(std::cout, reached);
  for (const auto& failure : failures) std::cout << "FAILURE " << failure << '\n';
  if (!options.json_file.empty()) {
    std::ofstream file{options.json_file};
    file << nlohmann::json{{"machine", about},          {"rounds", options.rounds},
                           {"results", results.json()}, {"costs", experiments.costs()},
                           {"targets", json(reached)},  {"failures", failures}}
                .dump(1)
         << '\n';
    if (!file.flush()) throw std::runtime_error{"cannot write " + options.json_file};
  }
  return failures.empty() ? 0 : 1;
}
}  // namespace

int main(int argc, char** argv) {
  Options options;
  bool quick = false;
  CLI::App app{"DataBlock measured beside a minimal ring and the usual ways to bring messages to another process"};
  app.add_option("--experiments", options.experiments,
                 fmt::format("all, or some of: {}", fmt::join(experiment_names, " ")))
      ->check(CLI::IsMember(experiment_names).description(""))
      ->delimiter(',');
  auto transports = usual_transports();
  transports.push_back("lossy_ring");
  app.add_option("--transports", options.transports,
                 fmt::format("some of: {}; lossy_ring, which loses messages", fmt::join(usual_transports(), " ")))
      ->check(CLI::IsMember(transports).description(""))
      ->delimiter(',');
  app.add_option("--rounds", options.rounds, "how often everything is measured in turns")->capture_default_str();
  app.add_option("--windows", options.windows, "of each transport at each size, in each round")->capture_default_str();
  app.add_option_function<std::uint32_t>(
      "--window-us", [&](const std::uint32_t& value) { options.window = std::chrono::microseconds{value}; },
      "length of each, about (default 5000)");
  app.add_option("--sizes", options.sizes, "of messages that are transferred: multiples of 8")->delimiter(',');
  app.add_option("--slots", options.slots, "for messages below 1 MiB: a power of two; larger ones have 8")
      ->check([](const std::string& text) {
        const auto slots = std::strtoull(text.c_str(), nullptr, 10);
        return slots >= 2 && std::has_single_bit(slots) ? std::string{} : text + " is no power of two";
      })
      ->capture_default_str();
  app.add_option("--round-trip-sizes", options.round_trip_sizes, "of messages that go there and back")->delimiter(',');
  app.add_option("--kills", options.kills, "of writers, and of readers")->capture_default_str();
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
