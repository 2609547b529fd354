// Consumers in event loops: a descriptor that is readable while a slot waits, and a wait for several blocks at once.
#include <fcntl.h>
#include <poll.h>

#include <array>
#include <thread>

#include "blocks.hpp"

using namespace blocks;

namespace {
class BlockEvents : public Blocks {
 protected:
  /// After so many milliseconds at most.
  static bool readable(int descriptor, int milliseconds) {
    pollfd look{.fd = descriptor, .events = POLLIN, .revents = 0};
    return ::poll(&look, 1, milliseconds) == 1;
  }
  static constexpr int at_once = 20'000;  // on the busiest machine
};
}  // namespace

TEST_F(BlockEvents, DescriptorIsReadableWhileASlotWaits) {
  auto producer = create({.slot_count = 8});
  for (const auto& options : {ConsumerOptions{}, {.mode = ReadMode::latest_only}, {.group = "team"}}) {
    auto consumer = attach(options);
    const int descriptor = consumer.event_descriptor();
    EXPECT_GE(descriptor, 0);
    EXPECT_EQ(consumer.event_descriptor(), descriptor) << "it stays the same";
    EXPECT_NE(::fcntl(descriptor, F_GETFD) & FD_CLOEXEC, 0);
    EXPECT_FALSE(readable(descriptor, 20));
    for (int i = 0; i < 5; ++i) {
      const auto id = send(producer);
      EXPECT_TRUE(readable(descriptor, at_once));
      EXPECT_TRUE(readable(descriptor, 0)) << "nobody has taken it";
      EXPECT_EQ(receive_id(consumer), id);
      EXPECT_EQ(consumer.acquire_consume_slot(0ms).status(), AcquireStatus::timed_out);
      EXPECT_FALSE(readable(descriptor, 20)) << "there is nothing any more";
    }
  }
}

TEST_F(BlockEvents, DescriptorTellsOfWhatWasThereBeforeItWasAskedFor) {
  auto producer = create({.slot_count = 8});
  auto consumer = attach();
  send(producer, 2U);
  const int descriptor = consumer.event_descriptor();
  EXPECT_TRUE(readable(descriptor, at_once));
  EXPECT_EQ(receive_all(consumer), range(0, 2));
  EXPECT_FALSE(readable(descriptor, 20));
}

TEST_F(BlockEvents, DescriptorWakesForMessagesOfAnotherProcess) {
  auto writer = spawn({"create 200 8 wait", "ready", "wait", "write 1", "wait", "write 1", "wait"});
  auto consumer = attach();
  const int descriptor = consumer.event_descriptor();
  for (SlotId id = 0; id < 2; ++id) {
    EXPECT_FALSE(readable(descriptor, 20));
    writer.release();
    EXPECT_TRUE(readable(descriptor, at_once));
    EXPECT_EQ(receive_id(consumer), id);
    EXPECT_FALSE(consumer.acquire_consume_slot(0ms));
  }
  finish_well(writer);
}

TEST_F(BlockEvents, TellOfWhatADeadMemberHadUntilAllIsGivenOut) {
  auto producer = create({.slot_count = 64});
  auto survivor = join("team", StartAt::next());
  const std::array<DataBlockConsumer*, 1> all{&survivor};
  for (const bool by_descriptor : {false, true}) {
    SCOPED_TRACE(by_descriptor);
    auto victim = spawn({"attach sequential next team", "ready", "wait", "batch 4", "wait"});
    const SlotId last = send(producer, 4U);
    victim.release();
    expect_says(victim, "got " + std::to_string(last - 3));
    ASSERT_FALSE(survivor.acquire_consume_slot(0ms));
    const int descriptor = by_descriptor ? survivor.event_descriptor() : -1;
    if (by_descriptor) {
      EXPECT_FALSE(readable(descriptor, 20));
    }
    victim.kill();
    for (SlotId id = last - 3; id <= last; ++id) {
      if (by_descriptor)
        EXPECT_TRUE(readable(descriptor, at_once)) << id;
      else
        ASSERT_EQ(DataBlockConsumer::wait_any(all, patience), 0U) << id;
      const auto slot = receive(survivor);
      EXPECT_EQ(slot.id(), id);
      EXPECT_TRUE(slot.redelivered());
    }
    EXPECT_FALSE(survivor.acquire_consume_slot(0ms));
  }
}

TEST_F(BlockEvents, WaitForSeveralBlocksTellsWhichHasASlot) {
  auto first = create({.slot_count = 8});
  auto second = DataBlockProducer::create(second_, {.slot_size = default_size, .slot_count = 8});
  auto one = attach(), display = attach_latest();
  auto two = DataBlockConsumer::attach(second_);
  const std::array<DataBlockConsumer*, 3> all{&one, &two, &display};
  const auto time = duration_of([&] { EXPECT_EQ(DataBlockConsumer::wait_any(all, 50ms), std::nullopt); });
  EXPECT_GE(time, 50ms);
  EXPECT_LT(time, 2s);
  send(second);
  EXPECT_EQ(DataBlockConsumer::wait_any(all, patience), 1U);
  EXPECT_EQ(DataBlockConsumer::wait_any(all, 0ms), 1U) << "it waits there still";
  EXPECT_EQ(receive_id(two), 0U);
  send(first);
  const auto which = DataBlockConsumer::wait_any(all, patience);
  ASSERT_TRUE(which == 0U || which == 2U);
  EXPECT_EQ(receive_id(one), 0U);
  EXPECT_EQ(DataBlockConsumer::wait_any(all, patience), 2U);
  EXPECT_EQ(receive_id(display), 0U);
  EXPECT_EQ(DataBlockConsumer::wait_any(all, 0ms), std::nullopt);
}

TEST_F(BlockEvents, WaitForSeveralBlocksIsWokenByEither) {
  auto writer = spawn({"create 200 8 wait", "ready", "wait", "write 1", "wait"});
  auto other = DataBlockProducer::create(second_, {.slot_size = 8});
  auto one = attach();
  auto two = DataBlockConsumer::attach(second_);
  const std::array<DataBlockConsumer*, 2> all{&two, &one};
  const auto me = ::gettid();
  std::thread releaser{[&] {
    EXPECT_TRUE(wait_until([&] { return state_of(me) == 'S'; }));
    writer.release();
  }};
  EXPECT_EQ(DataBlockConsumer::wait_any(all, patience), 1U);
  releaser.join();
  EXPECT_EQ(receive_id(one), 0U);
  finish_well(writer);
}
