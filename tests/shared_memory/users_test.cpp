// Who is a user of a segment, and who is not any more (M6): the killed, those who have closed their descriptors, forked
// children, programs after exec, and processes in other PID namespaces, where no pid can be compared.
#include <tuple>

#include "segments.hpp"

using namespace segments;

namespace {
class SegmentUsers : public Segments {
 protected:
  /// Nobody takes it away: not create, not remove.
  void expect_in_use(const Steps& steps = {}) const {
    const auto before = description_of(path());
    expect_error_line(attempt(steps, {"create", name_, 4096}), std::errc::file_exists, {path().string()});
    expect_error_line(attempt(steps, {"remove", name_}), errc::in_use, {path().string()});
    EXPECT_TRUE(attempt(steps, {"list", name_}).starts_with("in use: ")) << attempt(steps, {"list", name_});
    EXPECT_EQ(description_of(path()), before);
  }
  /// The next creator gets it, and then it is gone.
  void expect_replaced(const Steps& steps = {}) const {
    EXPECT_TRUE(attempt(steps, {"list", name_}).starts_with("orphaned: ")) << attempt(steps, {"list", name_});
    EXPECT_EQ(attempt(steps, {"create", name_, 8192}), "has 8192 bytes, 0 of them not zero");
    EXPECT_FALSE(exists());
  }
};
}  // namespace

TEST_F(SegmentUsers, WhoIsKilledIsNoUserAnyMore) {
  for (const char* how : {"create", "create_or_attach"}) {
    auto user = start("use", {how, name_, 4096});
    expect_in_use();
    user.kill();
    ASSERT_EQ(state_of(user.pid()), 'Z') << "not reaped, so that its pid is still taken";
    expect_replaced();
  }
}

TEST_F(SegmentUsers, WhoIsStoppedIsAUser) {
  auto user = start("use", {"create", name_, 4096});
  user.stop();
  expect_in_use();
  user.kill();
  expect_replaced();
}

TEST_F(SegmentUsers, OneKilledOfTwoLeavesItToTheOther) {
  auto first = start("use", {"create", name_, 4096}), second = start("use", {"attach", name_});
  first.kill();
  expect_in_use();
  EXPECT_EQ(listed()->users, std::vector{identity_of(second)});
  EXPECT_EQ(attempt({}, {"attach", name_}), "has 4096 bytes, 0 of them not zero");
  finish(second);
  EXPECT_FALSE(exists()) << "the killed one does not keep it from being removed";
}

TEST_F(SegmentUsers, WhoHasClosedAllDescriptorsIsAUserUntilItEnds) {
  for (const char* how : {"create", "create_or_attach"}) {
    SCOPED_TRACE(how);
    auto user = start("use_without_descriptors", {how, name_, 4096});
    EXPECT_EQ(listed()->users, std::vector{identity_of(user)});
    expect_in_use();
    EXPECT_EQ(attempt({}, {"attach", name_}), "has 4096 bytes, 1 of them not zero");
    EXPECT_TRUE(exists()) << "who has attached and detached does not remove it";
    expect_in_use();
    user.kill();
    expect_replaced();
  }
}

TEST_F(SegmentUsers, WhoHasClosedAllDescriptorsDetachesWithoutHarm) {
  auto user = start("use_without_descriptors", {"create", name_, 4096});
  finish(user);
  EXPECT_TRUE(!exists() || state() == SegmentState::orphaned);
  EXPECT_EQ(attempt({}, {"create", name_, 4096}), "has 4096 bytes, 0 of them not zero");
}

TEST_F(SegmentUsers, AForkedChildKeepsItWhenItsParentIsKilled) {
  auto user = start("use_with_child", {"create", name_, 4096});
  user.kill();
  expect_in_use();
  EXPECT_EQ(attempt({}, {"attach", name_}), "has 4096 bytes, 1 of them not zero");
  expect_in_use();
  user.release();  // for the child: it waits on the same channel
  ASSERT_TRUE(wait_until([&] { return user.output().find("child detached\n") != std::string::npos; })) << user.report();
  EXPECT_TRUE(wait_until([&] { return state() != SegmentState::in_use; })) << "it has ended";
  EXPECT_EQ(attempt({}, {"create", name_, 8192}), "has 8192 bytes, 0 of them not zero");
}

TEST_F(SegmentUsers, AForkedChildThatIsKilledWithItsParentIsNoUser) {
  auto user = start("use_with_child", {"create", name_, 4096});
  const auto child = innermost(user.pid());
  ASSERT_NE(child, user.pid());
  user.kill();
  expect_in_use();
  kill_and_wait(child);
  expect_replaced();
}

TEST_F(SegmentUsers, AForkedChildThatDetachesRemovesNothing) {
  run("child_detaches", {"create", name_, 4096});
  EXPECT_FALSE(exists());
}

TEST_F(SegmentUsers, WhoHasBecomeAnotherProgramIsNoUserOnceThatHasEnded) {
  auto user = start("use_then_exec", {"create", name_, 4096});
  ASSERT_NE(user.output().find("attached"), std::string::npos);
  EXPECT_TRUE(user.is_running());
  finish(user);
  expect_replaced();
}

// ---- PID namespaces ----------------------------------------------------------------------------------------------------

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
};

class SegmentAcrossNamespaces : public SegmentUsers, public testing::WithParamInterface<std::tuple<Side, Side>> {
 protected:
  void SetUp() override {
    SKIP_WHERE_FORBIDDEN({"pid", "mounts", "proc"});
    SKIP_WHERE_FORBIDDEN({"time"});
  }
  [[nodiscard]] const Steps& there() const { return std::get<0>(GetParam()).steps; }
  [[nodiscard]] const Steps& here() const { return std::get<1>(GetParam()).steps; }
};
INSTANTIATE_TEST_SUITE_P(, SegmentAcrossNamespaces,
                         testing::Combine(testing::ValuesIn(sides), testing::ValuesIn(sides)),
                         [](const testing::TestParamInfo<std::tuple<Side, Side>>& pair) {
                           return std::get<0>(pair.param).name + "_and_" + std::get<1>(pair.param).name;
                         });
}  // namespace

TEST_P(SegmentAcrossNamespaces, WhoLivesIsAUserAndWhoIsKilledIsNot) {
  for (const char* how : {"create", "create_or_attach"}) {
    SCOPED_TRACE(how);
    auto user = start(there(), "use", {how, name_, 4096});
    if (!there().empty() && there().front() == "pid") {
      ASSERT_EQ(identity_of(user).pid(), 1) << "it must have a number that means another process elsewhere";
    }
    expect_in_use(here());
    EXPECT_EQ(attempt(here(), {"attach", name_}), "has 4096 bytes, 0 of them not zero");
    EXPECT_EQ(attempt(here(), {"create_or_attach", name_, 4096}), "has 4096 bytes, 0 of them not zero");
    EXPECT_TRUE(exists()) << "who has attached and detached here does not remove it under the one there";
    expect_in_use(here());
    kill_and_wait(innermost(user.pid()));
    expect_replaced(here());
  }
}

TEST_P(SegmentAcrossNamespaces, ReadersAreUsersAsWell) {
  auto creator = start(there(), "use", {"create", name_, 4096});
  auto reader = start(here(), "use", {"attach_read_only", name_});
  kill_and_wait(innermost(creator.pid()));
  expect_in_use(there());
  kill_and_wait(innermost(reader.pid()));
  expect_replaced(there());
}

TEST_P(SegmentAcrossNamespaces, TheLastToDetachRemovesIt) {
  auto first = start(there(), "use", {"create", name_, 4096}), second = start(here(), "use", {"attach", name_});
  finish(first);
  expect_in_use(there());
  finish(second);
  EXPECT_FALSE(exists());
}
