// file_lock_worker - a process that takes a FileLock, and then is killed, ends badly, waits or is stopped.
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>
#include <holdfast/file_lock.hpp>
#include <holdfast/testing/worker.hpp>

namespace {
using holdfast::FileLock;
using holdfast::LockOutcome;
using holdfast::harness::Scenario;
using holdfast::harness::signal_test_ready;
using holdfast::harness::WorkerContext;

// Arguments of all scenarios: the resource, and whether the lock is fair.
FileLock lock_of(const WorkerContext& context) {
  return FileLock{context.argument(0), {.fair = context.number(1) != 0}};
}

void print_news(const FileLock& lock) {
  if (const auto previous = lock.previous_owner())
    std::printf("locked, after the death of %lld (%s)\n", static_cast<long long>(previous->pid()),
                std::string{previous->program()}.c_str());
  else
    std::printf("locked\n");
}

int hold_until_released(WorkerContext& context) {
  FileLock lock = lock_of(context);
  lock.lock();
  print_news(lock);
  signal_test_ready();
  const int code = context.wait_for_release();
  return lock.unlock() ? code : 1;
}

/// Ready before it has the lock: the parent sees in the queue when it waits.
int wait_then_hold(WorkerContext& context) {
  FileLock lock = lock_of(context);
  signal_test_ready();
  lock.lock();
  print_news(lock);
  const int code = context.wait_for_release();
  return lock.unlock() ? code : 1;
}

/// Waits for as many milliseconds as the third argument says.
int wait_for_a_while(WorkerContext& context) {
  FileLock lock = lock_of(context);
  signal_test_ready();
  if (!lock.try_lock_for(std::chrono::milliseconds{context.number(2)})) {
    std::printf("timed out\n");
    return context.wait_for_release();  // with the object, and without a ticket
  }
  print_news(lock);
  return lock.unlock() ? 0 : 1;
}

/// Has used the lock and keeps the object.
int keep_object(WorkerContext& context) {
  FileLock lock = lock_of(context);
  { const std::lock_guard guard{lock}; }
  signal_test_ready();
  return context.wait_for_release();
}

/// Ends in the way that the third argument names, with the lock.
int end_while_holding(WorkerContext& context) {
  FileLock lock = lock_of(context);
  lock.lock();
  signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  const auto way = context.argument(2);
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  if (way == "_exit") std::_Exit(0);
  if (way == "exit") std::exit(0);  // runs static destructors, not those of this function
  if (way == "abort") std::abort();
  if (way == "segfault") std::raise(SIGSEGV);
  if (way == "terminate") std::terminate();
  if (way == "thread_calls_exit") {
    std::thread{[] { std::_Exit(0); }}.join();
  }
  return 1;
}

constexpr Scenario scenarios[] = {
    {"hold_until_released", hold_until_released}, {"wait_then_hold", wait_then_hold},
    {"wait_for_a_while", wait_for_a_while},       {"keep_object", keep_object},
    {"end_while_holding", end_while_holding},
};
}  // namespace

int main(int argc, char** argv) { return holdfast::harness::run_worker(scenarios, argc, argv); }
