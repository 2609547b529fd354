#include "experiments.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <thread>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <holdfast/deadline.hpp>

#include "processes.hpp"
#include "turns.hpp"

namespace holdfast::benchmarks {
using harness::Argument;
using harness::Entry;
using harness::Event;
using harness::Journal;
using harness::Ready;
using harness::SpawnWorkerWithReadySignal;
using harness::WorkerProcess;
using std::chrono::nanoseconds;
using namespace std::chrono_literals;

namespace {
constexpr double us = 1e3, ms = 1e6, s = 1e9;  // in nanoseconds

std::vector<double> numbers_in(const std::string& text) {
  std::istringstream in{text};
  std::vector<double> numbers;
  for (double number = 0; in >> number;) numbers.push_back(number);
  return numbers;
}

WorkerProcess started(std::string_view scenario, const std::vector<Argument>& arguments) {
  auto worker = SpawnWorkerWithReadySignal(BENCHMARK_WORKER, scenario, arguments);
  if (worker.wait_for_ready(60s) != Ready::yes) throw std::runtime_error{worker.report()};
  return worker;
}

/// The part of a history in which all of them contend: from the last one's first arrival to the first one's end.
std::pair<std::uint64_t, std::uint64_t> everybody_there(const std::vector<Entry>& entries, nanoseconds duration) {
  std::map<std::uint32_t, std::uint64_t> first_arrival;
  for (const Entry& entry : entries)
    if (entry.event == Event::arrived) first_arrival.try_emplace(entry.who, entry.nanoseconds);
  std::uint64_t begin = 0, end = ~std::uint64_t{0};
  for (const auto& [who, time] : first_arrival) {
    begin = std::max(begin, time);
    end = std::min(end, time + static_cast<std::uint64_t>(duration.count()));
  }
  return {begin, end};
}
}  // namespace

bool must_exclude(const std::string& lock) { return lock != "naive"; }

std::vector<std::string> Experiments::locks_from(std::size_t round, bool with_naive) const {
  auto locks = options_.locks;
  if (!with_naive) std::erase(locks, "naive");
  if (!locks.empty())
    std::rotate(locks.begin(), locks.begin() + static_cast<std::ptrdiff_t>(round % locks.size()), locks.end());
  return locks;
}

std::filesystem::path Experiments::next(const std::string& what) {
  return journals_ / fmt::format("{}-{}-{}", file_system_, ++number_, what);
}

void Experiments::fail(const std::string& lock, const std::string& what) {
  if (must_exclude(lock)) failures_.push_back(fmt::format("{} on {}: {}", lock, file_system_, what));
}

void Experiments::judge(const std::string& lock, const Journal& journal, std::uint64_t acquisitions) {
  const auto history = harness::check_history(journal.entries());
  if (journal.dropped() != 0) failures_.push_back("a journal was too small: its run proves nothing");
  if (history.overlaps != 0) fail(lock, fmt::format("{} overlaps: two owners at once", history.overlaps));
  if (history.misordered != 0 || history.unfinished != 0) fail(lock, "a journal that makes no sense");
  if (history.acquisitions != acquisitions)
    fail(lock, fmt::format("{} acquisitions instead of {}", history.acquisitions, acquisitions));
}

void Experiments::expect_ok(std::span<WorkerProcess> workers) {
  for (auto& worker : workers)
    if (!worker.wait_for_exit(120s).ok()) throw std::runtime_error{worker.report()};
}

void Experiments::pairs(std::size_t round) {
  auto kinds = locks_from(round, true);
  kinds.insert(kinds.begin(), {"rename_pair", "rename_pair_reopened"});
  std::vector<WorkerProcess> worker;
  worker.push_back(SpawnWorkerWithReadySignal(
      BENCHMARK_WORKER, "pairs",
      {directory_, options_.batches, options_.batch.count(), fmt::format("{}", fmt::join(kinds, ","))}));
  expect_ok(worker);
  std::istringstream lines{worker.front().output()};
  std::size_t pass = 0;
  std::string kind;
  for (double done = 0, time = 0, cpu = 0, allocated = 0; lines >> pass >> kind >> done >> time >> cpu >> allocated;) {
    const Subject subject{"pairs", file_system_, kind};
    const auto batch = round * options_.batches + pass;
    results_.add(subject, "pairs_per_s", batch, done / time * s);
    results_.add(subject, "pair_us", batch, time / done / us);
    results_.add(subject, "pair_cpu_us", batch, cpu / done / us);
    results_.add(subject, "allocations_per_pair", batch, allocated / done);
    if (kind.starts_with("file_lock") && allocated != 0)
      fail(kind, fmt::format("{} allocations in {} uncontended pairs", allocated, done));
  }
}

void Experiments::contend(const Subject& subject, std::size_t round, std::uint32_t processes,
                          const std::string& section, nanoseconds duration) {
  const auto file = next("journal");
  const auto journal = Journal::create(file, 4096 + static_cast<std::size_t>(duration / 2us));
  std::vector<WorkerProcess> workers;
  for (std::uint32_t who = 0; who < processes; ++who)
    workers.push_back(SpawnWorkerWithReadySignal(
        BENCHMARK_WORKER, "contend",
        {subject.lock, directory_ / "contended", file, who, section, options_.hold.count(), duration.count()}));
  for (auto& worker : workers)
    if (worker.wait_for_ready(120s) != Ready::yes) throw std::runtime_error{worker.report()};
  harness::ReleaseTogether(workers);
  expect_ok(workers);
  std::filesystem::remove(file);

  double sections = 0, cpu = 0;
  for (const auto& worker : workers) {
    const auto numbers = numbers_in(worker.output());
    sections += numbers.at(0);
    cpu += numbers.at(1);
  }
  judge(subject.lock, journal, static_cast<std::uint64_t>(sections));

  const auto entries = journal.entries();
  const auto history = harness::check_history(entries);
  const auto [begin, end] = everybody_there(entries, duration);
  double entered = 0;
  std::vector<double> hand_overs;
  std::optional<std::uint64_t> left_at;
  for (const Entry& entry : entries) {
    if (entry.event == Event::left) left_at = entry.nanoseconds;
    if (entry.event != Event::entered || entry.nanoseconds < begin || entry.nanoseconds > end) continue;
    ++entered;
    if (left_at && entry.nanoseconds > *left_at)
      hand_overs.push_back(static_cast<double>(entry.nanoseconds - *left_at));
  }
  if (begin >= end || hand_overs.empty())
    throw std::runtime_error{"the machine is too busy: the contenders were never all there"};
  const std::vector<double> waits{history.waits_ns.begin(), history.waits_ns.end()};
  double waited = 0;
  for (const double wait : waits) waited += wait;
  const auto add = [&](const std::string& metric, double value) { results_.add(subject, metric, round, value); };
  add("sections_per_s", entered / static_cast<double>(end - begin) * s);
  add("wait_mean_ms", waited / sections / ms);
  add("wait_p99_ms", percentile(waits, 99) / ms);
  add("wait_max_ms", percentile(waits, 100) / ms);
  add("overtakes_per_acquisition", static_cast<double>(history.overtakes) / sections);
  add("hand_over_us", median(hand_overs) / us);
  add("cpu_us_per_acquisition", cpu / sections / us);
  add("overlaps", static_cast<double>(history.overlaps));
}

void Experiments::contention(std::size_t round, const std::string& section) {
  for (const auto& lock : locks_from(round, true))
    contend({"contention, " + section, file_system_, lock}, round, options_.processes, section, options_.contention);
}

void Experiments::queue(std::size_t round) {
  for (const auto processes : options_.queues)
    for (const auto& lock : locks_from(round, false))
      contend({fmt::format("queue of {}", processes), file_system_, lock}, round, processes, "work",
              options_.contention);
}

void Experiments::hand_over(std::size_t round) {
  for (const auto& lock : locks_from(round, true)) {
    // Polling takes tens of milliseconds each time, so a few will do.
    const auto count = 1 + (lock == "naive" ? std::max(2U, options_.hand_overs / 10) : options_.hand_overs);
    const auto file = next("journal"), turns_file = next("turns");
    const auto journal = Journal::create(file, std::size_t{4} * count);
    const Turns turns{turns_file};
    std::vector<WorkerProcess> workers;
    for (std::uint32_t who = 0; who < 2; ++who)
      workers.push_back(started(
          "hand_over", {lock, directory_ / "handed_over", file, who, turns_file, count, options_.asleep.count()}));
    harness::ReleaseTogether(workers);
    expect_ok(workers);
    judge(lock, journal, count);
    const Subject subject{"hand-over", file_system_, lock};
    std::optional<std::uint64_t> left_at;
    for (const Entry& entry : journal.entries()) {
      if (entry.event == Event::left) left_at = entry.nanoseconds;
      if (entry.event == Event::entered && left_at)
        results_.add(subject, "hand_over_us", round, static_cast<double>(entry.nanoseconds - *left_at) / us);
    }
    std::filesystem::remove(file);
    std::filesystem::remove(turns_file);
  }
}

void Experiments::kill_one(const Subject& subject, std::size_t round, std::uint32_t mib) {
  constexpr std::uint32_t owner = 0, waiter = 1;
  const auto file = next("journal");
  auto journal = Journal::create(file, 16);
  std::vector<WorkerProcess> waiting;
  waiting.push_back(started("wait", {subject.lock, directory_ / "killed", file, waiter}));
  auto victim = started("hold", {subject.lock, directory_ / "killed", file, owner, mib});
  waiting.front().release();
  const auto is_waiting = [&] {
    const auto last = journal.latest(1);
    return !last.empty() && last.front().who == waiter && is_asleep(waiting.front().pid());
  };
  wait_until(is_waiting, waiting.front());
  std::this_thread::sleep_for(options_.asleep);  // how long it has slept is part of the experiment
  wait_until(is_waiting, waiting.front());       // one that polls is awake now and then
  journal.append(owner, Event::doomed);
  victim.kill();
  static_cast<void>(victim.wait_for_exit());  // a naive lock takes an unreaped process for a living one
  expect_ok(waiting);
  judge(subject.lock, journal, 2);
  std::filesystem::remove(file);
  std::optional<std::uint64_t> killed_at;
  for (const Entry& entry : journal.entries()) {
    if (entry.event == Event::doomed) killed_at = entry.nanoseconds;
    if (entry.who != waiter || (entry.event != Event::entered && entry.event != Event::recovered)) continue;
    if (!killed_at || entry.nanoseconds < *killed_at) return fail(subject.lock, "got the lock of a living owner");
    results_.add(subject, "recovery_ms", round, static_cast<double>(entry.nanoseconds - *killed_at) / ms);
    if (subject.lock.starts_with("file_lock") && entry.event != Event::recovered)
      fail(subject.lock, "no news of the owner's death");
  }
}

void Experiments::kill(std::size_t round) {
  for (std::uint32_t i = 0; i < options_.kills; ++i)
    for (const auto& lock : locks_from(round + i, true)) kill_one({"kill", file_system_, lock}, round, 0);
}

void Experiments::kill_of_big(std::size_t round) {
  for (const auto mib : options_.memory_mib)
    for (std::uint32_t i = 0; i < options_.kills_of_big; ++i)
      for (const auto& lock : locks_from(round + i, false))
        kill_one({fmt::format("kill, {} MiB", mib), file_system_, lock}, round, mib);
}

void Experiments::waiting(std::size_t round) {
  for (const auto& lock : locks_from(round, true)) {
    const auto file = next("journal");
    const auto journal = Journal::create(file, 64 + std::size_t{8} * options_.processes);
    std::vector<WorkerProcess> waiters;
    for (std::uint32_t who = 0; who < options_.processes; ++who)
      waiters.push_back(started("wait", {lock, directory_ / "waited_for", file, who}));
    auto owner = started("hold", {lock, directory_ / "waited_for", file, options_.processes, 0});
    harness::ReleaseTogether(waiters);
    std::this_thread::sleep_for(options_.waiting);  // the length of a measurement; nothing is waited for
    owner.release();
    expect_ok({&owner, 1});
    expect_ok(waiters);
    judge(lock, journal, options_.processes + 1);
    std::filesystem::remove(file);
    double waited = 0, cpu = 0;
    for (const auto& waiter : waiters) {
      const auto numbers = numbers_in(waiter.output());
      waited += numbers.at(0);
      cpu += numbers.at(1);
    }
    results_.add({"waiting", file_system_, lock}, "cpu_ms_per_s", round, cpu / waited * 1000);
  }
}
}  // namespace holdfast::benchmarks
