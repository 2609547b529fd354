// SharedMemory in the crash lab: processes killed at every named step, at every system call and at instructions of making,
// attaching to, leaving, removing and replacing a segment, rescued in every way, and from every image that attaching leaves.
// Proves M4, M5 and M6 of docs/guarantees.md at each of these points.
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <optional>
#include <string>
#include <vector>
#include <holdfast/process_identity.hpp>
#include <holdfast/shared_memory.hpp>

#include "../exclusion/test_segment.hpp"
#include "lab.hpp"

namespace {
using namespace crash_lab;
using holdfast::Lifetime;
using holdfast::ProcessIdentity;
using holdfast::SegmentInfo;
using holdfast::SegmentState;
using holdfast::SharedMemory;
using holdfast::harness::Argument;

/// Has a /dev/shm of its own if the machine permits it: only there can be told that no space is lost.
class SegmentCrash : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    own_folder_ = ::unshare(CLONE_NEWNS) == 0 && ::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                  ::mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=64m,mode=1777") == 0;
  }
  void SetUp() override {
    begin();
    free_ = space();
  }
  void TearDown() override {
    memory_.reset();
    if (segment_.exists()) ADD_FAILURE() << "left behind: " << segment_.path();
  }

  [[nodiscard]] std::optional<SegmentInfo> listed() const {
    for (auto& info : SharedMemory::list())
      if (info.name == segment_.name()) return std::move(info);
    return std::nullopt;
  }
  [[nodiscard]] static std::vector<std::uint64_t> space() {
    struct statvfs found {};
    if (own_folder_ && ::statvfs("/dev/shm", &found) != 0) throw std::runtime_error{"statvfs"};
    return {found.f_bfree, found.f_ffree};
  }

  enum class Life { until_last_detach, until_removed };
  [[nodiscard]] CrashScenario::Start starter(const char* scenario, std::string how,
                                             Life life = Life::until_last_detach) const {
    return [this, scenario, how = std::move(how), life](const WorkerOptions& options) {
      std::vector<Argument> arguments{dir_.path(), segment_.name(), how, size};
      if (life == Life::until_removed) arguments.emplace_back("until_removed");
      return SpawnWorkerWithReadySignal(SEGMENT_CRASH_WORKER, scenario, arguments, options);
    };
  }
  /// Whatever a run that failed has left.
  void begin() {
    memory_.reset();
    fs::remove(segment_.path());
    Section::create(dir_.path());
  }
  /// What a killed user leaves, with something in it.
  void leave_orphan(Life life = Life::until_last_detach) const {
    auto user = starter("leave_behind", "create", life)({});
    if (user.wait_for_ready() != Ready::yes) throw std::runtime_error{user.report()};
    user.kill();
  }
  /// A live user: this process.
  void be_a_user() {
    memory_.emplace(SharedMemory::create(segment_.name(), size));
    memory_->as<std::int64_t>() = 4711;
  }

  [[nodiscard]] CrashScenario scenario(const char* name, CrashScenario::Start victim) {
    return {.name = std::string{"segment."} + name,
            .prepare = [this] { begin(); },
            .victim = std::move(victim),
            .rescuer = starter("next", "create_or_attach"),
            .judge = [this] { return judge(); }};
  }
  [[nodiscard]] CrashScenario stays(CrashScenario made) {
    made.prepare = [this] {
      begin();
      leave_orphan(Life::until_removed);
    };
    made.rescuer = starter("next", "create_or_attach", Life::until_removed);
    made.judge = [this] {
      if (auto wrong = judge_users({}); !wrong.empty()) return wrong;
      if (!SharedMemory::remove(segment_.name())) return std::string{"it was to stay, and is gone"};
      return judge();
    };
    return made;
  }
  [[nodiscard]] CrashScenario used(CrashScenario made) {
    made.prepare = [this] {
      begin();
      be_a_user();
    };
    made.judge = [this] {
      if (auto wrong = judge_users({ProcessIdentity::self()}); !wrong.empty()) return wrong;
      if (memory_->as<std::int64_t>() != 4711) return std::string{"what was in it is gone"};
      memory_.reset();
      return judge();
    };
    return made;
  }

  /// Those who are listed as its users are these, and it is whole.
  [[nodiscard]] std::string judge_users(const std::vector<ProcessIdentity>& users) const {
    const auto info = listed();
    if (!info) return users.empty() ? std::string{} : "it is gone, though it is in use";
    if (info->state != (users.empty() ? SegmentState::orphaned : SegmentState::in_use) || info->users != users ||
        info->size != size)
      return to_string(*info);
    return {};
  }
  /// Nobody is attached any more. Empty: all is as if nobody had ever been, and the next one creates.
  std::string judge() try {
    if (segment_.exists()) return "the last user has not removed it";
    {
      auto next = SharedMemory::create(segment_.name(), 3000);
      const auto bytes = next.bytes();
      if (!std::all_of(bytes.begin(), bytes.end(), [](std::byte byte) { return byte == std::byte{0}; }))
        return "a new segment is not zero";
      const auto info = listed();
      if (!info || info->users != std::vector{ProcessIdentity::self()}) return "a new segment has other users";
    }
    if (segment_.exists()) return "the last user has not removed the new one";
    if (!may_be_kept_ && space() != free_) return "space is lost";
    return {};
  } catch (const std::exception& exception) {
    return exception.what();
  }

  void run(const CrashScenario& scenario) {
    if (!expect_rescued(scenario, CrashEngine::steps, 0, all_rescues())) return;
    expect_rescued_at_system_calls(scenario, 6);
    expect_rescued(scenario, CrashEngine::instructions, 4, {Rescue::after});
  }

  static constexpr std::size_t size = 5000;
  static inline bool own_folder_ = false;
  TempDir dir_;
  const holdfast::test::TestSegment segment_;
  std::optional<SharedMemory> memory_;
  std::vector<std::uint64_t> free_;
  bool may_be_kept_ = false;  // the lab has the removed file open
};

using Steps = std::vector<std::string>;
const Steps made{"segment.C1", "segment.A2", "segment.A4", "segment.A5", "segment.C2", "segment.C3"};
const Steps taken_away{"segment.T1", "segment.T2", "segment.T3", "segment.T4"};
Steps both(Steps steps, const Steps& more) {
  steps.insert(steps.end(), more.begin(), more.end());
  return steps;
}
}  // namespace

TEST_F(SegmentCrash, ACreatorMayDieAnywhere) {
  auto create = scenario("create", starter("enter", "create"));
  create.steps = made;
  run(create);
}

TEST_F(SegmentCrash, WhoCreatesOrAttachesMayDieAnywhereWhileItCreates) {
  auto create = scenario("create_or_attach", starter("enter", "create_or_attach"));
  create.steps = made;
  run(create);
}

TEST_F(SegmentCrash, WhoCreatesOrAttachesMayDieAnywhereWhileItAttaches) {
  auto attach = used(scenario("create_or_attach_used", starter("enter", "create_or_attach")));
  attach.steps = {"segment.A1", "segment.A2", "segment.A4", "segment.A5", "segment.A3"};
  run(attach);
}

TEST_F(SegmentCrash, AnAttacherMayDieAnywhere) {
  auto attach = used(scenario("attach", starter("enter", "attach")));
  attach.steps = {"segment.A1", "segment.A2", "segment.A4", "segment.A5", "segment.A3"};
  run(attach);
}

TEST_F(SegmentCrash, WhoAttachesToWhatIsBeingRemovedMayDieAnywhereAndIsNeverSplitOff) {
  for (const char* how : {"attach", "attach_read_only"}) {
    auto attach = stays(scenario(how == std::string_view{"attach"} ? "attach_removed" : "attach_read_only_removed",
                                 starter("enter", how)));
    attach.rescuer = starter("remove_then_next", "create_or_attach", Life::until_removed);
    attach.steps = {"segment.A1", "segment.A2", "segment.A3"};
    run(attach);
  }
}

TEST_F(SegmentCrash, AReaderMayDieAnywhereOnItsWayIn) {
  auto attach = used(scenario("attach_read_only", starter("enter", "attach_read_only")));
  attach.steps = {"segment.A1", "segment.A2", "segment.A3"};
  run(attach);
}

TEST_F(SegmentCrash, AUserMayDieAnywhereWhileItLeavesTheSegmentToOthers) {
  auto detach = used(scenario("detach", starter("detach", "attach")));
  detach.steps = {"segment.D1", "segment.D2"};
  run(detach);
}

TEST_F(SegmentCrash, TheLastUserMayDieAnywhereWhileItDetaches) {
  auto detach = scenario("detach_last", starter("detach", "create"));
  detach.steps = both({"segment.D1", "segment.D2"}, taken_away);
  run(detach);
}

TEST_F(SegmentCrash, WhoRemovesMayDieAnywhere) {
  auto remove = stays(scenario("remove", starter("enter", "remove")));
  remove.judge = [this, judge_rest = remove.judge] { return segment_.exists() ? judge_rest() : judge(); };
  remove.steps = taken_away;
  run(remove);
}

TEST_F(SegmentCrash, WhoReplacesWhatTheDeadLeftMayDieAnywhere) {
  for (const char* how : {"create", "create_or_attach"}) {
    auto replace = scenario(how == std::string_view{"create"} ? "replace" : "replace_or_attach", starter("enter", how));
    replace.prepare = [this] {
      begin();
      leave_orphan();
    };
    replace.steps = both(taken_away, made);
    run(replace);
  }
}

TEST_F(SegmentCrash, WhoReplacesAnEmptyFileMayDieAnywhere) {
  auto replace = scenario("replace_empty", starter("enter", "create"));
  replace.prepare = [this] {
    begin();
    const std::ofstream empty{segment_.path()};
  };
  replace.steps = both(taken_away, made);
  run(replace);
}

TEST_F(SegmentCrash, WhoMakesAnAnonymousSegmentMayDieAnywhere) {
  auto create = scenario("create_anonymous", starter("enter", "create_anonymous"));
  create.rescuer = starter("next", "create_anonymous");
  create.steps = {"segment.C1", "segment.A2", "segment.A4", "segment.A5", "segment.C2"};
  run(create);
}

// One segment for all of them: the records of the dead are given to others, or it would soon be full.
TEST_F(SegmentCrash, WhoAttachesToAnAnonymousSegmentMayDieAnywhere) {
  auto keeper = SharedMemory::create_anonymous(segment_.name(), size);
  const auto given = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(keeper.descriptor());
  auto attach = scenario("attach_anonymous", starter("enter_and_detach", given));
  attach.rescuer = starter("next", given);
  attach.judge = [&] {
    const auto bytes = keeper.bytes();
    return std::all_of(bytes.begin(), bytes.end(), [](std::byte byte) { return byte == std::byte{0}; }) ? ""
                                                                                                        : "changed";
  };
  attach.steps = {"segment.A1", "segment.A2", "segment.A4", "segment.A5", "segment.D1"};
  run(attach);
}

// All that attaching and detaching leave is memory, which is looked at after each instruction. Who creates or removes leaves names
// as well, of which there is no image.
TEST_F(SegmentCrash, EveryImageThatAttachingAndDetachingLeaveIsSound) {
  auto attach = stays(scenario("attach_images", starter("enter_and_detach", "attach")));
  attach.images = [this] { return std::vector{segment_.path()}; };
  may_be_kept_ = true;
  if (!expect_rescued(attach, CrashEngine::images, 0, {Rescue::after})) return;
  may_be_kept_ = false;
  attach.steps = {"segment.A1", "segment.A2", "segment.A4", "segment.A5", "segment.A3", "segment.D1"};
  run(attach);
}

// ---- orders ------------------------------------------------------------------------------------------------------------

TEST_F(SegmentCrash, InNoOrderOfThreeWhoCreateOrAttachOneOfThemKilledAreThereTwoSegments) {
  expect_no_order_goes_wrong({.name = "segment.three_who_create_or_attach",
                              .prepare = [this] { begin(); },
                              .actors = {starter("next", "create_or_attach"), starter("next", "create_or_attach"),
                                         starter("next", "create_or_attach")},
                              .judge =
                                  [this] {
                                    // The dead one may have been the last user.
                                    if (const auto info = listed(); info && info->state == SegmentState::orphaned)
                                      SharedMemory::remove(segment_.name());
                                    return judge();
                                  }},
                             4, 40, 1);
}
