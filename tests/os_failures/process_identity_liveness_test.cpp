// Who lives and who is dead, judged by a process of the same namespaces: with pidfds and, as on an old kernel or under a
// filter of system calls, without.
#include "process_identity.hpp"

#include <chrono>
#include <fstream>
#include <iterator>
#include <string>

using namespace identities;

namespace {
const Steps without_pidfd{"no_pidfd"};

/// The letter in /proc/<pid>/stat.
char state_of(std::int64_t pid) {
  std::ifstream file{"/proc/" + std::to_string(pid) + "/stat"};
  std::string text;
  std::getline(file, text);  // not std::istreambuf_iterator, which throws if the process is reaped just then
  const auto name_end = text.rfind(')');
  return name_end == std::string::npos ? '-' : text.at(name_end + 2);
}

#define EXPECT_JUDGED(identity, expected)                                \
  do {                                                                   \
    EXPECT_EQ(to_string((identity).liveness()), expected);               \
    EXPECT_EQ(verdict({}, identity), expected);                          \
    EXPECT_EQ(verdict(without_pidfd, identity), expected) << "by /proc"; \
  } while (false)
}  // namespace

TEST(ProcessIdentityLiveness, RunningProcessIsAlive) {
  const Live process;
  EXPECT_EQ(process.identity.pid(), process.worker.pid());
  EXPECT_JUDGED(process.identity, "alive");
  EXPECT_JUDGED(ProcessIdentity::of(process.worker.pid()), "alive");
}

TEST(ProcessIdentityLiveness, StoppedProcessIsAlive) {
  Live process;
  process.worker.stop();
  ASSERT_EQ(state_of(process.worker.pid()), 'T');
  EXPECT_JUDGED(process.identity, "alive");
}

TEST(ProcessIdentityLiveness, UnreapedZombieIsDead) {
  Live process;
  process.worker.kill();
  ASSERT_EQ(state_of(process.worker.pid()), 'Z') << "it must not be reaped yet";
  EXPECT_JUDGED(process.identity, "dead");
  EXPECT_EQ(ProcessIdentity::of(process.worker.pid()).liveness(), Liveness::dead);
}

TEST(ProcessIdentityLiveness, ReapedProcessIsDead) {
  Live process;
  process.worker.kill();
  process.worker.wait_for_exit();
  ASSERT_EQ(state_of(process.worker.pid()), '-') << "it must be reaped";
  EXPECT_JUDGED(process.identity, "dead");
}

TEST(ProcessIdentityLiveness, ProcessWhoseMainThreadEndedIsAliveUntilTheLastThreadEnds) {
  auto arguments = arguments_for({}, "live", {});
  arguments.insert(arguments.begin(), "under");
  Live process{SpawnWorkerWithReadySignal(IDENTITY_WORKER, "without_main_thread", arguments)};
  ASSERT_EQ(state_of(process.worker.pid()), 'Z') << "it must look like a zombie";
  EXPECT_JUDGED(process.identity, "alive");
  EXPECT_EQ(field(ProcessIdentity::of(process.worker.pid()), start), field(process.identity, start));
  process.worker.kill();
  ASSERT_EQ(state_of(process.worker.pid()), 'Z');
  EXPECT_JUDGED(process.identity, "dead");
}

TEST(ProcessIdentityLiveness, ProcessWhoseMainThreadEndedStillJudges) {
  for (const Steps& steps : {Steps{}, without_pidfd}) {
    auto arguments = arguments_for(steps, "judge_children", {});
    arguments.insert(arguments.begin(), "under");
    auto judge = SpawnWorker(IDENTITY_WORKER, "without_main_thread", arguments);
    ExpectWorkerOk(judge);
    EXPECT_EQ(judge.output(), "running alive, stopped alive, zombie dead, reaped dead\n");
  }
}

TEST(ProcessIdentityLiveness, ProcessWithAConfusingNameIsJudgedByItsState) {
  EXPECT_EQ(output_of({}, "judge_children"), "running alive, stopped alive, zombie dead, reaped dead");
  EXPECT_EQ(output_of(without_pidfd, "judge_children"), "running alive, stopped alive, zombie dead, reaped dead");
}

TEST(ProcessIdentityLiveness, PidThatIsGivenAwayAgainIsAnotherProcess) {
  SKIP_WHERE_FORBIDDEN({"pid", "mount", "proc"});
  EXPECT_EQ(output_of({"pid", "mount", "proc"}, "reuse_pid"), "first dead, second alive");
  EXPECT_EQ(output_of({"pid", "mount", "proc", "no_pidfd"}, "reuse_pid"), "first dead, second alive");
}

TEST(ProcessIdentityLiveness, RunningProcessWithoutOneOfTheDescriptorsLeftIsUnknownNotDead) {
  const Live alive;
  Live dead;
  dead.worker.kill();
  dead.worker.wait_for_exit();
  output_of({}, "run_out_of_descriptors", {alive.identity.encode(), dead.identity.encode()});
}

TEST(ProcessIdentityLiveness, NumberOfAThreadIsNoProcess) { output_of({}, "look_for_a_thread"); }

TEST(ProcessIdentityLiveness, OtherUsersProcessHiddenByProcIsNotDead) {
  SKIP_WHERE_FORBIDDEN({"mount", "hidden_proc", "nobody"});
  Live process;
  const Steps hidden{"mount", "hidden_proc", "nobody"},
      hidden_without_pidfd{"mount", "hidden_proc", "nobody", "no_pidfd"};
  EXPECT_EQ(verdict(hidden, process.identity), "unknown") << "its start time cannot be compared";
  EXPECT_EQ(verdict(hidden_without_pidfd, process.identity), "unknown");
  process.worker.kill();
  EXPECT_EQ(verdict(hidden, process.identity), "dead");
  process.worker.wait_for_exit();
  EXPECT_EQ(verdict(hidden, process.identity), "dead");
  EXPECT_EQ(verdict(hidden_without_pidfd, process.identity), "dead");
}

TEST(ProcessIdentityLiveness, OtherUsersProcessIsJudgedAsOnesOwn) {
  SKIP_WHERE_FORBIDDEN({"nobody"});
  Live process;
  EXPECT_EQ(verdict({"nobody"}, process.identity), "alive");
  EXPECT_EQ(verdict({"nobody", "no_pidfd"}, process.identity), "alive");
  process.worker.kill();
  EXPECT_EQ(verdict({"nobody"}, process.identity), "dead");
  EXPECT_EQ(verdict({"nobody", "no_pidfd"}, process.identity), "dead");
}

TEST(ProcessIdentityLiveness, StartIsOnTheWallClock) {
  const auto before = std::chrono::system_clock::now();
  const Live process;
  constexpr auto tick = 10ms;
  EXPECT_GE(process.identity.started(), before - 2 * tick);
  EXPECT_LE(process.identity.started(), std::chrono::system_clock::now() + tick);
}
