// Fifteen weaknesses that another implementation of such a block is known to have, one by one: none of them is here.
#include <sys/stat.h>

#include "../shared_memory/step_tracer.hpp"
#include "block_words.hpp"
#include "blocks.hpp"
#include "shared_memory/layout.hpp"

using namespace blocks;
using holdfast::test::BlockWords;
using holdfast::test::StepTracer;

namespace {
class KnownWeaknesses : public Blocks {};
}  // namespace

// 1. There, every new reader of the slot began the wait anew.
TEST_F(KnownWeaknesses, DeadlineIsHonouredWhileAReaderHolds) {
  auto producer = create({.slot_count = 2});
  auto holder = attach();
  auto other = attach_latest();
  send(producer, 1U);
  const auto first = receive(holder);
  send(producer, 1U);
  const auto second = receive(other);
  for (const auto wait : {50ms, 20ms, 0ms}) {
    const auto time =
        duration_of([&] { EXPECT_EQ(producer.acquire_write_slot(wait).status(), AcquireStatus::timed_out); });
    EXPECT_GE(time, wait);
    EXPECT_LT(time, wait + 2s);
  }
}

// 2. There, a recovery set a count of readers to 0, and a live one's release made it 4294967295.
TEST_F(KnownWeaknesses, ReleaseAfterARecoveryDoesNotWrapACount) {
  auto writer = spawn({"create 200 4 wait", "write 2", "acquire", "ready", "wait"});
  auto reader = attach_oldest();
  auto slot = receive(reader);
  writer.kill();
  auto producer = DataBlockProducer::attach(name_, 0ms);
  EXPECT_TRUE(slot.release());
  for (SlotId id = 2; id < 50; ++id) {
    EXPECT_EQ(send(producer, 0ms), id);
    static_cast<void>(receive_all(reader));
  }
}

// 3. There, only a commit told a reader that its slot had been overwritten.
TEST_F(KnownWeaknesses, SlotThatIsReadIsNotOverwrittenByAMessageThatIsNeverCommitted) {
  for (const auto policy : {OnFull::wait, OnFull::overwrite_oldest}) {
    auto producer = create({.slot_count = 4, .on_full = policy});
    auto reader = attach_latest();
    send(producer, 1U);
    auto slot = receive(reader);
    for (int i = 0; i < 20; ++i) {
      auto next = producer.acquire_write_slot(0ms);
      ASSERT_TRUE(next);
      std::fill(next.bytes().begin(), next.bytes().end(), std::byte{0xee});
      expect_whole(slot, default_size);
      if (i % 2 == 0) commit_message(next);
    }
    EXPECT_TRUE(slot.release());
  }
}

// 4. There, a heartbeat less than 5 s old kept a dead producer alive.
TEST_F(KnownWeaknesses, ProducerThatWorkedAMomentAgoIsReplacedAtOnce) {
  auto writer = spawn({"create 200 4 wait", "ready", "write_on"});
  auto reader = attach();
  static_cast<void>(receive_id(reader));
  writer.kill();
  const auto time = duration_of([&] {
    auto producer = DataBlockProducer::attach(name_, 0ms);
    EXPECT_EQ(producer.outcome(), LockOutcome::owner_died);
  });
  EXPECT_LT(time, 2s);
}

// 5. There, whatever process bore the pid was the owner.
TEST_F(KnownWeaknesses, PidThatWasGivenAwayAgainDoesNotKeepADeadProducerAlive) {
  auto writer = spawn({"create 200 4 wait", "write 1", "acquire", "ready", "wait"});
  keep();
  auto reader = attach_oldest();
  writer.kill();
  // As if this process had been given its pid.
  auto* const base = reinterpret_cast<char*>(keeper_->bytes().data()) - holdfast::detail::data_offset;
  auto* const records = base + holdfast::detail::participants_offset;
  const auto mine = "." + std::to_string(::getpid()) + ".", its = "." + std::to_string(writer.pid()) + ".";
  bool found = false;
  for (std::size_t i = 0; i < holdfast::detail::participant_limit; ++i) {
    auto* const text = records + i * sizeof(holdfast::detail::Participant) + sizeof(std::uint64_t);
    const std::string identity{text};
    const auto at = identity.find(its);
    if (at == std::string::npos) continue;
    auto changed = identity;
    changed.replace(at, its.size(), mine);
    std::fill_n(text, sizeof(holdfast::detail::IdentityText), '\0');
    std::copy(changed.begin(), changed.end(), text);
    found = true;
  }
  ASSERT_TRUE(found);
  auto producer = DataBlockProducer::attach(name_, 0ms);
  EXPECT_EQ(producer.outcome(), LockOutcome::owner_died);
  EXPECT_EQ(send(producer), 1U);
}

// 6. There, a take-over that timed out left a slot between two states.
TEST_F(KnownWeaknesses, TakeOverThatTimedOutLeavesNothingBehind) {
  auto writer =
      spawn({"create 200 4 wait", "write 2", "acquire", "fill", "ready", "wait", "commit", "write 2", "wait"});
  auto reader = attach_oldest();
  writer.stop();
  for (int i = 0; i < 10; ++i)
    expect_error([&] { static_cast<void>(DataBlockProducer::attach(name_, 5ms)); }, errc::in_use, path().string());
  for (int i = 0; i < 3; ++i) {
    auto impatient = spawn({"ready", "produce"});
    impatient.kill();
  }
  writer.release();
  writer.resume();
  while (receive_id(reader) != 4) {
  }
  writer.kill();
  auto producer = DataBlockProducer::attach(name_, 0ms);
  EXPECT_EQ(send(producer), 5U);
}

// 7. There, a producer without a broker waited for ever for its slowest consumer, when that was dead.
TEST_F(KnownWeaknesses, DeadSlowestConsumerIsDroppedByTheProducerItself) {
  auto producer = create({.slot_count = 4});
  auto slow = spawn({"attach sequential next", "ready", "wait"});
  auto fast = attach();
  for (SlotId id = 0; id < 4; ++id) {
    send(producer);
    EXPECT_EQ(receive_id(fast), id);
  }
  ASSERT_EQ(producer.acquire_write_slot(0ms).status(), AcquireStatus::timed_out);
  slow.kill();
  EXPECT_EQ(send(producer), 4U);
  EXPECT_TRUE(producer.statistics().slowest() == std::nullopt || producer.statistics().slowest()->label != "worker");
}

// 8. There, the mark of a complete block was written before the block was complete.
TEST_F(KnownWeaknesses, HalfMadeBlockIsNeverAttachedTo) {
  for (std::size_t step = 0;; ++step) {
    ASSERT_LT(step, 500U);
    auto creator = spawn({"ready", "wait", "begin_calls", "create 200 8 wait", "end_calls", "wait"});
    StepTracer tracer{creator.pid()};
    creator.release();
    const bool more = tracer.run_to(step);
    SCOPED_TRACE("stopped at step " + std::to_string(step));
    try {
      auto reader = DataBlockConsumer::attach(name_, {}, 0ms);
      EXPECT_EQ(reader.options().slot_count, 8U);
      EXPECT_EQ(reader.acquire_consume_slot(0ms).status(), AcquireStatus::timed_out);
    } catch (const Error& error) {
      EXPECT_TRUE(error.code() == std::errc::no_such_file_or_directory || error.code() == errc::incomplete)
          << error.what();
    }
    creator.kill();
    { auto next = create(); }
    EXPECT_FALSE(exists());
    if (HasFailure() || !more) {
      EXPECT_GT(step, 8U);
      return;
    }
  }
}

// 9. There, a second creator removed the first one's block under its readers.
TEST_F(KnownWeaknesses, SecondCreatorIsRefusedAndSplitsNobodyOff) {
  for (int round = 0; round < 5; ++round) {
    std::vector<WorkerProcess> creators;
    for (int i = 0; i < 3; ++i) creators.push_back(spawn({"ready", "wait", "create 200 8 wait", "wait"}));
    ReleaseTogether(creators);
    for (const auto& creator : creators)
      EXPECT_TRUE(wait_until([&] { return says(creator, "created") || says(creator, "error "); })) << creator.report();
    EXPECT_EQ(std::count_if(creators.begin(), creators.end(), [](const auto& one) { return says(one, "created"); }), 1);
    for (const auto& creator : creators)
      EXPECT_TRUE(says(creator, "created") || says(creator, error_line(std::errc::file_exists))) << creator.report();
    for (auto& creator : creators) {
      creator.release();
      ExpectWorkerOk(creator);
    }
  }
  auto producer = create();
  auto reader = attach();
  EXPECT_THROW(static_cast<void>(create()), Error);
  send(producer);
  EXPECT_EQ(receive_id(reader), 0U);
}

// 10. There, a full /dev/shm was told by SIGBUS, in the middle of a message; and anybody could attach.
TEST_F(KnownWeaknesses, SpaceIsReservedAtCreationForTheOwnerOnly) {
  const auto space = fs::space(folder).available;
  const auto size = (space / 64 + 4096) & ~std::uint64_t{4095};
  if (size < (std::uint64_t{1} << 32U))
    expect_error([&] { static_cast<void>(create({.slot_size = size + (size >> 1U), .slot_count = 64})); },
                 std::errc::no_space_on_device, path().string());
  EXPECT_FALSE(exists());
  const auto umask_before = ::umask(0);
  auto producer = create({.slot_size = 4096, .slot_count = 64});
  ::umask(umask_before);
  EXPECT_EQ(mode_of(path()), 0600U);
  struct stat found {};
  ASSERT_EQ(::stat(path().c_str(), &found), 0);
  EXPECT_GE(found.st_blocks * 512, found.st_size) << "without holes";
}

// 11. There, the news that the owner before had died was thrown away.
TEST_F(KnownWeaknesses, DeathOfTheOwnerBeforeIsTold) {
  auto writer = spawn({"create 200 4 wait zone", "lock_zone", "acquire", "ready", "wait"});
  auto reader = attach();
  writer.kill();
  EXPECT_EQ(reader.zone_mutex().lock(), LockOutcome::owner_died);
  reader.zone_mutex().declare_repaired();
  reader.zone_mutex().unlock();
  auto producer = DataBlockProducer::attach(name_);
  EXPECT_EQ(producer.outcome(), LockOutcome::owner_died);
  ASSERT_TRUE(producer.previous_owner());
  EXPECT_EQ(producer.previous_owner()->pid(), writer.pid());
  producer = DataBlockProducer::create(second_, {.slot_size = 8});
  EXPECT_EQ(DataBlockProducer::attach(name_).outcome(), LockOutcome::clean) << "this one left";
}

// 12. There, a preprocessor's question that is never true compiled the robust way out.
TEST_F(KnownWeaknesses, RobustnessIsInTheProgramNotOnlyInItsSource) {
  auto owner = spawn({"create 200 4 wait zone", "lock_zone", "ready", "wait"});
  keep();
  auto waiter = spawn({"attach sequential next", "ready", "lock_zone", "unlock_zone"});
  expect_asleep(waiter);
  owner.kill();
  expect_says(waiter, "zone locked after a death");
  if (HasFailure()) return waiter.kill();  // it would wait for ever
  ExpectWorkerOk(waiter);
}

// 13. There, a slot did not know its own id: a reader got the message of the lap before, or waited for ever at a hole.
TEST_F(KnownWeaknesses, SlotKnowsItsIdAndADeadWriterLeavesNoHole) {
  auto writer = spawn({"create 200 4 wait", "write 6", "acquire", "half", "ready", "wait"});
  keep();
  writer.kill();
  auto reader = attach_oldest();
  auto display = attach_latest();
  auto lapped = attach({.start = StartAt::id(0)});
  const auto ids = receive_all(reader);
  ASSERT_FALSE(ids.empty());
  EXPECT_GE(ids.front(), 3U);
  EXPECT_EQ(ids.back(), 5U) << "not 6 with the bytes of 2";
  auto producer = DataBlockProducer::attach(name_);
  EXPECT_EQ(receive(lapped).gap().first, 0U);
  static_cast<void>(receive_all(lapped));
  EXPECT_EQ(send(producer), 6U);
  EXPECT_EQ(receive_id(reader), 6U);
  EXPECT_EQ(receive_id(display), 6U);
  EXPECT_EQ(receive_id(lapped), 6U);
  auto empty = DataBlockProducer::create(second_, {.slot_size = 8});
  auto early = DataBlockConsumer::attach(second_, {.start = StartAt::oldest()});
  EXPECT_GE(duration_of([&] { static_cast<void>(early.acquire_consume_slot(20ms)); }), 20ms) << "it waits";
}

// 14. There, no test ever killed the owner of anything.
TEST_F(KnownWeaknesses, ProcessThatHoldsEverythingIsKilledAndAllIsRecovered) {
  auto other = spawn({"create 200 4 wait zone", "ready", "wait"});
  auto reader = attach();
  other.kill();
  for (SlotId id = 0; id < 5; ++id) {
    auto victim = spawn(
        {"attach sequential next", "produce", "write 1", "take", "acquire", "half", "lock_zone", "ready", "wait"});
    EXPECT_TRUE(says(victim, "got ") && says(victim, "acquired ") && says(victim, "zone locked")) << victim.report();
    victim.kill();
    EXPECT_EQ(reader.zone_mutex().lock(), LockOutcome::owner_died);
    reader.zone_mutex().declare_repaired();
    reader.zone_mutex().unlock();
    static_cast<void>(receive_all(reader));
    auto producer = DataBlockProducer::attach(name_, 0ms);
    EXPECT_EQ(producer.outcome(), LockOutcome::owner_died);
    for (int i = 0; i < 8; ++i) {
      send(producer);
      static_cast<void>(receive_id(reader));
    }
  }
}

// 15. There, the end of a worker before it was ready was taken for "ready".
TEST_F(KnownWeaknesses, ReadyPipeOfADeadWorkerIsNotReady) {
  for (const char* way : {"exit _exit", "exit SIGKILL", "no such step"}) {
    auto worker = SpawnWorkerWithReadySignal(DATA_BLOCK_WORKER, "do", {name_, way, "ready", "wait"});
    EXPECT_EQ(worker.wait_for_ready(20s), Ready::died);
    EXPECT_FALSE(worker.wait_for_exit().ok());
  }
}
