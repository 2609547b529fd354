// mutex_benchmark_worker - does to one mutex what the benchmarks measure, and tells by shared memory and lines of numbers.
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <vector>
#include <holdfast/testing/journal.hpp>
#include <holdfast/testing/worker.hpp>

#include "../benchmarks/allocations.hpp"
#include "../benchmarks/contest_page.hpp"
#include "../benchmarks/mutex_peers.hpp"
#include "../benchmarks/system_call_filter.hpp"
#include "../benchmarks/turns.hpp"

namespace {
using namespace holdfast::benchmarks;
using namespace std::chrono_literals;
using holdfast::harness::Event;
using holdfast::harness::Journal;
using holdfast::harness::Scenario;
using holdfast::harness::signal_test_ready;
using holdfast::harness::WorkerContext;
using Clock = std::chrono::steady_clock;
using std::chrono::nanoseconds;

struct Batch {
  std::uint64_t pairs = 0;
  nanoseconds time{};
};

/// A loop of its own for each kind, with nothing in it but the pair.
template <class Mutex>
[[gnu::noinline]] Batch run_pairs(Mutex& mutex, nanoseconds least) {
  constexpr std::uint64_t between_looks = 500;
  Batch batch;
  const auto begin = Clock::now();
  do {
    for (std::uint64_t i = 0; i < between_looks; ++i) {
      mutex.lock();
      mutex.unlock();
    }
    batch.pairs += between_looks;
    batch.time = Clock::now() - begin;
  } while (batch.time < least);
  return batch;
}

/// pairs DIRECTORY NAME PASSES BATCH_NS KIND,KIND... - uncontended pairs, all kinds in turns: A B C, B C A, ...
/// Prints for each batch: pass, kind, pairs, nanoseconds, allocations.
int pairs(WorkerContext& context) {
  const auto passes = static_cast<std::size_t>(context.number(2));
  const nanoseconds batch{context.number(3)};
  std::vector<std::string> kinds;
  std::vector<std::function<Batch(nanoseconds)>> runs;
  std::istringstream list{context.argument(4)};
  for (std::string kind; std::getline(list, kind, ',');) {
    with_mutex_type(kind, [&]<class Mutex>(std::type_identity<Mutex>) {
      const Place place{context.argument(0), context.argument(1) + '-' + kind};
      runs.emplace_back([mutex = std::make_shared<Mutex>(place, Part::makes_it)](nanoseconds least) {
        return run_pairs(*mutex, least);
      });
    });
    kinds.push_back(kind);
  }
  for (const auto& run : runs) run(100us);
  for (std::size_t pass = 0; pass < passes; ++pass)
    for (std::size_t i = 0; i < kinds.size(); ++i) {
      const auto which = (pass + i) % kinds.size();
      const auto allocations_before = allocations();
      const auto [done, time] = runs[which](batch);
      const auto allocated = allocations() - allocations_before;
      std::printf("%zu %s %llu %lld %llu\n", pass, kinds[which].c_str(), static_cast<unsigned long long>(done),
                  static_cast<long long>(time.count()), static_cast<unsigned long long>(allocated));
    }
  return 0;
}

/// contend DIRECTORY NAME KIND PAGE_FILE WHO - sections, in the odd phases of the page.
int contend(WorkerContext& context) {
  return with_mutex_type(context.argument(2), [&]<class Mutex>(std::type_identity<Mutex>) {
    Mutex mutex{{context.argument(0), context.argument(1)}, Part::joins};
    const SharedPage<ContestPage> page{context.argument(3)};
    auto& own = page->own.at(static_cast<std::size_t>(context.number(4))).number;
    auto& sections = page->sections.number;
    const auto& phase = page->phase;
    mutex.lock();  // what only the first use costs is not to be measured
    mutex.unlock();
    signal_test_ready();
    std::uint64_t done = 0;
    for (std::uint32_t mine = 1;; mine += 2) {
      Turns::wait_for(phase, mine);
      if (phase.load() == ContestPage::over) return 0;
      while (phase.load(std::memory_order_relaxed) == mine) {
        mutex.lock();
        const auto before = sections.load(std::memory_order_relaxed);
        // Or a compiler makes one instruction of both steps, between which nobody gets where one processor is all there is.
        std::atomic_signal_fence(std::memory_order_seq_cst);
        sections.store(before + 1, std::memory_order_relaxed);
        mutex.unlock();
        own.store(++done, std::memory_order_relaxed);
      }
      page->paused.number.fetch_add(1);
    }
  });
}

/// own DIRECTORY NAME KIND JOURNAL_FILE WHO - takes it at one release, gives it back at the next.
int own(WorkerContext& context) {
  return with_mutex_type(context.argument(2), [&]<class Mutex>(std::type_identity<Mutex>) {
    Mutex mutex{{context.argument(0), context.argument(1)}, Part::joins};
    auto journal = Journal::open(context.argument(3));
    const auto who = static_cast<std::uint32_t>(context.number(4));
    mutex.lock();
    mutex.unlock();
    signal_test_ready();
    if (const int code = context.wait_for_release()) return code;
    journal.append(who, Event::arrived);
    mutex.lock();
    journal.append(who, mutex.owner_died() ? Event::recovered : Event::entered);
    const int code = context.wait_for_release();
    journal.append(who, Event::left);
    mutex.unlock();
    return code;
  });
}

/// system_calls DIRECTORY NAME KIND PAIRS - ends with code 0 if that many pairs make none, else tells the first one.
int system_calls(WorkerContext& context) {
  return with_mutex_type(context.argument(2), [&]<class Mutex>(std::type_identity<Mutex>) -> int {
    Mutex mutex{{context.argument(0), context.argument(1)}, Part::joins};
    mutex.lock();
    mutex.unlock();
    const auto count = context.number(3);
    if (!forbid_system_calls()) return exit_without_filter;
    for (std::int64_t i = 0; i < count; ++i) {
      mutex.lock();
      mutex.unlock();
    }
    ::_exit(0);  // an orderly end makes system calls
  });
}

constexpr Scenario scenarios[] = {
    {"pairs", pairs},
    {"contend", contend},
    {"own", own},
    {"system_calls", system_calls},
};
}  // namespace

int main(int argc, char** argv) { return holdfast::harness::run_worker(scenarios, argc, argv); }
