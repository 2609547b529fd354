// Producers, consumers and members of a group that are killed at random, all at once, for some seconds (S1, S2, S3, S5). Nobody
// ever reads a wrong message, no slot is lost to a group, and the books are closed at every look.
#include <set>

#include "steps.hpp"

using namespace blocks;

namespace {
class DataBlockChurn : public Blocks, public testing::WithParamInterface<const char*> {
 protected:
  struct Part {
    std::vector<std::string> steps;
    bool produces = false;
  };
  void start(std::size_t place) { workers_[place].emplace(spawn(parts_[place].steps)); }
  [[nodiscard]] SlotId progress() const { return observer_->statistics().next; }

  /// What the one at this place has told by its end.
  void judge(std::size_t place) {
    const auto& worker = *workers_[place];
    const auto output = worker.output();
    EXPECT_EQ(output.find("WRONG"), std::string::npos) << worker.report();
    EXPECT_EQ(output.find("error "), std::string::npos) << worker.report();
    const bool member = parts_[place].steps.front().ends_with("team");
    if (GetParam() == std::string{"wait"} && parts_[place].steps.front().starts_with("attach sequential") && !member) {
      EXPECT_EQ(output.find("gap"), std::string::npos) << worker.report();
    }
    if (!member) return;
    for (const auto id : ids_in(output)) EXPECT_TRUE(fresh_.insert(id).second) << id << " went to two members";
    for (const auto id : ids_in(output, true)) told_.insert(id);
  }

  std::vector<Part> parts_{
      {{"ready", "produce", "write_on"}, true},
      {{"ready", "produce", "write_on"}, true},
      {{"attach sequential next", "ready", "read_on print"}},
      {{"attach sequential oldest", "ready", "read_on print"}},
      {{"attach latest next", "ready", "read_on print"}},
      {{"attach sequential next team", "ready", "read_on print"}},
      {{"attach sequential next team", "ready", "read_on print"}},
      {{"attach sequential next team", "ready", "read_on print"}},
  };
  std::vector<std::optional<WorkerProcess>> workers_ = std::vector<std::optional<WorkerProcess>>(8);
  std::optional<DataBlock> observer_;
  std::set<SlotId> fresh_, told_;
};
INSTANTIATE_TEST_SUITE_P(, DataBlockChurn, testing::Values("wait", "overwrite"),
                         [](const testing::TestParamInfo<const char*>& policy) { return std::string{policy.param}; });
}  // namespace

TEST_P(DataBlockChurn, NobodyReadsAWrongMessageAndTheBooksAreClosed) {
  const auto seed = seed_of_this_run();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::minstd_rand random{static_cast<std::minstd_rand::result_type>(seed)};
  auto creator = spawn({std::string{"create 200 32 "} + GetParam(), "ready", "wait"});
  keep();
  observer_.emplace(DataBlock::attach(name_));
  auto keeper = join("team", StartAt::next());  // takes what the others leave, at the end
  creator.kill();
  for (std::size_t place = 0; place < parts_.size(); ++place) start(place);

  std::uint64_t kills = 0, looks = 0;
  const Deadline end = 2500ms;
  while (!end.passed() || kills < 20) {
    const auto goal = progress() + random() % 200;
    ASSERT_TRUE(wait_until([&] {
      expect_all_closed(observer_->statistics());
      ++looks;
      return progress() >= goal;
    })) << "wedged after "
        << kills << " kills, at " << progress();
    const auto place = random() % parts_.size();
    ASSERT_TRUE(workers_[place]->is_running()) << workers_[place]->report();
    workers_[place]->kill();
    ++kills;
    judge(place);
    start(place);
    if (HasFailure()) return;
  }
  for (std::size_t place = 0; place < parts_.size(); ++place)
    if (parts_[place].produces) workers_[place]->release();
  const auto lives = [](const ConsumerStatistics& consumer) {  // the dead are told as ended when somebody needs to know
    return std::any_of(consumer.members.begin(), consumer.members.end(),
                       [](const ProcessIdentity& member) { return member.liveness() == Liveness::alive; });
  };
  const auto all_read = [&] {
    const auto now = observer_->statistics();
    return !now.producer && std::all_of(now.consumers.begin(), now.consumers.end(), [&](const auto& consumer) {
      return consumer.ended || !lives(consumer) || (!consumer.in_motion && consumer.books.in_flight == 0);
    });
  };
  EXPECT_TRUE(wait_until(all_read)) << "somebody does not get on: " << in_words(observer_->statistics());
  for (std::size_t place = 0; place < parts_.size(); ++place) {
    if (!parts_[place].produces) workers_[place]->release();
    ExpectWorkerOk(*workers_[place]);
    judge(place);
  }
  for (;;) {
    const auto slot = keeper.acquire_consume_slot(30ms);
    if (!slot) break;
    expect_whole(slot, default_size);
    if (!slot.redelivered()) {
      EXPECT_TRUE(fresh_.insert(slot.id()).second) << slot.id() << " went to two members";
    }
    told_.insert(slot.id());
  }
  const auto books = keeper.books();
  expect_closed(books);
  EXPECT_EQ(books.in_flight, 0U);
  const auto block = observer_->statistics();
  expect_all_closed(block);
  if (GetParam() == std::string{"wait"}) {
    EXPECT_EQ(books.committed, block.committed);
    EXPECT_EQ(books.delivered, block.committed);
    EXPECT_EQ(told_.size(), block.committed) << "a slot was lost to the group";
  } else {
    EXPECT_GE(books.committed, block.committed);  // voids that were overwritten unseen are taken for data
    EXPECT_LE(books.delivered, told_.size() + kills);
  }
  std::cout << kills << " kills, " << looks << " looks at the books, " << block.committed << " messages, "
            << block.voids << " voids, " << told_.size() - fresh_.size() << " only delivered again, seed " << seed
            << '\n';
}
