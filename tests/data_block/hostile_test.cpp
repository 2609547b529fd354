// Words that are anything (S8): nothing that stands in a block is used unchecked as an offset, a count or a size. And words that
// come to their end and begin anew.
#include "block_words.hpp"
#include "steps.hpp"

using namespace blocks;
using holdfast::test::BlockWords;
namespace detail = holdfast::detail;

namespace {
class HostileBlock : public Blocks, public testing::WithParamInterface<const char*> {
 protected:
  void damage(const char* what, int cases) {
    const auto seed = seed_of_this_run() % 1'000'000'007;
    SCOPED_TRACE("seed " + std::to_string(seed));
    auto worker = SpawnWorker(DATA_BLOCK_DAMAGE_WORKER, what, {name_, GetParam(), seed, cases});
    if (!worker.wait_for_exit(110s).ok()) {
      ADD_FAILURE() << worker.report();
      leftovers_allowed_ = true;
    }
  }
};
INSTANTIATE_TEST_SUITE_P(, HostileBlock, testing::Values("wait", "overwrite"),
                         [](const testing::TestParamInfo<const char*>& policy) { return std::string{policy.param}; });
class WrapAround : public Blocks {};
}  // namespace

TEST_P(HostileBlock, WhoseHeaderIsDamagedIsRefusedOrWorks) { damage("damage_header", 100); }
TEST_P(HostileBlock, WhoseWordsWereDamagedIsRefusedOrWorks) { damage("damage_left_words", 80); }
TEST_P(HostileBlock, WhoseWordsAreDamagedUnderItsUsersIsNoTrap) { damage("damage_used_words", 60); }

TEST_F(WrapAround, LengthsLargerThanTheSlotAreNotBelieved) {
  for (const auto checksum : {Checksum::none, Checksum::on_demand, Checksum::every_read})
    for (const auto length : {default_size + 1, std::size_t{1} << 20U, std::size_t{0xffff'ffff}}) {
      auto producer = create({.slot_count = 8, .checksum = checksum});
      keep();
      auto plain = attach(), display = attach_latest(), member = join("team"), many = attach();
      send(producer, 1U);
      BlockWords{*keeper_}.slot(0).length = static_cast<std::uint32_t>(length);
      const auto look = [&](const SlotView& slot) { EXPECT_LE(slot.bytes().size(), default_size); };
      for (auto* consumer : {&plain, &display, &member}) {
        try {
          const auto slot = consumer->acquire_consume_slot(0ms);
          look(slot);
          if (slot && checksum != Checksum::none) {
            EXPECT_FALSE(slot.verify());
          }
        } catch (const Error& error) {
          EXPECT_TRUE(error.code() == errc::corrupt || error.code() == errc::checksum_mismatch) << error.what();
        }
      }
      try {
        for (const auto& slot : many.acquire_consume_slots(4, 0ms)) look(slot);
      } catch (const Error& error) {
        EXPECT_TRUE(error.code() == errc::corrupt || error.code() == errc::checksum_mismatch) << error.what();
      }
      keeper_.reset();
    }
}

// Each wake-up raises them.
TEST_F(WrapAround, OfTheEventWordsWakesWhoSleeps) {
  auto producer = create({.slot_count = 2});
  keep();
  auto& shared = BlockWords{*keeper_}.shared();
  shared.reader_event = ~std::uint32_t{0} - 5;
  shared.writer_event = ~std::uint32_t{0} - 5;
  auto reader = spawn({"attach sequential next", "ready", "wait", "read 40", "wait"});
  for (int i = 0; i < 20; ++i) {
    send(producer);
    send(producer);
    EXPECT_FALSE(i == 0 && producer.acquire_write_slot(20ms)) << "the ring is full";
    if (i == 0) reader.release();
    expect_asleep(reader);
  }
  expect_says(reader, "read 40");
  finish_well(reader);
  EXPECT_LT(shared.reader_event.load(), 1000U) << "it has wrapped";
}

TEST_F(WrapAround, OfTheGenerationsOfPlacesGoesOn) {
  auto producer = std::optional{create({.slot_count = 8})};
  keep();
  auto& entries = BlockWords{*keeper_}.shared().entries;
  { auto first = attach(), second = attach(), third = attach(); }
  producer.reset();
  for (auto& entry : entries) {
    const auto word = entry.state.load();
    const auto state = detail::entry_state::state(word);
    if (state == detail::EntryState::left)
      entry.state = detail::entry_state::make((1U << 24U) - 3, detail::entry_state::reference(word),
                                              detail::entry_state::kind(word), state);
  }
  for (int i = 0; i < 10; ++i) {
    auto next = DataBlockProducer::attach(name_, 0ms);
    auto one = attach(), display = attach_latest(), member = join("team", StartAt::next());
    send(next, 3U);
    for (auto* consumer : {&one, &display, &member}) {
      EXPECT_FALSE(receive_all(*consumer).empty());
      expect_closed(consumer->books());
    }
    EXPECT_EQ(one.books().delivered, 3U);
  }
  expect_all_closed(statistics());
}

namespace {
/// As if so many messages had been sent already.
void begin_at(SharedMemory& memory, SlotId id) {
  const BlockWords words{memory};
  auto& producer = words.producer();
  producer.head = id;
  producer.base = id;
  producer.claim = id;
  for (auto& record : producer.totals) record.position = id;
}
}  // namespace

TEST_F(WrapAround, OfTheLowerHalfOfSequenceNumbersIsNone) {
  for (const auto policy : {OnFull::wait, OnFull::overwrite_oldest})
    for (const auto first : {(SlotId{1} << 32U) - 5, (SlotId{1} << 31U) - 5, (SlotId{1} << 40U) - 5}) {
      auto maker = std::optional{create({.slot_count = 8, .on_full = policy})};
      keep();
      maker.reset();
      begin_at(*keeper_, first);
      auto producer = DataBlockProducer::attach(name_, 0ms);
      auto plain = attach(), display = attach_latest(), member = join("team", StartAt::next());
      for (SlotId id = first; id < first + 30; ++id) {
        {
          auto slot = producer.acquire_write_slot(0ms);
          ASSERT_TRUE(slot);
          EXPECT_EQ(slot.id(), id);
          slot.as<SlotId>() = id;
          slot.commit(sizeof id);
        }
        for (auto* consumer : {&plain, &display, &member}) {
          const auto slot = consumer->acquire_consume_slot(0ms);
          ASSERT_TRUE(slot);
          EXPECT_EQ(slot.id(), id);
          EXPECT_EQ(slot.as<SlotId>(), id);
          EXPECT_FALSE(slot.gap());
        }
      }
      for (const auto* consumer : {&plain, &display, &member})
        EXPECT_EQ(consumer->books(), (Books{.committed = 30, .delivered = 30}));
      keeper_.reset();
    }
}

// A label has the lower half of its epoch only.
TEST_F(WrapAround, OfEpochsGoesOn) {
  auto maker = std::optional{create({.slot_count = 8})};
  keep();
  auto reader = attach();
  maker.reset();
  auto& role = BlockWords{*keeper_}.shared().role;
  const auto before = role.load();
  role =
      detail::role::make((std::uint64_t{1} << 32U) - 4, detail::role::index(before), detail::role::is_vacant(before));
  for (SlotId id = 0; id < 20; ++id) {
    auto producer = DataBlockProducer::attach(name_, 0ms);
    EXPECT_EQ(send(producer), id);
    if (id % 3 == 0) {
      EXPECT_EQ(receive_all(reader).back(), id);
    }
  }
  static_cast<void>(receive_all(reader));
  EXPECT_EQ(reader.books(), (Books{.committed = 20, .delivered = 20}));
}

TEST_F(WrapAround, OfTheCountOfJoinsGoesOn) {
  auto producer = create({.slot_count = 8});
  keep();
  BlockWords{*keeper_}.shared().joins = ~std::uint64_t{0} - 2;
  for (SlotId id = 0; id < 10; ++id) {
    auto reader = attach();
    EXPECT_EQ(send(producer), id);
    EXPECT_EQ(receive_id(reader), id);
  }
}
