// Creator against creator (M5), and users that come and go at the same time (M6): hundreds of rounds with processes that are
// released together, on a fresh name and on what the dead left.
#include "meeting.hpp"
#include "segments.hpp"

using namespace segments;

namespace {
using holdfast::test::Meeting;

struct Field {
  int processes;
  const char* leftover;  ///< what bears the name when each round begins
};
void PrintTo(const Field& field, std::ostream* out) { *out << field.processes << " on " << field.leftover; }

class SegmentCreators : public Segments, public testing::WithParamInterface<Field> {
 protected:
  static constexpr int rounds = 300;

  /// A file as a killed user leaves it.
  void leave_for_rounds() {
    leftover_ = dir_ / "leftover";
    if (GetParam().leftover == std::string_view{"nothing"}) leftover_.clear();
    if (GetParam().leftover == std::string_view{"empty"}) write_file(leftover_, "");
    if (GetParam().leftover == std::string_view{"orphan"}) {
      auto user = start("use_and_write", {1, "create", name_, 4096});
      user.kill();
      fs::copy_file(path(), leftover_);
      ASSERT_TRUE(SharedMemory::remove(name_));
    }
  }
  void race(const char* scenario) {
    std::vector<WorkerProcess> racers;
    for (int i = 0; i < GetParam().processes; ++i) {
      std::vector<Argument> arguments{name_, dir_ / "meeting", GetParam().processes, rounds, i};
      if (!leftover_.empty()) arguments.emplace_back(leftover_);
      racers.push_back(start(scenario, std::move(arguments)));
    }
    ReleaseTogether(racers);
    ExpectWorkersOk(racers);
    EXPECT_FALSE(exists());
  }

  TempDir dir_;
  fs::path leftover_;
};
INSTANTIATE_TEST_SUITE_P(, SegmentCreators,
                         testing::Values(Field{2, "nothing"}, Field{4, "nothing"}, Field{2, "orphan"},
                                         Field{4, "orphan"}, Field{2, "empty"}, Field{4, "empty"}),
                         [](const testing::TestParamInfo<Field>& field) {
                           return std::to_string(field.param.processes) + "_on_" + field.param.leftover;
                         });
}  // namespace

TEST_P(SegmentCreators, OfAllWhoCreateAtOnceExactlyOneDoes) {
  leave_for_rounds();
  race("create_in_rounds");
  const Meeting meeting{dir_ / "meeting", 1};
  EXPECT_EQ(meeting.count(0), rounds) << "created";
  EXPECT_EQ(meeting.count(1), rounds * (GetParam().processes - 1)) << "told that it exists";
}

namespace {
class SegmentRemovers : public SegmentCreators {};
INSTANTIATE_TEST_SUITE_P(, SegmentRemovers,
                         testing::Values(Field{2, "orphan"}, Field{4, "orphan"}, Field{2, "empty"}, Field{4, "empty"}),
                         [](const testing::TestParamInfo<Field>& field) {
                           return std::to_string(field.param.processes) + "_on_" + field.param.leftover;
                         });
}  // namespace

TEST_P(SegmentRemovers, OfAllWhoRemoveAtOnceExactlyOneDoes) {
  leave_for_rounds();
  race("remove_in_rounds");
}

namespace {
class SegmentCreatorsOrAttachers : public SegmentCreators {};
INSTANTIATE_TEST_SUITE_P(, SegmentCreatorsOrAttachers,
                         testing::Values(Field{2, "nothing"}, Field{4, "nothing"}, Field{2, "empty"},
                                         Field{4, "empty"}),
                         [](const testing::TestParamInfo<Field>& field) {
                           return std::to_string(field.param.processes) + "_on_" + field.param.leftover;
                         });
}  // namespace

TEST_P(SegmentCreatorsOrAttachers, AllEndInOneSegment) {
  leave_for_rounds();
  race("create_or_attach_in_rounds");
}

namespace {
class SegmentTraffic : public Segments {
 protected:
  TempDir dir_;
};
}  // namespace

TEST_F(SegmentTraffic, WhoeverIsAttachedHasWhatBearsTheName) {
  std::vector<WorkerProcess> workers;
  for (int i = 0; i < 4; ++i) workers.push_back(start("come_and_go", {name_, dir_ / "meeting", 4, 1000, i}));
  ReleaseTogether(workers);
  ExpectWorkersOk(workers);
  EXPECT_FALSE(exists()) << "also two who detach at once leave nothing";
}

TEST_F(SegmentTraffic, NothingIsRemovedUnderWhoComesAndGoes) {
  std::vector<WorkerProcess> workers;
  for (int i = 0; i < 3; ++i) workers.push_back(start("come_and_go", {name_, dir_ / "meeting", 3, 1000, i}));
  auto remover = start("remove_for_ever", {name_});
  ReleaseTogether(workers);
  ExpectWorkersOk(workers);
  finish(remover);
  EXPECT_FALSE(exists());
}

TEST_F(SegmentTraffic, GoesOnWhoeverIsKilled) {
  std::vector<WorkerProcess> workers;
  for (int i = 0; i < 3; ++i) workers.push_back(start("come_and_go_for_ever", {name_}));
  auto remover = start("remove_for_ever", {name_});
  for (std::size_t i = 0; i < 100; ++i) {
    auto& worker = workers[i % workers.size()];
    ASSERT_TRUE(worker.is_running()) << worker.report();
    worker.kill();
    worker = start("come_and_go_for_ever", {name_});
  }
  for (auto& worker : workers) finish(worker);
  finish(remover);
  EXPECT_TRUE(!exists() || state() == SegmentState::orphaned) << to_string(*listed());
  EXPECT_EQ(SharedMemory::create(name_, 77).size(), 77U);
  EXPECT_FALSE(exists());
}
