// FileLock in the crash lab: contenders killed at every named step and every system call of their ways in and out, rescued in
// every way. Proves F1, F3, F5, F7 and F8 of docs/guarantees.md at each of these points.
//
// All that a contender does to the lock are system calls: between two of them an instruction changes nothing that others see, so
// that the engine of instructions would find each point many times. A lock is names and descriptors, of which no image of files
// can be made.
#include <sys/stat.h>

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>
#include <holdfast/file_lock.hpp>

#include "../exclusion/wait_until.hpp"
#include "lab.hpp"

namespace {
using namespace crash_lab;
using namespace std::chrono_literals;
using holdfast::FileLock;
using holdfast::test::wait_until;

class FileLockCrash : public testing::TestWithParam<bool> {
 protected:
  [[nodiscard]] bool fair() const { return GetParam(); }
  [[nodiscard]] fs::path resource() const { return dir_ / "resource"; }
  [[nodiscard]] fs::path lock_path() const { return dir_ / "resource.lock"; }

  [[nodiscard]] WorkerProcess start(const char* scenario, const WorkerOptions& options = {}) const {
    return SpawnWorkerWithReadySignal(FILE_LOCK_CRASH_WORKER, scenario, {dir_.path(), fair() ? 1 : 0}, options);
  }
  [[nodiscard]] WorkerProcess started(const char* scenario) const {
    auto worker = start(scenario);
    if (worker.wait_for_ready() != Ready::yes) throw std::runtime_error{worker.report()};
    return worker;
  }
  [[nodiscard]] CrashScenario::Start starter(const char* scenario) const {
    return [this, scenario](const WorkerOptions& options) { return start(scenario, options); };
  }

  /// Victim and rescuers as they are used most: whoever comes next makes an object, locks, unlocks and destroys it.
  [[nodiscard]] CrashScenario scenario(const char* name, const char* victim) {
    return {.name = std::string{"file."} + name + (fair() ? "" : "_unfair"),
            .prepare = [this] { begin(); },
            .victim = starter(victim),
            .rescuer = starter("use_once"),
            .judge = [this] { return judge(); }};
  }
  void begin() {
    end_others();
    for (const auto& entry : fs::directory_iterator{dir_.path()}) fs::remove_all(entry.path());
    Section::create(dir_.path());
  }
  /// Somebody else has the lock; `end_of_other_` makes it give it back.
  void begin_with_owner(const char* owner = "hold") {
    begin();
    other_.emplace(started(owner));
    end_of_other_ = [this] { other_->release(); };
  }
  void begin_with_dead_owner() {
    begin();
    started("hold").kill();
  }
  /// The lock is free, and one of the dead stands in its queue.
  void begin_with_dead_waiter() {
    begin();
    auto owner = started("hold");
    auto waiter = started("wait_then_use");
    if (!holdfast::test::wait_for_queue(resource(), 1)) throw std::runtime_error{"nobody waits"};
    waiter.kill();
    owner.release();
    if (!owner.wait_for_exit(20s).ok()) throw std::runtime_error{owner.report()};
  }
  void end_others() {
    if (helper_.joinable()) {
      helper_.request_stop();
      helper_.join();
    }
    other_.reset();
  }

  /// The victim has to wait for somebody else, who goes on when the victim sleeps for the lock, or has died.
  [[nodiscard]] CrashScenario::Start victim_that_waits(const char* victim) {
    return victim_of_whom_is_waited(victim, [this](std::int64_t pid) {
      return state_of(pid) == 'S' && Section{dir_.path()}.phase_of(pid) == Phase::asking;
    });
  }
  [[nodiscard]] CrashScenario::Start victim_of_whom_is_waited(const char* victim,
                                                              const std::function<bool(std::int64_t)>& for_what) {
    return [this, victim, for_what](const WorkerOptions& options) {
      auto worker = start(victim, options);
      helper_ = std::jthread{[this, for_what, pid = worker.pid()](const std::stop_token& stop) {
        static_cast<void>(wait_until([&] { return stop.stop_requested() || has_ended(pid) || for_what(pid); }, 60s));
        if (!stop.stop_requested()) end_of_other_();
      }};
      return worker;
    };
  }

  struct Last {
    bool died = false;
    bool was_inside = false;
  };
  /// Where an order lets the last contender die, nobody has been told of it yet.
  [[nodiscard]] Last last_of_all() const {
    const auto entries = Journal::open(dir_ / "journal").entries();
    if (entries.empty() || entries.back().event != Event::doomed) return {};
    Event before = Event::left;
    for (const auto& entry : entries)
      if (entry.who == entries.back().who && entry.event != Event::doomed) before = entry.event;
    return {true, before == Event::entered || before == Event::recovered};
  }

  /// When all is over: the history makes sense, those around it have ended well, the next owner finds the lock free and without
  /// news, unless it is of the last of all, and leaves nothing behind.
  std::string judge() try {
    if (helper_.joinable()) helper_.join();
    if (other_) {
      const auto exit = other_->wait_for_exit(20s);
      if (!exit.ok() && exit != holdfast::harness::Exit{holdfast::harness::Exit::By::code, 0, false})
        return "somebody else did not end well\n" + other_->report();
    }
    if (auto wrong = judge_journal(dir_.path()); !wrong.empty()) return wrong;
    const auto last = last_of_all();
    for (int owners = last.died ? 2 : 1; owners > 0; --owners) {
      const bool next_after_it = owners == 2;
      FileLock next{resource(), {.fair = fair()}};
      if (!next.try_lock_for(20s)) return "it is not free: " + to_string(next.holder());
      const bool told = next.outcome() != holdfast::LockOutcome::clean;
      if (told && !next_after_it) return "the news comes once too often";
      if (!told && next_after_it && last.was_inside) return "the last death is not told";
      if (fs::exists(dir_ / ".resource.lock.queue") && !fs::is_empty(dir_ / ".resource.lock.queue"))
        return "somebody's place is still in the queue";
      if (!next.unlock()) return "the next owner could not unlock it";
    }
    std::string left;
    for (const auto& name : dir_.leftovers()) left += " " + name.string();
    return left.empty() ? left : "left behind:" + left;
  } catch (const std::exception& exception) {
    return exception.what();
  }

  /// `steps`: at so many of the named steps; 0: at each.
  void run(const CrashScenario& scenario, std::uint64_t steps = 0) {
    if (!expect_rescued(scenario, CrashEngine::steps, steps, all_rescues())) return;
    expect_rescued_at_system_calls(scenario, 5, steps);
  }
  void TearDown() override {
    end_others();
    if (!HasFailure()) return;
    for (const auto& entry : fs::recursive_directory_iterator{dir_.path()})
      std::cout << "there is " << fs::relative(entry.path(), dir_.path()).string() << "\n";
  }

  TempDir dir_;
  std::optional<WorkerProcess> other_;
  std::function<void()> end_of_other_;
  std::jthread helper_;
};
INSTANTIATE_TEST_SUITE_P(, FileLockCrash, testing::Values(true, false),
                         [](const testing::TestParamInfo<bool>& fair) { return fair.param ? "Fair" : "Unfair"; });
/// Without fairness there is no queue.
using FileLockQueueCrash = FileLockCrash;
INSTANTIATE_TEST_SUITE_P(, FileLockQueueCrash, testing::Values(true), [](const auto&) { return std::string{"Fair"}; });
}  // namespace

TEST_P(FileLockCrash, AnOwnerMayDieAnywhereBetweenTheMakingOfItsObjectAndItsEnd) {
  auto whole = scenario("whole", "use_once");
  whole.steps = {"file.P1", "file.P2",      "file.Q1", "file.A1", "file.A2",       "file.A3",     "file.R1",
                 "file.R2", "file.R3_look", "file.R3", "file.X",  "file.X_unlink", "file.X_rmdir"};
  if (!fair()) std::erase(whole.steps, "file.Q1");
  if (fair()) whole.steps.emplace_back("file.X_ticket");
  run(whole);
}

TEST_P(FileLockCrash, AnOwnerMayDieAnywhereWithAnObjectThatItHasUsedBefore) {
  auto again = scenario("again", "use_again");
  again.steps = {"file.A3", "file.R1", "file.R2", "file.R3_look"};
  run(again);
}

TEST_P(FileLockCrash, AWaiterMayDieAnywhereOnItsWayThroughTheQueue) {
  auto busy = scenario("busy", "use_once");
  busy.prepare = [this] { begin_with_owner(); };
  busy.victim = victim_that_waits("use_once");
  busy.steps = {"file.A4",      "file.H1", "file.H1_list", "file.H2",      "file.H2_look",
                "file.H2_read", "file.H3", "file.H3_read", "file.H4_look", "file.A3"};
  if (fair())
    for (const char* step :
         {"file.Q2", "file.Q2_mkdir", "file.Q3", "file.Q4", "file.Q5", "file.Q8", "file.Q8_close", "file.X_queue"})
      busy.steps.emplace_back(step);
  run(busy);
}

TEST_P(FileLockCrash, ARescuerMayDieAnywhereWhileItReplacesADeadOwner) {
  auto reclaim = scenario("reclaim", "use_once");
  reclaim.prepare = [this] { begin_with_dead_owner(); };
  reclaim.steps = {"file.H4_look", "file.H4", "file.H4_lock",   "file.H5",       "file.H5_look", "file.H6",
                   "file.H6_look", "file.H7", "file.H7_unlink", "file.H7_rmdir", "file.R2"};
  run(reclaim);
}

TEST_P(FileLockCrash, AnOwnerMayDieAnywhereWhileItReleasesTheLockToAWaiter) {
  auto release = scenario("release", "release");
  release.victim = [this](const WorkerOptions& options) {
    auto owner = start("release", options);
    if (owner.wait_for_ready() != Ready::yes) throw std::runtime_error{owner.report()};
    other_.emplace(started("wait_then_use"));
    other_->release();  // when it has had the lock
    static_cast<void>(wait_until([&] { return state_of(other_->pid()) == 'S'; }));
    return owner;
  };
  release.steps = {"file.R1", "file.R2", "file.R3_look", "file.R3"};
  run(release);
}

TEST_P(FileLockCrash, ASweeperMayDieAnywhereOverWhatTheDeadLeft) {
  auto sweep = scenario("sweep", "use_once");
  sweep.prepare = [this] {
    begin();
    started("keep").kill();
  };
  sweep.steps = {"file.S1", "file.S2", "file.S3"};
  run(sweep);
}

TEST_P(FileLockCrash, WhoOnlyTriesMayDieAnywhere) {
  auto tries = scenario("try", "try_once");
  tries.steps = {"file.A3", "file.R2"};
  run(tries);
}

TEST_P(FileLockCrash, WhoOnlyTriesMayDieAnywhereBeforeADeadOwner) {
  auto tries = scenario("try_reclaim", "try_once");
  tries.prepare = [this] { begin_with_dead_owner(); };
  tries.steps = {"file.H2_read", "file.H4_lock", "file.H7"};
  run(tries);
}

TEST_P(FileLockQueueCrash, WhoOnlyTriesMayDieAnywhereOverAQueueOfTheDead) {
  auto tries = scenario("try_queue", "try_once");
  tries.prepare = [this] { begin_with_dead_waiter(); };
  tries.steps = {"file.T2",          "file.T3", "file.T4", "file.T4_read", "file.T4_look",
                 "file.T4_identity", "file.T5", "file.T6", "file.A3"};
  run(tries);
}

TEST_P(FileLockQueueCrash, WhoWaitsBehindADeadWaiterMayDieAnywhere) {
  auto behind = scenario("behind_the_dead", "use_once");
  behind.prepare = [this] { begin_with_dead_waiter(); };
  behind.steps = {"file.Q6", "file.Q6_read", "file.Q7",       "file.Q7_identity", "file.Q7_unlink",
                  "file.A3", "file.Q8",      "file.Q8_close", "file.Q8_rmdir"};
  run(behind);
}

TEST_P(FileLockCrash, WhoGivesUpMayDieAnywhere) {
  auto gives_up = scenario("give_up", "give_up");
  gives_up.prepare = [this] { begin_with_owner(); };
  // While the victim stands still the lock is held; so it is dead, or has gone on, before a rescuer can have it.
  gives_up.victim = victim_of_whom_is_waited("give_up", [](std::int64_t) { return false; });
  gives_up.steps = {"file.H3", "file.W", "file.A4"};
  if (fair()) gives_up.steps.insert(gives_up.steps.end(), {"file.Q8", "file.Q8_close", "file.Q8_rmdir"});
  run(gives_up);
}

TEST_P(FileLockCrash, WhoWaitsForAnOwnerWithoutDescriptorsMayDieAnywhere) {
  auto bare = scenario("bare_owner", "use_once");
  bare.prepare = [this] { begin_with_owner("hold_without_descriptors"); };
  bare.victim = victim_that_waits("use_once");
  bare.steps = {"file.H6", "file.H6_close", "file.H6_sleep", "file.H7"};
  run(bare, 24);  // it looks again and again, and each look has its steps
}

TEST_P(FileLockCrash, WhoWaitsForAStrangerMayDieAnywhere) {
  auto stranger = scenario("stranger", "use_once");
  stranger.prepare = [this] {
    begin();
    fs::create_directory(lock_path());
    end_of_other_ = [this] { fs::remove(lock_path()); };
  };
  stranger.victim = victim_that_waits("use_once");
  stranger.steps = {"file.H1_look", "file.H1_stranger", "file.A3"};
  run(stranger);
}

// ---- orders ------------------------------------------------------------------------------------------------------------

TEST_P(FileLockCrash, InNoOrderOfTwoContendersAreBothInside) {
  expect_no_order_goes_wrong({.name = "file.two_contenders",
                              .prepare = [this] { begin(); },
                              .actors = {starter("use_once"), starter("use_once")},
                              .judge = [this] { return judge(); }},
                             8, 20);
}

TEST_P(FileLockCrash, InNoOrderOfThreeContendersOneOfThemKilledAreTwoInside) {
  expect_no_order_goes_wrong({.name = "file.three_contenders",
                              .prepare = [this] { begin(); },
                              .actors = {starter("use_once"), starter("use_once"), starter("use_once")},
                              .judge = [this] { return judge(); }},
                             3, 40, 1);
}
