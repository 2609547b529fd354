// contender_worker - a process that contends for a lock of any kind, and writes a journal of it.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <system_error>
#include <thread>
#include <vector>
#include <holdfast/testing/journal.hpp>
#include <holdfast/testing/worker.hpp>

#include "../exclusion/contender_arguments.hpp"
#include "../exclusion/counter_file.hpp"
#include "../exclusion/lock_under_test.hpp"
#include "hostile_schedule.hpp"

namespace {
using holdfast::Deadline;
using holdfast::harness::Event;
using holdfast::harness::Journal;
using holdfast::harness::Scenario;
using holdfast::harness::signal_test_ready;
using holdfast::harness::WorkerContext;
using namespace holdfast::test;
using namespace std::chrono_literals;

/// Points at which the parent may halt this process, each the first time that it is reached.
class Gates {
 public:
  Gates(WorkerContext& context, const std::string& names) : context_{context} {
    std::istringstream list{names};
    for (std::string name; std::getline(list, name, ',');) closed_.insert(name);
  }
  void pass(const std::string& name) {
    if (closed_.erase(name) == 0) return;
    std::printf("reached %s\n", name.c_str());
    if (context_.wait_for_release() != 0) throw std::runtime_error{"no parent"};
  }

 private:
  WorkerContext& context_;
  std::set<std::string> closed_;
};

void work_for(std::chrono::microseconds time) {  // keeps a processor busy, as a section does that works
  const auto end = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < end) {
  }
}

void begin_hostility(const ContenderArguments& arguments) {
  if (arguments.hostility.per_mille != 0)
    hostile_schedule(arguments.seed, arguments.hostility.per_mille, arguments.hostility.longest_us);
}

/// Increments the counter so many times, each time under the lock.
int increment(WorkerContext& context) {
  const auto arguments = ContenderArguments::unpack(context);
  Gates gates{context, arguments.gates};
  const auto lock =
      LockUnderTest::make(arguments.kind, arguments.resource, {.at_step = [&gates](NaiveLock::Step step) {
                            gates.pass(step == NaiveLock::Step::made_directory ? "made_directory" : "judged_stale");
                          }});
  auto journal = Journal::open(arguments.journal);
  const CounterFile counter{arguments.counter};
  signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  begin_hostility(arguments);
  for (std::uint64_t i = 0; i < arguments.increments; ++i) {
    journal.append(arguments.who, Event::arrived);
    lock->try_lock_until(Deadline::never());
    journal.append(arguments.who, lock->owner_died() ? Event::recovered : Event::entered);
    const auto value = counter.read();
    gates.pass("inside");
    work_for(arguments.hold);
    counter.write(value + 1);
    journal.append(arguments.who, Event::left);
    lock->unlock();
    gates.pass("outside");
  }
  return 0;
}

/// Holds the lock from the signal to the release.
int hold(WorkerContext& context) {
  const auto arguments = ContenderArguments::unpack(context);
  const auto lock = LockUnderTest::make(arguments.kind, arguments.resource);
  lock->try_lock_until(Deadline::never());
  signal_test_ready();
  const int code = context.wait_for_release();
  lock->unlock();
  return code;
}

/// One attempt that does not wait; prints the answer.
int try_once(WorkerContext& context) {
  const auto arguments = ContenderArguments::unpack(context);
  const auto lock = LockUnderTest::make(arguments.kind, arguments.resource);
  const bool locked = lock->try_lock_until(Deadline{0s});
  std::printf("%s\n", locked ? "locked" : "busy");
  if (locked) lock->unlock();
  return 0;
}

/// Takes and leaves the lock until released or, more likely, killed. Most waits are without limit; some are short, so that
/// contenders withdraw in the middle of things, and some objects are made anew, so that sweeping goes on.
void churn(const ContenderArguments& arguments, std::uint32_t who, Journal& journal, const WorkerContext& context) {
  std::minstd_rand random{static_cast<std::minstd_rand::result_type>(arguments.seed + who)};
  const auto one_in = [&random](unsigned n) { return random() % n == 0; };
  auto lock = LockUnderTest::make(arguments.kind, arguments.resource);
  while (!context.released()) {
    if (one_in(16)) {
      lock.reset();
      lock = LockUnderTest::make(arguments.kind, arguments.resource);
    }
    const Deadline deadline = one_in(8)   ? Deadline{0s}
                              : one_in(8) ? Deadline{std::chrono::microseconds{random() % 5000}}
                                          : Deadline::never();
    journal.append(who, Event::arrived);
    if (!lock->try_lock_until(deadline)) {
      journal.append(who, Event::gave_up);
      continue;
    }
    journal.append(who, lock->owner_died() ? Event::recovered : Event::entered);
    work_for(arguments.hold);
    journal.append(who, Event::left);
    lock->unlock();
    if (arguments.think != 0us) work_for(arguments.think * (random() % 1000) / 500);
  }
}

/// Forks at random moments, whatever the other threads are doing just then. The children live until this process is told to
/// end; if it is killed, they outlive it.
void fork_children(const ContenderArguments& arguments, const WorkerContext& context) {
  std::minstd_rand random{static_cast<std::minstd_rand::result_type>(arguments.seed)};
  std::vector<pid_t> children;
  while (children.size() < arguments.children && !context.released()) {
    std::this_thread::sleep_for(std::chrono::microseconds{random() % 3000});  // a pace, nothing is waited for
    const pid_t child = ::fork();
    if (child < 0) throw std::system_error{errno, std::generic_category(), "fork"};
    while (child == 0) ::pause();
    children.push_back(child);
  }
  // It looks: to wait for the release is to take it away from the threads that lock.
  while (!context.released()) std::this_thread::sleep_for(1ms);
  for (const pid_t child : children) {
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
  }
}

int churn_until_released(WorkerContext& context) {
  const auto arguments = ContenderArguments::unpack(context);
  auto journal = Journal::open(arguments.journal);
  begin_hostility(arguments);
  std::atomic<bool> failed{false};
  const auto guarded = [&failed](const auto& run) {
    try {
      run();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
      failed = true;
    }
  };
  const auto contend = [&](std::uint32_t who) { guarded([&] { churn(arguments, who, journal, context); }); };
  {
    std::vector<std::jthread> others;
    for (std::uint32_t i = 1; i < arguments.threads; ++i) others.emplace_back(contend, arguments.who + i);
    if (arguments.children != 0) others.emplace_back([&] { guarded([&] { fork_children(arguments, context); }); });
    contend(arguments.who);
  }
  std::printf("stops %llu\n", static_cast<unsigned long long>(hostile_schedule_stops()));
  return failed ? 1 : 0;
}

constexpr Scenario scenarios[] = {
    {"increment", increment},
    {"hold", hold},
    {"try_once", try_once},
    {"churn_until_released", churn_until_released},
};
}  // namespace

int main(int argc, char** argv) { return holdfast::harness::run_worker(scenarios, argc, argv); }
