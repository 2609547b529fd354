// What an operator orders (S7). A producer that is broken alive, wherever it was stopped, delivers nothing from then on and ruins
// nothing; who breaks may be killed at any step. Without an order only the dead lose what they have.
#include "block_words.hpp"
#include "steps.hpp"

using namespace blocks;
using holdfast::test::BlockWords;

namespace {
class BrokenProducer : public BlockSteps {
 protected:
  /// A producer that is stopped with a slot. It has taken these steps by then, and takes the others when it goes on.
  void stop_a_producer(std::vector<std::string> before, const std::vector<std::string>& after = {"commit", "wait"}) {
    std::vector<std::string> steps{"create 200 16 wait", "write 5"};
    steps.insert(steps.end(), before.begin(), before.end());
    steps.insert(steps.end(), {"ready", "wait"});
    steps.insert(steps.end(), after.begin(), after.end());
    victim_.emplace(spawn(steps));
    keep();
    reader_.emplace(attach_oldest());
    display_.emplace(attach_latest());
    victim_->stop();
    EXPECT_EQ(state_of(victim_->pid()), 'T');
  }
  /// What of it may be seen has been; the others are this process's.
  void expect_only_mine(SlotId from, std::size_t count) {
    SlotId expected = from;
    for (; count > 0; --count) {
      const auto slot = receive(*reader_);
      EXPECT_GE(slot.id(), expected);
      EXPECT_FALSE(slot.gap());
      if (length_of(slot.id(), default_size) >= 8) {
        EXPECT_EQ(writer_of(slot.bytes()), 0U);
      }
      expected = slot.id() + 1;
    }
    EXPECT_EQ(receive_all(*reader_), range(0, 0));
  }
  void resume() {
    victim_->release();
    victim_->resume();
  }

  std::optional<WorkerProcess> victim_;
  std::optional<DataBlockConsumer> reader_, display_;
};
class BrokenConsumer : public Blocks {};
class ForcedReclaim : public Blocks {};
}  // namespace

TEST_F(BrokenProducer, StoppedBetweenClaimAndPayloadDeliversNothing) {
  stop_a_producer({"acquire"}, {"half", "fill", "half", "commit", "acquire 0", "wait"});
  EXPECT_EQ(receive_all(*reader_), range(0, 5));
  const auto done = DataBlock::break_producer(name_);
  ASSERT_TRUE(done.from);
  EXPECT_EQ(done.from->pid(), victim_->pid());
  EXPECT_NE(done.what, "");
  auto producer = DataBlockProducer::attach(name_, 1s);
  send(producer, 10U);
  resume();
  expect_says(*victim_, error_line(errc::reclaimed));  // at its commit
  expect_only_mine(5, 10);
  for (int i = 0; i < 30; ++i) {
    send(producer);
    expect_only_mine(5, 1);
  }
  expect_all_closed(statistics());
}

TEST_F(BrokenProducer, StoppedBetweenPayloadAndCommitDeliversNothing) {
  stop_a_producer({"acquire", "fill"}, {"commit", "acquire 0", "wait"});
  DataBlock::break_producer(name_);
  resume();
  expect_says(*victim_, error_line(errc::reclaimed));
  EXPECT_EQ(receive_all(*reader_), range(0, 5)) << "nobody has the role, and nothing is delivered";
  EXPECT_EQ(receive_all(*display_), range(0, 0));
  auto producer = DataBlockProducer::attach(name_, 1s);
  send(producer, 3U);
  expect_only_mine(5, 3);
  EXPECT_TRUE(wait_until([&] {
    const auto text = victim_->output();
    return text.find(error_line(errc::reclaimed)) != text.rfind(error_line(errc::reclaimed));
  })) << "its next acquire: "
      << victim_->report();
}

// It does not know yet that it has lost the role, and labels its slot; later ones begin above that.
TEST_F(BrokenProducer, WhoGoesOnLabelsNothingThatALaterProducerTakesForItsPredecessors) {
  stop_a_producer({"acquire", "fill"}, {"commit", "wait"});
  EXPECT_EQ(receive_all(*reader_), range(0, 5));
  DataBlock::break_producer(name_);
  std::optional producer{DataBlockProducer::attach(name_, 1s)};
  send(*producer, 3U);
  resume();
  expect_says(*victim_, error_line(errc::reclaimed));
  ASSERT_TRUE(holdfast::detail::slot_label::names(BlockWords{*keeper_}.slot(5).label, 5));
  producer.reset();
  producer.emplace(DataBlockProducer::attach(name_, 1s));
  send(*producer, 1U);
  expect_only_mine(6, 4);
  expect_all_closed(statistics());
}

// Its slots belong to somebody who may write into them at any time, until he is dead.
TEST_F(BrokenProducer, KeepsTheSlotsThatItHasClaimedUntilItIsDead) {
  stop_a_producer({"acquire"}, {"fill", "half", "wait"});
  const auto slot_of_it = BlockWords{*keeper_}.payload(5);
  EXPECT_EQ(receive_all(*reader_), range(0, 5));
  DataBlock::break_producer(name_);
  auto producer = DataBlockProducer::attach(name_, 1s);
  const auto send_into = [&] {
    auto slot = producer.acquire_write_slot(patience);
    const auto id = slot.id();
    commit_message(slot);
    static_cast<void>(receive_all(*reader_));
    return id;
  };
  for (int i = 0; i < 40; ++i) EXPECT_NE(send_into() % 16, 5U) << "it may be written into";
  resume();
  expect_says(*victim_, "half full\n");
  for (int i = 0; i < 40; ++i) EXPECT_NE(send_into() % 16, 5U);
  EXPECT_EQ(*slot_of_it, std::byte{0xee}) << "it was";
  EXPECT_GE(producer.statistics().voids, 4U);
  victim_->kill();
  EXPECT_TRUE(wait_until([&] { return send_into() % 16 == 5; })) << "it is not used again";
  expect_all_closed(statistics());
}

TEST_F(BrokenProducer, StoppedWithNothingLearnsItAtItsNextAcquire) {
  stop_a_producer({}, {"acquire 0", "produce", "write 1", "wait"});
  DataBlock::break_producer(name_);
  { auto producer = DataBlockProducer::attach(name_, 1s); }
  resume();
  expect_says(*victim_, error_line(errc::reclaimed));
  expect_says(*victim_, "producing\nwrote ");
  static_cast<void>(receive_all(*reader_));
  EXPECT_EQ(reader_->last_consumed_slot_id(), statistics().next - 1);
}

TEST_F(BrokenProducer, HasAnEmptyHandleAfterTheCommitThatTellsIt) {
  auto producer = create({.slot_count = 16});
  auto reader = attach();
  auto slot = producer.acquire_write_slot(patience);
  EXPECT_EQ(code_of([&] { slot.commit(default_size + 1); }), std::errc::invalid_argument);
  EXPECT_TRUE(slot) << "kept: nothing was committed";
  static_cast<void>(run({"break_producer"}));
  EXPECT_EQ(code_of([&] { slot.commit(1); }), errc::reclaimed);
  EXPECT_FALSE(slot);
  EXPECT_EQ(code_of([&] { slot.commit(1); }), std::errc::operation_not_permitted);
  EXPECT_FALSE(reader.acquire_consume_slot(0ms));
}

TEST_F(BrokenProducer, MayBeBrokenAgainAndAgain) {
  auto first = spawn({"create 200 16 wait", "acquire", "ready", "wait"});
  keep();
  std::vector<WorkerProcess> broken;
  auto reader = attach();
  for (SlotId i = 0; i < 3; ++i) {
    DataBlock::break_producer(name_);
    broken.push_back(spawn({"produce", "write 1", "acquire", "half", "ready", "wait", "commit", "wait"}));
    static_cast<void>(receive_id(reader));
  }
  DataBlock::break_producer(name_);
  auto producer = DataBlockProducer::attach(name_, 1s);
  for (int i = 0; i < 40; ++i) {
    send(producer);
    EXPECT_EQ(receive_all(reader).size(), 1U);
  }
  for (auto& worker : broken) {
    worker.release();
    expect_says(worker, error_line(errc::reclaimed));
  }
  for (int i = 0; i < 40; ++i) {
    send(producer);
    EXPECT_EQ(receive_all(reader).size(), 1U);
  }
  expect_all_closed(statistics());
}

TEST_F(BrokenProducer, ThatIsNotThereIsAnError) {
  auto producer = std::optional{create()};
  auto reader = attach();
  producer.reset();
  expect_error([&] { DataBlock::break_producer(name_); }, std::errc::no_such_process, path().string());
  expect_error([&] { DataBlock::break_producer(second_); }, std::errc::no_such_file_or_directory,
               path_of(second_).string());
}

TEST_F(BrokenProducer, ThatIsDeadIsReplacedAsAnyDeadOne) {
  auto victim = spawn({"create 200 16 wait", "write 3", "acquire", "ready", "wait"});
  auto reader = attach_oldest();
  victim.kill();
  DataBlock::break_producer(name_);
  auto producer = DataBlockProducer::attach(name_, 1s);
  EXPECT_EQ(send(producer), 3U);
  EXPECT_EQ(receive_all(reader), range(0, 4));
}

// Between any two instructions around its last stores, among them those between label and head.
TEST_F(BrokenProducer, StoppedAnywhereInACommitDeliversItsMessageWholeOrNotAtAll) {
  long labelled = 0, committed = 0;
  std::uint64_t labelled_only = 0, delivered = 0;
  const auto stop_after = [&](long instructions) {
    SCOPED_TRACE("stopped after instruction " + std::to_string(instructions));
    auto victim = spawn({"create 200 16 wait", "write 4", "acquire", "fill", "ready", "wait", "begin", "commit", "end",
                         "wait", "acquire 0", "wait"});
    keep();
    auto reader = attach_oldest();
    const BlockWords words{*keeper_};
    const auto is_labelled = [&] { return holdfast::detail::slot_label::names(words.slot(4).label.load(), 4); };
    const auto is_committed = [&] { return words.producer().head.load() == 5; };
    const InstructionTracer tracer{victim};
    ASSERT_TRUE(tracer.run_to_begin()) << victim.report();
    if (instructions == 0) {  // to learn where they are
      labelled = tracer.step(100'000, is_labelled);
      committed = labelled + tracer.step(100'000, is_committed);
    } else {
      tracer.step(instructions);
    }
    if (is_labelled() && !is_committed()) ++labelled_only;
    const bool counts = is_labelled();
    bool is_delivered = false;
    DataBlock::break_producer(name_);
    auto producer = DataBlockProducer::attach(name_, 1s);
    const auto last = send(producer, 5U);
    const auto read = [&](SlotId end) {
      for (;;) {
        const auto slot = receive(reader);
        EXPECT_FALSE(slot.gap());
        const bool of_victim = length_of(slot.id(), default_size) >= 8 && writer_of(slot.bytes()) != 0;
        EXPECT_FALSE(of_victim && slot.id() > 4) << slot.id();
        is_delivered = is_delivered || (of_victim && slot.id() == 4);
        if (slot.id() == end) return;
      }
    };
    read(last);
    tracer.let_go();
    read(send(producer, 5U));
    victim.release();
    expect_says(victim, error_line(errc::reclaimed));
    for (int i = 0; i < 15; ++i) read(send(producer));
    EXPECT_EQ(is_delivered, counts) << "its label was there when it was broken";
    if (is_delivered) ++delivered;
    expect_all_closed(statistics());
    victim.kill();
    keeper_.reset();
  };
  {
    auto tried = spawn({"ready", "wait"});
    if (!InstructionTracer{tried}.may_trace()) GTEST_SKIP() << "NOT TESTED: this machine does not permit to trace";
  }
  ASSERT_NO_FATAL_FAILURE(stop_after(0));
  ASSERT_GT(committed, labelled);
  const auto is_between = [&](long instructions) { return labelled - 4 <= instructions && instructions < committed; };
  for (long instructions = labelled - 30; instructions < committed + 60;
       instructions += is_between(instructions) ? 1 : 4) {
    ASSERT_NO_FATAL_FAILURE(stop_after(instructions));
    if (HasFailure()) return;
  }
  std::cout << labelled_only << " times labelled only, " << delivered << " times delivered\n";
  EXPECT_GT(labelled_only, 1U);
  EXPECT_GT(delivered, 3U);
}

// Its message has been read already. Who breaks it takes that for committed, too, whether it does so alone or goes on with what one who
// was killed had begun.
TEST_F(BrokenProducer, StoppedBetweenLabelAndHeadHasCommitted) {
  {
    auto tried = spawn({"ready", "wait"});
    if (!InstructionTracer{tried}.may_trace()) GTEST_SKIP() << "NOT TESTED: this machine does not permit to trace";
  }
  constexpr long far = 1'000'000;  // instructions
  for (const std::string killed : {"nobody", "the first breaker at K2", "the first breaker at K4"}) {
    SCOPED_TRACE("killed: " + killed);
    auto victim =
        spawn({"create 200 16 wait", "write 4", "acquire", "fill", "ready", "wait", "begin", "commit", "end", "wait"});
    keep();
    auto reader = attach_oldest();
    const BlockWords words{*keeper_};
    const auto& entry = words.producer();
    const InstructionTracer tracer{victim};
    ASSERT_TRUE(tracer.run_to_begin()) << victim.report();
    tracer.step(far, [&] { return holdfast::detail::slot_label::names(words.slot(4).label.load(), 4); });
    ASSERT_EQ(entry.head, 4U);
    EXPECT_EQ(receive_all(reader), range(0, 5));
    EXPECT_EQ(reader.books().delivered, 5U);
    expect_all_closed(statistics());
    if (killed == "nobody") {
      DataBlock::break_producer(name_);
    } else {
      const std::vector<std::string> breaks{"attach latest next", "ready", "wait", "begin", "break_producer", "end"};
      auto breaker = spawn(breaks), second = spawn(breaks);  // to attach takes most of the instructions
      const InstructionTracer breaking{breaker}, going_on{second};
      ASSERT_TRUE(breaking.run_to_begin()) << breaker.report();
      const auto is_unsettled = [&] { return holdfast::detail::role::is_unsettled(words.shared().role); };
      const auto is_sealed = [&, open = entry.seal.load()] { return entry.seal != open; };
      breaking.step(far, [&] { return killed == "the first breaker at K2" ? is_unsettled() : is_sealed(); });
      ASSERT_TRUE(is_unsettled()) << breaker.report();
      ASSERT_EQ(is_sealed(), killed == "the first breaker at K4");
      breaker.kill();
      ASSERT_TRUE(going_on.run_to_begin()) << second.report();
      going_on.step(far, [&, role = words.shared().role.load()] { return words.shared().role != role; });
      EXPECT_EQ(statistics().committed, 5U);
      expect_all_closed(statistics());
      second.kill();
    }
    auto producer = DataBlockProducer::attach(name_, 1s);
    EXPECT_EQ(send(producer), 6U) << "5 had been claimed";
    tracer.let_go();
    victim.release();
    expect_says(victim, error_line(errc::reclaimed));
    EXPECT_EQ(receive_all(reader), range(6, 7));
    EXPECT_EQ(statistics().committed, 6U);
    expect_all_closed(statistics());
    victim.kill();
    keeper_.reset();
  }
}

// Whoever saw its role before looks for labels of it.
TEST_F(BrokenProducer, ThatGoesOnDeliversNothingToWhoHasNotSeenTheBreakYet) {
  stop_a_producer({"acquire", "fill"});
  EXPECT_EQ(receive_all(*reader_), range(0, 5));
  EXPECT_FALSE(reader_->acquire_consume_slot(1ms)) << "to wait for one that comes alone";
  DataBlock::break_producer(name_);
  resume();
  expect_says(*victim_, error_line(errc::reclaimed));
  EXPECT_EQ(receive_all(*reader_), range(0, 0));
  EXPECT_EQ(statistics().committed, 5U);
  expect_all_closed(statistics());
}

// Whatever is left of the order, the next one finishes it.
TEST_F(BrokenProducer, WhoBreaksMayBeKilledAfterAnyInstruction) {
  std::optional<DataBlockProducer> mine;
  kill_at_every_step(
      {},
      [&] {
        stop_a_producer({"acquire", "fill"}, {"commit", "wait"});
        EXPECT_EQ(receive_all(*reader_), range(0, 5));
        return spawn({"attach latest next", "ready", "wait", "begin", "break_producer", "end"});
      },
      [&](WorkerProcess&) {
        const auto producer_now = statistics().producer;
        if (producer_now && producer_now->pid() == victim_->pid()) DataBlock::break_producer(name_);
        {
          auto producer = DataBlockProducer::attach(name_, 1s);
          send(producer, 4U);
          expect_only_mine(5, 4);
          resume();
          expect_says(*victim_, error_line(errc::reclaimed));
          for (int i = 0; i < 20; ++i) {
            auto slot = producer.acquire_write_slot(patience);
            EXPECT_NE(slot.id() % 16, 5U);
            commit_message(slot);
            expect_only_mine(5, 1);
          }
        }
        expect_all_closed(statistics());
        victim_->kill();
        display_.reset();
        reader_.reset();
        keeper_.reset();
      });
}

// Whose head counts until then is the breaker's, and its totals are those of that head.
TEST_F(BrokenProducer, BooksThatAreReadOrEndBeforeTheBreakerHasSettledAddUp) {
  auto victim = spawn({"create 200 16 wait", "write 5", "ready", "wait", "write 12", "wait", "write 8", "wait"});
  keep();
  const BlockWords words{*keeper_};
  auto reader = attach_oldest(), early = attach_oldest();
  auto display = attach({.mode = ReadMode::latest_only, .start = StartAt::oldest()});
  const auto held = display.acquire_consume_slot(patience);
  ASSERT_EQ(held.id(), 4U);
  const auto read_and_let_it_write = [&](std::size_t reads) {
    EXPECT_EQ(receive_all(reader).size(), reads);
    EXPECT_EQ(receive_all(early).size(), reads);
    victim.release();
  };
  read_and_let_it_write(5);
  expect_says(victim, "wrote 16\n");
  read_and_let_it_write(12);
  expect_says(victim, "wrote 25\n");
  const auto before = statistics();
  ASSERT_EQ(before.voids, 1U) << "the slot of 4 was held when 20 came to it";
  ASSERT_EQ(before.committed, 25U);

  auto breaker = spawn({"attach latest next", "ready", "wait", "begin", "break_producer", "end"});
  const InstructionTracer tracer{breaker};
  ASSERT_TRUE(tracer.run_to_begin()) << breaker.report();
  const auto& shared = words.shared();
  for (const bool almost_settled : {false, true}) {
    SCOPED_TRACE(almost_settled ? "it has a claim of its own (K7)" : "it has just taken the role (K2)");
    constexpr long most = 100'000;
    ASSERT_LT(tracer.step(most,
                          [&] {
                            return holdfast::detail::role::is_unsettled(shared.role) &&
                                   (!almost_settled || words.producer().claim != holdfast::detail::no_sequence);
                          }),
              most);
    ASSERT_TRUE(holdfast::detail::role::is_unsettled(shared.role)) << breaker.report();
    const auto now = statistics();
    EXPECT_EQ(now.committed, before.committed);
    EXPECT_EQ(now.voids, before.voids);
    EXPECT_EQ(now.bytes, before.bytes);
    expect_all_closed(now);
    EXPECT_EQ(code_of([&] { static_cast<void>(DataBlockConsumer::attach(name_, {}, 0ms)); }), std::errc::timed_out)
        << "where it would begin is not settled";
    auto& leaving = almost_settled ? reader : early;
    const auto books = leaving.books();
    EXPECT_EQ(books, (Books{.committed = 25, .delivered = 17, .in_flight = 8}));
    { const auto gone = std::move(leaving); }
    std::size_t ended = 0;
    for (const auto& consumer : statistics().consumers)
      if (consumer.ended) {
        ++ended;
        EXPECT_EQ(consumer.books, books);
      }
    EXPECT_EQ(ended, almost_settled ? 2U : 1U);
  }
  breaker.kill();
}

// ---- consumers ---------------------------------------------------------------------------------------------------------

TEST_F(BrokenConsumer, IsToldAtReleaseAndAtItsNextAcquire) {
  for (const char* how : {"sequential next", "latest next"}) {
    SCOPED_TRACE(how);
    auto producer = create({.slot_count = 8});
    auto victim = spawn({std::string{"attach "} + how, "ready", "take", "wait", "release", "take 0", "leave",
                         "attach sequential next", "take", "wait"});
    send(producer, 2U);
    expect_says(victim, "got ");
    const auto before = statistics();
    ASSERT_EQ(before.consumers.size(), 1U);
    victim.stop();
    const auto done = DataBlock::break_consumer(name_, before.consumers[0].place);
    ASSERT_TRUE(done.from);
    EXPECT_EQ(done.from->pid(), victim.pid());
    send(producer, 30U);  // it is in nobody's way
    victim.release();
    victim.resume();
    expect_says(victim, "broken\nerror ");
    EXPECT_TRUE(says(victim, error_line(errc::reclaimed))) << victim.report();
    expect_says(victim, "left\nattached\n");
    send(producer, 1U);
    EXPECT_TRUE(wait_until([&] {
      return victim.output().find("got", victim.output().find("left")) != std::string::npos;
    })) << victim.report();
    expect_all_closed(statistics());
  }
}

TEST_F(BrokenConsumer, ThatHasLeftIsAnError) {
  auto producer = create({.slot_count = 8});
  std::uint64_t place = 0;
  {
    auto reader = attach();
    place = statistics().consumers.at(0).place;
  }
  const auto refused = [&](std::uint64_t which) {
    expect_error([&] { DataBlock::break_consumer(name_, which); }, std::errc::no_such_process, path().string());
  };
  refused(place);
  auto next = attach();
  EXPECT_NE(statistics().consumers.back().place, place) << "another one has another place";
  refused(place);
  for (const auto nonsense : {std::uint64_t{0}, ~std::uint64_t{0}, std::uint64_t{1} << 40U})
    if (nonsense != statistics().consumers.back().place) {
      EXPECT_THROW(DataBlock::break_consumer(name_, nonsense), Error);
    }
  send(producer, 1U);
  EXPECT_EQ(receive_id(next), 0U);
}

// ---- by proof ----------------------------------------------------------------------------------------------------------

TEST_F(ForcedReclaim, TakesFromTheDeadOnlyAndSaysWhat) {
  auto producer = spawn({"create 200 4 wait", "ready", "wait", "write 4", "acquire 0", "wait"});
  auto reader = spawn({"attach sequential next", "ready", "take", "wait"});
  producer.release();
  expect_says(producer, "timed out\n");
  expect_says(reader, "got 0\n");
  keep();
  const auto holder = holder_told_by([&] { DataBlock::force_reclaim(name_); });
  EXPECT_TRUE(holder == producer.pid() || holder == reader.pid());
  reader.kill();
  const auto from_reader = DataBlock::force_reclaim(name_);
  ASSERT_EQ(from_reader.size(), 1U);
  ASSERT_TRUE(from_reader[0].from);
  EXPECT_EQ(from_reader[0].from->pid(), reader.pid());
  EXPECT_NE(from_reader[0].what.find("consumer worker"), std::string::npos) << from_reader[0].what;
  EXPECT_EQ(holder_told_by([&] { DataBlock::force_reclaim(name_); }), producer.pid());
  producer.kill();
  const auto from_producer = DataBlock::force_reclaim(name_);
  ASSERT_EQ(from_producer.size(), 1U);
  EXPECT_EQ(from_producer[0].from->pid(), producer.pid());
  EXPECT_NE(from_producer[0].what.find("producer"), std::string::npos) << from_producer[0].what;
  auto next = DataBlockProducer::attach(name_, 0ms);
  EXPECT_EQ(send(next), 4U);
}

TEST_F(ForcedReclaim, DoesNotTakeFromTheStopped) {
  auto producer = spawn({"create 200 4 wait", "acquire", "ready", "wait", "fill", "commit", "wait"});
  keep();
  producer.stop();
  EXPECT_EQ(holder_told_by([&] { DataBlock::force_reclaim(name_); }), producer.pid());
  EXPECT_EQ(holder_told_by([&] { static_cast<void>(DataBlockProducer::attach(name_, 50ms)); }), producer.pid());
  auto reader = attach();
  producer.release();
  producer.resume();
  EXPECT_EQ(receive_id(reader), 0U);
}
