// What lies between two steps of two processes: words that the dead left there, and comers who meet somebody in the middle.
#include <sys/syscall.h>

#include <array>

#include "block_words.hpp"
#include "steps.hpp"

using namespace blocks;
using holdfast::detail::Entry;
using holdfast::detail::EntryKind;
using holdfast::detail::EntryState;
using holdfast::test::BlockWords;
namespace entry_state = holdfast::detail::entry_state;
namespace member_word = holdfast::detail::member_word;
namespace group_word = holdfast::detail::group_word;
namespace role = holdfast::detail::role;
namespace slot_label = holdfast::detail::slot_label;

namespace {
/// The active entry of that kind that was taken last.
Entry& last_entry(const BlockWords& words, EntryKind kind) {
  Entry* last = nullptr;
  for (Entry& entry : words.shared().entries)
    if (entry_state::kind(entry.state) == kind && entry_state::state(entry.state) == EntryState::active) last = &entry;
  if (last == nullptr) throw std::runtime_error{"there is no such entry"};
  return *last;
}

class LeftBetweenSteps : public Blocks {};

class MetBetweenSteps : public Blocks {
 protected:
  static constexpr long far = 200'000;  // instructions

  /// What a member gets, until nothing is left. It judges the others meanwhile.
  std::vector<SlotId> read_all(DataBlockConsumer& member) {
    std::vector<SlotId> ids;
    EXPECT_TRUE(wait_until([&] {
      while (const auto slot = member.acquire_consume_slot(30ms)) {
        expect_whole(slot, default_size);
        ids.push_back(slot.id());
      }
      return member.books().in_flight == 0;
    })) << to_string(member.books());
    return ids;
  }
  /// Until it has the role of one who is dead already. How many that are is the compiler's business.
  long instructions_of_a_take_over() {
    auto dead = spawn({"create 200 8 wait", "write 3", "ready", "wait"});
    keep();
    dead.kill();
    auto next = spawn({"attach latest next", "ready", "wait", "begin", "produce 15000", "end", "wait"});
    const BlockWords words{*keeper_};
    const InstructionTracer tracer{next};
    EXPECT_TRUE(tracer.run_to_begin()) << next.report();
    const long all = tracer.step(far, [&, role = words.shared().role.load()] { return words.shared().role != role; });
    next.kill();
    keeper_.reset();
    return all;
  }
  void SetUp() override {
    auto tried = spawn({"ready", "wait"});
    if (!InstructionTracer{tried}.may_trace()) GTEST_SKIP() << "NOT TESTED: this machine does not permit to trace";
  }
};
}  // namespace

// Killed between label and head (P8, P9): the label has committed it.
TEST_F(LeftBetweenSteps, AMessageThatHasItsLabelIsCommittedWithoutAHead) {
  for (const std::string on_full : {"wait", "overwrite"}) {
    SCOPED_TRACE(on_full);
    auto writer = spawn({"create 200 8 " + on_full, "write 10", "acquire", "fill", "ready", "wait"});
    keep();
    auto reader = attach(), slow = attach();
    auto display = attach_latest();
    auto member = join("team", StartAt::next());
    auto asleep = spawn({"attach latest next", "ready", "take", "wait"});
    const BlockWords words{*keeper_};
    writer.kill();
    expect_asleep(asleep);
    EXPECT_EQ(statistics().committed, 10U);
    words.slot(10).length = length_of(10, default_size);
    words.slot(10).voids = 0;
    words.slot(10).label = slot_label::make(10, role::epoch(words.shared().role));
    EXPECT_EQ(statistics().committed, 11U);
    EXPECT_EQ(reader.books().in_flight, 1U);
    EXPECT_EQ(receive_id(reader), 10U);
    EXPECT_FALSE(reader.acquire_consume_slot(0ms));
    expect_says(asleep, "got 10\n");  // it looks after 10 ms: nobody wakes it
    asleep.kill();
    EXPECT_EQ(receive_id(display, 0ms), 10U);
    EXPECT_EQ(receive_id(member, 0ms), 10U);
    expect_all_closed(statistics());
    auto resumed = attach({.start = StartAt::id(11)}), late = attach({.start = StartAt::id(10)});
    auto producer = DataBlockProducer::attach(name_, 0ms);
    EXPECT_EQ(producer.outcome(), LockOutcome::owner_died);
    EXPECT_EQ(producer.statistics().next, 11U);
    EXPECT_EQ(send(producer), 11U);
    EXPECT_EQ(receive_all(reader), range(11, 12));
    EXPECT_EQ(receive_all(resumed), range(11, 12));
    EXPECT_EQ(receive_all(slow), range(10, 12));
    EXPECT_EQ(receive_all(late), range(10, 12));
    EXPECT_EQ(receive_id(display), 11U);
    EXPECT_EQ(receive_all(member), range(11, 12));
    EXPECT_EQ(statistics().voids, 0U);
    expect_all_closed(statistics());
    keeper_.reset();
  }
}

TEST_F(LeftBetweenSteps, AMessageThatHasItsLabelIsReadBeforeTheBlockIsToldToBeRemoved) {
  auto writer = spawn({"create 200 8 wait", "write 3", "acquire", "fill", "ready", "wait"});
  keep();
  auto reader = attach();
  const BlockWords words{*keeper_};
  writer.kill();
  words.slot(3).length = length_of(3, default_size);
  words.slot(3).voids = 0;
  words.slot(3).label = slot_label::make(3, role::epoch(words.shared().role));
  ASSERT_TRUE(std::filesystem::remove(path()));
  {
    std::vector<SlotId> ids;
    for (const auto& slot : reader.acquire_consume_slots(2, patience)) {
      expect_whole(slot, default_size);
      ids.push_back(slot.id());
    }
    EXPECT_EQ(ids, range(3, 4));
  }
  EXPECT_EQ(reader.acquire_consume_slot(patience).status(), AcquireStatus::removed);
}

// Killed between label and head, with a void below it: that is no label of the slot at head. The next one spends the number on a
// void, too, and only the one after that looks as if it had found the label below its beginning (T3).
TEST_F(LeftBetweenSteps, AMessageThatWasNeverCommittedIsShownByNoLaterProducerEither) {
  auto writer = spawn({"create 200 8 wait", "write 10", "acquire", "fill", "ready", "wait"});
  keep();
  auto reader = attach();
  auto display = attach_latest();
  const BlockWords words{*keeper_};
  ASSERT_EQ(reader.books().in_flight, 0U);
  writer.kill();
  words.producer().claim = 12;  // 10 was a void
  words.slot(11).length = length_of(11, default_size);
  words.slot(11).voids = 1;
  words.slot(11).label = slot_label::make(11, role::epoch(words.shared().role));
  EXPECT_EQ(statistics().committed, 10U);
  Entry& holder = last_entry(words, EntryKind::latest);
  holder.hold = 3;  // one who has shown its hold, and has not found out yet that it comes too late
  {
    auto second = DataBlockProducer::attach(name_, 0ms);
    ASSERT_EQ(send(second), 10U);
    ASSERT_EQ(send(second), 12U) << "11 is a void";
  }
  holder.hold = holdfast::detail::no_sequence;
  auto third = DataBlockProducer::attach(name_, 0ms);
  EXPECT_EQ(send(third), 13U);
  EXPECT_EQ(receive_all(reader), (std::vector<SlotId>{10, 12, 13})) << "nobody committed 11";
  expect_all_closed(statistics());
}

// Killed between the second word that names the slots and the end of the first (A2, A4): each is handed on once.
TEST_F(LeftBetweenSteps, SlotsThatTwoDeadMembersNameAreHandedOnOnce) {
  auto producer = create({.slot_count = 64});
  auto keeper = join("team", StartAt::next());
  auto first = spawn({"attach sequential next team", "ready", "wait", "batch 3", "wait"});
  auto adopter = spawn({"attach sequential next team", "ready", "wait"});
  keep();
  send(producer, 3U);
  first.release();
  expect_says(first, "got 0 1 2\n");
  Entry& second = last_entry(BlockWords{*keeper_}, EntryKind::member);
  first.kill();
  adopter.kill();
  second.member = member_word::make(0, 3, member_word::parity(second.member), holdfast::detail::MemberState::again);
  EXPECT_EQ(keeper.books(), (Books{.committed = 3, .in_flight = 3})) << "named twice, and counted once";
  std::vector<SlotId> ids;
  const auto read_all = [&] {
    while (const auto slot = keeper.acquire_consume_slot(30ms)) {  // it judges the others meanwhile
      EXPECT_TRUE(slot.redelivered());
      expect_whole(slot, default_size);
      ids.push_back(slot.id());
    }
  };
  EXPECT_TRUE(wait_until([&] {
    read_all();
    return keeper.books().in_flight == 0;
  })) << to_string(keeper.books());
  read_all();
  EXPECT_EQ(ids, range(0, 3));
  EXPECT_EQ(keeper.books(), (Books{.committed = 3, .delivered = 3}));
}

// By somebody who may be stopped: nobody else can take them now.
TEST_F(LeftBetweenSteps, SlotsThatAreBeingAdoptedKeepNobodyBusyWhoWaits) {
  auto producer = create({.slot_count = 64});
  auto member = join("team", StartAt::next());
  keep();
  const BlockWords words{*keeper_};
  const Entry& mine = last_entry(words, EntryKind::member);
  auto& group = words.shared().groups[mine.group];
  group.adopter = entry_state::reference(mine.state);
  group.orphans = 1;
  const std::array<DataBlockConsumer*, 1> all{&member};
  const auto time = duration_of([&] { EXPECT_EQ(DataBlockConsumer::wait_any(all, 50ms), std::nullopt); });
  EXPECT_GE(time, 50ms);
  group.adopter = 0;
  EXPECT_EQ(DataBlockConsumer::wait_any(all, patience), 0U) << "anybody may look what it is";
}

TEST_F(LeftBetweenSteps, ADeadReadersHoldIsDroppedAloneIfALiveOneHoldsTheSameSlot) {
  auto producer = create({.slot_count = 8});
  auto dead =
      spawn({"attach latest next", "ready", "wait", "take", "wait"});  // it comes first where holds are looked at
  auto display = attach_latest();
  send(producer, 1U);
  dead.release();
  expect_says(dead, "got 0\n");
  const auto slot = receive(display);
  ASSERT_EQ(slot.id(), 0U);
  dead.kill();
  for (int i = 0; i < 40; ++i) {
    EXPECT_NE(send(producer) % 8, 0U);
    expect_whole(slot, default_size);
  }
}

// It hopes for half of the ring first; but then every slot is enough.
TEST_F(LeftBetweenSteps, AProducerThatHasSleptInVainIsWokenForASingleSlot) {
  auto writer = spawn({"create 200 8 wait", "ready", "wait", "write 9"});
  keep();
  auto reader = attach();
  writer.release();
  const BlockWords words{*keeper_};
  EXPECT_TRUE(wait_until([&] { return words.shared().writer_target == 1; })) << words.shared().writer_target;
  static_cast<void>(receive_id(reader));
  ExpectWorkerOk(writer);
  EXPECT_EQ(receive_all(reader), range(1, 9));
}

TEST_F(LeftBetweenSteps, ASlotThatComesTheShortWayIsHeldUntilItsRelease) {
  auto producer = create({.slot_count = 4});
  auto reader = attach();
  send(producer, 3U);
  EXPECT_EQ(receive_id(reader), 0U);
  const auto slot = receive(reader);  // there are more: no look at anything but its label
  EXPECT_EQ(send(producer, 2U), 4U);
  EXPECT_EQ(producer.acquire_write_slot(0ms).status(), AcquireStatus::timed_out);
  expect_whole(slot, default_size);
}

// A sleep ends after 10 ms all the same; but whoever makes room says so.
TEST_F(LeftBetweenSteps, AReaderWakesAProducerThatSleeps) {
  auto writer = spawn({"create 200 8 wait", "ready", "wait", "write 28"});
  keep();
  auto reader = attach();
  writer.release();
  const auto& shared = BlockWords{*keeper_}.shared();
  int woken = 0;
  for (SlotId id = 0; id < 20; ++id) {
    EXPECT_TRUE(wait_until([&] { return shared.writer_target <= id + 1; })) << shared.writer_target;
    const auto before = shared.writer_event.load();
    EXPECT_EQ(receive_id(reader), id);
    if (shared.writer_event != before) ++woken;
  }
  EXPECT_GT(woken, 0);
  ExpectWorkerOk(writer);
}

// Its voids are published together with the next message: the newest one is there for all who come now.
TEST_F(LeftBetweenSteps, AProducerThatHasOnlySpentAVoidShowsItToNobody) {
  auto producer = create({.slot_count = 8});
  auto display = attach_latest();
  send(producer, 1U);
  const auto held = receive(display);
  send(producer, 7U);
  auto next = producer.acquire_write_slot(0ms);
  ASSERT_EQ(next.id(), 9U) << "8 would lie in the slot that is held";
  auto other = attach({.mode = ReadMode::latest_only, .start = StartAt::oldest()});
  EXPECT_EQ(receive_id(other, 50ms), 7U);
  EXPECT_EQ(statistics().next, 8U);
  expect_whole(held, default_size);
}

// It waits for the joiner, or the joiner sees the claim (B-join).
TEST_F(MetBetweenSteps, AJoinerMayComeAfterAnyInstructionOfAClaim) {
  long claimed = 0, kept = 0;
  const auto stop_after = [&](long instructions) {
    SCOPED_TRACE("stopped after instruction " + std::to_string(instructions));
    // No clock is read before the claim: single-stepped, that takes so long that the kernel sets it meanwhile and it is read
    // again, and the number of instructions would be another one each time.
    auto writer = spawn(
        {"create 200 8 wait", "write 20", "ready", "wait", "begin", "acquire never", "end", "fill", "commit", "wait"});
    keep();
    const BlockWords words{*keeper_};
    const InstructionTracer tracer{writer};
    ASSERT_TRUE(tracer.run_to_begin()) << writer.report();
    if (instructions == 0)
      claimed = tracer.step(100'000, [&] { return words.producer().claim == 21; });
    else
      tracer.step(instructions);
    auto reader = attach_oldest();
    {
      const auto slot = receive(reader);
      if (slot.id() == 12) ++kept;
      tracer.let_go();
      EXPECT_TRUE(wait_until([&] { return says(writer, "committed\n") || state_of(writer.pid()) == 'S'; }));
      expect_whole(slot, default_size);
    }
    expect_says(writer, "committed\n");
    EXPECT_EQ(receive_all(reader).back(), 20U);
    expect_all_closed(statistics());
    writer.kill();
    keeper_.reset();
  };
  ASSERT_NO_FATAL_FAILURE(stop_after(0));
  ASSERT_GT(claimed, 100);
  for (long instructions = claimed - 100; instructions < claimed + 40; instructions += 5) {
    ASSERT_NO_FATAL_FAILURE(stop_after(instructions));
    if (HasFailure()) return;
  }
  std::cout << kept << " times it waited for the joiner\n";
  EXPECT_GT(kept, 1);
}

// Where the dead one ended is read after the proof of its death: it may commit until then.
TEST_F(MetBetweenSteps, AProducerMayCommitAndDieAfterAnyInstructionOfWhoWaitsForItsRole) {
  const long all = instructions_of_a_take_over();
  ASSERT_LT(all, far);
  for (long instructions = all / 24; instructions < all; instructions += all / 12) {
    SCOPED_TRACE("stopped after instruction " + std::to_string(instructions));
    auto writer = spawn({"create 200 8 wait", "write 3", "ready", "wait", "write 1", "wait"});
    keep();
    auto reader = attach_oldest();
    auto next = spawn({"attach latest next", "ready", "wait", "begin", "produce 15000", "end", "write 1", "wait"});
    const InstructionTracer tracer{next};
    ASSERT_TRUE(tracer.run_to_begin()) << next.report();
    tracer.step(instructions);
    writer.release();
    expect_says(writer, "wrote 3\n");
    writer.kill();
    tracer.let_go();
    expect_says(next, "wrote ");
    EXPECT_TRUE(says(next, "wrote 4\n")) << next.report();
    EXPECT_EQ(receive_all(reader), range(0, 5));
    next.kill();
    keeper_.reset();
    if (HasFailure()) return;
  }
}

// By compare-and-swap: whoever comes late with the same proof is refused.
TEST_F(MetBetweenSteps, ARoleThatSomebodyElseTakesAfterAnyInstructionIsNotTakenAgain) {
  const long all = instructions_of_a_take_over();
  ASSERT_LT(all, far);
  for (long instructions = all / 24; instructions < all; instructions += all / 12) {
    SCOPED_TRACE("stopped after instruction " + std::to_string(instructions));
    auto dead = spawn({"create 200 8 wait", "write 3", "ready", "wait"});
    keep();
    auto late = spawn({"attach latest next", "ready", "wait", "begin", "produce 20", "end", "wait"});
    dead.kill();
    const InstructionTracer tracer{late};
    ASSERT_TRUE(tracer.run_to_begin()) << late.report();
    tracer.step(instructions);
    std::optional<DataBlockProducer> producer;
    try {
      producer.emplace(DataBlockProducer::attach(name_, 0ms));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), errc::in_use) << "it was faster";
    }
    tracer.let_go();
    expect_says(late, producer ? error_line(errc::in_use) : "producing");
    if (producer) send(*producer);
    producer.reset();
    late.kill();
    keeper_.reset();
    if (HasFailure()) return;
  }
}

// Its end is noted after its state has been changed, and then its place may be somebody else's (I1).
TEST_F(MetBetweenSteps, WhoNotesAnEndLateChangesNothingOfTheNextInThatPlace) {
  auto late = spawn({"create 200 8 wait", "ready", "wait", "write 8", "begin", "write 2", "end", "wait"});
  auto dead = spawn({"attach sequential next", "ready", "wait"});
  keep();
  const BlockWords words{*keeper_};
  const Entry& place = last_entry(words, EntryKind::sequential);
  for (int i = 0; i < 16; ++i) static_cast<void>(attach());  // from here on places are given away again
  dead.kill();
  const InstructionTracer tracer{late};
  ASSERT_TRUE(tracer.run_to_begin()) << late.report();
  ASSERT_TRUE(tracer.run_to_call(SYS_pidfd_open)) << "it asks whether they live: " << late.report();
  ASSERT_LT(tracer.step(far, [&] { return entry_state::state(place.state) == EntryState::dead; }), far)
      << late.report();
  auto next = attach();
  ASSERT_EQ(&last_entry(words, EntryKind::sequential), &place);
  tracer.let_go();
  expect_says(late, "wrote 9\n");
  EXPECT_EQ(next.books(), (Books{.committed = 2, .in_flight = 2}));
  EXPECT_EQ(receive_all(next), range(8, 10));
  EXPECT_EQ(next.books(), (Books{.committed = 2, .delivered = 2}));
  finish_well(late);
}

// One record is whole at every moment, and the slots from its position to the head tell the rest (I6).
TEST_F(MetBetweenSteps, AProducerMayDieAfterAnyInstructionThatNotesItsTotals) {
  const auto bytes_of = [](std::uint64_t head) {
    std::uint64_t bytes = 0;
    for (std::uint64_t id = 0; id < head; ++id) bytes += length_of(id, default_size);
    return bytes;
  };
  long all = 0;
  for (long instructions = 0; all == 0 || instructions < all; ++instructions) {
    SCOPED_TRACE("killed " + std::to_string(instructions) + " instructions after the first");
    auto writer =
        spawn({"create 200 64 wait", "write 4", "ready", "wait", "begin", "write 9", "end", "wait"});  // claims 8
    keep();
    const BlockWords words{*keeper_};
    const InstructionTracer tracer{writer};
    ASSERT_TRUE(tracer.run_to_begin()) << writer.report();
    const auto& records = words.producer().totals;
    const std::array<std::uint64_t, 2> positions{records[0].position, records[1].position};
    const auto is_noting = [&] { return records[0].position != positions[0] || records[1].position != positions[1]; };
    ASSERT_LT(tracer.step(far, is_noting), far);
    if (all == 0) {
      all = tracer.step(far, [&, claim = words.producer().claim.load()] { return words.producer().claim != claim; });
      ASSERT_LT(all, far);
    } else {
      tracer.step(instructions);
    }
    const auto head = words.producer().head.load();
    for (const bool killed : {false, true}) {
      if (killed) writer.kill();
      const auto now = statistics();
      EXPECT_EQ(now.committed, head);
      EXPECT_EQ(now.bytes, bytes_of(head));
    }
    auto next = DataBlockProducer::attach(name_, 0ms);
    EXPECT_EQ(next.statistics().bytes, bytes_of(head));
    keeper_.reset();
    if (HasFailure()) return;
  }
  EXPECT_GT(all, 3);
}

// Where the next slots are held, the producer passes them over, and writes anew into slots that are still counted from a totals
// record which it has not replaced yet (E-totals).
TEST_F(MetBetweenSteps, BooksAreThoseOfAnInstantWhereverASlotThatTheyCountIsWrittenAnew) {
  long all = 0;
  for (long instructions = 0; all == 0 || instructions < all; instructions += 1 + all / 400) {
    SCOPED_TRACE("a slot is claimed after " + std::to_string(instructions) + " instructions");
    auto producer = create({.slot_count = 2, .on_full = OnFull::overwrite_oldest});
    auto display = attach_latest();
    send(producer);
    const auto held = receive(display);
    auto reader = spawn({"attach latest next", "ready", "wait", "books marked", "wait"});
    send(producer);
    const InstructionTracer tracer{reader};
    ASSERT_TRUE(tracer.run_to_begin()) << reader.report();
    if (all == 0) {
      all = tracer.step(far);
      ASSERT_LT(all, far);
    } else {
      tracer.step(instructions);
    }
    const auto slot = producer.acquire_write_slot(0ms);
    ASSERT_TRUE(slot);
    EXPECT_EQ(slot.id(), 3U);  // in the place of 1; that of 2 is held
    tracer.let_go();
    expect_says(reader, "flight");
    EXPECT_TRUE(says(reader, "1 committed, 0 delivered, 0 skipped, 1 in flight")) << reader.report();
    reader.kill();
    if (HasFailure()) return;
  }
}

// Between G3 and G4: it has won, and knows nothing of it. Whoever takes the next slot says so for it (G1).
TEST_F(MetBetweenSteps, AMemberThatDiesBeforeItKnowsThatItHasWonIsNotForgotten) {
  auto producer = create({.slot_count = 64});
  auto keeper = join("team", StartAt::next());
  auto victim = spawn({"attach sequential next team", "ready", "wait", "begin", "take", "end"});
  keep();
  const BlockWords words{*keeper_};
  const Entry& won = last_entry(words, EntryKind::member);
  const auto& word = words.shared().groups[won.group].word;
  const InstructionTracer tracer{victim};
  ASSERT_TRUE(tracer.run_to_begin()) << victim.report();
  send(producer, 2U);
  ASSERT_LT(tracer.step(far, [&] { return group_word::next(word) == 1; }), far);
  ASSERT_EQ(member_word::state(won.member), holdfast::detail::MemberState::intent);
  victim.kill();
  EXPECT_EQ(receive_id(keeper), 1U) << "the word has gone on before it is judged";
  EXPECT_EQ(read_all(keeper), range(0, 1));
  EXPECT_EQ(keeper.books(), (Books{.committed = 2, .delivered = 2}));
}

// At each moment somebody's word names them, and who has scanned the words in the wrong order scans them again (B-move).
TEST_F(MetBetweenSteps, SlotsThatAreHandedOnAreNamedAllTheTime) {
  auto producer = create({.slot_count = 64});
  auto keeper = join("team", StartAt::next());
  auto first = spawn({"attach sequential next team", "ready", "wait", "batch 3", "wait"});
  keep();
  const BlockWords words{*keeper_};
  Entry& dead = last_entry(words, EntryKind::member);
  auto adopter = spawn({"attach sequential next team", "ready", "wait", "begin", "batch 8", "release", "end", "wait"});
  Entry& mine = last_entry(words, EntryKind::member);
  send(producer, 3U);
  first.release();
  expect_says(first, "got 0 1 2\n");
  first.kill();
  const auto joins = words.shared().joins.load();
  const auto state_in = [](const Entry& entry) { return member_word::state(entry.member); };
  {
    const InstructionTracer tracer{adopter};
    ASSERT_TRUE(tracer.run_to_begin()) << adopter.report();
    ASSERT_LT(tracer.step(far, [&] { return state_in(dead) == holdfast::detail::MemberState::idle; }), far);
    EXPECT_EQ(state_in(mine), holdfast::detail::MemberState::again);
    EXPECT_EQ(member_word::first(mine.member), 0U);
    EXPECT_EQ(member_word::count(mine.member), 3U);
    EXPECT_NE(words.shared().joins, joins);
    ASSERT_LT(tracer.step(far, [&] { return state_in(mine) == holdfast::detail::MemberState::idle; }), far);
    adopter.kill();
  }
  EXPECT_EQ(statistics().consumers.front().redelivered, 3U) << "released and counted at once (G5)";
  EXPECT_TRUE(read_all(keeper).empty());
  EXPECT_EQ(keeper.books(), (Books{.committed = 3, .delivered = 3}));
}

// A producer that is given nothing but voids says so at its deadline, however few slots there are.
TEST_F(LeftBetweenSteps, AProducerWhoseSlotsAreAllHeldComesBackAtItsDeadline) {
  auto writer =
      spawn({"create 200 2 wait", "ready", "wait", "write 1", "wait", "write 1", "wait", "acquire 50", "wait"});
  auto one = attach_latest();
  auto other = attach_latest();
  writer.release();
  const auto first = receive(one);
  writer.release();
  expect_says(writer, "wrote 1\n");
  const auto second = receive(other);
  ASSERT_NE(first.id() % 2, second.id() % 2);
  writer.release();
  expect_says(writer, "timed out\n");
  writer.kill();  // before those who hold, who leave nothing behind
}
