// file_lock_crash_worker - contenders for a FileLock whose ways in and out are crash regions. What they find there they check
// themselves (see tests/crash_lab/section.hpp): what is wrong is their error.
//
//   SCENARIO DIRECTORY FAIR; DIRECTORY has a page and a journal, and its lock is that of DIRECTORY/resource
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>

#include <holdfast/file_lock.hpp>
#include <holdfast/process_identity.hpp>
#include <holdfast/testing/worker.hpp>

#include "../crash_lab/section.hpp"

namespace {
using crash_lab::Contender;
using crash_lab::Lasts;
using crash_lab::News;
using holdfast::FileLock;
using holdfast::ProcessIdentity;
using holdfast::harness::CrashRegion;
using holdfast::harness::Scenario;
using holdfast::harness::signal_test_ready;
using holdfast::harness::WorkerContext;
namespace fs = std::filesystem;

/// One contender and its lock.
class Actor {
 public:
  explicit Actor(const WorkerContext& context)
      : directory_{context.argument(0)}, fair_{context.number(1) != 0}, contender_{directory_, Lasts::once} {
    static_cast<void>(ProcessIdentity::self());
  }
  void make_lock() { lock_.emplace(directory_ / "resource", holdfast::FileLockOptions{.fair = fair_}); }
  void destroy_lock() { lock_.reset(); }

  void lock() {
    look_at_queue();
    enter([&] { return static_cast<void>(lock_->lock()), true; });
  }
  bool try_lock() {
    return enter([&] { return lock_->try_lock(); });
  }
  bool try_lock_for(std::chrono::milliseconds time) {
    return enter([&] { return lock_->try_lock_for(time); });
  }
  void unlock() {
    contender_.leave([&] {
      if (!lock_->unlock()) throw std::runtime_error{"it could not give the lock back"};
    });
  }
  void use() {
    make_lock();
    lock();
    unlock();
  }

 private:
  bool enter(const std::function<bool()>& acquire) {
    return contender_.enter(acquire, [&] {
      const auto previous = lock_->previous_owner();
      return News{previous.has_value(), previous ? previous->pid() : 0};
    });
  }
  /// Those who wait already.
  void look_at_queue() {
    if (!fair_ || !contender_.somebody_asks()) return;
    std::set<std::int64_t> pids;
    std::error_code gone;
    for (fs::directory_iterator entry{directory_ / ".resource.lock.queue", gone}, end; !gone && entry != end;
         entry.increment(gone)) {
      auto name = entry->path().filename().string();  // t.<number>.<n>.<identity>
      for (int field = 0; field < 3; ++field) name.erase(0, name.find('.') + 1);
      if (const auto identity = ProcessIdentity::try_decode(name)) pids.insert(identity->pid());
    }
    contender_.remember_as_earlier(pids);
  }

  fs::path directory_;
  bool fair_;
  Contender contender_;
  std::optional<FileLock> lock_;
};

int ready(WorkerContext& context) {
  signal_test_ready();
  return context.wait_for_release();
}

// ---- regions -------------------------------------------------------------------------------------------------------

/// From the making of the object to its end.
int use_once(WorkerContext& context) {
  Actor actor{context};
  if (const int code = ready(context)) return code;
  const CrashRegion region;
  actor.use();
  actor.destroy_lock();
  return 0;
}
/// The same with an object that has been used before.
int use_again(WorkerContext& context) {
  Actor actor{context};
  actor.use();
  if (const int code = ready(context)) return code;
  const CrashRegion region;
  actor.lock();
  actor.unlock();
  return 0;
}
/// It knows nothing of a queue or an owner before: it has not been used yet.
int try_once(WorkerContext& context) {
  Actor actor{context};
  actor.make_lock();
  if (const int code = ready(context)) return code;
  const CrashRegion region;
  if (actor.try_lock()) actor.unlock();
  return 0;
}
int give_up(WorkerContext& context) {
  Actor actor{context};
  actor.make_lock();
  if (const int code = ready(context)) return code;
  const CrashRegion region;
  if (actor.try_lock_for(std::chrono::milliseconds{5})) actor.unlock();
  return 0;
}
int release(WorkerContext& context) {
  Actor actor{context};
  actor.make_lock();
  actor.lock();
  if (const int code = ready(context)) return code;
  const CrashRegion region;
  actor.unlock();
  return 0;
}

// ---- those around them ---------------------------------------------------------------------------------------------

int hold(WorkerContext& context) {
  Actor actor{context};
  actor.make_lock();
  actor.lock();
  const int code = ready(context);
  actor.unlock();
  return code;
}
/// With all descriptors closed that the lock has: it lives without its first proof of life.
int hold_without_descriptors(WorkerContext& context) {
  Actor actor{context};
  const int first = ::dup(0);  // the numbers from here on are the lock's
  ::close(first);
  actor.make_lock();
  actor.lock();
  for (int number = first; number < first + 16; ++number) ::close(number);
  const int code = ready(context);
  if (code == 0) ::_exit(0);  // the lock must not be touched any more
  return code;
}
/// Ready before it asks: the parent sees in the queue that it waits.
int wait_then_use(WorkerContext& context) {
  Actor actor{context};
  signal_test_ready();
  actor.use();
  return context.wait_for_release();
}
/// Keeps the object, with what it has beside the lock.
int keep(WorkerContext& context) {
  Actor actor{context};
  actor.use();
  return ready(context);
}

constexpr Scenario scenarios[] = {{"use_once", use_once},
                                  {"use_again", use_again},
                                  {"try_once", try_once},
                                  {"give_up", give_up},
                                  {"release", release},
                                  {"hold", hold},
                                  {"hold_without_descriptors", hold_without_descriptors},
                                  {"wait_then_use", wait_then_use},
                                  {"keep", keep}};
}  // namespace

int main(int argc, char** argv) { return holdfast::harness::run_worker(scenarios, argc, argv); }
