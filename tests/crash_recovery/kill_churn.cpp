#include "kill_churn.hpp"

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <optional>
#include <ostream>
#include <random>
#include <set>
#include <thread>
#include <utility>
#include <holdfast/testing/worker_process.hpp>

#include "../exclusion/lock_under_test.hpp"

namespace holdfast::test {
namespace fs = std::filesystem;
using harness::Entry;
using harness::Event;
using harness::Journal;
using harness::WorkerProcess;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

std::ostream& operator<<(std::ostream& out, const ChurnReport& report) {
  const auto& history = report.history;
  out << "seed " << report.seed << ": " << report.kills << " kills (" << report.kills_inside << " inside), "
      << history.acquisitions << " sections, " << history.recoveries << " recoveries, " << history.overlaps
      << " overlaps, "
      << "longest gap " << static_cast<double>(history.longest_gap_ns) / 1e6 << " ms, " << report.suspensions
      << " suspensions of up to "
      << std::chrono::duration_cast<std::chrono::milliseconds>(report.longest_suspension).count() << " ms, "
      << report.stops << " stops";
  for (const auto& finding : report.findings) out << "\n  " << finding;
  return out;
}

std::uint64_t churn_seed() {
  if (const char* const text = std::getenv("HOLDFAST_CHURN_SEED")) return std::strtoull(text, nullptr, 10);
  return std::random_device{}();
}

std::chrono::milliseconds churn_duration(std::chrono::milliseconds otherwise) {
  if (const char* const text = std::getenv("HOLDFAST_CHURN_SECONDS"))
    return std::chrono::milliseconds{static_cast<std::int64_t>(std::strtod(text, nullptr) * 1000)};
  return otherwise;
}

namespace {
class Driver {
 public:
  Driver(const fs::path& directory, const Churn& churn)
      : directory_{directory},
        churn_{churn},
        random_{churn.seed},
        journal_{(fs::create_directory(directory), fs::create_directory(locks()),
                  Journal::create(directory / "journal", capacity(churn)))} {
    report_.seed = churn.seed;
  }

  ChurnReport run() {
    workers_.reserve(churn_.processes);
    for (std::uint32_t i = 0; i < churn_.processes; ++i) workers_.push_back(start());
    const auto end = Clock::now() + churn_.duration, last_end = end + 60s;
    auto next_look = Clock::now() + 250ms;
    const auto enough = [&] {
      const auto now = Clock::now();
      return now >= last_end || (now >= end && report_.kills_inside >= churn_.least_kills_inside);
    };
    while (!enough() && !failed_) {
      // The pace of the kills is what is random here; nothing is waited for.
      std::this_thread::sleep_for(std::chrono::microseconds{std::uniform_int_distribution<std::int64_t>{
          1000, std::max<std::int64_t>(1000, churn_.longest_pause / 1us)}(random_)});
      disturb_one();
      if (churn_.until_first_overlap && Clock::now() >= next_look) {
        if (harness::check_history(journal_.entries()).overlaps != 0) break;
        next_look = Clock::now() + 250ms;
      }
    }
    finish();
    return std::move(report_);
  }

 private:
  struct Worker {
    WorkerProcess process;
    std::uint32_t who;  // of its first thread
  };

  static std::size_t capacity(const Churn& churn) {
    const auto per_second = churn.hostility.per_mille != 0 ? 30'000U : 300'000U;
    return static_cast<std::size_t>(churn.duration / 1ms) * per_second / 1000 + 1'000'000;
  }
  [[nodiscard]] fs::path locks() const { return directory_ / "locks"; }
  void find(std::string finding) { report_.findings.push_back(std::move(finding)); }
  [[nodiscard]] bool one_in(unsigned n) { return random_() % n == 0; }

  Worker start() {
    const ContenderArguments arguments{.kind = churn_.kind,
                                       .resource = locks() / "resource",
                                       .counter = "-",
                                       .journal = directory_ / "journal",
                                       .who = next_who_,
                                       .threads = churn_.threads,
                                       .hold = churn_.hold,
                                       .think = churn_.think,
                                       .children = churn_.children,
                                       .seed = random_() >> 32,
                                       .hostility = churn_.hostility};
    Worker worker{harness::SpawnWorker(CONTENDER_WORKER, "churn_until_released", arguments.pack()), next_who_};
    next_who_ += churn_.threads;
    return worker;
  }

  [[nodiscard]] std::vector<Entry> latest() const {
    return journal_.latest(std::size_t{8} * churn_.processes * churn_.threads);
  }
  /// Whoever has entered and not left, by the latest entries.
  [[nodiscard]] std::optional<std::uint32_t> inside() const {
    std::optional<std::uint32_t> who;
    for (const Entry& entry : latest()) {
      if (entry.event == Event::entered || entry.event == Event::recovered) who = entry.who;
      if ((entry.event == Event::left || entry.event == Event::doomed) && who == entry.who) who.reset();
    }
    return who;
  }

  /// At random, or whoever is inside.
  Worker& victim() {
    Worker& any = workers_[random_() % workers_.size()];
    if (random_() % 100 >= churn_.aimed_percent) return any;
    // Look until somebody is inside, for a while: between two sections there may be nobody.
    const auto enough = Clock::now() + 20ms;
    std::optional<std::uint32_t> who;
    while (!(who = inside()) && Clock::now() < enough) std::this_thread::yield();
    const auto found = std::find_if(workers_.begin(), workers_.end(), [&](const Worker& worker) {
      return who && *who >= worker.who && *who < worker.who + churn_.threads;
    });
    return found != workers_.end() ? *found : any;
  }

  void disturb_one() {
    resume();
    Worker& worker = victim();
    if (!worker.process.is_running()) {
      find("a worker ended by itself: " + worker.process.report());
      failed_ = true;
      return;
    }
    if (random_() % 100 < churn_.stopped_percent) {
      worker.process.stop();
      suspended_ = &worker;
      suspended_at_ = Clock::now();
      ++report_.suspensions;
      return;
    }
    doom(worker);
    worker.process.kill();
    report_.kills_inside += was_inside(worker);
    dead_.push_back(std::move(worker.process));
    worker = start();
    ++report_.kills;
    if (churn_.children != 0) return;  // the end of a dead one's object would end its children
    // Some stay zombies for a while: to a careless lock they look alive.
    if (!churn_.leave_zombies || one_in(2) || dead_.size() > churn_.processes) dead_.clear();
  }

  void resume() {
    if (suspended_ == nullptr) return;
    report_.longest_suspension = std::max(report_.longest_suspension, Clock::now() - suspended_at_);
    std::exchange(suspended_, nullptr)->process.resume();
  }

  void doom(const Worker& worker) {
    for (std::uint32_t i = 0; i < churn_.threads; ++i) journal_.append(worker.who + i, Event::doomed);
  }

  /// By the latest entries: a thread of the doomed one had entered and not left.
  [[nodiscard]] bool was_inside(const Worker& worker) const {
    std::set<std::uint32_t> inside, killed_inside;
    for (const Entry& entry : latest()) {
      if (entry.event == Event::entered || entry.event == Event::recovered) inside.insert(entry.who);
      if (entry.event == Event::left) inside.erase(entry.who);
      if (entry.event == Event::doomed && inside.erase(entry.who) != 0) killed_inside.insert(entry.who);
    }
    const auto first = killed_inside.lower_bound(worker.who);
    return first != killed_inside.end() && *first < worker.who + churn_.threads;
  }

  void finish() {
    resume();
    for (auto& worker : workers_) worker.process.release();
    const Deadline deadline{30s};
    for (auto& worker : workers_) {
      const auto exit = worker.process.wait_for_exit(deadline);
      if (!exit.ok()) find("did not finish: " + worker.process.report());
      const auto output = worker.process.output();
      if (const auto at = output.find("stops "); at != std::string::npos)
        report_.stops += std::strtoull(output.c_str() + at + 6, nullptr, 10);
    }
    judge();
    check_disk();
  }

  void judge() {
    const auto entries = journal_.entries();
    report_.history = harness::check_history(entries);
    const auto& history = report_.history;
    if (history.overlaps != 0) find(std::to_string(history.overlaps) + " overlapping owners");
    if (history.misordered != 0) find(std::to_string(history.misordered) + " senseless journal entries");
    if (history.unfinished != 0) find(std::to_string(history.unfinished) + " contenders did not finish");
    if (journal_.dropped() != 0) find(std::to_string(journal_.dropped()) + " journal entries dropped");
    // Where this process itself has not run for seconds, nobody has continued an owner that it had stopped.
    if (std::chrono::nanoseconds{history.longest_gap_ns} > 5s + report_.longest_suspension)
      find("wedged: nobody got in for more than 5 s");
  }

  /// What the dead left is swept by the next object, and the last object leaves nothing.
  void check_disk() {
    {
      const auto last = LockUnderTest::make(churn_.kind, locks() / "resource");
      if (last->try_lock_until(10s))
        last->unlock();
      else
        find("not free after everybody had ended");
    }
    for (const auto& entry : fs::directory_iterator{locks()})
      if (entry.path().filename() != "resource.flock") find("left behind: " + entry.path().filename().native());
  }

  const fs::path directory_;
  const Churn churn_;
  std::mt19937_64 random_;
  Journal journal_;
  ChurnReport report_;
  std::vector<Worker> workers_;
  Worker* suspended_ = nullptr;
  Clock::time_point suspended_at_{};
  std::deque<WorkerProcess> dead_;
  std::uint32_t next_who_ = 0;
  bool failed_ = false;
};
}  // namespace

ChurnReport kill_churn(const fs::path& directory, const Churn& churn) { return Driver{directory, churn}.run(); }
}  // namespace holdfast::test
