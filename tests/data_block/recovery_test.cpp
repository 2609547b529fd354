// What the death of a writer (S2) and of a reader (S3) leaves behind: nothing that anybody could see or would have to wait for.
// Whoever is stopped is alive, and keeps what it has.
#include <numeric>

#include "blocks.hpp"

using namespace blocks;

namespace {
class WriterDeath : public Blocks {};
class ReaderDeath : public Blocks {};
class StoppedReader : public Blocks {};
class GroupHandBack : public Blocks {};

/// By the way in which it ends. Nobody reaps it before the end of the test.
class ZombieWriterRecovery : public Blocks, public testing::WithParamInterface<const char*> {
 protected:
  void end(WorkerProcess& writer) {
    if (GetParam() == std::string{"SIGKILL"})
      writer.kill();
    else
      writer.release();
    ASSERT_TRUE(wait_until([&] { return state_of(writer.pid()) == 'Z'; })) << writer.report();
  }
};
INSTANTIATE_TEST_SUITE_P(, ZombieWriterRecovery, testing::Values("SIGKILL", "_exit"),
                         [](const testing::TestParamInfo<const char*>& way) {
                           return std::string{way.param} == "SIGKILL" ? "killed" : "exited";
                         });
}  // namespace

// ---- writers -----------------------------------------------------------------------------------------------------------

TEST_P(ZombieWriterRecovery, GoesOnWithTheSequenceAndShowsNothingOfTheHalfMessage) {
  auto writer = spawn({"create 200 8 wait", "write 5", "acquire", "half", "ready", "wait", "exit _exit"});
  auto reader = spawn({"attach sequential oldest", "read 5", "ready", "take", "release", "wait"});
  auto display = spawn({"attach latest oldest", "read 1", "ready", "take", "release", "wait"});
  expect_asleep(reader);
  expect_asleep(display);
  ASSERT_TRUE(says(writer, "acquired 5\nhalf full\n")) << "in mid-write";
  ASSERT_NO_FATAL_FAILURE(end(writer));
  {
    auto late = attach_oldest();
    EXPECT_EQ(receive_all(late), range(0, 5)) << "nothing of the half message is there";
    expect_closed(late.books());
  }
  auto producer = DataBlockProducer::attach(name_, 0ms);
  EXPECT_EQ(state_of(writer.pid()), 'Z');
  EXPECT_EQ(producer.outcome(), LockOutcome::owner_died);
  ASSERT_TRUE(producer.previous_owner());
  EXPECT_EQ(producer.previous_owner()->pid(), writer.pid());
  EXPECT_EQ(producer.statistics().next, 5U);
  auto slot = producer.acquire_write_slot();
  EXPECT_EQ(slot.id(), 5U) << "the sequence goes on";
  EXPECT_FALSE(says(reader, "got")) << "nothing has been committed";
  EXPECT_FALSE(says(display, "got"));
  EXPECT_EQ(commit_message(slot), 5U);
  expect_says(reader, "got 5\nreleased\n");
  expect_says(display, "got 5\nreleased\n");
  finish_well(reader);
  finish_well(display);
}

TEST_P(ZombieWriterRecovery, OfAMessageThatWasCompleteButNotCommittedDeliversNothing) {
  auto writer = spawn({"create 200 8 wait", "write 2", "acquire", "fill", "ready", "wait", "exit _exit"});
  auto reader = attach_oldest();
  ASSERT_NO_FATAL_FAILURE(end(writer));
  EXPECT_EQ(receive_all(reader), range(0, 2));
  auto producer = DataBlockProducer::attach(name_, 0ms);
  EXPECT_EQ(receive_all(reader), range(0, 0));
  EXPECT_EQ(send(producer), 2U);
  const auto slot = receive(reader);
  EXPECT_EQ(writer_of(slot.bytes()), 0U) << "it is this process's message, not the dead one's";
}

TEST_F(WriterDeath, InARowLeavesOneSequenceWithoutAHole) {
  auto keeper = spawn({"create 200 8 wait", "ready", "wait"});
  auto reader = attach();
  keeper.kill();
  for (SlotId id = 0; id < 20; ++id) {
    auto writer = spawn({"produce", "write 1", "acquire", "half", "ready", "wait"});
    writer.kill();
    EXPECT_EQ(receive_id(reader), id);
    expect_closed(reader.books());
  }
  const auto block = statistics();
  EXPECT_EQ(block.committed, 20U);
  EXPECT_GE(block.reclaims, 20U);
}

// The dead one's claim stays: what lay a ring's length behind it has been touched.
TEST_F(WriterDeath, DoesNotShowTheSlotItWasOverwritingAgain) {
  auto writer = spawn({"create 200 8 wait", "write 8", "acquire", "half", "ready", "wait"});
  keep();
  writer.kill();
  for (const bool with_producer : {false, true}) {
    auto producer = with_producer ? std::optional{DataBlockProducer::attach(name_, 0ms)} : std::nullopt;
    for (const auto start : {StartAt::oldest(), StartAt::id(0)}) {
      auto late = attach({.start = start});
      const auto ids = receive_all(late);
      ASSERT_FALSE(ids.empty());
      EXPECT_GE(ids.front(), 1U);
      EXPECT_EQ(ids.back(), 7U);
    }
  }
}

TEST_F(WriterDeath, IsFollowedByOneThatIsReadyWithinMilliseconds) {
  auto keeper = spawn({"create 200 8 wait", "ready", "wait"});
  keep();
  keeper.kill();
  std::vector<Clock::duration> times;
  for (int i = 0; i < 15; ++i) {
    auto writer = spawn({"produce", "acquire", "half", "ready", "wait"});
    writer.kill();
    times.push_back(duration_of([&] {
      auto producer = DataBlockProducer::attach(name_);
      send(producer);
    }));
  }
  std::sort(times.begin(), times.end());
  EXPECT_LT(times[times.size() / 2], 150ms) << "at the median";
}

TEST_F(WriterDeath, WakesNobodyForNothingAndKeepsNobodyAsleep) {
  auto writer = spawn({"create 200 8 wait", "ready", "wait"});
  auto reader = spawn({"attach sequential next", "ready", "take 300", "take", "release"});
  expect_asleep(reader);
  writer.kill();
  expect_says(reader, "timed out\n");
  auto producer = DataBlockProducer::attach(name_);
  send(producer);
  ExpectWorkerOk(reader);
  EXPECT_EQ(reader.output(), "attached\ntimed out\ngot 0\nreleased\n");
}

// ---- readers -----------------------------------------------------------------------------------------------------------

TEST_F(ReaderDeath, WhileHoldingLetsAWaitingProducerGoOnAtOnce) {
  std::vector<Clock::duration> times;
  auto producer = create({.slot_count = 4});
  for (int round = 0; round < 9; ++round) {
    const auto steps = round % 2 == 0 ? std::vector<std::string>{"attach sequential next", "ready", "take", "wait"}
                                      : std::vector<std::string>{"attach sequential next", "ready", "batch 3", "wait"};
    auto reader = spawn(steps);
    send(producer, 4U);
    expect_says(reader, "got");
    ASSERT_FALSE(producer.acquire_write_slot(0ms)) << "it is in the way";
    EXPECT_EQ(producer.statistics().slowest()->members.front().pid(), reader.pid());
    reader.kill();
    times.push_back(duration_of([&] { send(producer); }));
  }
  std::sort(times.begin(), times.end());
  EXPECT_LT(times[times.size() / 2], 150ms);
  const auto block = producer.statistics();
  EXPECT_GE(block.reclaims, 9U);
  expect_all_closed(block);
}

TEST_F(ReaderDeath, LetsAProducerGoOnThatAlreadySleeps) {
  auto writer = spawn({"create 200 4 wait", "ready", "wait", "write 5", "wait"});
  auto reader = spawn({"attach sequential next", "ready", "take", "wait"});
  auto other = attach();
  writer.release();
  for (SlotId id = 0; id < 4; ++id) EXPECT_EQ(receive_id(other), id);
  expect_asleep(writer);
  EXPECT_EQ(other.acquire_consume_slot(30ms).status(), AcquireStatus::timed_out);
  reader.kill();
  EXPECT_EQ(receive_id(other), 4U);
  finish_well(writer);
}

TEST_F(ReaderDeath, WhileHoldingBringsTheSlotBackIntoUse) {
  for (const auto policy : {OnFull::overwrite_oldest, OnFull::wait, OnFull::refuse}) {
    for (const char* how : {"sequential", "latest"}) {
      if (policy != OnFull::overwrite_oldest && how == std::string{"sequential"}) continue;
      SCOPED_TRACE(std::string{to_string(policy)} + " " + how);
      auto producer = create({.slot_count = 16, .on_full = policy});
      auto reader = spawn({std::string{"attach "} + how + " next", "ready", "take", "wait", "check", "wait"});
      send(producer, 1U);
      expect_says(reader, "got 0\n");
      send(producer, 60U);
      const auto voids = producer.statistics().voids;
      EXPECT_GE(voids, 3U) << "it is held";
      reader.release();
      expect_says(reader, "intact\n");
      reader.kill();
      std::uint64_t before = 0, now = producer.statistics().voids;
      EXPECT_TRUE(wait_until([&] {
        before = now;
        send(producer, 32U);
        now = producer.statistics().voids;
        return before == now;
      })) << "its slots are never used again";
      const auto block = producer.statistics();
      expect_all_closed(block);
      EXPECT_GE(block.reclaims, 1U);
    }
  }
}

TEST_F(ReaderDeath, LeavesItsBooksClosed) {
  auto producer = create({.slot_count = 16});
  auto reader = spawn({"attach sequential next", "ready", "wait", "read 3", "batch 4", "wait"});
  send(producer, 10U);
  reader.release();
  expect_says(reader, "got 3 4 5 6\n");
  EXPECT_EQ(statistics().consumers[0].books, (Books{.committed = 10, .delivered = 3, .in_flight = 7}));
  reader.kill();
  send(producer, 20U);
  const auto block = statistics();
  ASSERT_EQ(block.consumers.size(), 1U);
  const auto& dead = block.consumers[0];
  EXPECT_TRUE(dead.ended);
  EXPECT_TRUE(dead.members.empty());
  expect_closed(dead.books);
  EXPECT_EQ(dead.books.delivered, 3U);
}

// ---- stopped is not dead -----------------------------------------------------------------------------------------------

TEST_F(StoppedReader, OfASequenceIsNeverRobbed) {
  auto producer = create({.slot_count = 4});
  auto reader = spawn({"attach sequential next", "ready", "take", "wait", "check", "release", "read 3", "wait"});
  send(producer, 4U);
  expect_says(reader, "got 0\n");
  reader.stop();
  const auto time =
      duration_of([&] { EXPECT_EQ(producer.acquire_write_slot(100ms).status(), AcquireStatus::timed_out); });
  EXPECT_GE(time, 100ms);
  EXPECT_LT(time, 5s);
  const auto slowest = producer.statistics().slowest();
  ASSERT_TRUE(slowest);
  ASSERT_EQ(slowest->members.size(), 1U);
  EXPECT_EQ(slowest->members[0].pid(), reader.pid());
  EXPECT_EQ(slowest->holding, 0U);
  expect_error([&] { DataBlock::force_reclaim(name_); }, errc::in_use, path().string());
  reader.release();
  reader.resume();
  expect_says(reader, "intact\nreleased\n");
  EXPECT_EQ(send(producer), 4U);
  finish_well(reader);
}

TEST_F(StoppedReader, OfTheLatestOrUnderOverwriteIsNeverRobbed) {
  for (const char* how : {"latest", "sequential"}) {
    auto producer = create({.slot_count = 8, .on_full = OnFull::overwrite_oldest});
    auto reader =
        spawn({std::string{"attach "} + how + " next", "ready", "take", "wait", "check", "release", "take", "wait"});
    send(producer, 1U);
    expect_says(reader, "got 0\n");
    reader.stop();
    send(producer, 100U);
    reader.release();
    reader.resume();
    expect_says(reader, "intact\nreleased\ngot ");
    EXPECT_GE(producer.statistics().voids, 10U);
    finish_well(reader);
  }
}

// ---- groups ------------------------------------------------------------------------------------------------------------

TEST_F(GroupHandBack, GivesWhatADeadMemberHeldToAnotherMarkedAsDeliveredBefore) {
  for (const char* how : {"take", "batch 1", "batch 4"}) {
    SCOPED_TRACE(how);
    auto producer = create({.slot_count = 64});
    auto other = join("team", StartAt::next());
    auto victim = spawn({"attach sequential next team", "ready", "wait", how, "wait"});
    send(producer, 20U);
    victim.release();  // as many as it can take are there
    expect_says(victim, "got 0");
    const auto held = ids_in(victim.output());
    ASSERT_EQ(held.size(), how == std::string{"batch 4"} ? 4U : 1U);
    std::vector<SlotId> fresh, again;
    const auto read_all = [&] {
      for (;;) {
        const auto slot = other.acquire_consume_slot(0ms);
        if (!slot) return;
        expect_whole(slot, default_size);
        (slot.redelivered() ? again : fresh).push_back(slot.id());
      }
    };
    read_all();
    EXPECT_EQ(fresh, range(held.size(), 20));
    EXPECT_TRUE(again.empty()) << "it lives";
    EXPECT_EQ(other.books().in_flight, held.size());
    victim.kill();
    EXPECT_TRUE(wait_until([&] {
      read_all();
      return again.size() >= held.size();
    })) << "they are lost";
    EXPECT_EQ(again, held);
    EXPECT_EQ(fresh.size() + again.size(), 20U);
    EXPECT_EQ(other.books(), (Books{.committed = 20, .delivered = 20}));
    EXPECT_EQ(producer.statistics().consumers.front().redelivered, held.size());
  }
}

TEST_F(GroupHandBack, GivesWhatADeadMemberHeldToAnotherThoughTheProducerHasGonePastIt) {
  for (const std::size_t further : {1U, 20U, 100U}) {
    SCOPED_TRACE(further);
    auto producer = create({.slot_count = 32, .on_full = OnFull::overwrite_oldest});
    auto other = join("team", StartAt::next());
    auto victim = spawn({"attach sequential next team", "ready", "wait", "batch 3", "wait"});
    send(producer, 6U);
    victim.release();
    expect_says(victim, "got 0 1 2\n");
    send(producer, further);
    victim.kill();
    DataBlock::force_reclaim(name_);
    send(producer, further);
    for (SlotId id = 0; id < 3; ++id) {
      const auto slot = receive(other);
      EXPECT_EQ(slot.id(), id);
      EXPECT_TRUE(slot.redelivered());
      EXPECT_EQ(slot.gap(), SlotRange{});
      send(producer, further);
      expect_whole(slot, default_size);
    }
    static_cast<void>(receive_all(other));
    const auto books = other.books();
    expect_closed(books);
    EXPECT_EQ(books.in_flight, 0U) << to_string(books);
    EXPECT_EQ(producer.statistics().consumers.front().redelivered, 3U);
  }
}

TEST_F(GroupHandBack, WakesAMemberThatAlreadySleeps) {
  auto producer = create({.slot_count = 64});
  auto victim = spawn({"attach sequential next team", "ready", "take", "wait"});
  auto other = spawn({"attach sequential next team", "ready", "wait", "take", "release", "wait"});
  send(producer, 1U);
  expect_says(victim, "got 0\n");
  other.release();
  expect_asleep(other);
  victim.kill();
  expect_says(other, "got 0 again\nreleased\n");
  finish_well(other);
}

TEST_F(GroupHandBack, ComesBeforeTheNewsThatTheBlockIsRemoved) {
  std::optional<DataBlockProducer> producer{create({.slot_count = 64})};
  auto victim = spawn({"attach sequential next team", "ready", "take", "wait"});
  auto other = spawn({"attach sequential next team", "ready", "wait", "take", "release", "wait"});
  send(*producer, 1U);
  expect_says(victim, "got 0\n");
  producer.reset();
  std::filesystem::remove(path());
  other.release();
  expect_asleep(other);
  victim.kill();
  expect_says(other, "got 0 again\nreleased\n");
  finish_well(other);
}

TEST_F(GroupHandBack, LetsAProducerGoOnOnlyWhenAnotherHasReadIt) {
  auto producer = create({.slot_count = 4});
  auto victim = spawn({"attach sequential next team", "ready", "take", "wait"});
  auto other = join("team", StartAt::next());
  send(producer, 4U);
  expect_says(victim, "got 0\n");
  for (SlotId id = 1; id < 4; ++id) EXPECT_EQ(receive_id(other), id);
  victim.kill();
  EXPECT_EQ(producer.acquire_write_slot(50ms).status(), AcquireStatus::timed_out) << "it belongs to the group";
  const auto slot = receive(other);
  EXPECT_EQ(slot.id(), 0U);
  EXPECT_TRUE(slot.redelivered());
  EXPECT_FALSE(producer.acquire_write_slot(0ms));
  expect_whole(slot, default_size);
}

TEST_F(GroupHandBack, HappensAgainIfTheAdopterDiesAsWell) {
  auto producer = create({.slot_count = 64});
  auto last = join("team", StartAt::next());
  auto first = spawn({"attach sequential next team", "ready", "wait", "batch 3", "wait"});
  send(producer, 3U);
  first.release();  // all three are there
  expect_says(first, "got 0 1 2\n");
  first.kill();
  for (int i = 0; i < 5; ++i) {
    auto adopter = spawn({"attach sequential next team", "ready", "batch 8", "wait"});
    expect_says(adopter, "got 0 1 2 again\n");
    adopter.kill();
  }
  std::vector<SlotId> ids;
  while (ids.size() < 3) {
    const auto slot = receive(last);
    EXPECT_TRUE(slot.redelivered());
    ids.push_back(slot.id());
  }
  EXPECT_EQ(ids, range(0, 3));
  EXPECT_EQ(last.books(), (Books{.committed = 3, .delivered = 3}));
}

// Adopted slots are given out one by one; one of them is none, because somebody held it when its turn came.
TEST_F(GroupHandBack, GoesOnBehindAVoid) {
  auto producer = create({.slot_count = 64});
  auto last = join("team", StartAt::next());
  auto display = attach_latest();
  send(producer, 6U);
  const auto held = receive(display);
  ASSERT_EQ(held.id(), 5U);
  for (SlotId id = 0; id < 6; ++id) receive_id(last);
  while (send(producer) < 67) receive_id(last);
  receive_id(last);
  auto victim = spawn({"attach sequential next team", "ready", "wait", "batch 3", "wait"});
  ASSERT_EQ(send(producer, 3U), 71U) << "69 is void";
  victim.release();
  expect_says(victim, "got 68 70\n");
  victim.kill();
  EXPECT_EQ(receive_id(last), 71U);
  std::vector<SlotId> again;
  EXPECT_TRUE(wait_until([&] {
    if (const auto slot = last.acquire_consume_slot(0ms)) again.push_back(slot.id());
    return again.size() == 2;
  })) << to_string(last.books());
  EXPECT_EQ(again, (std::vector<SlotId>{68, 70}));
  EXPECT_EQ(last.books(), (Books{.committed = 71, .delivered = 71, .voids = 1}));
}

TEST_F(GroupHandBack, KeepsItsBooksWhenThePlacesOfItsDeadAreGivenAway) {
  auto producer = create({.slot_count = 64});
  auto member = spawn({"attach sequential next team", "ready", "wait", "read 2", "batch 3", "wait"});
  auto other = spawn({"attach sequential next team", "ready", "wait"});
  send(producer, 10U);
  member.release();
  expect_says(member, "got 2 3 4\n");
  member.kill();
  finish_well(other);
  DataBlock::force_reclaim(name_);
  const Books books{.committed = 10, .delivered = 2, .in_flight = 8};
  std::vector<DataBlockConsumer> crowd;
  for (int i = 0; i < 14; ++i) {  // the last one comes to the dead one's place
    const auto block = statistics();
    const auto team = std::find_if(block.consumers.begin(), block.consumers.end(),
                                   [](const ConsumerStatistics& consumer) { return consumer.group == "team"; });
    ASSERT_NE(team, block.consumers.end()) << in_words(block);
    EXPECT_EQ(team->books, books) << i;
    crowd.push_back(attach());
  }
  const auto block = statistics();
  for (const auto& consumer : block.consumers)
    if (consumer.group == "team") {
      EXPECT_EQ(consumer.books, books) << in_words(block);
    }
}

TEST_F(GroupHandBack, EndsWithTheLastMemberAndTheRestIsUndelivered) {
  auto producer = create({.slot_count = 16});
  auto member = spawn({"attach sequential next team", "ready", "wait", "read 3", "batch 2", "wait"});
  send(producer, 10U);
  member.release();
  expect_says(member, "got 3 4\n");
  member.kill();
  send(producer, 20U);  // nobody is waited for
  const auto block = statistics();
  ASSERT_EQ(block.consumers.size(), 1U);
  const auto& team = block.consumers[0];
  EXPECT_EQ(team.group, "team");
  EXPECT_TRUE(team.ended);
  expect_closed(team.books);
  EXPECT_EQ(team.books.delivered, 3U);
  EXPECT_GE(team.books.in_flight, 7U) << "undelivered, and told as such";
  auto next = join("team", StartAt::next());
  send(producer, 1U);
  EXPECT_EQ(receive_id(next), 30U) << "a new group begins where it wants";
}
