// Containers: processes that cannot judge each other by pid, because they are in other PID, time or UTS namespaces or have
// no /proc. A live owner is never robbed, a killed one is replaced at once (F1, F3, F7), order holds (F5), and leftovers of
// the dead are swept while those of the living are kept (F8).
#include <tuple>

#include "file_lock_failures.hpp"

using namespace hostile;

namespace {
struct Side {
  std::string name;
  Steps steps;
};
void PrintTo(const Side& side, std::ostream* out) { *out << side.name; }
const std::vector<Side> sides{
    {"outside", {}},
    {"pid_namespace", {"pid", "mounts", "proc"}},
    {"pid_namespace_with_its_parents_proc", {"pid"}},
    {"pid_namespace_without_proc", {"pid", "mounts", "no_proc"}},
    {"without_proc", {"mounts", "no_proc"}},
    {"time_namespace", {"time"}},
    {"nested_pid_namespace", {"pid", "pid", "mounts", "proc"}},
    {"uts_namespace", {"uts=elsewhere"}},
};

/// Who holds the lock, or dies, and who comes. All pairs of the first six; the others with two of these.
std::vector<std::tuple<Side, Side>> pairs() {
  constexpr std::size_t paired_with_all = 6, others = 2;
  std::vector<std::tuple<Side, Side>> result;
  for (std::size_t there = 0; there < sides.size(); ++there)
    for (std::size_t here = 0; here < sides.size(); ++here)
      if (std::max(there, here) < paired_with_all || std::min(there, here) < others)
        result.emplace_back(sides[there], sides[here]);
  return result;
}

class FileLockNamespaces : public testing::Test {
 protected:
  [[nodiscard]] static bool has_locked(const WorkerProcess& worker) {
    return worker.output().find("\nlocked") != std::string::npos;
  }
  [[nodiscard]] std::string attempt(const Steps& steps, const char* how) const {
    return output_of(steps, "try_once", {resource_, "fair", how});
  }
  [[nodiscard]] WorkerProcess spawn_owner(const Steps& steps) const {
    return start(steps, "hold", {resource_, "fair"});
  }
  [[nodiscard]] WorkerProcess spawn_waiter(const Steps& steps, std::size_t others = 0) const {
    auto waiter = start(steps, "wait_then_hold", {resource_, "fair"});
    EXPECT_TRUE(wait_for_queue(resource_, others + 1)) << waiter.report();
    EXPECT_TRUE(wait_until([&] { return waits_for_lock(waiter); })) << waiter.report();
    return waiter;
  }
  void expect_tidy() const {
    EXPECT_EQ(attempt({}, "try"), "locked\nunlocked");
    EXPECT_TRUE(fs::is_empty(dir_.path())) << contents_of(dir_.path()).front();
  }

  TempDir dir_;
  const fs::path resource_ = dir_ / "x";
};

class FileLockAcrossNamespaces : public FileLockNamespaces, public testing::WithParamInterface<std::tuple<Side, Side>> {
 protected:
  void SetUp() override {
    SKIP_WHERE_FORBIDDEN({"pid", "mounts", "proc"});
    SKIP_WHERE_FORBIDDEN({"time"});
  }
  [[nodiscard]] const Steps& there() const { return std::get<0>(GetParam()).steps; }
  [[nodiscard]] const Steps& here() const { return std::get<1>(GetParam()).steps; }
};
INSTANTIATE_TEST_SUITE_P(, FileLockAcrossNamespaces, testing::ValuesIn(pairs()),
                         [](const testing::TestParamInfo<std::tuple<Side, Side>>& pair) {
                           return std::get<0>(pair.param).name + "_and_" + std::get<1>(pair.param).name;
                         });
}  // namespace

TEST_P(FileLockAcrossNamespaces, ALiveOwnerIsNeverRobbedAlsoWhenItIsStopped) {
  auto owner = spawn_owner(there());
  auto waiter = spawn_waiter(here());
  EXPECT_EQ(attempt(here(), "try"), "busy");
  stop_all(owner);
  EXPECT_EQ(attempt(here(), "try"), "busy");
  EXPECT_EQ(attempt(here(), "30"), "busy");
  EXPECT_EQ(output_of(here(), "try_once", {resource_, "unfair", "30"}), "busy");
  EXPECT_FALSE(has_locked(waiter)) << waiter.report();
  const auto shown = output_of(here(), "show_holder", {resource_});
  EXPECT_TRUE(shown.starts_with("held for ")) << shown;
  EXPECT_EQ(shown.find("dead"), std::string::npos) << shown;
  resume_all(owner);
  finish(owner);
  EXPECT_TRUE(wait_for_output(waiter, "\nlocked\n")) << waiter.report();
  finish(waiter);
  expect_tidy();
}

TEST_P(FileLockAcrossNamespaces, AKilledOwnerIsReplacedAtOnce) {
  auto owner = spawn_owner(there());
  const auto dead = identity_of(owner);
  if (there().size() >= 1 && there().front() == "pid") {
    ASSERT_EQ(dead.pid(), 1) << "it must have a number that means another process elsewhere";
  }
  auto waiter = spawn_waiter(here());
  kill_innermost(owner);
  EXPECT_TRUE(wait_for_output(waiter, "\nlocked after " + dead.encode() + "\n")) << waiter.report();
  kill_innermost(waiter);
  const auto waiter_too = identity_of(waiter);
  waiter.wait_for_exit();
  auto newcomer = output_of(there(), "try_once", {resource_, "fair", "try"});
  EXPECT_EQ(newcomer, "locked after " + waiter_too.encode() + "\nunlocked");
  expect_tidy();
}

TEST_P(FileLockAcrossNamespaces, TheQueueIsInOrderAndNotBlockedByTheDead) {
  auto owner = spawn_owner(here());
  std::vector<WorkerProcess> waiters;
  for (std::size_t i = 0; i < 4; ++i) waiters.push_back(spawn_waiter(i % 2 == 0 ? there() : here(), i));
  kill_innermost(waiters[1]);
  kill_innermost(waiters[2]);
  finish(owner);
  EXPECT_TRUE(wait_for_output(waiters[0], "\nlocked\n")) << waiters[0].report();
  EXPECT_FALSE(has_locked(waiters[3]));
  finish(waiters[0]);
  EXPECT_TRUE(wait_for_output(waiters[3], "\nlocked\n")) << waiters[3].report();
  finish(waiters[3]);
  expect_tidy();
}

TEST_P(FileLockAcrossNamespaces, LeftoversOfTheDeadAreSweptAndThoseOfTheLivingKept) {
  auto living = start(there(), "idle", {resource_, "fair"});
  const auto kept = contents_of(dir_.path());
  ASSERT_EQ(kept.size(), 3U) << "a private directory, its mark, a ticket";
  auto dying = start(there(), "idle", {resource_, "fair"});
  ASSERT_EQ(contents_of(dir_.path()).size(), 6U);
  kill_innermost(dying);
  EXPECT_EQ(attempt(here(), "try"), "locked\nunlocked");
  EXPECT_EQ(contents_of(dir_.path()), kept);
  finish(living);
  EXPECT_EQ(living.output(), "locked\nunlocked\nlocked\nunlocked\n");
  expect_tidy();
}

namespace {
class FileLockNamespacesInARow : public FileLockNamespaces, public testing::WithParamInterface<Side> {
  void SetUp() override { SKIP_WHERE_FORBIDDEN({"pid", "mounts", "proc"}); }
};
INSTANTIATE_TEST_SUITE_P(, FileLockNamespacesInARow, testing::ValuesIn(sides),
                         [](const testing::TestParamInfo<Side>& side) { return side.param.name; });
}  // namespace

// Who makes a private directory, a ticket or a queue is for a moment not to be told from the dead by a sweeper elsewhere.
TEST_P(FileLockNamespacesInARow, ObjectsAreMadeWhileOthersSweepAndNobodyNotices) {
  const auto counter = dir_ / "counter";
  std::ofstream{counter} << 0;
  constexpr int processes = 4, each = 25;
  std::vector<WorkerProcess> workers;
  for (int i = 0; i < processes; ++i)
    workers.push_back(start(i % 2 == 0 ? GetParam().steps : Steps{"pid"}, "increment_with_new_objects",
                            {resource_, "fair", counter, each}));
  holdfast::harness::ReleaseTogether(workers);
  holdfast::harness::ExpectWorkersOk(workers);
  int value = 0;
  std::ifstream{counter} >> value;
  EXPECT_EQ(value, processes * each);
  EXPECT_TRUE(dir_.leftovers().empty()) << dir_.leftovers().front();
}

TEST_F(FileLockNamespaces, APidThatIsGivenAwayAgainDoesNotKeepTheLock) {
  SKIP_WHERE_FORBIDDEN({"pid", "mounts", "proc"});
  EXPECT_EQ(output_of({"pid", "mounts", "proc"}, "recover_after_pid_reuse", {resource_, "fair"}), "recovered");
}

TEST_F(FileLockNamespaces, ABindMountIsTheSameDirectory) {
  fs::create_directory(dir_ / "place");
  fs::create_directory(dir_ / "mount");
  const auto bind = "bind=" + (dir_ / "place").string() + ":" + (dir_ / "mount").string();
  SKIP_WHERE_FORBIDDEN({"mounts", bind});
  const Mounts mounts{{bind}};
  auto owner = start(mounts.steps(), "hold", {dir_ / "mount/x", "fair"});
  FileLock lock{dir_ / "place/x"}, by_mount{mounts[dir_ / "mount/x"]};
  EXPECT_FALSE(lock.try_lock());
  EXPECT_FALSE(by_mount.try_lock());
  EXPECT_EQ(lock.holder()->owner, identity_of(owner));
  finish(owner);
  EXPECT_TRUE(lock.try_lock());
  EXPECT_THROW(static_cast<void>(by_mount.try_lock()), Error) << "this thread has it already";
  EXPECT_EQ(output_of(mounts.steps(), "try_once", {dir_ / "mount/x", "fair", "try"}), "busy");
}
