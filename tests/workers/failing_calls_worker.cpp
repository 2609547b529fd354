// failing_calls_worker - each part of the library at work, for the fault injection that lets its system calls fail.
//
//   SCENARIO WHERE; of file_lock.*: a resource, of all others: the name of a segment
// Exit code exit_reported: it could not do its work and said why; 11: something is left open; 12: it was told what is not so.
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include <holdfast/holdfast.hpp>
#include <holdfast/testing/fault_injection.hpp>
#include <holdfast/testing/worker.hpp>

namespace {
using namespace holdfast;
using namespace std::chrono_literals;
using harness::CrashRegion;
using harness::LeakCheck;
using harness::Scenario;
using harness::signal_test_ready;
using harness::WorkerContext;

constexpr int exit_leak = 11, exit_wrong = 12;
constexpr auto patience = 10s;         // for what is bound to happen
constexpr auto short_patience = 50ms;  // for what is not
constexpr std::size_t segment_size = 8192;

/// What was said to be so is not.
class Wrong : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};
void expect(bool so, const char* what) {
  if (!so) throw Wrong{what};
}
/// To be reported, for functions that answer with a code.
[[noreturn]] void report(std::error_code why, const char* operation, std::string_view subject) {
  if (why == errc::broken) throw Wrong{"told that an operator broke it"};
  throw Error{why, operation, subject};
}

/// A thread whose system calls do not fail: it looks at what the first one has done, and stands in its way.
class Beside {
 public:
  Beside() : main_{::gettid()}, thread_{[this] { run(); }} {}
  Beside(const Beside&) = delete;
  Beside& operator=(const Beside&) = delete;
  ~Beside() {
    wait();
    state_.store(State::over);
    state_.notify_one();
    thread_.join();
  }
  void start(std::function<void()> job) {
    wait();
    job_ = std::move(job);
    state_.store(State::busy);
    state_.notify_one();
  }
  void finish() {
    wait();
    if (const auto error = std::exchange(error_, nullptr)) std::rethrow_exception(error);
  }
  void operator()(std::function<void()> job) {
    start(std::move(job));
    finish();
  }
  /// Called by a job: until the first thread sleeps, or has come to its end.
  void wait_until_first_sleeps() const {
    for (int asleep = 0; asleep < 3 && !leaving_.load();) {
      std::ifstream file{"/proc/self/task/" + std::to_string(main_) + "/stat"};
      std::string text;
      std::getline(file, text);
      asleep = text.find(") S") != std::string::npos ? asleep + 1 : 0;
      ::sched_yield();
    }
  }
  void leave() noexcept {
    leaving_.store(true);
    wait();
  }

 private:
  enum class State { idle, busy, over };
  void wait() const noexcept {
    while (state_.load() == State::busy) ::sched_yield();  // no call of the first thread that could fail
  }
  void run() {
    for (;;) {
      state_.wait(State::idle);
      if (state_.load() == State::over) return;
      try {
        job_();
      } catch (...) {
        error_ = std::current_exception();
      }
      state_.store(State::idle);
    }
  }
  pid_t main_;
  std::atomic<State> state_{State::idle};
  std::atomic<bool> leaving_{false};
  std::function<void()> job_;
  std::exception_ptr error_;
  std::thread thread_;
};
/// Ends the job when the first thread leaves its work, by whatever way: the job uses what stands above this.
struct Leave {
  Beside& beside;
  ~Leave() { beside.leave(); }
};

template <void work(const std::string& where, Beside& beside)>
int run(WorkerContext& context) {
  const auto where = context.argument(0);
  int code = 0;
  const LeakCheck check;
  {
    Beside beside;
    signal_test_ready();
    context.wait_for_release();
    try {
      const Leave leave{beside};
      const CrashRegion region;
      work(where, beside);
    } catch (const Wrong& wrong) {
      std::fprintf(stderr, "wrong: %s\n", wrong.what());
      code = exit_wrong;
    } catch (const std::exception& error) {
      code = harness::report_error(error);
    }
  }
  if (const auto leaks = check.leaks(); !leaks.empty()) {
    std::fprintf(stderr, "%s\n", leaks.c_str());
    return exit_leak;
  }
  return code;
}

// ---- FileLock ----------------------------------------------------------------------------------------------------------

void expect_exclusive(const std::string& resource, Beside& beside) {
  beside([&] {
    FileLock other{resource};
    expect(!other.try_lock(), "another one got it as well");
  });
}
/// Of one that had to wait: its place in the queue, where it could not be removed, counts until this process ends.
void give_back(FileLock& lock, const std::string& resource) {
  std::error_code why;
  if (!lock.unlock(why)) report(why, "unlock", resource);
}
void give_back(FileLock& lock, const std::string& resource, Beside& beside) {
  give_back(lock, resource);
  beside([&] {
    FileLock other{resource};
    expect(other.try_lock_for(patience), "it is not free after it was unlocked");
  });
}

void lock_file(const std::string& resource, Beside& beside) {
  FileLock lock{resource};
  expect(lock.lock() == LockOutcome::clean, "told of a death");
  expect_exclusive(resource, beside);
  give_back(lock, resource, beside);
}
void lock_file_twice(const std::string& resource, Beside&) {
  FileLock lock{resource};
  for (int i = 0; i < 2; ++i) {
    expect(lock.lock() == LockOutcome::clean, "told of a death");
    give_back(lock, resource);
  }
}
void lock_file_unfairly(const std::string& resource, Beside& beside) {
  FileLock lock{resource, {.fair = false}};
  expect(lock.lock() == LockOutcome::clean, "told of a death");
  give_back(lock, resource, beside);
}
void try_file(const std::string& resource, Beside& beside) {
  FileLock lock{resource};
  expect(lock.try_lock(), "told that it is busy");
  expect_exclusive(resource, beside);
  give_back(lock, resource, beside);
}
void leave_file_locked(const std::string& resource, Beside& beside) {
  FileLock lock{resource};
  expect(lock.try_lock_for(patience), "told that it is busy");
  expect_exclusive(resource, beside);
}
void find_file_busy(const std::string& resource, Beside& beside) {
  FileLock other{resource};
  beside([&] { other.lock(); });
  {
    FileLock lock{resource};
    expect(!lock.try_lock(), "got what another one has");
    expect(!lock.try_lock_for(short_patience), "got what another one has");
    const auto holder = lock.holder();
    expect(holder.has_value(), "told that nobody has it");
    expect(!holder->owner || holder->owner->pid() == ::getpid(), "told of another holder");
  }
  beside([&] { expect(other.unlock(), "it could not be unlocked"); });
}
void wait_for_file(const std::string& resource, Beside& beside) {
  FileLock other{resource};
  beside([&] { other.lock(); });
  const Leave leave{beside};
  beside.start([&] {
    beside.wait_until_first_sleeps();
    expect(other.unlock(), "it could not be unlocked");
  });
  FileLock lock{resource};
  expect(lock.try_lock_for(patience), "told that it is busy");
  beside.finish();
  expect_exclusive(resource, beside);
  give_back(lock, resource);
}
void reclaim_file(const std::string& resource, Beside& beside) {
  FileLock lock{resource};
  expect(lock.lock() == LockOutcome::owner_died, "not told of a death");
  expect(lock.previous_owner().has_value(), "not told who it was");
  expect_exclusive(resource, beside);
  give_back(lock, resource);
}
void lock_file_anyway(const std::string& resource, Beside& beside) {
  FileLock lock{resource};
  lock.lock();
  give_back(lock, resource, beside);
}
int hold_file(WorkerContext& context) {
  FileLock lock{context.argument(0)};
  lock.lock();
  signal_test_ready();
  return context.wait_for_release();
}

// ---- SharedMemory ------------------------------------------------------------------------------------------------------

void expect_zeros(SharedMemory& segment) {
  expect(segment.size() == segment_size, "it has another size");
  for (const auto byte : segment.bytes()) expect(byte == std::byte{}, "it is not zeroed");
}
void create_segment(const std::string& name, Beside& beside) {
  auto segment = SharedMemory::create(name, segment_size);
  expect_zeros(segment);
  segment.bytes()[0] = std::byte{42};
  beside([&] { expect(SharedMemory::attach(name, patience).bytes()[0] == std::byte{42}, "it is not under its name"); });
  segment.detach();
}
void create_or_attach_segment(const std::string& name, Beside&) {
  auto segment = SharedMemory::create_or_attach(name, segment_size, {.prefault = false, .alignment = 65536});
  expect_zeros(segment);
}
void create_anonymous_segment(const std::string& name, Beside& beside) {
  auto segment = SharedMemory::create_anonymous(name, segment_size);
  expect_zeros(segment);
  segment.bytes()[0] = std::byte{42};
  beside([&] { expect(SharedMemory::attach(segment.descriptor()).bytes()[0] == std::byte{42}, "it is another one"); });
}
void attach_segment(const std::string& name, Beside&) {
  const auto segment = SharedMemory::attach(name, patience);
  expect(segment.size() == segment_size, "it has another size");
}
void attach_segment_read_only(const std::string& name, Beside&) {
  const auto segment = SharedMemory::attach_read_only(name, patience);
  expect(segment.size() == segment_size && segment.read_only(), "it is another one");
}
void make_segment_to_stay(const std::string& name, Beside&) {
  static_cast<void>(SharedMemory::create_or_attach(name, segment_size, {.lifetime = Lifetime::until_removed}));
}
void remove_segment(const std::string& name, Beside&) { expect(SharedMemory::remove(name), "told that there is none"); }
/// Of a segment that a live process uses.
void try_to_create_used_segment(const std::string& name, Beside&) {
  try {
    static_cast<void>(SharedMemory::create(name, segment_size));
  } catch (const Error& error) {
    if (error.code() == std::errc::file_exists) return;
    throw;
  }
  throw Wrong{"it was made, in the place of one that is in use"};
}
void try_to_remove_used_segment(const std::string& name, Beside&) {
  try {
    SharedMemory::remove(name);
  } catch (const Error& error) {
    if (error.code() == errc::in_use) return;
    throw;
  }
  throw Wrong{"one that is in use was removed"};
}
void remove_segment_anyway(const std::string& name, Beside&) {
  SharedMemory::remove(name);
  expect(!SharedMemory::remove(name), "it was not removed");
}
void list_segments(const std::string& name, Beside&) {
  bool listed = false;
  for (const auto& info : SharedMemory::list()) listed = listed || info.name == name;
  expect(listed, "it is not listed");
}
/// Of a lock that a live process has.
void find_file_held(const std::string& resource, Beside&) {
  FileLock lock{resource};
  expect(!lock.try_lock(), "got what another one has");
  expect(!lock.try_lock_for(short_patience), "got what another one has");
}
int hold_segment(WorkerContext& context) {
  const auto segment = SharedMemory::create(context.argument(0), segment_size);
  signal_test_ready();
  return context.wait_for_release();
}

// ---- DataBlockMutex ----------------------------------------------------------------------------------------------------

void expect_locked(const std::string& name, Beside& beside) {
  beside([&] {
    auto other = DataBlockMutex::attach(name, patience);
    expect(!other.try_lock(), "another one got it as well");
  });
}
void lock_mutex(const std::string& name, Beside& beside) {
  auto mutex = DataBlockMutex::create_or_attach(name);
  expect(mutex.lock() == LockOutcome::clean, "told of a death");
  expect_locked(name, beside);
  mutex.unlock();
  beside([&] {
    auto other = DataBlockMutex::attach(name, patience);
    expect(other.try_lock(), "it is not free after it was unlocked");
    other.unlock();
  });
}
void lock_mutex_in_segment(const std::string& name, Beside&) {
  auto segment = SharedMemory::attach(name, patience);
  auto mutex = DataBlockMutex::in(segment, 0);
  expect(mutex.try_lock(), "told that it is busy");
  mutex.unlock();
}
void wait_for_mutex(const std::string& name, Beside& beside) {
  auto mutex = DataBlockMutex::create_or_attach(name);
  beside([&] { mutex.lock(); });
  const Leave leave{beside};
  beside.start([&] {
    beside.wait_until_first_sleeps();
    mutex.unlock();
  });
  expect(!mutex.holder() || mutex.holder()->owner.has_value(), "nobody has it");
  expect(mutex.try_lock_for(patience), "told that it is busy");
  beside.finish();
  mutex.unlock();
}
void recover_mutex(const std::string& name, Beside& beside) {
  auto mutex = DataBlockMutex::attach(name, patience);
  expect(mutex.lock() == LockOutcome::owner_died, "not told of a death");
  expect_locked(name, beside);
  mutex.declare_repaired();
  mutex.unlock();
}
void lock_mutex_anyway(const std::string& name, Beside&) {
  auto mutex = DataBlockMutex::attach(name, patience);
  mutex.lock();
  mutex.unlock();
}
int hold_mutex(WorkerContext& context) {
  auto mutex = DataBlockMutex::create(context.argument(0), {.lifetime = Lifetime::until_removed});
  mutex.lock();
  signal_test_ready();
  context.wait_for_release();
  mutex.unlock();
  return 0;
}

// ---- DataBlock ---------------------------------------------------------------------------------------------------------

DataBlockOptions block_options() {
  return {.slot_size = 64, .slot_count = 8, .segment = {.lifetime = Lifetime::until_removed}};
}
void commit_to(DataBlockProducer& producer) {
  auto slot = producer.acquire_write_slot(patience);
  expect(static_cast<bool>(slot), "no slot to write");
  slot.as<std::uint64_t>() = slot.id();
  slot.commit(sizeof(std::uint64_t));
}
void read_from(DataBlockConsumer& consumer) {
  auto slot = consumer.acquire_consume_slot(patience);
  expect(static_cast<bool>(slot), "no slot to read");
  expect(slot.as<std::uint64_t>() == slot.id() && !slot.gap(), "it reads something else");
  expect(slot.release(), "told that an operator broke it");
}
void create_block(const std::string& name, Beside& beside) {
  auto options = block_options();
  options.segment.lifetime = Lifetime::until_last_detach;
  auto producer = DataBlockProducer::create(name, options);
  const Leave leave{beside};
  beside.start([&] {
    auto consumer = DataBlockConsumer::attach(name, {.start = StartAt::oldest()}, patience);
    read_from(consumer);
  });
  commit_to(producer);
  beside.finish();
}
void find_role_taken(const std::string& name, Beside&) {
  try {
    static_cast<void>(DataBlockProducer::attach(name, 5ms));
  } catch (const Error& error) {
    if (error.code() == errc::in_use) return;
    throw;
  }
  throw Wrong{"got the role of a live producer"};
}
void find_mutex_locked(const std::string& name, Beside&) {
  auto mutex = DataBlockMutex::attach(name, patience);
  expect(!mutex.try_lock() && !mutex.try_lock_for(short_patience), "got what another one has");
}
void write_block(const std::string& name, Beside&) {
  auto producer = DataBlockProducer::attach(name, patience);
  commit_to(producer);
  expect(producer.statistics().producer.has_value(), "nobody has the role");
}
/// Of a block whose only consumer has not read anything, until the writer sleeps for it.
void wait_for_room(const std::string& name, Beside& beside) {
  auto producer = DataBlockProducer::attach(name, patience);
  const Leave leave{beside};
  beside.start([&] {
    auto consumer = DataBlockConsumer::attach(name, {}, patience);
    beside.wait_until_first_sleeps();
    for (int i = 0; i < 2; ++i) static_cast<void>(consumer.acquire_consume_slot(short_patience));
  });
  for (int i = 0; i < 9; ++i) commit_to(producer);
  beside.leave();
  beside.finish();
}
void write_when_first_sleeps(const std::string& name, Beside& beside, int count) {
  auto producer = DataBlockProducer::attach(name, patience);
  beside.wait_until_first_sleeps();
  for (int i = 0; i < count; ++i) commit_to(producer);
}
void read_block(const std::string& name, Beside& beside, const ConsumerOptions& options) {
  auto consumer = DataBlockConsumer::attach(name, options, patience);
  const Leave leave{beside};
  beside.start([&] { write_when_first_sleeps(name, beside, 2); });
  read_from(consumer);
  read_from(consumer);
  beside.finish();
  const auto books = consumer.books();
  expect(books.committed == books.delivered + books.skipped + books.in_flight, "the books are not closed");
  expect(consumer.statistics().committed >= 2, "there is less than was read");
}
void read_block_alone(const std::string& name, Beside& beside) { read_block(name, beside, {}); }
void read_block_in_group(const std::string& name, Beside& beside) { read_block(name, beside, {.group = "crew"}); }
void poll_block(const std::string& name, Beside& beside) {
  auto consumer = DataBlockConsumer::attach(name, {}, patience);
  const Leave leave{beside};
  beside.start([&] { write_when_first_sleeps(name, beside, 1); });
  pollfd polled{consumer.event_descriptor(), POLLIN, 0};
  while (::poll(&polled, 1, 10000) < 0) {  // the caller's own call, which may fail as others do
  }
  expect((polled.revents & POLLIN) != 0, "no event");
  read_from(consumer);
  DataBlockConsumer* const all[] = {&consumer};
  expect(!DataBlockConsumer::wait_any(all, short_patience).has_value(), "told of a slot that is not there");
  beside.finish();
}
void look_at_block(const std::string& name, Beside&) {
  const auto block = DataBlock::attach(name, patience);
  expect(block.options().slot_size == 64, "it has other slots");
  expect(block.statistics().consumers.size() <= 1, "it has other consumers");
}
void reclaim_block(const std::string& name, Beside&) {
  auto producer = DataBlockProducer::attach(name, patience);
  expect(producer.outcome() == LockOutcome::owner_died, "not told of a death");
  commit_to(producer);
}
int hold_block(WorkerContext& context) {
  auto producer = DataBlockProducer::create(context.argument(0), block_options());
  commit_to(producer);
  auto slot = producer.acquire_write_slot();
  signal_test_ready();
  return context.wait_for_release();
}
int make_block(WorkerContext& context) {
  static_cast<void>(DataBlockProducer::create(context.argument(0), block_options()));
  return 0;
}

constexpr Scenario scenarios[] = {{"file_lock.lock", run<lock_file>},
                                  {"file_lock.lock_twice", run<lock_file_twice>},
                                  {"file_lock.lock_unfairly", run<lock_file_unfairly>},
                                  {"file_lock.try", run<try_file>},
                                  {"file_lock.leave", run<leave_file_locked>},
                                  {"file_lock.busy", run<find_file_busy>},
                                  {"file_lock.held", run<find_file_held>},
                                  {"file_lock.wait", run<wait_for_file>},
                                  {"file_lock.reclaim", run<reclaim_file>},
                                  {"file_lock.lock_anyway", run<lock_file_anyway>},
                                  {"file_lock.hold", hold_file},
                                  {"segment.create", run<create_segment>},
                                  {"segment.create_or_attach", run<create_or_attach_segment>},
                                  {"segment.create_anonymous", run<create_anonymous_segment>},
                                  {"segment.attach", run<attach_segment>},
                                  {"segment.attach_read_only", run<attach_segment_read_only>},
                                  {"segment.make_to_stay", run<make_segment_to_stay>},
                                  {"segment.remove", run<remove_segment>},
                                  {"segment.create_used", run<try_to_create_used_segment>},
                                  {"segment.remove_used", run<try_to_remove_used_segment>},
                                  {"segment.remove_anyway", run<remove_segment_anyway>},
                                  {"segment.list", run<list_segments>},
                                  {"segment.hold", hold_segment},
                                  {"mutex.lock", run<lock_mutex>},
                                  {"mutex.lock_in_segment", run<lock_mutex_in_segment>},
                                  {"mutex.wait", run<wait_for_mutex>},
                                  {"mutex.recover", run<recover_mutex>},
                                  {"mutex.lock_anyway", run<lock_mutex_anyway>},
                                  {"mutex.hold", hold_mutex},
                                  {"block.create", run<create_block>},
                                  {"block.write_used", run<find_role_taken>},
                                  {"mutex.busy", run<find_mutex_locked>},
                                  {"block.write", run<write_block>},
                                  {"block.wait_for_room", run<wait_for_room>},
                                  {"block.read", run<read_block_alone>},
                                  {"block.read_in_group", run<read_block_in_group>},
                                  {"block.poll", run<poll_block>},
                                  {"block.look", run<look_at_block>},
                                  {"block.reclaim", run<reclaim_block>},
                                  {"block.hold", hold_block},
                                  {"block.make", make_block}};
}  // namespace

int main(int argc, char** argv) { return holdfast::harness::run_worker(scenarios, argc, argv); }
