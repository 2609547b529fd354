// Messages between real processes (S1): every byte of every message, in every combination of policy and reading mode, from
// writers that have ended, to readers that come late, and what is asked at attaching (S8).
#include "blocks.hpp"

using namespace blocks;

namespace {
class DataBlockExchange : public Blocks {};
}  // namespace

TEST_F(DataBlockExchange, CrossProcessDataExchangeWriterThenReaderVerifiesContent) {
  auto writer = spawn({"create 200 16 wait stays", "ready", "write 10"});
  ExpectWorkerOk(writer);  // it is gone before the reader comes
  EXPECT_EQ(state(), SegmentState::orphaned);
  EXPECT_EQ(run({"attach sequential oldest", "read 10", "take 0", "books"}),
            "attached\nread 10, missed 0, last 9\ntimed out\n10 committed, 10 delivered, 0 skipped, 0 in flight\n");
  EXPECT_EQ(run({"produce", "write 1"}), "producing\nwrote 10\n") << "the sequence goes on";
  EXPECT_TRUE(SharedMemory::remove(name_));
}

TEST_F(DataBlockExchange, AReaderThatWaitsForTheBlockHasAllOfIt) {
  auto reader = spawn({"ready", "attach sequential oldest", "read 100"});
  auto writer = spawn({"create 200 16 wait", "attach sequential oldest", "ready", "wait", "leave", "leave"});
  expect_says(reader, "attached");
  finish_well(writer);
  auto producer = DataBlockProducer::attach(name_);
  send(producer, 100);
  ExpectWorkerOk(reader);
  EXPECT_EQ(reader.output(), "attached\nread 100, missed 0, last 99\n");
}

// ---- every combination -------------------------------------------------------------------------------------------------

namespace {
struct Combination {
  const char* policy;
  const char* mode;
  bool checksums;
};
class DataBlockCombination : public Blocks, public testing::WithParamInterface<Combination> {};
std::vector<Combination> combinations() {
  std::vector<Combination> all;
  for (const auto* policy : {"wait", "overwrite", "refuse"})
    for (const auto* mode : {"sequential", "latest", "group"})
      for (const bool checksums : {false, true}) all.push_back({policy, mode, checksums});
  return all;
}
INSTANTIATE_TEST_SUITE_P(, DataBlockCombination, testing::ValuesIn(combinations()),
                         [](const testing::TestParamInfo<Combination>& test) {
                           return std::string{test.param.policy} + "_" + test.param.mode +
                                  (test.param.checksums ? "_with_checksums" : "");
                         });
}  // namespace

TEST_P(DataBlockCombination, DeliversWholeMessagesAndClosesTheBooks) {
  const auto& [policy, mode, checksums] = GetParam();
  constexpr std::uint64_t count = 3000;
  auto writer = spawn({std::string{"create 200 16 "} + policy + (checksums ? " checks" : ""), "ready", "wait",
                       "write_in_time " + std::to_string(count), "wait"});
  keep();
  const std::string how = mode == std::string{"group"} ? "sequential next team" : mode + std::string{" next"};
  std::vector<WorkerProcess> readers;
  for (int i = 0; i < 2; ++i) readers.push_back(spawn({"attach " + how, "ready", "read_on print"}));
  writer.release();
  expect_says(writer, "wrote");
  const auto all_read = [&] {
    const auto now = statistics();
    return std::all_of(now.consumers.begin(), now.consumers.end(),
                       [](const auto& consumer) { return consumer.ended || consumer.books.in_flight == 0; });
  };
  EXPECT_TRUE(wait_until(all_read)) << "somebody does not get on: " << in_words(statistics());
  const auto block = statistics();
  EXPECT_EQ(block.committed, count);
  const bool group = mode == std::string{"group"}, latest = mode == std::string{"latest"};
  EXPECT_EQ(block.consumers.size(), group ? 1U : 2U);
  for (const auto& consumer : block.consumers) {
    expect_closed(consumer.books);
    if (group && policy == std::string{"overwrite"}) {
      EXPECT_GE(consumer.books.committed, count);  // voids that were overwritten unseen are taken for data
    } else {
      EXPECT_EQ(consumer.books.committed, count);
    }
    if (!latest && policy != std::string{"overwrite"}) {
      EXPECT_EQ(consumer.books.delivered, count);
    }
    EXPECT_GT(consumer.books.delivered, 0U);
  }
  std::vector<SlotId> ids;
  for (auto& reader : readers) {
    finish_well(reader);
    const auto mine = ids_in(reader.output());
    EXPECT_TRUE(std::is_sorted(mine.begin(), mine.end())) << reader.report();
    EXPECT_EQ(std::adjacent_find(mine.begin(), mine.end()), mine.end()) << "one came twice";
    if (!group) {
      ASSERT_FALSE(mine.empty());
      EXPECT_EQ(mine.back(), block.next - 1) << "the newest is read by all";
    }
    ids.insert(ids.end(), mine.begin(), mine.end());
  }
  std::sort(ids.begin(), ids.end());
  if (group) {
    EXPECT_EQ(std::adjacent_find(ids.begin(), ids.end()), ids.end()) << "two members had the same";
    if (policy != std::string{"overwrite"}) {
      EXPECT_EQ(ids, range(0, count));
    }
  }
  finish_well(writer);
}

// ---- where a reader begins ---------------------------------------------------------------------------------------------

namespace {
class LateJoiner : public Blocks {};
}  // namespace

TEST_F(LateJoiner, BeginsWithTheNextOrTheOldestOrAnyIdBetween) {
  auto producer = create({.slot_count = 16});
  send(producer, 40U);  // with nobody to wait for
  auto next = attach();
  auto oldest = attach_oldest();
  auto chosen = attach({.start = StartAt::id(35)});
  auto head = attach({.start = StartAt::id(40)});
  EXPECT_EQ(next.acquire_consume_slot(0ms).status(), AcquireStatus::timed_out);
  {
    const auto slot = receive(oldest);
    EXPECT_GE(slot.id(), 24U);
    EXPECT_LE(slot.id(), 24U + 16 / 8) << "at most an eighth of the ring is missing";
    EXPECT_FALSE(slot.gap()) << "nothing was asked for that is not there";
  }
  send(producer, 1U);
  EXPECT_EQ(receive_id(next), 40U);
  EXPECT_EQ(receive_id(head), 40U);
  const auto rest = receive_all(oldest);
  EXPECT_EQ(rest.back(), 40U);
  EXPECT_EQ(receive_all(chosen), range(35, 41));
  for (const auto* consumer : {&next, &oldest, &chosen, &head}) {
    const auto books = consumer->books();
    expect_closed(books);
    EXPECT_EQ(books.in_flight, 0U);
    EXPECT_EQ(books.skipped, 0U);
  }
}

TEST_F(LateJoiner, IsToldOfAGapWhereItsBeginningHasBeenOverwritten) {
  auto producer = create({.slot_count = 16});
  send(producer, 40U);
  auto consumer = attach({.start = StartAt::id(5)});
  const auto slot = receive(consumer);
  EXPECT_EQ(slot.gap().first, 5U);
  EXPECT_EQ(slot.gap().first + slot.gap().count, slot.id());
  EXPECT_GE(slot.id(), 24U);
}

TEST_F(LateJoiner, IsToldOfNoGapWhereItsBeginningIsAVoid) {
  auto producer = create({.slot_count = 16});
  auto display = attach_latest();
  send(producer, 1U);
  {
    const auto held = receive(display);
    ASSERT_EQ(send(producer, 16U), 17U) << "16 would be in the slot that is held";
  }
  auto consumer = attach({.start = StartAt::id(16)});
  auto member = join("team", StartAt::id(16));
  for (auto* reader : {&consumer, &member}) {
    const auto slot = receive(*reader);
    EXPECT_EQ(slot.id(), 17U);
    EXPECT_EQ(slot.gap(), SlotRange{}) << "nothing is missing";
  }
}

TEST_F(LateJoiner, IsToldOfItsGapWithItsFirstSlotThoughItHadToWaitForThat) {
  std::optional<DataBlockProducer> producer{create({.slot_count = 2})};
  auto display = attach_latest();
  send(*producer, 3U);
  {
    const auto held = receive(display);
    ASSERT_EQ(held.id(), 2U);
    ASSERT_EQ(send(*producer), 3U);
    const auto abandoned = producer->acquire_write_slot(patience);
    ASSERT_EQ(abandoned.id(), 5U) << "4 would be in the slot that is held";
  }
  producer.reset();
  producer.emplace(DataBlockProducer::attach(name_));
  auto consumer = attach({.start = StartAt::id(0)});
  EXPECT_FALSE(consumer.acquire_consume_slot(0ms));
  const auto next = send(*producer, 1U);
  {
    const auto slot = receive(consumer);
    EXPECT_EQ(slot.id(), next);
    EXPECT_EQ(slot.gap(), (SlotRange{0, next}));
  }
  send(*producer, 1U);
  EXPECT_EQ(receive(consumer).gap(), SlotRange{});
}

TEST_F(LateJoiner, IsRefusedBeyondWhatHasBeenCommitted) {
  auto producer = create({.slot_count = 16});
  send(producer, 3U);
  for (const SlotId beyond : {SlotId{4}, SlotId{1000}, ~SlotId{0}})
    expect_error([&] { static_cast<void>(attach({.start = StartAt::id(beyond)})); }, std::errc::invalid_argument,
                 path().string());
  EXPECT_TRUE(statistics().consumers.empty()) << "none has been left behind";
  send(producer, 30U);  // and the producer waits for nobody
}

TEST_F(LateJoiner, OfAGroupGoesOnWhereTheGroupIs) {
  auto producer = create({.slot_count = 16});
  send(producer, 10U);
  auto first = join("team", StartAt::id(4));
  EXPECT_EQ(receive_id(first), 4U);
  auto second = join("team", StartAt::oldest());
  EXPECT_EQ(receive_id(second), 5U);
  auto others = join("others", StartAt::id(9));
  EXPECT_EQ(receive_id(others), 9U);
}

TEST_F(LateJoiner, OfTheLatestBeginsWithTheNewestOrTheNext) {
  auto producer = create({.slot_count = 16});
  send(producer, 5U);
  auto next = attach_latest();
  auto newest = attach({.mode = ReadMode::latest_only, .start = StartAt::oldest()});
  EXPECT_EQ(next.acquire_consume_slot(0ms).status(), AcquireStatus::timed_out);
  EXPECT_EQ(receive_id(newest), 4U);
  send(producer, 1U);
  EXPECT_EQ(receive_id(next), 5U);
  EXPECT_EQ(receive_id(newest), 5U);
}

// Readers come and go while a writer is at full speed: what each gets is whole and without a gap.
TEST_F(LateJoiner, AtFullSpeedGetsWholeMessagesWithoutAHole) {
  auto producer = spawn({"create 200 16 wait", "ready", "write_on"});
  for (int i = 0; i < 20; ++i) {
    for (const auto start : {StartAt::next(), StartAt::oldest()}) {
      auto consumer = attach({.start = start});
      auto expected = receive_id(consumer);
      for (int k = 0; k < 40; ++k) EXPECT_EQ(receive_id(consumer), ++expected);
      expect_closed(consumer.books());
    }
    auto latest = attach_latest();
    SlotId before = receive_id(latest);
    for (int k = 0; k < 10; ++k) {
      const auto now = receive_id(latest);
      EXPECT_GT(now, before);
      before = now;
    }
  }
  keep();
  finish_well(producer);
}

// ---- what attaching asks for -------------------------------------------------------------------------------------------

namespace {
struct Frame {
  std::uint64_t number;
  double values[3];
};
}  // namespace

TEST_F(DataBlockExchange, OptionsAreVisibleToAllWhoAttach) {
  DataBlockOptions options{.slot_size = 1000, .slot_count = 20, .on_full = OnFull::refuse};
  options.schema = Schema::of<Frame>("frames", 3);
  options.zone_size = 100;
  options.checksum = Checksum::on_demand;
  options.time_stamps = true;
  auto producer = create(options);
  auto consumer = attach();
  auto observer = DataBlock::attach(name_);
  for (const auto& seen : {producer.options(), consumer.options(), observer.options()}) {
    EXPECT_EQ(seen.slot_size, 1000U);
    EXPECT_EQ(seen.slot_count, 32U) << "rounded up";
    EXPECT_EQ(seen.on_full, OnFull::refuse);
    EXPECT_EQ(seen.schema, options.schema);
    EXPECT_EQ(seen.zone_size, 100U);
    EXPECT_EQ(seen.checksum, Checksum::on_demand);
    EXPECT_TRUE(seen.time_stamps);
  }
  EXPECT_EQ(producer.zone().size(), 100U);
  EXPECT_EQ(consumer.zone().size(), 100U);
}

TEST_F(DataBlockExchange, OtherOptionsThanTheBlockHasAreRefused) {
  DataBlockOptions options{.slot_size = 256, .slot_count = 16, .schema = Schema::of<Frame>("frames", 3)};
  auto producer = std::optional{create(options)};
  auto keeper = attach({.schema = options.schema});
  producer.reset();
  const auto refused = [&](DataBlockOptions other, errc code) {
    expect_error([&] { static_cast<void>(DataBlockProducer::create_or_attach(name_, other)); }, code, path().string());
  };
  const auto with = [&](auto member, auto value) {
    auto other = options;
    other.*member = value;
    return other;
  };
  refused(with(&DataBlockOptions::slot_size, std::size_t{300}), errc::layout_mismatch);
  refused(with(&DataBlockOptions::slot_count, std::size_t{32}), errc::layout_mismatch);
  refused(with(&DataBlockOptions::on_full, OnFull::refuse), errc::layout_mismatch);
  refused(with(&DataBlockOptions::zone_size, std::size_t{64}), errc::layout_mismatch);
  refused(with(&DataBlockOptions::checksum, Checksum::on_demand), errc::layout_mismatch);
  refused(with(&DataBlockOptions::schema, Schema::of<Frame>("frames", 4)), errc::schema_mismatch);
  refused(with(&DataBlockOptions::schema, Schema::of<Frame>("other", 3)), errc::schema_mismatch);
  refused(with(&DataBlockOptions::schema, Schema::of<std::uint64_t>("frames", 3)), errc::schema_mismatch);
  EXPECT_FALSE(statistics().producer) << "nobody who was refused has the role";
  EXPECT_EQ(DataBlockProducer::create_or_attach(name_, options).options().schema, options.schema);
}

TEST_F(DataBlockExchange, AConsumerThatExpectsAnotherSchemaIsRefused) {
  auto producer = create({.slot_size = 256, .schema = Schema::of<Frame>("frames", 3)});
  const auto refused = [&](const Schema& schema) {
    expect_error([&] { static_cast<void>(attach({.schema = schema})); }, errc::schema_mismatch, path().string());
  };
  refused(Schema::of<Frame>("frames", 2));
  refused(Schema::of<Frame>("frame", 3));
  refused(Schema::of<std::array<Frame, 2>>("frames", 3));
  static_cast<void>(attach({.schema = Schema::of<Frame>("frames", 3)}));
  static_cast<void>(attach());  // does not care
  EXPECT_TRUE(statistics().consumers.empty() || statistics().consumers.front().ended);
}

TEST_F(DataBlockExchange, OptionsThatCannotBeAreRefused) {
  const auto refused = [&](const DataBlockOptions& options) {
    EXPECT_EQ(code_of([&] { static_cast<void>(DataBlockProducer::create(name_, options)); }),
              std::errc::invalid_argument);
    EXPECT_FALSE(exists());
  };
  refused({});
  refused({.slot_size = std::size_t{1} << 33U});
  refused({.slot_size = 8, .slot_count = 0});
  refused({.slot_size = 8, .slot_count = 1});
  refused({.slot_size = 8, .slot_count = ~std::size_t{0}});
  refused({.slot_size = std::size_t{1} << 32U, .slot_count = std::size_t{1} << 40U});
  refused({.slot_size = 8, .schema = {.name = std::string(64, 'x')}});
  refused({.slot_size = 8, .zone_size = ~std::size_t{0}});
  auto producer = create();
  const auto refused_consumer = [&](const ConsumerOptions& options) {
    expect_error([&] { static_cast<void>(attach(options)); }, std::errc::invalid_argument, path().string());
  };
  refused_consumer({.mode = ReadMode::latest_only, .group = "team"});
  refused_consumer({.mode = ReadMode::latest_only, .start = StartAt::id(0)});
  refused_consumer({.label = std::string(64, 'x')});
  refused_consumer({.group = std::string(64, 'x')});
  static_cast<void>(attach({.label = std::string(63, 'x'), .group = std::string(63, 'y')}));
}

TEST_F(DataBlockExchange, ASegmentThatIsNoBlockIsForeign) {
  const auto memory = SharedMemory::create(name_, 1 << 20);
  expect_error([&] { static_cast<void>(attach()); }, errc::foreign, path().string());
  expect_error([&] { static_cast<void>(DataBlockProducer::attach(name_)); }, errc::foreign, path().string());
  expect_error([&] { static_cast<void>(DataBlock::attach(name_)); }, errc::foreign, path().string());
}
