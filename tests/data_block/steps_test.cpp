// Writers, readers, members and adopters that are killed after any instruction: no torn and no wrong message, the next one goes
// on, and the books are closed.
#include <set>

#include "steps.hpp"

using namespace blocks;

namespace {
/// Whatever the dead one was at: the next producer goes on, all readers get whole messages in order, the books are closed.
class DataBlockSteps : public BlockSteps, public testing::WithParamInterface<const char*> {
 protected:
  void start(std::vector<std::string> more = {}) {
    std::vector<std::string> steps{std::string{"create 200 8 "} + GetParam()};
    steps.insert(steps.end(), more.begin(), more.end());
    for (const char* step : {"ready", "wait"}) steps.emplace_back(step);
    first_.emplace(spawn(steps));
    keep();
    recorder_.emplace(attach());
    display_.emplace(attach_latest());
    first_->kill();
  }
  /// Reads all that is there.
  void read() {
    for (const auto id : receive_all(*recorder_)) {
      EXPECT_TRUE(!last_ || id > *last_) << id << " after " << *last_;
      last_ = id;
    }
    static_cast<void>(receive_all(*display_));
    auto late = attach_oldest();
    static_cast<void>(receive_all(late));
  }
  /// Takes the role over, which has to be free, and sends some.
  void go_on(std::size_t count) {
    const auto before = statistics().next;
    read();
    auto producer = DataBlockProducer::attach(name_, 1s);
    EXPECT_EQ(producer.outcome(), LockOutcome::owner_died);
    read();
    EXPECT_EQ(producer.statistics().next, before);
    for (; count > 0; --count) {
      send(producer);
      read();
    }
    const auto block = statistics();
    expect_all_closed(block);
    for (const auto* mine : {&*recorder_, &*display_}) EXPECT_EQ(mine->books().in_flight, 0U);
    EXPECT_EQ(last_, block.next - 1);
  }

  std::optional<WorkerProcess> first_;
  std::optional<DataBlockConsumer> recorder_, display_;
  std::optional<SlotId> last_;
};
INSTANTIATE_TEST_SUITE_P(, DataBlockSteps, testing::Values("wait", "overwrite"),
                         [](const testing::TestParamInfo<const char*>& policy) { return std::string{policy.param}; });
}  // namespace

TEST_P(DataBlockSteps, AWriterMayBeKilledAfterAnyInstructionOfAMessage) {
  start();
  // Somebody sleeps for a message, and somebody holds one, so that waking and voiding are among the steps.
  auto sleeper = spawn({"attach sequential next", "ready", "read_on"});
  auto holder = spawn({"attach latest oldest", "ready", "take", "wait"});
  kill_at_every_step(
      {},
      [&] {
        return spawn({"produce", "write 1", "ready", "wait", "begin", "write 2", "end"});
      },
      [&](WorkerProcess&) { go_on(3); });
  holder.kill();
  finish_well(sleeper);
}

TEST_P(DataBlockSteps, AWriterMayBeKilledAfterAnyInstructionOfTakingOver) {
  start();
  std::optional<WorkerProcess> before;
  kill_at_every_step(
      {},
      [&] {
        before.emplace(spawn({"produce", "acquire", "fill", "ready", "wait"}));
        before->kill();
        // Attached already, so that only the role is taken over.
        return spawn({"attach sequential next", "ready", "wait", "begin", "produce", "acquire", "end"});
      },
      [&](WorkerProcess&) { go_on(2); });
}

TEST_P(DataBlockSteps, AWriterMayBeKilledAfterAnyInstructionOfLeaving) {
  start();
  kill_at_every_step(
      {},
      [&] {
        return spawn({"attach sequential next", "produce", "write 1", "ready", "wait", "begin", "leave", "end"});
      },
      [&](WorkerProcess&) {
        read();
        auto producer = DataBlockProducer::attach(name_, 1s);
        send(producer);
        read();
        expect_all_closed(statistics());
      });
}

TEST_P(DataBlockSteps, AReaderMayBeKilledAfterAnyInstructionOfReading) {
  start();
  for (const char* how : {"sequential next", "latest next", "sequential next team"}) {
    SCOPED_TRACE(how);
    auto producer = std::optional{DataBlockProducer::attach(name_)};
    kill_at_every_step(
        {},
        [&] {
          auto reader =
              spawn({std::string{"attach "} + how, "ready", "wait", "begin", "take 0", "release", "take 0", "end"});
          send(*producer, 2U);
          read();
          return reader;
        },
        [&](WorkerProcess&) {
          for (int i = 0; i < 10; ++i) {
            send(*producer);
            read();
          }
          expect_all_closed(statistics());
        });
  }
}

TEST_P(DataBlockSteps, AReaderMayBeKilledAfterAnyInstructionOfAttachingAndLeaving) {
  start();
  const bool waits = GetParam() == std::string{"wait"};
  for (const char* how : {"sequential oldest", waits ? "sequential oldest team" : "latest next"}) {
    SCOPED_TRACE(how);
    auto producer = std::optional{DataBlockProducer::attach(name_)};
    kill_at_every_step(
        {},
        [&] {
          return spawn({"attach latest next", "ready", "wait", "begin", std::string{"attach "} + how, "leave", "end"});
        },
        [&](WorkerProcess&) {
          for (int i = 0; i < 10; ++i) {
            send(*producer);
            read();
          }
          expect_all_closed(statistics());
        });
  }
}

namespace {
class GroupSteps : public BlockSteps {};
}  // namespace

// Each slot is given to somebody, and what nobody had before to exactly one.
TEST_F(GroupSteps, AMemberMayBeKilledAfterAnyInstructionOfTakingAndReleasing) {
  auto producer = create({.slot_count = 64});
  auto keeper = join("team", StartAt::next());
  for (const char* how : {"take", "batch 4"}) {
    SlotId begin = 0;
    kill_at_every_step(
        {},
        [&] {
          auto victim = spawn({"attach sequential next team", "ready", "wait", "begin", how, "release", how, "end"});
          begin = producer.statistics().next;
          send(producer, 10U);
          return victim;
        },
        [&](WorkerProcess& victim) {
          std::vector<SlotId> fresh, again;
          EXPECT_TRUE(wait_until([&] {
            for (;;) {
              const auto slot = keeper.acquire_consume_slot(0ms);
              if (!slot) break;
              expect_whole(slot, default_size);
              (slot.redelivered() ? again : fresh).push_back(slot.id());
            }
            return keeper.books().in_flight == 0;
          })) << to_string(keeper.books());
          const auto told = ids_in(victim.output());
          std::set<SlotId> all{fresh.begin(), fresh.end()};
          all.insert(again.begin(), again.end());
          all.insert(told.begin(), told.end());
          const auto expected = range(begin, begin + 10);
          EXPECT_TRUE(std::includes(all.begin(), all.end(), expected.begin(), expected.end())) << "one was lost";
          for (const auto id : fresh) EXPECT_EQ(std::count(told.begin(), told.end(), id), 0) << "delivered twice";
          EXPECT_TRUE(std::is_sorted(fresh.begin(), fresh.end()));
          EXPECT_EQ(std::adjacent_find(fresh.begin(), fresh.end()), fresh.end());
          const auto books = keeper.books();
          expect_closed(books);
          EXPECT_EQ(books.delivered, books.committed);
        });
  }
}

TEST_F(GroupSteps, AnAdopterMayBeKilledAfterAnyInstruction) {
  auto producer = create({.slot_count = 64});
  auto keeper = join("team", StartAt::next());
  std::optional<WorkerProcess> first;
  std::vector<SlotId> expected;
  kill_at_every_step(
      {},
      [&] {
        first.emplace(spawn({"attach sequential next team", "ready", "batch 3", "wait"}));
        auto adopter = spawn({"attach sequential next team", "ready", "wait", "begin", "batch 8", "release", "end"});
        const auto begin = producer.statistics().next;
        expected = range(begin, begin + 3);
        send(producer, 3U);
        expect_says(*first, "got");
        first->kill();
        return adopter;
      },
      [&](WorkerProcess& adopter) {
        std::vector<SlotId> again;
        EXPECT_TRUE(wait_until([&] {
          for (;;) {
            const auto slot = keeper.acquire_consume_slot(0ms);
            if (!slot) break;
            expect_whole(slot, default_size);
            if (slot.redelivered()) again.push_back(slot.id());
          }
          return keeper.books().in_flight == 0;
        })) << to_string(keeper.books());
        if (ids_in(first->output()) == expected && !says(adopter, "got")) {
          EXPECT_TRUE(again == expected || again.empty()) << "again: " << testing::PrintToString(again);
        }
        const auto books = keeper.books();
        expect_closed(books);
        EXPECT_EQ(books.delivered, books.committed);
      });
}
