#include "exclusion_suite.hpp"

#include <algorithm>
#include <exception>
#include <latch>
#include <memory>
#include <mutex>
#include <ostream>
#include <set>
#include <thread>
#include <holdfast/testing/worker_process.hpp>

#include "counter_file.hpp"
#include "lock_under_test.hpp"

namespace holdfast::test {
namespace fs = std::filesystem;
using harness::Event;
using harness::Journal;
using harness::WorkerProcess;
using namespace std::chrono_literals;

std::ostream& operator<<(std::ostream& out, const Verdict& verdict) {
  out << "counter " << verdict.counted << " of " << verdict.expected << ", " << verdict.history.acquisitions
      << " acquisitions, " << verdict.history.overlaps << " overlaps, " << verdict.history.overtakes << " overtakes";
  for (const auto& finding : verdict.findings) out << "\n  " << finding;
  return out;
}

ContenderArguments arguments_for(const fs::path& directory, const Contention& contention, std::uint32_t who) {
  return {.kind = contention.kind,
          .resource = directory / "resource",
          .counter = directory / "counter",
          .journal = directory / "journal",
          .who = who,
          .increments = contention.increments,
          .hold = contention.hold,
          .seed = contention.seed * 1000 + who,
          .hostility = contention.hostility};
}

namespace {
/// Makes the directory, the counter and the journal of a run.
Journal prepare(const fs::path& directory, const Contention& contention) {
  if (!fs::create_directory(directory)) throw std::runtime_error{"already there: " + directory.native()};
  CounterFile{directory / "counter"}.create();
  const auto operations = std::size_t{contention.processes} * contention.increments;
  return Journal::create(directory / "journal", operations * 3);
}
}  // namespace

void judge(Verdict& verdict, const fs::path& directory) {
  const auto find = [&verdict](std::string finding) { verdict.findings.push_back(std::move(finding)); };
  const auto journal = Journal::open(directory / "journal");
  verdict.history = harness::check_history(journal.entries());
  const auto& history = verdict.history;
  if (history.overlaps != 0) find(std::to_string(history.overlaps) + " overlapping owners");
  if (history.misordered != 0) find(std::to_string(history.misordered) + " senseless journal entries");
  if (history.unfinished != 0) find(std::to_string(history.unfinished) + " contenders did not finish");
  if (journal.dropped() != 0) find(std::to_string(journal.dropped()) + " journal entries dropped");
  if (history.acquisitions != verdict.expected)
    find(std::to_string(history.acquisitions) + " acquisitions instead of " + std::to_string(verdict.expected));
  try {
    verdict.counted = CounterFile{directory / "counter"}.read();
    if (verdict.counted != verdict.expected)
      find("counter " + std::to_string(verdict.counted) + " instead of " + std::to_string(verdict.expected));
  } catch (const std::exception& error) {
    find(error.what());
  }
  const std::set<std::string> ours{"counter", "journal", "resource.flock"};
  for (const auto& entry : fs::directory_iterator{directory})
    if (!ours.contains(entry.path().filename())) find("left behind: " + entry.path().filename().native());
}

Verdict contend(const fs::path& directory, const Contention& contention) {
  const auto journal = prepare(directory, contention);
  Verdict verdict;
  verdict.expected = std::uint64_t{contention.processes} * contention.increments;
  std::vector<WorkerProcess> workers;
  for (std::uint32_t who = 0; who < contention.processes; ++who)
    workers.push_back(harness::SpawnWorkerWithReadySignal(CONTENDER_WORKER, "increment",
                                                          arguments_for(directory, contention, who).pack()));
  for (auto& worker : workers)
    if (worker.wait_for_ready(30s) != harness::Ready::yes) verdict.findings.push_back(worker.report());
  harness::ReleaseTogether(workers);
  const Deadline deadline{60s};
  for (auto& worker : workers)
    if (!worker.wait_for_exit(deadline).ok()) verdict.findings.push_back(worker.report());
  judge(verdict, directory);
  return verdict;
}

std::string second_contender_says(const fs::path& directory, const std::string& kind) {
  const auto arguments = arguments_for(directory, {.kind = kind}, 0).pack();
  auto first = harness::SpawnWorkerWithReadySignal(CONTENDER_WORKER, "hold", arguments);
  if (first.wait_for_ready(30s) != harness::Ready::yes) return first.report();
  auto second = harness::SpawnWorker(CONTENDER_WORKER, "try_once", arguments);
  if (!second.wait_for_exit(30s).ok()) return second.report();
  first.release();
  if (!first.wait_for_exit(30s).ok()) return first.report();
  auto says = second.output();
  while (says.ends_with('\n')) says.pop_back();
  return says;
}

Verdict contend_threads(const fs::path& directory, const Contention& contention, bool one_object) {
  auto journal = prepare(directory, contention);
  Verdict verdict;
  verdict.expected = std::uint64_t{contention.processes} * contention.increments;
  const CounterFile counter{directory / "counter"};
  const bool is_file_lock = contention.kind.starts_with("file_lock");  // elsewhere it would be a data race
  std::uint64_t plain_counter = 0;
  std::mutex findings_mutex;
  std::latch ready{static_cast<std::ptrdiff_t>(contention.processes)};
  {
    std::vector<std::unique_ptr<LockUnderTest>> locks(one_object ? 1 : contention.processes);
    for (auto& lock : locks) lock = LockUnderTest::make(contention.kind, directory / "resource");
    std::vector<std::jthread> threads;
    for (std::uint32_t who = 0; who < contention.processes; ++who)
      threads.emplace_back([&, who] {
        auto& lock = *locks[one_object ? 0 : who];
        ready.arrive_and_wait();
        try {
          for (std::uint32_t i = 0; i < contention.increments; ++i) {
            journal.append(who, Event::arrived);
            lock.try_lock_until(Deadline::never());
            journal.append(who, Event::entered);
            const auto value = counter.read();
            counter.write(value + 1);
            if (is_file_lock) ++plain_counter;
            journal.append(who, Event::left);
            lock.unlock();
          }
        } catch (const std::exception& error) {
          const std::lock_guard guard{findings_mutex};
          verdict.findings.push_back("thread " + std::to_string(who) + ": " + error.what());
        }
      });
  }
  if (is_file_lock && plain_counter != verdict.expected)
    verdict.findings.push_back("plain counter " + std::to_string(plain_counter) + " instead of " +
                               std::to_string(verdict.expected));
  judge(verdict, directory);
  return verdict;
}
}  // namespace holdfast::test
