// What a full ring means (S6), what each reading mode promises (S1), who is told of what they missed (S5), and that every wait
// ends at its deadline (S4).
#include <numeric>
#include <thread>

#include "block_words.hpp"
#include "blocks.hpp"

using namespace blocks;
using holdfast::test::BlockWords;

namespace {
class FullRing : public Blocks {};
class LatestOnly : public Blocks {};
class Batches : public Blocks {};
class Waits : public Blocks {};

/// The shortest of several, because another process may have the processor for any time.
Clock::duration shortest_of(int rounds, const std::function<void()>& call) {
  auto shortest = duration_of(call);
  while (--rounds > 0) shortest = std::min(shortest, duration_of(call));
  return shortest;
}

/// Where it is in the list, by its label.
ConsumerStatistics of(const BlockStatistics& block, std::string_view label) {
  for (const auto& consumer : block.consumers)
    if (consumer.label == label || consumer.group == label) return consumer;
  throw std::runtime_error{"no such consumer"};
}
}  // namespace

TEST_F(FullRing, OfWaitHonoursTheDeadlineAndNamesTheSlowest) {
  auto producer = create({.slot_count = 8});
  auto slow = attach({.label = "slow"});
  auto fast = attach({.label = "fast"});
  send(producer, 8U);
  for (int i = 0; i < 5; ++i) static_cast<void>(receive_id(fast));
  AcquireStatus status{};
  const auto time = shortest_of(5, [&] { status = producer.acquire_write_slot(50ms).status(); });
  EXPECT_EQ(status, AcquireStatus::timed_out);
  EXPECT_GE(time, 50ms);
  EXPECT_LT(time, 250ms);
  const auto block = producer.statistics();
  ASSERT_TRUE(block.slowest());
  EXPECT_EQ(block.slowest()->label, "slow");
  EXPECT_EQ(block.slowest()->books.in_flight, 8U);
  EXPECT_EQ(block.slowest()->members, std::vector{ProcessIdentity::self()});
  EXPECT_EQ(of(block, "fast").books.in_flight, 3U);
  EXPECT_GE(block.waits, 1U);
  EXPECT_GE(block.refused, 5U);
  static_cast<void>(receive_id(slow));
  EXPECT_EQ(send(producer, 0ms), 8U) << "a passed deadline takes what is free";
}

TEST_F(FullRing, OfRefuseAnswersAtOnce) {
  auto producer = create({.slot_count = 8, .on_full = OnFull::refuse});
  auto consumer = attach();
  send(producer, 8U);
  AcquireStatus status{};
  EXPECT_LT(shortest_of(5, [&] { status = producer.acquire_write_slot(20s).status(); }), 5ms);
  EXPECT_EQ(status, AcquireStatus::full);
  EXPECT_EQ(producer.acquire_write_slot().status(), AcquireStatus::full);
  EXPECT_EQ(producer.statistics().slowest()->books.in_flight, 8U);
  EXPECT_EQ(receive_id(consumer), 0U);
  EXPECT_EQ(send(producer, 20s), 8U);
}

TEST_F(FullRing, OfOverwriteNeverWaitsAndTellsTheRangeThatIsMissing) {
  auto producer = create({.slot_count = 16, .on_full = OnFull::overwrite_oldest});
  auto consumer = attach();
  std::uint64_t delivered = 0, missed = 0, gaps = 0;
  SlotId next = 0;
  const auto read = [&](int most) {
    while (most-- > 0) {
      auto slot = consumer.acquire_consume_slot(0ms);
      if (!slot) return;
      expect_whole(slot, default_size);
      if (const auto gap = slot.gap()) {
        EXPECT_GE(gap.first, next);
        EXPECT_LE(gap.first + gap.count, slot.id());
        missed += gap.count;
        ++gaps;
      }
      EXPECT_GE(slot.id(), next);
      next = slot.id() + 1;
      EXPECT_EQ(consumer.books().delivered, delivered++);
      expect_closed(consumer.books());
    }
  };
  for (std::size_t burst = 1; burst <= 60; ++burst) {
    for (std::size_t i = 0; i < burst; ++i) send(producer, 0ms);
    read(10);
  }
  read(1000);
  const auto books = consumer.books();
  expect_closed(books);
  EXPECT_EQ(books.committed, 60U * 61 / 2);
  EXPECT_EQ(books.in_flight, 0U);
  EXPECT_EQ(books.delivered, delivered);
  EXPECT_LE(books.skipped, missed);
  EXPECT_GE(books.skipped + books.voids, missed);
  EXPECT_GT(gaps, 10U);
}

// The oldest slots are the next to be overwritten: who is slow would find them gone again and again.
TEST_F(FullRing, OfOverwriteTakesWhoIsTooLateAgainAndAgainFurtherAhead) {
  constexpr SlotId slots = 64, batch = slots / 8;
  auto producer = create({.slot_count = slots, .on_full = OnFull::overwrite_oldest});
  auto consumer = attach();
  SlotId last = 0;
  const auto lapped = [&] {  // how far beyond the oldest slot it goes on
    for (SlotId i = 0; i < 2 * slots; ++i) last = send(producer, 0ms);
    const SlotId claim = (last / batch + 1) * batch;
    const SlotId first = receive(consumer).id();
    for (SlotId i = 1; i < batch; ++i) EXPECT_EQ(receive(consumer).id(), first + i) << "held with the first";
    return first - (claim - slots);
  };
  for (const SlotId ahead : {SlotId{0}, batch, 2 * batch, slots / 2, slots / 2}) EXPECT_EQ(lapped(), ahead);
  static_cast<void>(receive_all(consumer));
  EXPECT_EQ(lapped(), 0U) << "it has been up to date";
  expect_closed(consumer.books());
}

TEST_F(FullRing, OfOverwriteTakesAGroupThatIsTooLateFurtherAheadToo) {
  constexpr SlotId slots = 64, batch = slots / 8;
  auto producer = create({.slot_count = slots, .on_full = OnFull::overwrite_oldest});
  auto member = attach({.group = "workers"});
  SlotId last = 0, next = 0;
  const auto lapped = [&] {  // how far beyond the oldest slot it goes on
    for (SlotId i = 0; i < 2 * slots; ++i) last = send(producer, 0ms);
    const SlotId claim = (last / batch + 1) * batch;
    const auto slot = receive(member);
    const auto gap = slot.gap();
    EXPECT_TRUE(gap && gap.first == next && gap.first + gap.count == slot.id()) << "it is told what it has lost";
    next = slot.id() + 1;
    return slot.id() - (claim - slots);
  };
  for (const SlotId ahead : {SlotId{0}, batch, 2 * batch, slots / 2, slots / 2}) EXPECT_EQ(lapped(), ahead);
  static_cast<void>(receive_all(member));
  next = last + 1;
  EXPECT_EQ(lapped(), 0U) << "it has been up to date";
  expect_closed(member.books());
}

// A held range is passed over at once, but no slot that has not been claimed (P2).
TEST_F(FullRing, OfOverwriteClaimsWhatItPassesOver) {
  auto producer = create({.slot_count = 64, .on_full = OnFull::overwrite_oldest});
  keep();
  const BlockWords words{*keeper_};
  send(producer, 64U);
  auto consumer = attach({.start = StartAt::id(3)});
  EXPECT_EQ(receive(consumer).id(), 3U) << "it holds 3 to 10";
  EXPECT_EQ(send(producer, 4U), 75U) << "67 to 74 are passed over";
  EXPECT_EQ(words.producer().claim, 80U);
}

// Never so many in a row that nothing of what was committed last would be left (I2).
TEST_F(FullRing, OfOverwriteWaitsWhereToPassOverMoreWouldLeaveNothing) {
  constexpr SlotId slots = 16;
  auto producer = create({.slot_count = slots, .on_full = OnFull::overwrite_oldest});
  keep();
  const BlockWords words{*keeper_};
  auto display = attach_latest();
  send(producer, 2U);
  const auto shown = receive(display);
  ASSERT_EQ(shown.id(), 1U);
  send(producer, slots - 2);
  std::vector<DataBlockConsumer> readers;
  for (SlotId first = 2; first < slots; first += 2) {  // two slots each
    readers.push_back(attach({.start = StartAt::id(first)}));
    ASSERT_EQ(receive(readers.back()).id(), first);
  }
  ASSERT_EQ(send(producer, 0ms), slots) << "into the only slot that is free";
  const auto slot = producer.acquire_write_slot(0ms);
  EXPECT_EQ(slot.status(), holdfast::AcquireStatus::timed_out);
  EXPECT_LE(words.producer().claim, words.producer().head + slots);
}

TEST_F(FullRing, OfOverwriteDoesNotTouchASlotThatIsBeingRead) {
  auto producer = create({.slot_count = 8, .on_full = OnFull::overwrite_oldest});
  auto consumer = attach();
  send(producer, 3U);
  auto slot = receive(consumer);
  EXPECT_EQ(slot.id(), 0U);
  for (int i = 0; i < 50; ++i) {
    send(producer, 0ms);
    expect_whole(slot, default_size);
  }
  const auto voids = producer.statistics().voids;
  EXPECT_GE(voids, 5U) << "its turn came several times";
  EXPECT_TRUE(slot.release());
  const auto after = receive(consumer);
  EXPECT_TRUE(after.gap());
  const auto books = consumer.books();
  expect_closed(books);
  EXPECT_EQ(books.committed, 53U);
}

/// The slot that was acquired last is the next one again then, and is not held.
TEST_F(FullRing, OfTwoSlotsIsStillFullWhenOneOfThemHasBeenPassedOver) {
  auto producer = create({.slot_count = 2});
  auto reader = attach();
  auto display = attach_latest();
  send(producer, 0ms);
  auto held = receive_raw(display);
  send(producer, 0ms);
  EXPECT_EQ(receive_id(reader), 0U);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(producer.acquire_write_slot(0ms).status(), AcquireStatus::timed_out);
  EXPECT_TRUE(held.release());
  EXPECT_EQ(receive_id(reader), 1U);
  EXPECT_EQ(send(producer, 0ms), 3U);
  EXPECT_EQ(receive_id(reader), 3U);
  EXPECT_EQ(producer.statistics().voids, 1U);
  expect_closed(reader.books());
}

TEST_F(FullRing, WithoutAConsumerOrWithLatestOnlyNeverStopsTheProducer) {
  for (const auto policy : {OnFull::wait, OnFull::refuse, OnFull::overwrite_oldest}) {
    auto producer = create({.slot_count = 8, .on_full = policy});
    for (int i = 0; i < 40; ++i) send(producer, 0ms);
    {
      auto display = attach_latest();
      send(producer, 0ms);
      const auto slot = receive(display);
      for (int i = 0; i < 40; ++i) send(producer, 0ms);
      expect_whole(slot, default_size);
    }
    for (int i = 0; i < 40; ++i) send(producer, 0ms);
  }
}

// n = 2, both slots held: no void helps.
TEST_F(FullRing, WhoseSlotsAreAllHeldMakesTheProducerWaitUntilItsDeadline) {
  for (const auto policy : {OnFull::wait, OnFull::refuse, OnFull::overwrite_oldest}) {
    SCOPED_TRACE(std::string{to_string(policy)});
    auto producer = create({.slot_count = 2, .on_full = policy});
    auto first = attach_latest();
    auto second = attach_latest();
    send(producer, 0ms);
    auto one = std::optional{receive(first)};
    send(producer, 0ms);
    const auto other = receive(second);
    ASSERT_NE(one->id() % 2, other.id() % 2) << "they hold both slots";
    AcquireStatus status{};
    const auto time = shortest_of(3, [&] { status = producer.acquire_write_slot(30ms).status(); });
    if (policy == OnFull::refuse) {
      EXPECT_EQ(status, AcquireStatus::full);
    } else {
      EXPECT_EQ(status, AcquireStatus::timed_out);
      EXPECT_GE(time, 30ms);
      EXPECT_LT(time, 250ms);
    }
    expect_whole(*one, default_size);
    one.reset();
    const auto id = send(producer, 0ms);
    EXPECT_NE(id % 2, other.id() % 2);
    expect_whole(other, default_size);
    EXPECT_EQ(receive_id(first), id);
  }
}

TEST_F(FullRing, OfSeveralConsumersGoesOnWithTheSlowest) {
  auto producer = create({.slot_count = 8});
  std::vector<DataBlockConsumer> consumers;
  for (int i = 0; i < 5; ++i) consumers.push_back(attach());
  for (std::size_t round = 0; round < 40; ++round) {
    send(producer, 8U);
    EXPECT_FALSE(producer.acquire_write_slot(0ms));
    for (std::size_t i = 0; i < consumers.size(); ++i) {
      auto& consumer = consumers[(round + i) % consumers.size()];
      EXPECT_EQ(receive_all(consumer), range(round * 8, round * 8 + 8));
    }
  }
  consumers.erase(consumers.begin(), consumers.begin() + 4);
  send(producer, 8U);
  consumers.clear();  // who leaves is waited for no more
  send(producer, 20U);
  expect_all_closed(producer.statistics());
}

// ---- the newest --------------------------------------------------------------------------------------------------------

TEST_F(LatestOnly, IsGivenTheNewestNeverOneTwice) {
  auto producer = create({.slot_count = 16});
  auto display = attach_latest();
  std::uint64_t delivered = 0, missed = 0, sent = 0;
  for (std::size_t burst = 1; burst < 40; ++burst) {
    const auto last = send(producer, burst);
    sent += burst;
    {
      const auto slot = receive(display);
      EXPECT_EQ(slot.id(), last);
      EXPECT_EQ(slot.gap().count, burst - 1);
      EXPECT_TRUE(burst == 1 || slot.gap().first == last - burst + 1);
      missed += slot.gap().count;
      expect_closed(display.books());
      EXPECT_EQ(display.books().delivered, delivered);
      EXPECT_GE(display.books().in_flight, 1U);
    }
    ++delivered;
    EXPECT_EQ(display.acquire_consume_slot(0ms).status(), AcquireStatus::timed_out);
    EXPECT_EQ(display.last_consumed_slot_id(), last);
  }
  EXPECT_EQ(display.books(), (Books{.committed = sent, .delivered = delivered, .skipped = missed}));
}

TEST_F(LatestOnly, KeepsItsSlotWhileTheProducerLaps) {
  auto producer = create({.slot_count = 16});
  auto display = attach_latest();
  send(producer, 5U);
  auto slot = receive(display);
  for (int i = 0; i < 100; ++i) {
    send(producer, 0ms);
    expect_whole(slot, default_size);
  }
  EXPECT_TRUE(slot.release());
  const auto block = producer.statistics();
  EXPECT_GE(block.voids, 5U);
  EXPECT_EQ(receive_id(display), block.next - 1);
  const auto books = display.books();
  expect_closed(books);
  EXPECT_EQ(books.committed, 105U);
  EXPECT_EQ(books.voids, block.voids);
}

TEST_F(LatestOnly, AndSequentialReadersShareARing) {
  for (const auto policy : {OnFull::wait, OnFull::overwrite_oldest}) {
    auto producer = create({.slot_count = 16, .on_full = policy});
    auto recorder = attach({.label = "recorder"});
    auto display = attach({.mode = ReadMode::latest_only, .label = "display"});
    std::vector<SlotId> recorded;
    std::optional<ConsumeSlot> shown;
    for (int i = 0; i < 300; ++i) {
      send(producer, 0ms);
      if (i % 30 == 7) shown.emplace(receive(display));
      if (i % 30 == 29) shown.reset();
      if (shown) expect_whole(*shown, default_size);
      for (const auto id : receive_all(recorder)) recorded.push_back(id);
    }
    EXPECT_EQ(recorded.size(), 300U) << "voids are no data";
    const auto block = producer.statistics();
    EXPECT_GT(block.voids, 0U);
    EXPECT_EQ(of(block, "recorder").books.voids, block.voids);
    EXPECT_EQ(of(block, "recorder").books.delivered, 300U);
    expect_all_closed(block);
  }
}

// ---- several at once ---------------------------------------------------------------------------------------------------

TEST_F(Batches, AreInOrderAndReleasedTogether) {
  auto producer = create({.slot_count = 16});
  auto consumer = attach();
  send(producer, 16U);
  {
    const auto slots = consumer.acquire_consume_slots(10);
    ASSERT_TRUE(slots);
    std::vector<SlotId> ids;
    for (const SlotView& slot : slots) {
      expect_whole(slot, default_size);
      ids.push_back(slot.id());
    }
    EXPECT_EQ(ids, range(0, 10));
    EXPECT_FALSE(producer.acquire_write_slot(0ms)) << "they are held";
    EXPECT_EQ(consumer.books().in_flight, 16U);
  }
  EXPECT_EQ(consumer.books().delivered, 10U);
  send(producer, 10U);
  EXPECT_EQ(receive_id(consumer), 10U);
  auto slots = consumer.acquire_consume_slots(100);
  EXPECT_EQ(std::distance(slots.begin(), slots.end()), 15) << "what is there, without waiting for more";
  EXPECT_TRUE(slots.release());
  EXPECT_FALSE(slots);
  EXPECT_EQ(slots.begin(), slots.end());
  EXPECT_EQ(consumer.acquire_consume_slots(1, 0ms).status(), AcquireStatus::timed_out);
  EXPECT_EQ(consumer.last_consumed_slot_id(), 25U);
}

TEST_F(Batches, UnderOverwriteAndInAGroupAreAnEighthOfTheRingAtMost) {
  auto producer = create({.slot_count = 32, .on_full = OnFull::overwrite_oldest});
  auto plain = attach();
  auto member = join("team");
  auto display = attach_latest();
  send(producer, 32U);
  for (auto* consumer : {&plain, &member}) {
    const auto slots = consumer->acquire_consume_slots(100);
    const auto count = std::distance(slots.begin(), slots.end());
    EXPECT_GE(count, 1);
    EXPECT_LE(count, 4);
    for (const auto& slot : slots) expect_whole(slot, default_size);
  }
  const auto newest = display.acquire_consume_slots(100);
  ASSERT_EQ(std::distance(newest.begin(), newest.end()), 1);
  EXPECT_EQ((*newest.begin()).id(), 31U);
}

TEST_F(Batches, PassOverVoids) {
  auto producer = create({.slot_count = 16});
  auto display = attach_latest();
  auto consumer = attach();
  send(producer, 4U);
  const auto held = receive(display);  // 3: its turn comes again with 19
  for (int i = 0; i < 4; ++i) static_cast<void>(receive_id(consumer));
  for (int round = 0; round < 10; ++round) {
    send(producer, 12U);
    std::size_t count = 0, batches = 0;
    for (; count < 12 && batches < 12; ++batches) {
      const auto slots = consumer.acquire_consume_slots(16, patience);
      for (const auto& slot : slots) {
        EXPECT_NE(slot.id() % 16, 3U);
        expect_whole(slot, default_size);
        ++count;
      }
      EXPECT_FALSE(slots.gap()) << "no data is missing";
    }
    EXPECT_EQ(count, 12U);
    EXPECT_LE(batches, 2U) << "one may end at a void";
  }
  EXPECT_GT(consumer.books().voids, 5U);
  expect_closed(consumer.books());
}

/// Their producer's place is somebody else's, who begins with other words, while they are held or not read yet.
TEST_F(Batches, OfEarlierProducersStayWholeThoughTheirPlacesAreGivenAway) {
  std::optional<DataBlockProducer> producer{create({.slot_count = 64})};
  auto consumer = attach();
  auto member = join("team", StartAt::next());
  for (int i = 0; i < 16; ++i) static_cast<void>(attach());  // from here on places are given away again
  send(*producer, 40U);
  producer.reset();
  producer.emplace(DataBlockProducer::attach(name_));
  send(*producer, 10U);
  EXPECT_EQ(receive_id(member), 0U) << "who looks at the words of the second producer";
  const auto held = consumer.acquire_consume_slots(40, patience);
  producer.reset();
  producer.emplace(DataBlockProducer::attach(name_));
  std::vector<DataBlockConsumer> crowd;
  for (int i = 0; i < 20; ++i) crowd.push_back(attach());
  EXPECT_EQ(std::distance(held.begin(), held.end()), 40);
  EXPECT_EQ(receive_all(member), range(1, 50));
  EXPECT_EQ(member.books(), (Books{.committed = 50, .delivered = 50}));
}

// ---- waiting -----------------------------------------------------------------------------------------------------------

TEST_F(Waits, OfAConsumerHonourTheDeadline) {
  auto producer = create({.slot_count = 8});
  auto plain = attach(), display = attach_latest(), member = join("team");
  for (auto* one : {&plain, &display, &member}) {
    auto& consumer = *one;
    AcquireStatus status{};
    const auto time = shortest_of(5, [&] { status = consumer.acquire_consume_slot(50ms).status(); });
    EXPECT_EQ(status, AcquireStatus::timed_out);
    EXPECT_GE(time, 50ms);
    EXPECT_LT(time, 250ms);
    EXPECT_LT(shortest_of(5, [&] { status = consumer.acquire_consume_slots(3, 0ms).status(); }), 5ms);
    EXPECT_EQ(status, AcquireStatus::timed_out);
  }
}

TEST_F(Waits, EndAtAStopRequest) {
  auto producer = create({.slot_count = 8});
  auto consumer = attach();
  std::stop_source stop;
  const auto stop_when_asleep = [&stop](pid_t thread) {
    return std::thread{[&stop, thread] {
      const auto state = [thread] {
        std::ifstream file{"/proc/self/task/" + std::to_string(thread) + "/stat"};
        std::string text;
        std::getline(file, text);
        return text.empty() ? '-' : text.at(text.rfind(')') + 2);
      };
      EXPECT_TRUE(wait_until([&] { return state() == 'S'; }));
      stop.request_stop();
    }};
  };
  auto stopper = stop_when_asleep(::gettid());
  EXPECT_EQ(consumer.acquire_consume_slot(stop.get_token()).status(), AcquireStatus::stopped);
  stopper.join();
  EXPECT_EQ(consumer.acquire_consume_slots(2, stop.get_token()).status(), AcquireStatus::stopped);
  send(producer, 8U);
  EXPECT_EQ(consumer.acquire_consume_slot(stop.get_token()).status(), AcquireStatus::stopped)
      << "takes nothing, though something is there";
  EXPECT_EQ(producer.acquire_write_slot(stop.get_token()).status(), AcquireStatus::stopped);
  stop = {};
  stopper = stop_when_asleep(::gettid());
  EXPECT_EQ(producer.acquire_write_slot(stop.get_token()).status(), AcquireStatus::stopped);
  stopper.join();
  EXPECT_EQ(receive_all(consumer), range(0, 8));
}

TEST_F(Waits, OfAProducerEndWhenAReaderReleasesOrLeaves) {
  auto producer = create({.slot_count = 4});
  auto reader = spawn({"attach sequential next", "ready", "wait", "take", "release", "wait", "leave", "wait"});
  send(producer, 4U);
  EXPECT_FALSE(producer.acquire_write_slot(0ms));
  reader.release();
  EXPECT_EQ(send(producer), 4U);
  EXPECT_FALSE(producer.acquire_write_slot(0ms));
  reader.release();
  EXPECT_EQ(send(producer), 5U);
  send(producer, 20U);
  finish_well(reader);
}

// Nobody is woken by a process that does not know that somebody sleeps: each of them sleeps and wakes many times.
TEST_F(Waits, OfAReaderAndAWriterInTurnsNeverMissAWakeUp) {
  auto producer = create({.slot_size = 8, .slot_count = 2});
  auto echo = DataBlockProducer::create(second_, {.slot_size = 8, .slot_count = 2});
  auto reader = attach();
  auto answers = DataBlockConsumer::attach(second_);
  std::thread other{[&] {
    for (std::uint64_t i = 0; i < 2000; ++i) {
      auto slot = reader.acquire_consume_slot(patience);
      ASSERT_TRUE(slot);
      auto answer = echo.acquire_write_slot(patience);
      ASSERT_TRUE(answer);
      answer.as<std::uint64_t>() = slot.as<std::uint64_t>();
      answer.commit(8);
    }
  }};
  std::vector<Clock::duration> times;
  for (std::uint64_t i = 0; i < 2000; ++i) {
    const auto begin = Clock::now();
    auto slot = producer.acquire_write_slot(patience);
    slot.as<std::uint64_t>() = i;
    slot.commit(8);
    const auto answer = answers.acquire_consume_slot(patience);
    ASSERT_TRUE(answer) << "nobody answered " << i;
    EXPECT_EQ(answer.as<std::uint64_t>(), i);
    times.push_back(Clock::now() - begin);
  }
  other.join();
  std::sort(times.begin(), times.end());
  EXPECT_LT(times[times.size() / 2], 9ms) << "woken by the limit of a wait, not by the other";
}
