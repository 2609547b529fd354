// crash_lab_worker - toy protocols on a shared file of words, right ones and wrong ones, for the crash lab to find out.
//
//   SCENARIO FILE; the file has words: a, b, which record is valid, lock
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <thread>

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <holdfast/testing/worker.hpp>

namespace {
using holdfast::harness::CrashRegion;
using holdfast::harness::Scenario;
using holdfast::harness::signal_test_ready;
using holdfast::harness::step;
using holdfast::harness::WorkerContext;

struct Words {
  std::atomic<std::uint64_t> a, b;        // equal, or it is torn
  std::atomic<std::uint64_t> records[2];  // a record that is valid or not, by
  std::atomic<std::uint64_t> valid;       // its number
  std::atomic<std::uint64_t> locked;      // by nobody in particular
};

Words& words(const WorkerContext& context) {
  const int file = ::open(context.argument(0).c_str(), O_RDWR | O_CLOEXEC);
  void* const memory = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED) std::abort();
  ::close(file);
  return *static_cast<Words*>(memory);
}

/// Two words that have to agree, written one after the other.
int write_torn(WorkerContext& context) {
  auto& shared = words(context);
  signal_test_ready();
  context.wait_for_release();
  const CrashRegion region;
  shared.a.fetch_add(1);
  ::sched_yield();  // a system call, for the engine that goes by them
  step("toy.between");
  shared.b.fetch_add(1);
  step("toy.both");
  return 0;
}

/// A record that counts once its number says so.
int write_whole(WorkerContext& context) {
  auto& shared = words(context);
  signal_test_ready();
  context.wait_for_release();
  const CrashRegion region;
  const auto now = shared.valid.load();
  shared.records[1 - now].store(shared.records[now].load() + 1);
  ::sched_yield();
  step("toy.written");
  shared.valid.store(1 - now);
  step("toy.valid");
  return 0;
}

/// Two steps where one is needed: between them another one may come.
int count(WorkerContext& context) {
  auto& shared = words(context);
  signal_test_ready();
  context.wait_for_release();
  const CrashRegion region;
  const auto before = shared.a.load();
  step("toy.loaded");
  shared.a.store(before + 1);
  step("toy.stored");
  return 0;
}
/// In one.
int count_atomically(WorkerContext& context) {
  auto& shared = words(context);
  signal_test_ready();
  context.wait_for_release();
  const CrashRegion region;
  step("toy.about_to");
  shared.a.fetch_add(1);
  step("toy.added");
  return 0;
}

/// A lock that nobody can tell the owner of.
int lock(WorkerContext& context) {
  auto& shared = words(context);
  signal_test_ready();
  context.wait_for_release();
  const CrashRegion region;
  while (shared.locked.exchange(1) != 0) ::usleep(1000);  // as such locks do
  step("toy.locked");
  shared.locked.store(0);
  return 0;
}

/// The same, waiting for a signal that never comes.
int lock_asleep(WorkerContext& context) {
  auto& shared = words(context);
  signal_test_ready();
  context.wait_for_release();
  const CrashRegion region;
  while (shared.locked.exchange(1) != 0) ::pause();
  step("toy.locked");
  shared.locked.store(0);
  return 0;
}

/// Leaves early.
int exit_early(WorkerContext& context) {
  signal_test_ready();
  context.wait_for_release();
  const CrashRegion region;
  std::_Exit(0);
}
/// Killed somewhere in its region, wherever its tracer is just then.
int killed_on_its_way(WorkerContext& context) {
  signal_test_ready();
  context.wait_for_release();
  std::atomic<bool> begun{false};
  std::thread killer{[&] {
    begun.wait(false);
    const auto now = std::chrono::steady_clock::now;
    const auto begin = now();
    while (now() - begin < begin.time_since_epoch() % std::chrono::microseconds{500}) {
    }
    ::kill(::getpid(), SIGKILL);
  }};
  const CrashRegion region;
  begun = true;
  begun.notify_one();
  for (;;) {
    ::sched_yield();
    step("toy.on_its_way");
  }
}
int no_region(WorkerContext& context) {
  signal_test_ready();
  return context.wait_for_release();
}

constexpr Scenario scenarios[] = {{"write_torn", write_torn},
                                  {"write_whole", write_whole},
                                  {"count", count},
                                  {"count_atomically", count_atomically},
                                  {"lock", lock},
                                  {"lock_asleep", lock_asleep},
                                  {"exit_early", exit_early},
                                  {"killed_on_its_way", killed_on_its_way},
                                  {"no_region", no_region}};
}  // namespace

int main(int argc, char** argv) { return holdfast::harness::run_worker(scenarios, argc, argv); }
