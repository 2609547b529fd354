// Containers: what another namespace hides is unknown, never dead; what it does not hide is judged as usual.
#include "process_identity.hpp"

#include <climits>
#include <string>

#include <unistd.h>

using namespace identities;

namespace {
const std::string all_known{"running alive, stopped alive, zombie dead, reaped dead"};

/// A process that is killed but not reaped, as its twin that lives: neither may be called dead from out of sight.
struct Twins {
  explicit Twins(const Steps& steps = {}) : alive{steps}, dead{steps} { dead.worker.kill(); }
  Live alive, dead;
};
}  // namespace

TEST(ProcessIdentityNamespaces, HostNameIsForMessagesOnly) {
  SKIP_WHERE_FORBIDDEN({"uts=elsewhere"});
  Live here;
  EXPECT_EQ(verdict({"uts=elsewhere"}, here.identity), "alive");
  const Live there{{"uts=elsewhere"}};
  EXPECT_EQ(there.identity.host(), "elsewhere");
  EXPECT_EQ(there.identity.liveness(), Liveness::alive);
  EXPECT_TRUE(to_string(there.identity).ends_with(") on elsewhere")) << to_string(there.identity);
  EXPECT_TRUE(output_of({"uts=elsewhere"}, "describe", {here.identity.encode()})
                  .ends_with(") on " + std::string{here.identity.host()}));
  here.worker.kill();
  EXPECT_EQ(verdict({"uts=elsewhere"}, here.identity), "dead");
}

TEST(ProcessIdentityNamespaces, NamesThatDoNotFitAreCutAndStillGoIntoAFileName) {
  const std::string host(64, '\xff');
  SKIP_WHERE_FORBIDDEN({"uts=" + host});
  const Live there{{"uts=" + host, "name=" + std::string(15, '\xfe')}};
  EXPECT_EQ(there.identity.host(), host.substr(0, ProcessIdentity::max_host_encoded / 3));
  EXPECT_EQ(there.identity.program(), std::string(15, '\xfe'));
  EXPECT_LE(there.identity.encode().size(), ProcessIdentity::max_encoded);
  EXPECT_EQ(ProcessIdentity::decode(there.identity.encode()), there.identity);
  EXPECT_EQ(there.identity.liveness(), Liveness::alive);
}

TEST(ProcessIdentityNamespaces, OwnerOutsideIsUnknownInAPidNamespace) {
  SKIP_WHERE_FORBIDDEN({"pid", "mount", "proc"});
  const Twins outside;
  for (const Steps& inside : {Steps{"pid", "mount", "proc"}, Steps{"pid"}, Steps{"pid", "no_pidfd"}}) {
    EXPECT_EQ(verdict(inside, outside.alive.identity), "unknown");
    EXPECT_EQ(verdict(inside, outside.dead.identity), "unknown");
  }
}

TEST(ProcessIdentityNamespaces, OwnerInAPidNamespaceIsUnknownOutside) {
  SKIP_WHERE_FORBIDDEN({"pid", "mount", "proc"});
  const Twins inside{{"pid", "mount", "proc"}};
  for (const auto* twin : {&inside.alive, &inside.dead}) {
    EXPECT_EQ(twin->identity.pid(), 1) << "it must have a number that means another process out here";
    EXPECT_EQ(twin->identity.liveness(), Liveness::unknown);
    EXPECT_EQ(verdict({"no_pidfd"}, twin->identity), "unknown");
    EXPECT_NE(to_string(twin->identity).find("in another PID namespace"), std::string::npos);
  }
}

TEST(ProcessIdentityNamespaces, NumberOneOfOneNamespaceIsUnknownToNumberOneOfAnother) {
  SKIP_WHERE_FORBIDDEN({"pid"});
  EXPECT_EQ(verdict({"pid"}, ProcessIdentity::of(1)), "unknown");
  const Live first{{"pid"}}, second{{"pid"}};
  ASSERT_EQ(first.identity.pid(), 1);
  ASSERT_EQ(second.identity.pid(), 1);
  EXPECT_NE(first.identity, second.identity);
  EXPECT_EQ(verdict({"pid"}, first.identity), "unknown");
}

TEST(ProcessIdentityNamespaces, WithinAPidNamespaceEverythingIsKnown) {
  SKIP_WHERE_FORBIDDEN({"pid", "mount", "proc"});
  EXPECT_EQ(output_of({"pid", "mount", "proc"}, "judge_children"), all_known);
  EXPECT_EQ(output_of({"pid", "mount", "proc", "no_pidfd"}, "judge_children"), all_known);
}

TEST(ProcessIdentityNamespaces, WithTheProcOfTheNamespaceAboveNobodyIsTakenForAnother) {
  SKIP_WHERE_FORBIDDEN({"pid"});
  EXPECT_EQ(output_of({"pid"}, "judge_children"), all_known) << "a pidfd says which process in /proc it is";
  EXPECT_EQ(output_of({"pid", "no_pidfd"}, "judge_children"),
            "running unknown, stopped unknown, zombie unknown, reaped dead");
}

TEST(ProcessIdentityNamespaces, WithTheProcOfTheNamespaceAboveANamesakeIsTakenForNobody) {
  SKIP_WHERE_FORBIDDEN({"pid"});
  const auto run = [](const Steps& steps) {
    auto worker = SpawnWorker(IDENTITY_WORKER, "under", arguments_for(steps, "judge_a_namesake", {::getpid()}));
    const auto exit = worker.wait_for_exit();
    return exit.value == 77 ? worker.errors() : exit.ok() ? worker.output() : worker.report();
  };
  const auto with_pidfd = run({});
  if (with_pidfd.starts_with("this machine does not permit")) GTEST_SKIP() << "NOT TESTED: " << with_pidfd;
  EXPECT_EQ(with_pidfd, all_known.substr(0, 13) + ", zombie dead, reaped dead\n");
  EXPECT_EQ(run({"no_pidfd"}), "running unknown, zombie unknown, reaped dead\n");
}

TEST(ProcessIdentityNamespaces, WithTheProcOfANamespaceBelowNothingIsKnown) {
  SKIP_WHERE_FORBIDDEN({"mount", "childs_proc"});
  const std::string nothing_known{"running unknown, stopped unknown, zombie unknown, reaped unknown"};
  EXPECT_EQ(output_of({"mount", "childs_proc"}, "judge_children"), nothing_known);
  EXPECT_EQ(output_of({"mount", "childs_proc", "no_pidfd"}, "judge_children"), nothing_known);
  Twins here;  // to who has signed before, an end that needs no look into /proc is known
  EXPECT_EQ(verdict({"sign", "mount", "childs_proc"}, here.alive.identity), "unknown");
  EXPECT_EQ(verdict({"sign", "mount", "childs_proc"}, here.dead.identity), "dead");
}

TEST(ProcessIdentityNamespaces, WithoutProcNothingIsKnown) {
  SKIP_WHERE_FORBIDDEN({"mount", "no_proc"});
  const Live blind{{"mount", "no_proc"}};
  EXPECT_EQ(blind.identity.pid(), blind.worker.pid());
  EXPECT_EQ(field(blind.identity, boot) + field(blind.identity, pid_namespace) + field(blind.identity, start), "");
  EXPECT_EQ(ProcessIdentity::decode(blind.identity.encode()), blind.identity);
  EXPECT_EQ(blind.identity.liveness(), Liveness::unknown);
  Twins here;
  EXPECT_EQ(verdict({"mount", "no_proc"}, here.alive.identity), "unknown");
  EXPECT_EQ(verdict({"mount", "no_proc"}, here.dead.identity), "unknown");
}

TEST(ProcessIdentityNamespaces, WithoutProcAnyMoreOnlyAnEndThatIsProvedIsKnown) {
  const Steps lost{"sign", "mount", "no_proc"}, lost_without_pidfd{"sign", "mount", "no_proc", "no_pidfd"};
  SKIP_WHERE_FORBIDDEN({"sign", "mount", "no_proc"});
  Twins here;
  EXPECT_EQ(verdict(lost, here.alive.identity), "unknown") << "its start time cannot be compared";
  EXPECT_EQ(verdict(lost, here.dead.identity), "dead");
  EXPECT_EQ(verdict(lost_without_pidfd, here.alive.identity), "unknown");
  EXPECT_EQ(verdict(lost_without_pidfd, here.dead.identity), "unknown") << "a zombie still has its number";
  here.dead.worker.wait_for_exit();
  EXPECT_EQ(verdict(lost, here.dead.identity), "dead");
  EXPECT_EQ(verdict(lost_without_pidfd, here.dead.identity), "dead");
}

TEST(ProcessIdentityNamespaces, OtherTimeNamespaceIsUnknownBothWays) {
  SKIP_WHERE_FORBIDDEN({"time"});
  Twins here, there{{"time"}};
  EXPECT_NE(field(here.alive.identity, time_namespace), field(there.alive.identity, time_namespace));
  for (const auto* twin : {&here.alive, &here.dead}) EXPECT_EQ(verdict({"time"}, twin->identity), "unknown");
  for (const auto* twin : {&there.alive, &there.dead}) {
    EXPECT_EQ(twin->identity.liveness(), Liveness::unknown);
    EXPECT_EQ(twin->identity.started(), std::chrono::system_clock::time_point{}) << "its clock is another one";
  }
  here.dead.worker.wait_for_exit();
  there.dead.worker.wait_for_exit();
  EXPECT_EQ(verdict({"time"}, here.dead.identity), "unknown");
  EXPECT_EQ(there.dead.identity.liveness(), Liveness::unknown);
  EXPECT_EQ(output_of({"time"}, "judge_children"), all_known);
  EXPECT_EQ(output_of({"time", "no_pidfd"}, "judge_children"), all_known);
}

TEST(ProcessIdentityNamespaces, WhoMovesToAnotherTimeNamespaceTakesNobodyForDead) {
  const Steps moved{"sign", "moved_in_time"}, moved_without_pidfd{"sign", "moved_in_time", "no_pidfd"};
  SKIP_WHERE_FORBIDDEN({"sign", "moved_in_time"});
  Twins here;
  EXPECT_EQ(verdict(moved, here.alive.identity), "unknown") << "start times are others where it is now";
  EXPECT_EQ(verdict(moved_without_pidfd, here.alive.identity), "unknown");
  here.dead.worker.wait_for_exit();
  EXPECT_EQ(verdict(moved, here.dead.identity), "dead") << "no process has that number";
}
