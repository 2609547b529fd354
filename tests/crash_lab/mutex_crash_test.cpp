// DataBlockMutex in the crash lab: owners killed after every instruction, at every named step and every system call of making,
// locking, unlocking, recovering and repairing, rescued in every way. Proves M1 to M4 of docs/guarantees.md at each of these points.
//
// Images only of the making: a locked robust mutex is not all memory. The kernel marks it when its thread dies, by a list of that
// thread's that no copy has, so an image of a locked mutex is a state that never comes about.
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>
#include <holdfast/data_block_mutex.hpp>

#include "../exclusion/test_segment.hpp"
#include "../exclusion/wait_until.hpp"
#include "lab.hpp"
#include "mutex_contender.hpp"

namespace {
using namespace crash_lab;
using namespace std::chrono_literals;
using holdfast::LockOutcome;
using holdfast::SharedMemory;
using holdfast::test::wait_until;

class MutexCrash : public testing::Test {
 protected:
  void TearDown() override {
    end_others();
    keeper_.reset();
    if (segment_.exists()) ADD_FAILURE() << "left behind: " << segment_.path();
  }

  [[nodiscard]] CrashScenario::Start starter(const char* scenario) const {
    return [this, scenario](const WorkerOptions& options) {
      return SpawnWorkerWithReadySignal(MUTEX_CRASH_WORKER, scenario, {dir_.path(), segment_.name()}, options);
    };
  }
  void begin() {
    end_others();
    keeper_.reset();
    fs::remove(segment_.path());  // whatever a run that failed has left
    Section::create(dir_.path());
    keeper_.emplace(SharedMemory::create(segment_.name(), mutex_segment_size));  // this process keeps the segment
  }
  void end_others() {
    if (helper_.joinable()) {
      helper_.request_stop();
      helper_.join();
    }
    other_.reset();
  }
  /// Somebody else has the mutex, until the victim sleeps for it, or has died; then it gives it back, or dies as well.
  [[nodiscard]] CrashScenario waits(CrashScenario made, const std::function<void(WorkerProcess&)>& end_of_other) {
    made.prepare = [this] {
      begin();
      other_.emplace(starter("hold")({}));
      if (other_->wait_for_ready() != Ready::yes) throw std::runtime_error{other_->report()};
    };
    made.victim = [this, start = made.victim, end_of_other](const WorkerOptions& options) {
      auto victim = start(options);
      helper_ = std::jthread{[this, end_of_other, pid = victim.pid()](const std::stop_token& stop) {
        static_cast<void>(wait_until(
            [&] {
              return stop.stop_requested() || has_ended(pid) ||
                     (state_of(pid) == 'S' && Section{dir_.path()}.phase_of(pid) == Phase::asking);
            },
            60s));
        if (!stop.stop_requested()) end_of_other(*other_);
      }};
      return victim;
    };
    return made;
  }
  /// Somebody has had the mutex before, and lives: nobody is to be told of him.
  [[nodiscard]] CrashScenario used_before(CrashScenario made) {
    made.prepare = [this] {
      begin();
      MutexContender before{dir_.path(), segment_.name()};
      before.make();
      before.lock();
      before.unlock();
    };
    return made;
  }
  /// Somebody died with the mutex.
  [[nodiscard]] CrashScenario lost(CrashScenario made) {
    made.prepare = [this] {
      begin();
      auto owner = starter("hold")({});
      if (owner.wait_for_ready() != Ready::yes) throw std::runtime_error{owner.report()};
      owner.kill();
    };
    return made;
  }
  [[nodiscard]] CrashScenario scenario(const char* name, const char* victim, const char* rescuer) {
    return {.name = std::string{"mutex."} + name,
            .prepare = [this] { begin(); },
            .victim = starter(victim),
            .rescuer = starter(rescuer),
            .judge = [this] { return judge(); }};
  }

  /// When all is over: the history makes sense; the next owner gets the mutex, and the news as long as nobody has repaired, but
  /// not once more after that.
  std::string judge() try {
    if (helper_.joinable()) helper_.join();
    if (other_) other_->wait_for_exit(20s);
    {
      MutexContender next{dir_.path(), segment_.name()};
      next.make();
      if (!next.enter(5s)) return "it is not free: " + to_string(next.mutex().holder());
      if (next.mutex().outcome() == LockOutcome::owner_died) next.repair();
      next.unlock();
      if (!next.enter(5s)) return "it is not free any more: " + to_string(next.mutex().holder());
      if (next.mutex().outcome() != LockOutcome::clean) return "the news has outlived the repair";
      next.unlock();
    }
    auto wrong = judge_journal(dir_.path());
    Section::create(dir_.path());  // for the next image, before which nothing is prepared
    return wrong;
  } catch (const std::exception& exception) {
    return exception.what();
  }

  /// `each`: instructions at which a victim is killed; 0: all.
  void run(const CrashScenario& scenario, std::uint64_t each) {
    if (!expect_rescued(scenario, CrashEngine::steps, 0, all_rescues(), 4)) return;
    expect_rescued_at_system_calls(scenario, 8);
    run_by_instructions(scenario, each);
  }
  void run_by_instructions(const CrashScenario& scenario, std::uint64_t each) {
    expect_rescued(scenario, CrashEngine::instructions, each, {Rescue::after});
    expect_rescued(scenario, CrashEngine::instructions, 12, {Rescue::before, Rescue::by_two, Rescue::continued});
  }

  TempDir dir_;
  const holdfast::test::TestSegment segment_;
  std::optional<SharedMemory> keeper_;
  std::optional<WorkerProcess> other_;
  std::jthread helper_;
};
}  // namespace

TEST_F(MutexCrash, ItsMakerMayDieAnywhere) {
  auto make = scenario("make", "make", "make");
  make.steps = {"mutex.K0", "mutex.K1", "mutex.K2", "mutex.K3", "mutex.K4"};
  run(make, 40);
}

TEST_F(MutexCrash, AnOwnerMayDieAtAnyInstruction) {
  auto alone = used_before(scenario("lock_alone", "lock_and_unlock_alone", "lock_and_unlock"));
  alone.steps = {"mutex.K1", "mutex.K2", "mutex.K3", "mutex.K4"};
  if (!expect_rescued(alone, CrashEngine::steps, 0, all_rescues(), 4)) return;
  run_by_instructions(alone, 0);  // it makes no system call
}

TEST_F(MutexCrash, AnOwnerMayDieAnywhereInItsSection) {
  auto lock = used_before(scenario("lock", "lock_and_unlock", "lock_and_unlock"));
  lock.steps = {"mutex.K1", "mutex.K2", "mutex.K3", "mutex.K4"};
  if (!expect_rescued(lock, CrashEngine::steps, 0, all_rescues(), 4)) return;
  run_by_instructions(lock, 60);
}

TEST_F(MutexCrash, WhoWaitsForAnOwnerMayDieAnywhere) {
  auto wait =
      waits(scenario("wait", "lock_and_unlock", "lock_and_unlock"), [](WorkerProcess& owner) { owner.release(); });
  wait.steps = {"mutex.K1", "mutex.K2", "mutex.K3", "mutex.K4"};
  run(wait, 30);
}

TEST_F(MutexCrash, WhoIsWokenByADeathMayDieAnywhere) {
  auto woken =
      waits(scenario("woken", "lock_and_unlock", "lock_and_unlock"), [](WorkerProcess& owner) { owner.kill(); });
  woken.steps = {"mutex.R1", "mutex.R2", "mutex.R3", "mutex.R4", "mutex.K3", "mutex.K4"};
  run(woken, 30);
}

TEST_F(MutexCrash, ARescuerMayDieAtAnyInstructionAndTheNewsIsKept) {
  auto recover = lost(scenario("recover", "lock_and_unlock", "lock_and_unlock"));
  recover.steps = {"mutex.R1", "mutex.R2", "mutex.R3", "mutex.R4", "mutex.K3", "mutex.K4"};
  run(recover, 40);
}

TEST_F(MutexCrash, WhoRepairsMayDieAtAnyInstruction) {
  auto repair = lost(scenario("repair", "repair", "lock_and_unlock"));
  repair.steps = {"mutex.R1", "mutex.R2", "mutex.R3", "mutex.R4", "mutex.P1", "mutex.K3", "mutex.K4"};
  run(repair, 40);
}

TEST_F(MutexCrash, EveryImageOfItsMakingIsMadeAnew) {
  auto make = scenario("make_images", "only_make", "make");
  make.images = [this] { return std::vector{segment_.path()}; };
  expect_rescued(make, CrashEngine::images, 0, {Rescue::after});
  keeper_.reset();
  fs::remove(segment_.path());  // each image tells of this process as a user, and it lives
}

// ---- orders ------------------------------------------------------------------------------------------------------------

TEST_F(MutexCrash, InNoOrderOfThreeMakersOneOfThemKilledIsItUsedBeforeItIsMade) {
  expect_no_order_goes_wrong({.name = "mutex.three_makers",
                              .prepare = [this] { begin(); },
                              .actors = {starter("make"), starter("make"), starter("make")},
                              .judge = [this] { return judge(); }},
                             4, 40, 1);
}
