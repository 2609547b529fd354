// benchmark_worker - does to one lock what the benchmarks measure, and tells by a journal and by lines of numbers.
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>
#include <holdfast/testing/journal.hpp>
#include <holdfast/testing/worker.hpp>

#include "../benchmarks/allocations.hpp"
#include "../benchmarks/peers.hpp"
#include "../benchmarks/processes.hpp"
#include "../benchmarks/turns.hpp"

namespace {
using namespace holdfast::benchmarks;
using namespace std::chrono_literals;
using holdfast::Deadline;
using holdfast::harness::Event;
using holdfast::harness::Journal;
using holdfast::harness::Scenario;
using holdfast::harness::signal_test_ready;
using holdfast::harness::WorkerContext;
using Clock = std::chrono::steady_clock;
using std::chrono::nanoseconds;

long long count_of(nanoseconds time) { return static_cast<long long>(time.count()); }

void work_for(nanoseconds time) {
  const auto end = Clock::now() + time;
  while (Clock::now() < end) {
  }
}

void sleep_for(nanoseconds time) {
  const timespec span{static_cast<time_t>(time / 1s), static_cast<long>((time % 1s).count())};
  ::clock_nanosleep(CLOCK_MONOTONIC, 0, &span, nullptr);
}

/// The processors that this process may use, taken in turns: who measures how long a wake-up takes must not be in its way.
void stay_on_processor(std::uint32_t who) {
  cpu_set_t allowed, one;
  CPU_ZERO(&one);
  if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  auto left = who % static_cast<std::uint32_t>(CPU_COUNT(&allowed));
  for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    if (left-- != 0) continue;
    CPU_SET(cpu, &one);
    break;
  }
  ::sched_setaffinity(0, sizeof one, &one);
}

/// One contender, as its journal sees it.
class Contender {
 public:
  Contender(const WorkerContext& context, std::size_t first_argument)
      : lock_{make_peer(context.argument(first_argument), context.argument(first_argument + 1))},
        journal_{Journal::open(context.argument(first_argument + 2))},
        who_{static_cast<std::uint32_t>(context.number(first_argument + 3))} {}

  /// What only the first use of an object costs is not to be measured.
  void warm_up() {
    lock_->try_lock_until(Deadline::never());
    lock_->unlock();
  }
  void lock() {
    journal_.append(who_, Event::arrived);
    lock_->try_lock_until(Deadline::never());
    journal_.append(who_, lock_->owner_died() ? Event::recovered : Event::entered);
  }
  void unlock() {
    journal_.append(who_, Event::left);
    lock_->unlock();
  }

 private:
  std::unique_ptr<LockUnderTest> lock_;
  Journal journal_;
  std::uint32_t who_;
};

/// pairs DIRECTORY PASSES BATCH_NS KIND,KIND... - uncontended pairs, all kinds in turns: A B C, B C A, ...
/// Prints for each batch: pass, kind, pairs, nanoseconds, nanoseconds of processor time, allocations.
int pairs(WorkerContext& context) {
  const std::filesystem::path directory = context.argument(0);
  const auto passes = static_cast<std::size_t>(context.number(1));
  const nanoseconds batch{context.number(2)};
  std::vector<std::string> kinds;
  std::istringstream list{context.argument(3)};
  for (std::string kind; std::getline(list, kind, ',');) kinds.push_back(kind);
  std::vector<std::unique_ptr<LockUnderTest>> locks;
  for (const auto& kind : kinds) locks.push_back(make_peer(kind, directory / kind));

  const auto run = [](LockUnderTest& lock, nanoseconds least) {
    constexpr std::uint64_t between_looks = 16;
    std::uint64_t done = 0;
    nanoseconds time{};
    for (const auto begin = Clock::now(); time < least; time = Clock::now() - begin)
      for (std::uint64_t i = 0; i < between_looks; ++i, ++done) {
        lock.try_lock_until(Deadline::never());
        lock.unlock();
      }
    return std::pair{done, time};
  };
  for (const auto& lock : locks) run(*lock, 1us);
  for (std::size_t pass = 0; pass < passes; ++pass)
    for (std::size_t i = 0; i < kinds.size(); ++i) {
      const auto which = (pass + i) % kinds.size();
      const auto cpu_before = cpu_time();
      const auto allocations_before = allocations();
      const auto [done, time] = run(*locks[which], batch);
      const auto allocated = allocations() - allocations_before;
      const auto cpu = cpu_time() - cpu_before;
      std::printf("%zu %s %llu %lld %lld %llu\n", pass, kinds[which].c_str(), static_cast<unsigned long long>(done),
                  count_of(time), count_of(cpu), static_cast<unsigned long long>(allocated));
    }
  return 0;
}

/// contend KIND RESOURCE JOURNAL WHO SECTION HOLD_NS DURATION_NS - sections one after the other from the release on.
/// Prints: sections, processor time of all but the sections.
int contend(WorkerContext& context) {
  Contender contender{context, 0};
  const bool works = context.argument(4) == "work";
  const nanoseconds hold{context.number(5)}, duration{context.number(6)};
  ::prctl(PR_SET_TIMERSLACK, 1UL);
  contender.warm_up();
  signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  const auto cpu = cpu_time();
  const auto end = Clock::now() + duration;
  std::uint64_t sections = 0;
  nanoseconds inside{};
  do {
    contender.lock();
    const auto entered = cpu_time();
    if (hold > 0ns) works ? work_for(hold) : sleep_for(hold);
    inside += cpu_time() - entered;
    contender.unlock();
    ++sections;
  } while (Clock::now() < end);
  std::printf("%llu %lld\n", static_cast<unsigned long long>(sections), count_of(cpu_time() - cpu - inside));
  return 0;
}

/// hand_over KIND RESOURCE JOURNAL WHO TURNS_FILE COUNT ASLEEP_NS - two processes, WHO 0 and 1, each on a processor of
/// its own, give the lock to each other, each time when the other one has fallen asleep over it and slept for a while.
int hand_over(WorkerContext& context) {
  Contender contender{context, 0};
  const auto me = static_cast<std::uint32_t>(context.number(3));
  Turns turns{context.argument(4)};
  const auto count = static_cast<std::uint32_t>(context.number(5));
  const nanoseconds asleep{context.number(6)};
  auto& page = turns.page();
  stay_on_processor(me);
  page.pids[me] = static_cast<std::int32_t>(::getpid());
  contender.warm_up();
  signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  const auto other = page.pids[1 - me].load();
  for (std::uint32_t turn = me; turn < count; turn += 2) {
    Turns::wait_for(page.entered, turn);  // or whoever gives it back could take it again
    Turns::reach(page.arriving, turn + 1);
    contender.lock();
    Turns::reach(page.entered, turn + 1);
    if (turn + 1 < count) {
      Turns::wait_for(page.arriving, turn + 2);
      while (!is_asleep(other)) {
      }
      work_for(asleep);
    }
    contender.unlock();
  }
  return 0;
}

/// hold KIND RESOURCE JOURNAL WHO MIB - takes the lock with so much memory touched, and keeps it until released.
int hold(WorkerContext& context) {
  Contender contender{context, 0};
  if (const auto size = static_cast<std::size_t>(context.number(4)) << 20U; size != 0) {
    void* const memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::runtime_error{"no memory to hold"};
    ::madvise(memory, size, MADV_NOHUGEPAGE);  // many small pages are what takes the kernel longest to free
    for (std::size_t at = 0; at < size; at += 4096) static_cast<volatile char*>(memory)[at] = 1;
  }
  contender.lock();
  signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  contender.unlock();
  return 0;
}

/// wait KIND RESOURCE JOURNAL WHO - from the release on waits for the lock, once.
/// Prints: duration of the wait, processor time in it.
int wait(WorkerContext& context) {
  Contender contender{context, 0};
  contender.warm_up();
  signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  const auto cpu = cpu_time();
  const auto begin = Clock::now();
  contender.lock();
  const auto waited = Clock::now() - begin;
  const auto spent = cpu_time() - cpu;
  contender.unlock();
  std::printf("%lld %lld\n", count_of(waited), count_of(spent));
  return 0;
}

constexpr Scenario scenarios[] = {
    {"pairs", pairs}, {"contend", contend}, {"hand_over", hand_over}, {"hold", hold}, {"wait", wait},
};
}  // namespace

int main(int argc, char** argv) { return holdfast::harness::run_worker(scenarios, argc, argv); }
