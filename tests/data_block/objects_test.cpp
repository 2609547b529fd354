// Producers, consumers and their handles as objects: typed views, whose thread they belong to, what outlives what, and what they
// carry beside the messages: zone, time stamps, checksums, statistics.
#include <optional>
#include <thread>

#include "block_words.hpp"
#include "blocks.hpp"

using namespace blocks;
using holdfast::test::BlockWords;

namespace {
class DataBlockObjects : public Blocks {
 protected:
  [[nodiscard]] auto error_of(errc code) {
    return [this, code](const std::function<void()>& call, int line = __builtin_LINE()) {
      expect_error(call, code, path().string(), {}, line);
    };
  }
};
class DataBlockRole : public Blocks {};
class DataBlockChecksums : public Blocks {};

struct Point {
  double x, y;
};
}  // namespace

// ---- views -------------------------------------------------------------------------------------------------------------

TEST_F(DataBlockObjects, TypedViewsReadWhatTypedViewsWrote) {
  auto producer = create({.slot_size = sizeof(Point) * 10, .slot_count = 8});
  auto consumer = attach();
  {
    auto slot = producer.acquire_write_slot();
    slot.as<Point>() = {1, 2};
    slot.commit(sizeof(Point));
    slot = producer.acquire_write_slot();
    const auto points = slot.as_span<Point>();
    ASSERT_EQ(points.size(), 10U);
    for (std::size_t i = 0; i < 7; ++i) points[i] = {static_cast<double>(i), 0.5};
    EXPECT_THROW(static_cast<void>(slot.as<std::array<Point, 11>>()), Error);
    EXPECT_THROW(slot.commit(sizeof(Point) * 10 + 1), Error);
    slot.commit(sizeof(Point) * 7);
    EXPECT_FALSE(slot);
  }
  auto slot = receive_raw(consumer);
  EXPECT_EQ(slot.as<Point>().y, 2);
  EXPECT_EQ(slot.as_span<Point>().size(), 1U);
  EXPECT_EQ(slot.bytes().size(), sizeof(Point));
  EXPECT_EQ(code_of([&] { static_cast<void>(slot.as<std::array<Point, 2>>()); }), std::errc::invalid_argument);
  EXPECT_TRUE(slot.release());
  slot = consumer.acquire_consume_slot();
  EXPECT_EQ(slot.id(), 1U);
  ASSERT_EQ(slot.as_span<Point>().size(), 7U);
  EXPECT_EQ(slot.as_span<Point>()[6].x, 6);
}

TEST_F(DataBlockObjects, TypedViewsAreAlignedAsTheirTypeWantsOrRefused) {
  struct alignas(64) Line {
    std::array<std::byte, 64> bytes;
  };
  for (const auto size : {std::size_t{64}, std::size_t{4096}}) {
    SCOPED_TRACE(size);
    auto producer = create({.slot_size = size, .slot_count = 4});
    auto consumer = attach();
    for (int i = 0; i < 6; ++i) {
      auto slot = producer.acquire_write_slot();
      const bool aligned = reinterpret_cast<std::uintptr_t>(slot.bytes().data()) % alignof(Line) == 0;
      EXPECT_EQ(aligned, size == 4096);
      const auto refused = aligned ? std::error_code{} : std::make_error_code(std::errc::invalid_argument);
      EXPECT_EQ(code_of([&] { static_cast<void>(slot.as<Line>()); }), refused);
      EXPECT_EQ(code_of([&] { static_cast<void>(slot.as_span<Line>()); }), refused);
      slot.commit(64);
      const auto read = receive_raw(consumer);
      EXPECT_EQ(code_of([&] { static_cast<void>(read.as<Line>()); }), refused);
      EXPECT_EQ(code_of([&] { static_cast<void>(read.as_span<Line>()); }), refused);
    }
  }
}

TEST_F(DataBlockObjects, MessagesMayBeEmptyOrFillTheWholeSlot) {
  auto producer = create({.slot_size = 100, .slot_count = 4});
  auto consumer = attach();
  auto slot = producer.acquire_write_slot();
  slot.commit(0);
  slot = producer.acquire_write_slot();
  ASSERT_EQ(slot.bytes().size(), 100U);
  std::fill(slot.bytes().begin(), slot.bytes().end(), std::byte{7});
  slot.commit(100);
  EXPECT_TRUE(receive_raw(consumer).bytes().empty());
  const auto full = receive_raw(consumer);
  EXPECT_EQ(std::count(full.bytes().begin(), full.bytes().end(), std::byte{7}), 100);
}

TEST_F(DataBlockObjects, ASlotThatIsDroppedIsAbandonedAndItsNumberUsedForTheNext) {
  auto producer = create({.slot_count = 4});
  auto consumer = attach();
  for (int i = 0; i < 10; ++i) {
    auto slot = producer.acquire_write_slot();
    EXPECT_EQ(slot.id(), 0U);
    std::fill(slot.bytes().begin(), slot.bytes().end(), std::byte{0xee});
  }
  EXPECT_EQ(consumer.acquire_consume_slot(0ms).status(), AcquireStatus::timed_out);
  EXPECT_EQ(send(producer), 0U);
  EXPECT_EQ(receive_id(consumer), 0U);
}

TEST_F(DataBlockObjects, EmptyHandlesAreHarmless) {
  auto producer = create({.slot_count = 2});
  auto consumer = attach();
  auto none = consumer.acquire_consume_slot(0ms);
  EXPECT_FALSE(none);
  EXPECT_TRUE(none.bytes().empty());
  EXPECT_TRUE(none.verify());
  EXPECT_FALSE(none.gap());
  EXPECT_FALSE(none.redelivered());
  EXPECT_TRUE(none.release());
  EXPECT_THROW(static_cast<void>(none.as<char>()), Error);
  auto slots = consumer.acquire_consume_slots(3, 0ms);
  EXPECT_FALSE(slots);
  EXPECT_FALSE(slots.gap());
  EXPECT_TRUE(slots.release());
  EXPECT_EQ(slots.begin(), slots.end());
  send(producer, 2U);
  auto full = producer.acquire_write_slot(0ms);
  EXPECT_FALSE(full);
  EXPECT_TRUE(full.bytes().empty());
  EXPECT_THROW(full.commit(0), Error);
  EXPECT_THROW(static_cast<void>(full.as<char>()), Error);
  EXPECT_THROW(static_cast<void>(full.as_span<char>()), Error);
}

// ---- what outlives what ------------------------------------------------------------------------------------------------

TEST_F(DataBlockObjects, HandlesOutliveTheirProducerAndConsumer) {
  auto producer = std::optional{create({.slot_count = 4})};
  auto consumer = std::optional{attach()};
  send(*producer, 2U);
  auto read = receive(*consumer);
  consumer.reset();
  auto write = producer->acquire_write_slot();
  producer.reset();
  EXPECT_TRUE(exists()) << "both are attached still";
  auto other = attach();
  EXPECT_FALSE(statistics().consumers.empty());
  expect_error([&] { static_cast<void>(DataBlockProducer::attach(name_, 0ms)); }, errc::in_use, path().string());
  expect_whole(read, default_size);
  EXPECT_EQ(commit_message(write), 2U);
  EXPECT_EQ(receive_id(other), 2U);
  EXPECT_TRUE(read.release());
  EXPECT_EQ(send(*std::make_unique<DataBlockProducer>(DataBlockProducer::attach(name_, 0ms))), 3U);
}

TEST_F(DataBlockObjects, ASlotThatIsHeldStaysProtectedWhenItsConsumerHasGone) {
  for (const auto mode : {ReadMode::sequential, ReadMode::latest_only}) {
    auto producer = create({.slot_count = 4});
    auto consumer = std::optional{attach({.mode = mode})};
    send(producer, 1U);
    const auto slot = std::optional{receive(*consumer)};
    consumer.reset();
    for (int i = 0; i < 20; ++i) {
      auto next = producer.acquire_write_slot(0ms);
      if (next) commit_message(next);
      expect_whole(*slot, default_size);
    }
  }
}

TEST_F(DataBlockObjects, MovedObjectsAndHandlesGoOn) {
  auto first = create({.slot_count = 4});
  auto reader = attach();
  auto slot = first.acquire_write_slot();
  auto producer = std::move(first);
  auto moved = std::move(slot);
  EXPECT_EQ(commit_message(moved), 0U);
  auto taken = receive(reader);
  auto consumer = std::move(reader);
  auto held = std::move(taken);
  expect_whole(held, default_size);
  EXPECT_FALSE(taken);  // NOLINT(bugprone-use-after-move): it is empty, and that is the claim
  EXPECT_TRUE(held.release());
  producer = DataBlockProducer::create(second_, {.slot_size = 8});
  EXPECT_EQ(DataBlockProducer::attach(name_, 0ms).outcome(), LockOutcome::clean) << "it has left the role";
  consumer = DataBlockConsumer::attach(second_);
  EXPECT_FALSE(exists());
  send(producer, 3U);
  auto batch = consumer.acquire_consume_slots(2);
  auto slots = std::move(batch);
  EXPECT_EQ(std::distance(slots.begin(), slots.end()), 2);
  EXPECT_FALSE(batch);  // NOLINT(bugprone-use-after-move)
}

TEST_F(DataBlockObjects, OneSlotAtATimeIsHeldByEach) {
  auto producer = create({.slot_count = 8});
  auto consumer = attach();
  send(producer, 2U);
  const auto fails = error_of(errc::in_use);
  auto write = producer.acquire_write_slot();
  fails([&] { static_cast<void>(producer.acquire_write_slot(0ms)); });
  fails([&] { producer.adopt(); });
  EXPECT_EQ(commit_message(write), 2U);
  auto read = receive(consumer);
  fails([&] { static_cast<void>(consumer.acquire_consume_slot(0ms)); });
  fails([&] { static_cast<void>(consumer.acquire_consume_slots(2, 0ms)); });
  fails([&] { consumer.adopt(); });
  expect_whole(read, default_size);
  EXPECT_TRUE(read.release());
  EXPECT_EQ(receive_id(consumer), 1U);
}

TEST_F(DataBlockObjects, UseByAnotherThreadIsDetectedUntilItAdopts) {
  auto producer = create({.slot_count = 8});
  auto consumer = attach();
  send(producer, 3U);
  EXPECT_EQ(receive_id(consumer), 0U);
  const auto fails = error_of(errc::concurrent_use);
  std::thread{[&] {
    fails([&] { static_cast<void>(producer.acquire_write_slot(0ms)); });
    fails([&] { static_cast<void>(consumer.acquire_consume_slot(0ms)); });
    fails([&] { static_cast<void>(consumer.acquire_consume_slots(2, 0ms)); });
    consumer.adopt();
    EXPECT_EQ(receive_id(consumer), 1U);
    producer.adopt();
    EXPECT_EQ(send(producer), 3U);
  }}.join();
  fails([&] { static_cast<void>(producer.acquire_write_slot(0ms)); });
  fails([&] { static_cast<void>(consumer.acquire_consume_slot(0ms)); });
  consumer.adopt();
  producer.adopt();
  EXPECT_EQ(receive_id(consumer), 2U);
  auto slot = producer.acquire_write_slot();
  std::thread{[&] { fails([&] { slot.commit(0); }); }}.join();
  EXPECT_EQ(commit_message(slot), 4U);
}

TEST_F(DataBlockObjects, TheCopiesInAForkedChildAreInert) {
  auto writer = spawn({"create 200 8 wait", "ready", "use_in_child", "write 2", "acquire", "use_in_child", "fill",
                       "commit", "use_in_child", "wait", "write 1"});
  auto reader = spawn({"attach sequential oldest", "ready", "take", "use_in_child", "check", "wait", "check", "release",
                       "use_in_child", "read 3"});
  expect_says(writer, "committed\nthe child did nothing\n");
  expect_says(reader, "the child did nothing\nintact\n");
  const auto block = statistics();
  ASSERT_TRUE(block.producer);
  EXPECT_EQ(block.producer->pid(), writer.pid());
  ASSERT_EQ(block.consumers.size(), 1U);
  EXPECT_EQ(block.consumers.front().holding, 0U) << "its child has released nothing";
  reader.release();
  finish_well(writer);
  finish_well(reader);
  EXPECT_TRUE(reader.output().ends_with("the child did nothing\nread 3, missed 0, last 3\n")) << reader.report();
}

// ---- the role ----------------------------------------------------------------------------------------------------------

TEST_F(DataBlockRole, IsRefusedToASecondProducerAtItsDeadline) {
  auto producer = spawn({"create 200 8 wait", "ready", "wait", "write 1"});
  Clock::duration time{};
  std::int64_t holder = 0;
  time =
      duration_of([&] { holder = holder_told_by([&] { static_cast<void>(DataBlockProducer::attach(name_, 50ms)); }); });
  EXPECT_EQ(holder, producer.pid());
  EXPECT_GE(time, 50ms);
  EXPECT_LT(time, 5s);
  expect_error([&] { static_cast<void>(DataBlockProducer::attach(name_, 0ms)); }, errc::in_use, path().string());
  expect_error([&] { static_cast<void>(create()); }, std::errc::file_exists, path().string());
  EXPECT_EQ(statistics().producer->pid(), producer.pid());
  keep();
  finish_well(producer);
}

TEST_F(DataBlockRole, GoesToWhoWaitsForItWhenTheFirstLeaves) {
  auto first = spawn({"create 200 8 wait", "ready", "write 3", "wait", "leave", "wait"});
  keep();
  auto second = spawn({"ready", "produce", "write 1"});
  expect_says(first, "wrote 2");
  expect_asleep(second);
  EXPECT_EQ(second.output(), "");
  first.release();
  ExpectWorkerOk(second);
  EXPECT_EQ(second.output(), "producing\nwrote 3\n");
  finish_well(first);
}

TEST_F(DataBlockRole, GoesToWhoWaitsForItWhenTheFirstIsKilled) {
  auto first = spawn({"create 200 8 wait", "write 3", "acquire", "half", "ready", "wait"});
  keep();
  auto second = spawn({"ready", "produce", "write 1"});
  expect_asleep(second);
  EXPECT_EQ(second.output(), "");
  first.kill();
  ExpectWorkerOk(second);
  EXPECT_EQ(second.output(), "producing after the death of " + std::to_string(first.pid()) + "\nwrote 3\n");
}

TEST_F(DataBlockRole, GoesToExactlyOneOfManyWhoWait) {
  auto first = spawn({"create 200 8 wait", "ready", "wait"});
  keep();
  auto reader = attach();
  std::vector<WorkerProcess> others;
  for (int i = 0; i < 5; ++i) others.push_back(spawn({"ready", "produce", "write 4", "leave"}));
  first.kill();
  std::vector<SlotId> ids;
  while (ids.size() < 20) ids.push_back(receive_id(reader));
  EXPECT_EQ(ids, range(0, 20));
  ExpectWorkersOk(others);
  for (const auto& other : others) expect_nothing_wrong(other);
}

TEST_F(DataBlockRole, OfABlockWhoseNameIsGoneEndsWithItsProducer) {
  auto producer = std::optional{create({.slot_count = 8})};
  auto reader = attach();
  auto late = attach();
  send(*producer, 2U);
  ASSERT_TRUE(fs::remove(path()));
  EXPECT_EQ(send(*producer), 2U) << "those who are attached go on";
  EXPECT_EQ(receive_all(reader), range(0, 3));
  auto other = create({.slot_count = 8});
  send(other, 1U);
  EXPECT_EQ(reader.acquire_consume_slot(20ms).status(), AcquireStatus::timed_out) << "that is another block";
  producer.reset();
  EXPECT_EQ(receive_all(late), range(0, 3));
  for (auto* consumer : {&reader, &late}) {
    EXPECT_EQ(consumer->acquire_consume_slot(patience).status(), AcquireStatus::removed);
    EXPECT_EQ(consumer->acquire_consume_slots(3, patience).status(), AcquireStatus::removed);
  }
}

TEST_F(DataBlockRole, OfADeadProducerIsTakenOverAsLongAsAConsumerIsAttached) {
  auto writer = spawn({"create 200 8 wait", "write 3", "ready", "wait"});
  auto reader = attach_oldest();
  writer.kill();
  expect_error([&] { static_cast<void>(create()); }, std::errc::file_exists, path().string());
  auto producer = DataBlockProducer::create_or_attach(name_, {.slot_size = default_size, .slot_count = 8});
  EXPECT_EQ(producer.outcome(), LockOutcome::owner_died);
  ASSERT_TRUE(producer.previous_owner());
  EXPECT_EQ(producer.previous_owner()->pid(), writer.pid());
  EXPECT_EQ(send(producer), 3U);
  EXPECT_EQ(receive_all(reader), range(0, 4));
}

// ---- beside the messages -----------------------------------------------------------------------------------------------

TEST_F(DataBlockObjects, TimeStampsTellWhenAMessageWasCommitted) {
  auto producer = create({.slot_count = 8, .time_stamps = true});
  auto consumer = attach();
  const auto begin = Clock::now();
  send(producer, 1U);
  const auto middle = Clock::now();
  send(producer, 1U);
  const auto end = Clock::now();
  const auto first = receive(consumer).committed_at();
  const auto second = receive(consumer).committed_at();
  EXPECT_LE(begin, first);
  EXPECT_LE(first, middle);
  EXPECT_LE(middle, second);
  EXPECT_LE(second, end);
  auto other = DataBlockProducer::create(second_, {.slot_size = 8});
  auto reader = DataBlockConsumer::attach(second_);
  send(other, 1U);
  EXPECT_EQ(receive(reader).committed_at(), Clock::time_point{});
}

TEST_F(DataBlockObjects, TheZoneIsSharedAndItsMutexTellsOfTheDead) {
  auto writer = spawn({"create 200 8 wait zone", "lock_zone", "write_zone 7", "unlock_zone", "lock_zone",
                       "write_zone 9", "ready", "wait"});
  auto reader = attach();
  ASSERT_EQ(reader.zone().size(), 64U);
  EXPECT_FALSE(reader.zone_mutex().try_lock()) << "the writer has it";
  writer.kill();
  EXPECT_EQ(reader.zone_mutex().lock(), LockOutcome::owner_died);
  EXPECT_EQ(reader.zone()[0], std::byte{9});
  reader.zone_mutex().declare_repaired();
  reader.zone_mutex().unlock();
  auto producer = DataBlockProducer::attach(name_);
  EXPECT_EQ(producer.zone_mutex().lock(), LockOutcome::clean);
  producer.zone()[63] = std::byte{1};
  producer.zone_mutex().unlock();
  EXPECT_EQ(reader.zone()[63], std::byte{1});
}

TEST_F(DataBlockObjects, StatisticsCountWhatWasSent) {
  auto producer = create({.slot_count = 16});
  auto consumer = attach({.label = "one"});
  std::uint64_t bytes = 0;
  for (SlotId id = 0; id < 10; ++id) bytes += length_of(id, default_size);
  send(producer, 10U);
  const auto block = statistics();
  EXPECT_EQ(block.committed, 10U);
  EXPECT_EQ(block.bytes, bytes);
  EXPECT_EQ(block.voids, 0U);
  EXPECT_EQ(block.next, 10U);
  EXPECT_EQ(block.producer, ProcessIdentity::self());
  ASSERT_EQ(block.consumers.size(), 1U);
  EXPECT_EQ(block.consumers[0].label, "one");
  EXPECT_EQ(block.consumers[0].group, "");
  EXPECT_FALSE(block.consumers[0].ended);
  EXPECT_EQ(receive_id(consumer), 0U);
  const auto slot = receive(consumer);
  EXPECT_EQ(statistics().consumers[0].holding, 1U);
  EXPECT_EQ(statistics().consumers[0].books, (Books{.committed = 10, .delivered = 1, .in_flight = 9}));
}

namespace {
/// Damages a byte of a message that has been committed.
void damage(SharedMemory& memory, SlotId id) { *BlockWords{memory}.payload(id) ^= std::byte{1}; }
}  // namespace

TEST_F(DataBlockChecksums, OnDemandTellWhoAsks) {
  auto producer = create({.slot_count = 8, .checksum = Checksum::on_demand});
  keep();
  auto consumer = attach();
  send(producer, 4U);
  damage(*keeper_, 1);
  for (SlotId id = 0; id < 4; ++id) {
    const auto slot = receive_raw(consumer);
    EXPECT_EQ(slot.verify(), id != 1);
  }
}

TEST_F(DataBlockChecksums, WithEveryReadKeepDamagedMessagesAwayAndCountThem) {
  auto producer = create({.slot_count = 16, .checksum = Checksum::every_read});
  keep();
  auto consumer = attach();
  auto member = join("team", StartAt::next());
  auto display = attach_latest();
  send(producer, 4U);
  damage(*keeper_, 1);
  const auto mismatch = [&](DataBlockConsumer& reader) {
    expect_error([&] { static_cast<void>(reader.acquire_consume_slot(0ms)); }, errc::checksum_mismatch,
                 path().string());
  };
  for (auto* reader : {&consumer, &member}) {
    EXPECT_EQ(receive_id(*reader), 0U);
    mismatch(*reader);
    EXPECT_EQ(receive_all(*reader), range(2, 4));
    EXPECT_EQ(reader->books(), (Books{.committed = 4, .delivered = 3, .skipped = 1}));
  }
  damage(*keeper_, 3);
  mismatch(display);
  EXPECT_EQ(display.acquire_consume_slot(0ms).status(), AcquireStatus::timed_out);
  EXPECT_EQ(display.books(), (Books{.committed = 4, .delivered = 0, .skipped = 4}));
  send(producer, 1U);
  EXPECT_EQ(receive_id(display), 4U);
  send(producer, 4U);
  damage(*keeper_, 6);
  std::vector<SlotId> ids;
  std::size_t errors = 0;
  while (ids.size() < 4 && errors < 2) try {
      for (const auto& slot : consumer.acquire_consume_slots(16, 0ms)) ids.push_back(slot.id());
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), errc::checksum_mismatch) << error.what();
      ++errors;
    }
  EXPECT_EQ(ids, (std::vector<SlotId>{4, 5, 7, 8}));
  EXPECT_EQ(errors, 1U);
  const auto books = consumer.books();
  expect_closed(books);
  EXPECT_EQ(books.committed, 9U);
  EXPECT_EQ(books.in_flight, 0U);
  EXPECT_EQ(books.skipped, 2U);
}

TEST_F(DataBlockChecksums, ThatFailLeaveNoGapUntold) {
  auto producer = create({.slot_count = 16, .on_full = OnFull::overwrite_oldest, .checksum = Checksum::every_read});
  keep();
  std::optional<DataBlockConsumer> consumer{attach()};
  auto one = join("team"), other = join("team");
  const auto lap = [&] {
    send(producer, 40U);
    return receive_id(*std::make_unique<DataBlockConsumer>(attach({.start = StartAt::oldest()})));
  };
  const auto gap_and_id = [](DataBlockConsumer& reader) {
    const auto slot = receive(reader);
    return std::pair{slot.gap(), slot.id()};
  };
  const auto mismatch = [](DataBlockConsumer& reader) {
    EXPECT_EQ(code_of([&] { static_cast<void>(reader.acquire_consume_slot(0ms)); }), errc::checksum_mismatch);
  };
  using Told = std::pair<SlotRange, SlotId>;
  const SlotId oldest = lap();
  ASSERT_GT(oldest, 1U) << "some have been overwritten";
  damage(*keeper_, oldest);
  mismatch(*consumer);
  EXPECT_EQ(gap_and_id(*consumer), (Told{{0, oldest + 1}, oldest + 1}));
  EXPECT_EQ(gap_and_id(*consumer), (Told{{}, oldest + 2}));
  consumer.reset();  // what it holds would be left out in the next lap
  mismatch(one);
  EXPECT_EQ(gap_and_id(other), (Told{{}, oldest + 1})) << "the other one has been told of it by an error";
  const SlotId later = lap() + 2;  // too late again: an eighth of the ring further ahead
  EXPECT_EQ(gap_and_id(one), (Told{{0, oldest + 1}, later})) << "not what the other one had";
  EXPECT_EQ(gap_and_id(one), (Told{{oldest + 2, later - oldest - 2}, later + 1}));
  EXPECT_EQ(gap_and_id(one), (Told{{}, later + 2}));
  expect_closed(one.books());
  EXPECT_EQ(one.books().skipped, later - 1) << "all but what the other one had";
}
