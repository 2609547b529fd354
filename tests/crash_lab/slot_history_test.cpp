// Senders and receivers of a DataBlock, all at once, killed at random times and at random named steps, others in their place; the
// journal of the whole run is judged in the end (S1, S2, S3, S5).
#include <csignal>
#include <iostream>
#include <map>
#include <set>

#include <holdfast/testing/journal.hpp>

#include "../data_block/blocks.hpp"
#include "thoroughness.hpp"

using namespace blocks;
using holdfast::harness::check_messages;
using holdfast::harness::Event;
using holdfast::harness::Journal;
using holdfast::harness::Numbers;

namespace {
class SlotHistory : public Blocks, public testing::WithParamInterface<const char*> {
 protected:
  struct Place {
    std::vector<std::string> before_ready, after_ready;
    bool sends = false, reads_all = false;
    std::uint32_t who = 0;
    bool dies_at_step = false;
    std::optional<WorkerProcess> worker = {};
  };

  void start(Place& place) {
    place.who = next_who_++;
    place.dies_at_step = random_() % 2 == 0;
    std::vector<std::string> steps{"journal " + file_.string() + " " + std::to_string(place.who)};
    steps.insert(steps.end(), place.before_ready.begin(), place.before_ready.end());
    steps.emplace_back("ready");
    if (place.dies_at_step) steps.push_back("die_at_step " + std::to_string(1 + random_() % 3000));
    steps.insert(steps.end(), place.after_ready.begin(), place.after_ready.end());
    place.worker.emplace(spawn(steps));
    if (place.reads_all) read_all_.insert(place.who);
  }
  void kill(Place& place) {
    journal_->append(place.who, Event::doomed);
    place.worker->kill();
    ++kills_;
    expect_nothing_wrong(*place.worker);
  }
  /// It has been released, or has died at its step, or both.
  void look_at_end(Place& place) {
    const auto exit = place.worker->wait_for_exit();
    expect_nothing_wrong(*place.worker);
    const auto output = place.worker->output();
    const auto died = output.find("died at ");
    if (died == std::string::npos) return ExpectWorkerOk(*place.worker);
    EXPECT_EQ(exit, (Exit{Exit::By::signal, SIGKILL, false})) << place.worker->report();
    ++deaths_[output.substr(died + 8, output.find('\n', died) - died - 8)];
  }

  Place places_[8]{
      {{}, {"produce", "write_on 20", "leave"}, true},
      {{}, {"produce", "write_on 20", "leave"}, true},
      {{"attach sequential next"}, {"read_on", "leave"}, false, true},
      {{"attach sequential oldest"}, {"read_on", "leave"}, false, true},
      {{"attach latest next"}, {"read_on", "leave"}},
      {{"attach sequential next team"}, {"read_on", "leave"}, false, true},
      {{"attach sequential next team"}, {"read_on", "leave"}, false, true},
      {{"attach sequential next team"}, {"read_on", "leave"}, false, true},
  };
  const holdfast::harness::TempDir directory_;
  const fs::path file_ = directory_.path() / "journal";
  std::optional<Journal> journal_;
  std::minstd_rand random_{static_cast<std::minstd_rand::result_type>(holdfast::test::seed_of_this_run())};
  std::uint32_t next_who_ = 1;
  std::uint64_t kills_ = 0;
  std::set<std::uint32_t> read_all_;             // where nothing may be missed
  std::map<std::string, std::uint64_t> deaths_;  // by named step
};
INSTANTIATE_TEST_SUITE_P(, SlotHistory, testing::Values("wait", "overwrite"),
                         [](const testing::TestParamInfo<const char*>& policy) { return std::string{policy.param}; });
}  // namespace

TEST_P(SlotHistory, OfMessagesIsSoundWhoeverIsKilled) {
  SCOPED_TRACE("seed " + std::to_string(holdfast::test::seed_of_this_run()));
  constexpr std::size_t capacity = 2'000'000;
  constexpr std::uint64_t most_messages = capacity / 16;
  journal_.emplace(Journal::create(file_, capacity));
  auto creator = spawn({std::string{"create 200 32 "} + GetParam(), "ready", "wait"});
  keep();
  const auto observer = DataBlock::attach(name_);
  const auto progress = [&] { return observer.statistics().next; };
  auto keeper = join("team", StartAt::next());  // takes what the others leave, at the end
  const auto keeper_who = next_who_++;
  journal_->append(keeper_who, Event::began, 1);
  creator.kill();
  for (auto& place : places_) start(place);

  const Deadline end = 2500ms * static_cast<int>(holdfast::test::thoroughness());
  while ((!end.passed() || kills_ < 20) && progress() < most_messages) {
    const auto goal = progress() + random_() % 400;
    const auto has_died = [](const Place& place) { return !place.worker->is_running(); };
    ASSERT_TRUE(wait_until([&] {
      return progress() >= goal || std::any_of(std::begin(places_), std::end(places_), has_died);
    })) << "wedged after "
        << kills_ << " kills, at " << progress() << ": " << in_words(observer.statistics());
    for (auto& place : places_) {
      if (!has_died(place)) continue;
      look_at_end(place);
      ASSERT_TRUE(place.dies_at_step) << place.worker->report();
      start(place);
    }
    if (auto& place = places_[random_() % std::size(places_)]; !place.dies_at_step) {
      kill(place);
      start(place);
    }
    if (HasFailure()) break;
  }
  for (const bool senders : {true, false}) {
    for (auto& place : places_)
      if (place.sends == senders) place.worker->release();
    for (auto& place : places_)
      if (place.sends == senders) look_at_end(place);
  }
  for (;;) {
    journal_->append(keeper_who, Event::arrived);
    const auto slot = keeper.acquire_consume_slot(500ms);
    if (!slot) break;
    if (const auto gap = slot.gap()) journal_->append(keeper_who, Event::missed, gap.first, gap.count);
    const auto problem = problem_with(slot.bytes(), slot.id(), default_size);
    journal_->append(keeper_who,
                     !problem.empty()     ? Event::torn
                     : slot.redelivered() ? Event::delivered_again
                                          : Event::delivered,
                     slot.id());
  }
  journal_->append(keeper_who, Event::gave_up);
  journal_->append(keeper_who, Event::ended);

  ASSERT_EQ(journal_->dropped(), 0U);
  const auto history = check_messages(journal_->entries(), Numbers::of_all);
  EXPECT_TRUE(history.ok()) << to_string(history);
  const auto block = observer.statistics();
  const auto books = keeper.books();
  expect_closed(books);
  EXPECT_EQ(books.in_flight, 0U);
  EXPECT_GE(block.committed, history.committed);
  EXPECT_LE(block.committed, history.committed + history.uncertain);
  if (GetParam() == std::string{"wait"}) {
    EXPECT_EQ(history.unexplained, 0U);
    for (const auto& [who, receiver] : history.receivers)
      EXPECT_FALSE(read_all_.contains(who) && receiver.missed != 0) << who;
    EXPECT_EQ(books.delivered, block.committed);
  }
  std::uint64_t deaths = 0;
  for (const auto& [step, count] : deaths_) deaths += count;
  EXPECT_GT(deaths, 0U) << "nobody died at a named step";
  std::cout << kills_ << " kills, " << deaths << " at " << deaths_.size() << " named steps; " << to_string(history)
            << '\n';
}
