#include "tool/worker.hpp"

#include <chrono>
#include <cstdio>
#include <exception>
#include <latch>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>
#include <holdfast/deadline.hpp>
#include <holdfast/testing/journal.hpp>
#include <holdfast/testing/worker.hpp>

#include "tool/attach_race.hpp"
#include "tool/block_worker.hpp"
#include "tool/counter_file.hpp"
#include "tool/lock_under_test.hpp"
#include "tool/machine.hpp"
#include "tool/task.hpp"

namespace holdfast::tool {
namespace {
using harness::Event;
using harness::Journal;

/// One who asks for the lock: a process or a thread.
class Contender {
 public:
  Contender(const Task& task, std::uint32_t who, LockUnderTest& lock, Counter& counter, Journal& journal)
      : task_{task}, who_{who}, lock_{lock}, counter_{counter}, journal_{journal} {}

  [[nodiscard]] bool acquire() {
    bool locked = false;
    journal_.append(who_, Event::arrived);
    const auto cpu = thread_cpu_time();
    try {
      locked = lock_.lock(Deadline{task_.patience});
      if (!locked) fail("it did not get the lock by the deadline");
    } catch (const std::exception& error) {
      fail(error.what());
    }
    tally_.lock_cpu += thread_cpu_time() - cpu;
    if (!locked) {
      journal_.append(who_, Event::gave_up);
      return false;
    }
    tally_.died_before = lock_.died_before();
    journal_.append(who_, tally_.died_before ? Event::recovered : Event::entered);
    return true;
  }

  /// True: nothing went wrong in the section or at its end.
  bool release(bool well_done = true) {
    journal_.append(who_, Event::left);
    try {
      lock_.unlock();
      return well_done;
    } catch (const std::exception& error) {
      if (well_done) fail(error.what());
      return false;
    }
  }

  /// False: it did not get the lock.
  bool increment_once() {
    if (!acquire()) return false;
    if (release(increment())) ++tally_.successful;
    return true;
  }

  void increment_all() {
    for (std::uint32_t i = 0; i < task_.increments; ++i)
      if (!increment_once()) return;  // the next would not get it either, and make the run long
    tally_.died_before.reset();
  }

  [[nodiscard]] const Tally& tally() const noexcept { return tally_; }

 private:
  [[nodiscard]] bool increment() {
    try {
      const auto value = counter_.read();
      // Whoever else is inside gets the processor between the two steps: without exclusion that is a lost increment.
      if (task_.hold.count() > 0)
        std::this_thread::sleep_for(task_.hold);
      else
        std::this_thread::yield();
      counter_.write(value + 1);
      return true;
    } catch (const std::exception& error) {
      fail(error.what());
      return false;
    }
  }

  void fail(std::string_view why) {
    ++tally_.failed;
    if (tally_.error.empty()) tally_.error = why;
  }

  const Task& task_;
  std::uint32_t who_;
  LockUnderTest& lock_;
  Counter& counter_;
  Journal& journal_;
  Tally tally_;
};

/// What a task is about.
struct Subject {
  explicit Subject(const Task& task) {
    if (task.mutex) {
      auto both = make_mutex(task.resource, Deadline{task.patience});
      counter = both.get();
      lock = std::move(both);
    } else {
      lock = make_lock(task.resource, task.fair);
      file.emplace(task.resource);
      counter = &*file;
    }
  }

  void use_once(std::chrono::nanoseconds patience) const {
    if (lock->lock(Deadline{patience})) lock->unlock();
  }

  std::unique_ptr<LockUnderTest> lock;
  std::optional<CounterFile> file;
  Counter* counter = nullptr;
};

/// A mutex that attaches when it is first locked.
class LateMutex final : public MutexUnderTest {
 public:
  explicit LateMutex(std::string segment) : segment_{std::move(segment)} {}

  bool lock(Deadline deadline) override {
    mutex_ = make_mutex(segment_, deadline);
    return mutex_->lock(deadline);
  }
  void unlock() override { mutex_->unlock(); }
  [[nodiscard]] std::optional<std::int64_t> died_before() const override { return mutex_->died_before(); }
  [[nodiscard]] std::uint64_t read() const override { return mutex_->read(); }
  void write(std::uint64_t value) override { mutex_->write(value); }

 private:
  std::string segment_;
  std::unique_ptr<MutexUnderTest> mutex_;
};

void tell(const Tally& tally) { std::fputs(to_line(tally).c_str(), stdout); }

int contend(harness::WorkerContext& context) {
  const auto task = to_task(context);
  const Subject subject{task};
  auto journal = Journal::open(task.journal);
  Contender contender{task, task.who, *subject.lock, *subject.counter, journal};
  if (task.warm) subject.use_once(task.patience);
  harness::signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  contender.increment_all();
  tell(contender.tally());
  return 0;
}

/// Threads with even numbers share one object, as they would share a std::mutex; each other has one of its own.
int contend_by_threads(harness::WorkerContext& context) {
  const auto task = to_task(context);
  auto journal = Journal::open(task.journal);
  CounterFile counter{task.resource};
  const auto shared = make_lock(task.resource, task.fair);
  std::vector<std::unique_ptr<LockUnderTest>> own;
  std::vector<Contender> contenders;
  for (std::uint32_t i = 0; i < task.threads; ++i) {
    if (i % 2 != 0) own.push_back(make_lock(task.resource, task.fair));
    contenders.emplace_back(task, task.who + i, i % 2 != 0 ? *own.back() : *shared, counter, journal);
  }
  harness::signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  {
    std::latch all_there{static_cast<std::ptrdiff_t>(task.threads)};
    std::vector<std::jthread> threads;
    try {
      for (auto& contender : contenders)
        threads.emplace_back([&contender, &all_there] {
          all_there.arrive_and_wait();
          contender.increment_all();
        });
    } catch (...) {  // no more threads: those that are there must not wait for the others
      all_there.count_down(static_cast<std::ptrdiff_t>(task.threads - threads.size()));
      throw;
    }
  }
  Tally sum;
  for (const auto& contender : contenders) {
    const auto& tally = contender.tally();
    sum.successful += tally.successful;
    sum.failed += tally.failed;
    sum.lock_cpu += tally.lock_cpu;
    if (sum.error.empty()) sum.error = tally.error;
  }
  tell(sum);
  return 0;
}

int own(harness::WorkerContext& context) {
  const auto task = to_task(context);
  const Subject subject{task};
  auto journal = Journal::open(task.journal);
  Contender contender{task, task.who, *subject.lock, *subject.counter, journal};
  if (task.warm) subject.use_once(task.patience);
  harness::signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  const bool locked = contender.acquire();
  tell(contender.tally());
  const int code = context.wait_for_release();
  if (!locked) return 1;
  if (contender.release()) return code;
  std::fprintf(stderr, "%s\n", contender.tally().error.c_str());
  return 1;
}

int attach(harness::WorkerContext& context) {
  const auto task = to_task(context);
  auto journal = Journal::open(task.journal);
  harness::signal_test_ready();
  for (std::uint32_t round = 0; round < task.increments; ++round) {
    if (const int code = context.wait_for_release()) return code;
    LateMutex mutex{attach_race_segment(task.resource, round)};
    Contender contender{task, task.who, mutex, mutex, journal};
    if (!contender.increment_once() || contender.tally().failed > 0) {
      tell(contender.tally());
      return 0;
    }
    if (const int code = context.wait_for_release()) return code;  // attached until all have come
  }
  tell({});
  return 0;
}

constexpr harness::Scenario scenarios[] = {
    {scenario_contend, contend},         {scenario_threads, contend_by_threads}, {scenario_own, own},
    {scenario_attach, attach},           {scenario_write_all, write_all},        {scenario_read_all, read_all},
    {scenario_read_latest, read_latest}, {scenario_own_role, own_role},          {scenario_fill_up, fill_up},
    {scenario_hold_slot, hold_slot},
};
}  // namespace

bool is_worker(int argc, const char* const* argv) noexcept {
  return argc > 1 && std::string_view{argv[1]}.starts_with(worker_prefix);
}

int work(int argc, char** argv) { return harness::run_worker(scenarios, argc, argv); }
}  // namespace holdfast::tool
