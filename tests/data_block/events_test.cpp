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
