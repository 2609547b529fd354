// mutex_crash_worker - owners of a DataBlockMutex whose ways in and out are crash regions. What they find there they check
// themselves (see tests/crash_lab/section.hpp): what is wrong is their error.
//
//   SCENARIO DIRECTORY NAME; DIRECTORY has a page and a journal, the segment NAME two mutexes: the one at 0 is the one
#include <functional>
#include <optional>
#include <string>
#include <holdfast/data_block_mutex.hpp>
#include <holdfast/process_identity.hpp>
#include <holdfast/shared_memory.hpp>
#include <holdfast/testing/worker.hpp>

#include "../crash_lab/mutex_contender.hpp"

namespace {
using crash_lab::MutexContender;
using holdfast::DataBlockMutex;
using holdfast::harness::CrashRegion;
using holdfast::harness::Scenario;
using holdfast::harness::signal_test_ready;
using holdfast::harness::WorkerContext;

int ready(WorkerContext& context) {
  signal_test_ready();
  return context.wait_for_release();
}

/// What a thread does only for its first mutex is over.
void make_after_another(MutexContender& contender) {
  contender.make();
  auto another = contender.another();
  another.lock();
  another.unlock();
}

// ---- regions -------------------------------------------------------------------------------------------------------

int make(WorkerContext& context) {
  MutexContender contender{context.argument(0), context.argument(1)};
  static_cast<void>(contender.another());  // what only the first one in a process does is not looked at
  if (const int code = ready(context)) return code;
  const CrashRegion region;
  contender.make();
  contender.lock();
  contender.unlock();
  return 0;
}
int only_make(WorkerContext& context) {
  MutexContender contender{context.argument(0), context.argument(1)};
  static_cast<void>(contender.another());
  if (const int code = ready(context)) return code;
  const CrashRegion region;
  contender.make();
  return 0;
}
int lock_and_unlock(WorkerContext& context) {
  MutexContender contender{context.argument(0), context.argument(1)};
  make_after_another(contender);
  if (const int code = ready(context)) return code;
  const CrashRegion region;
  contender.lock();
  contender.unlock();
  return 0;
}
/// The same without anything but the mutex in the region.
int lock_and_unlock_alone(WorkerContext& context) {
  MutexContender contender{context.argument(0), context.argument(1)};
  make_after_another(contender);
  contender.contender().begin_to_ask();
  if (const int code = ready(context)) return code;
  {
    const CrashRegion region;
    contender.mutex().lock();
    contender.mutex().unlock();
  }
  contender.contender().end_to_ask();
  return 0;
}
/// Repairs what it is told of.
int repair(WorkerContext& context) {
  MutexContender contender{context.argument(0), context.argument(1)};
  make_after_another(contender);
  if (const int code = ready(context)) return code;
  const CrashRegion region;
  contender.lock();
  contender.repair();
  contender.unlock();
  return 0;
}

// ---- those around them ---------------------------------------------------------------------------------------------

int hold(WorkerContext& context) {
  MutexContender contender{context.argument(0), context.argument(1)};
  contender.make();
  contender.lock();
  const int code = ready(context);
  contender.unlock();
  return code;
}

constexpr Scenario scenarios[] = {{"make", make},
                                  {"only_make", only_make},
                                  {"lock_and_unlock", lock_and_unlock},
                                  {"lock_and_unlock_alone", lock_and_unlock_alone},
                                  {"repair", repair},
                                  {"hold", hold}};
}  // namespace

int main(int argc, char** argv) { return holdfast::harness::run_worker(scenarios, argc, argv); }
