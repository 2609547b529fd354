// Kernels and file systems that lack something: FIFOs, RENAME_NOREPLACE, pidfds, inotify. Exclusion, order and recovery hold
// without them, also between processes that have them and processes that have not; waits may poll then, as the API says.
#include "file_lock_failures.hpp"

using namespace hostile;

namespace {
struct Lack {
  std::string name;
  Steps steps;
};
void PrintTo(const Lack& lack, std::ostream* out) { *out << lack.name; }
const std::vector<Lack> lacks{
    {"no_fifos", {"no_fifos"}},
    {"no_rename_flags", {"no_renameat2=EINVAL"}},
    {"no_renameat2", {"no_renameat2=ENOSYS"}},
    {"no_pidfd", {"no_pidfd"}},
    {"no_inotify", {"no_inotify"}},
    {"nothing_of_all_that", {"no_fifos", "no_renameat2=ENOSYS", "no_pidfd", "no_inotify"}},
};

class FileLockPoorSystem : public testing::TestWithParam<std::tuple<Lack, bool>> {
 protected:
  void SetUp() override { SKIP_WHERE_FORBIDDEN({std::get<0>(GetParam()).steps}); }
  [[nodiscard]] const Steps& poor() const { return std::get<0>(GetParam()).steps; }
  [[nodiscard]] bool fair() const { return std::get<1>(GetParam()); }
  [[nodiscard]] const char* words() const { return fair() ? "fair" : "unfair"; }
  [[nodiscard]] WorkerProcess spawn_owner(const Steps& steps) const {
    return start(steps, "hold", {resource_, words()});
  }
  [[nodiscard]] WorkerProcess spawn_waiter(const Steps& steps, std::size_t others = 0) const {
    auto waiter = start(steps, "wait_then_hold", {resource_, words()});
    EXPECT_TRUE(!fair() || wait_for_queue(resource_, others + 1)) << waiter.report();
    EXPECT_TRUE(wait_until([&] { return waits_for_lock(waiter); })) << waiter.report();
    return waiter;
  }
  [[nodiscard]] std::string attempt(const Steps& steps, const char* how) const {
    return output_of(steps, "try_once", {resource_, words(), how});
  }
  void expect_tidy() const {
    EXPECT_EQ(attempt({}, "try"), "locked\nunlocked");
    EXPECT_TRUE(fs::is_empty(dir_.path())) << contents_of(dir_.path()).front();
  }

  TempDir dir_;
  const fs::path resource_ = dir_ / "x";
};
class FileLockPoorSystemQueue : public FileLockPoorSystem {};

std::string name_of(const testing::TestParamInfo<std::tuple<Lack, bool>>& info) {
  const auto& [lack, fair] = info.param;
  return lack.name + (fair ? "_fair" : "_unfair");
}
INSTANTIATE_TEST_SUITE_P(, FileLockPoorSystem, testing::Combine(testing::ValuesIn(lacks), testing::Bool()), name_of);
INSTANTIATE_TEST_SUITE_P(, FileLockPoorSystemQueue, testing::Combine(testing::ValuesIn(lacks), testing::Values(true)),
                         name_of);
}  // namespace

TEST_P(FileLockPoorSystem, NobodyIsRobbedAndTheLockIsHandedOver) {
  for (const auto& [there, here] :
       {std::pair{poor(), poor()}, std::pair{poor(), Steps{}}, std::pair{Steps{}, poor()}}) {
    auto owner = spawn_owner(there);
    EXPECT_EQ(attempt(here, "try"), "busy");
    EXPECT_EQ(attempt(here, "20"), "busy");
    auto waiter = spawn_waiter(here);
    owner.stop();
    EXPECT_EQ(attempt(here, "20"), "busy");
    owner.resume();
    EXPECT_EQ(waiter.output().find("locked"), std::string::npos) << waiter.report();
    finish(owner);
    EXPECT_TRUE(wait_for_output(waiter, "\nlocked\n")) << waiter.report();
    finish(waiter);
    expect_tidy();
  }
}

TEST_P(FileLockPoorSystem, AKilledOwnerIsReplaced) {
  for (const auto& [there, here] :
       {std::pair{poor(), poor()}, std::pair{poor(), Steps{}}, std::pair{Steps{}, poor()}}) {
    auto owner = spawn_owner(there);
    auto waiter = spawn_waiter(here);
    owner.kill();
    EXPECT_TRUE(wait_for_output(waiter, "\nlocked after " + identity_of(owner).encode() + "\n")) << waiter.report();
    waiter.kill();
    EXPECT_EQ(attempt(there, "try"), "locked after " + identity_of(waiter).encode() + "\nunlocked");
    expect_tidy();
  }
}

TEST_P(FileLockPoorSystemQueue, IsInOrder) {
  auto owner = spawn_owner(poor());
  std::vector<WorkerProcess> waiters;
  for (std::size_t i = 0; i < 4; ++i) waiters.push_back(spawn_waiter(i % 2 == 0 ? poor() : Steps{}, i));
  waiters[1].kill();
  finish(owner);
  for (const std::size_t i : {std::size_t{0}, std::size_t{2}, std::size_t{3}}) {
    EXPECT_TRUE(wait_for_output(waiters[i], "\nlocked\n")) << waiters[i].report();
    if (i < 3) {
      EXPECT_EQ(waiters[i + 1].output().find("\nlocked"), std::string::npos) << waiters[i + 1].report();
    }
    finish(waiters[i]);
  }
  expect_tidy();
}

TEST_P(FileLockPoorSystemQueue, IsInOrderAcrossPidNamespaces) {
  SKIP_WHERE_FORBIDDEN({"pid"});
  const Steps inside = Steps{"pid"} + poor();
  auto owner = spawn_owner(inside);
  std::vector<WorkerProcess> waiters;
  for (std::size_t i = 0; i < 4; ++i) waiters.push_back(spawn_waiter(i % 2 == 0 ? poor() : inside, i));
  kill_innermost(waiters[1]);
  finish(owner);
  for (const std::size_t i : {std::size_t{0}, std::size_t{2}, std::size_t{3}}) {
    EXPECT_TRUE(wait_for_output(waiters[i], "\nlocked\n")) << waiters[i].report();
    if (i < 3) {
      EXPECT_EQ(waiters[i + 1].output().find("\nlocked"), std::string::npos) << waiters[i + 1].report();
    }
    finish(waiters[i]);
  }
  expect_tidy();
}

TEST_P(FileLockPoorSystem, ContendersLoseNothing) {
  const auto counter = dir_ / "counter";
  std::ofstream{counter} << 0;
  constexpr int processes = 4, each = 25;
  std::vector<WorkerProcess> workers;
  for (int i = 0; i < processes; ++i)
    workers.push_back(start(i % 2 == 0 ? poor() : Steps{}, "increment", {resource_, words(), counter, each}));
  holdfast::harness::ReleaseTogether(workers);
  holdfast::harness::ExpectWorkersOk(workers);
  int value = 0;
  std::ifstream{counter} >> value;
  EXPECT_EQ(value, processes * each);
  fs::remove(counter);
  expect_tidy();
}

TEST_P(FileLockPoorSystem, AStrangersDirectoryThatIsNotEmptyIsRespected) {
  fs::create_directory(dir_ / "x.lock");
  std::ofstream{dir_ / "x.lock/pid"} << "1234";
  EXPECT_EQ(attempt(poor(), "try"), "busy");
  EXPECT_EQ(attempt(poor(), "20"), "busy");
  auto waiter = spawn_waiter(poor());
  fs::remove_all(dir_ / "x.lock");
  EXPECT_TRUE(wait_for_output(waiter, "\nlocked\n")) << waiter.report();
  finish(waiter);
  expect_tidy();
}

TEST_P(FileLockPoorSystem, WaitingDoesNotSpin) {
  auto owner = spawn_owner(poor());
  auto waiter = start(poor(), "wait_for_a_second", {resource_, words()});
  EXPECT_LT(cost_of(waiter).microseconds, spinning);
  finish(owner);
}
