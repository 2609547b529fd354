// The protocol between threads of one process, on one mapping: what ThreadSanitizer can see of it (S1, S3). And a hunt for torn
// messages: every byte of every message is looked at, in all modes.
#include <atomic>
#include <latch>
#include <thread>

#include "blocks.hpp"

using namespace blocks;

namespace {
#if defined(__SANITIZE_THREAD__)
constexpr std::uint64_t scale = 1;
#else
constexpr std::uint64_t scale = 4;
#endif

struct Ring {
  OnFull policy;
  std::size_t slot_size, slot_count;
};
void PrintTo(const Ring& ring, std::ostream* out) {
  *out << ring.slot_count << " slots of " << ring.slot_size << " bytes, " << to_string(ring.policy);
}
std::string name_of_ring(const testing::TestParamInfo<Ring>& ring) {
  std::string name{to_string(ring.param.policy)};
  std::erase_if(name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; });
  return name + "_" + std::to_string(ring.param.slot_count);
}
/// How many messages of which kind a thread has seen, and the ids.
struct Seen {
  std::vector<SlotId> ids;
  std::uint64_t missed = 0;
};

class DataBlockThreads : public Blocks, public testing::WithParamInterface<Ring> {
 protected:
  [[nodiscard]] DataBlockProducer create_ring() const {
    const auto& [policy, size, count] = GetParam();
    return create({.slot_size = size, .slot_count = count, .on_full = policy});
  }
  /// Reads until there is no producer any more and nothing is left.
  Seen read(DataBlockConsumer& consumer, std::size_t at_once = 1) const {
    Seen seen;
    const auto note = [&](const SlotView& slot, SlotRange gap) {
      expect_whole(slot, GetParam().slot_size);
      if (!seen.ids.empty() && slot.id() <= seen.ids.back()) ADD_FAILURE() << slot.id() << " after " << seen.ids.back();
      seen.ids.push_back(slot.id());
      seen.missed += gap.count;
    };
    for (;;) {
      const bool over = done_.load();
      bool any = false;
      if (at_once == 1) {
        if (const auto slot = consumer.acquire_consume_slot(2ms)) {
          note(slot, slot.gap());
          any = true;
        }
      } else {
        const auto slots = consumer.acquire_consume_slots(at_once, Deadline{2ms});
        auto gap = slots.gap();
        for (const auto& slot : slots) {
          note(slot, gap);
          gap = {};
        }
        any = static_cast<bool>(slots);
      }
      if (!any && over) return seen;
      if (testing::Test::HasFailure()) return seen;
    }
  }
  void write(DataBlockProducer& producer, std::uint64_t count) const {
    while (count > 0 && !testing::Test::HasFailure()) {
      auto slot = producer.acquire_write_slot(patience);
      if (slot) {
        commit_message(slot);
        --count;
      } else {
        ASSERT_EQ(slot.status(), AcquireStatus::full);
        std::this_thread::yield();
      }
    }
  }
  std::atomic<bool> done_{false};
};
INSTANTIATE_TEST_SUITE_P(, DataBlockThreads,
                         testing::Values(Ring{OnFull::wait, 100, 16}, Ring{OnFull::wait, 2000, 2},
                                         Ring{OnFull::overwrite_oldest, 100, 32},
                                         Ring{OnFull::overwrite_oldest, 2000, 8}, Ring{OnFull::refuse, 100, 16}),
                         name_of_ring);
}  // namespace

TEST_P(DataBlockThreads, ReadWholeMessagesInEachMode) {
  const std::uint64_t count = 1500 * scale;
  auto producer = create_ring();
  std::vector<DataBlockConsumer> consumers;
  consumers.push_back(attach());
  consumers.push_back(attach());
  consumers.push_back(attach_latest());
  for (int i = 0; i < 2; ++i) consumers.push_back(join("team", StartAt::next()));
  std::vector<Seen> seen(consumers.size());
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < consumers.size(); ++i)
      threads.emplace_back([&, i] { seen[i] = read(consumers[i], i % 2 == 1 ? 3 : 1); });
    threads.emplace_back([&] {
      write(producer, count);
      done_ = true;
    });
  }
  const auto block = producer.statistics();
  EXPECT_EQ(block.committed, count);
  expect_all_closed(block);
  for (std::size_t i = 0; i < 2; ++i) {
    const auto books = consumers[i].books();
    EXPECT_EQ(books.committed, count);
    EXPECT_EQ(books.delivered, seen[i].ids.size());
    EXPECT_EQ(books.in_flight, 0U);
    EXPECT_LE(books.skipped, seen[i].missed);
    if (GetParam().policy != OnFull::overwrite_oldest) {
      EXPECT_EQ(books.delivered, count);
    }
  }
  EXPECT_EQ(consumers[2].books().delivered, seen[2].ids.size());
  EXPECT_EQ(seen[2].ids.back(), block.next - 1);
  auto ids = seen[3].ids;
  ids.insert(ids.end(), seen[4].ids.begin(), seen[4].ids.end());
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(std::adjacent_find(ids.begin(), ids.end()), ids.end()) << "two members had the same";
  EXPECT_EQ(consumers[3].books().delivered, ids.size());
  if (GetParam().policy != OnFull::overwrite_oldest) {
    EXPECT_EQ(ids.size(), count);
  }
}

TEST_P(DataBlockThreads, ThatJoinLateAndLeaveEarlyGetWholeMessages) {
  auto producer = create_ring();
  auto keeper = attach_latest();
  std::atomic<int> left{4};
  std::vector<std::jthread> threads;
  for (int who = 0; who < 4; ++who)
    threads.emplace_back([&, who] {
      for (std::uint64_t round = 0; round < 15 * scale && !HasFailure(); ++round) {
        ConsumerOptions options;
        options.start = round % 2 == 0 ? StartAt::next() : StartAt::oldest();
        if (who == 1) options.mode = ReadMode::latest_only;
        if (who == 2) options.group = "team";
        auto consumer = attach(options);
        std::optional<SlotId> last;
        for (int i = 0; i < 12; ++i) {
          const auto slot = consumer.acquire_consume_slot(patience);
          ASSERT_TRUE(slot);
          expect_whole(slot, GetParam().slot_size);
          EXPECT_TRUE(!last || slot.id() > *last || slot.redelivered());
          last = slot.id();
        }
        if (who != 2) expect_closed(consumer.books());
      }
      --left;
    });
  while (left > 0 && !HasFailure()) write(producer, 1);
  threads.clear();
  expect_all_closed(producer.statistics());
}

TEST_P(DataBlockThreads, TakeTheRoleInTurns) {
  auto first = std::optional{create_ring()};
  auto reader = attach();
  auto display = attach_latest();
  const std::uint64_t each = 200 * scale;
  constexpr std::uint64_t writers = 4;
  Seen seen;
  {
    std::latch all_write{writers};
    std::atomic<std::uint64_t> running{writers};
    std::vector<std::jthread> threads;
    for (std::uint64_t i = 0; i < writers; ++i)
      threads.emplace_back([&] {
        all_write.arrive_and_wait();
        for (std::uint64_t part = 0; part < 10; ++part) {
          auto producer = DataBlockProducer::attach(name_, patience);
          EXPECT_EQ(producer.outcome(), LockOutcome::clean);
          write(producer, each / 10);
          auto abandoned = producer.acquire_write_slot(0ms);
          if (abandoned) std::fill(abandoned.bytes().begin(), abandoned.bytes().end(), std::byte{0xee});
        }
        if (--running == 0) done_ = true;
      });
    threads.emplace_back([&] { seen = read(reader); });
    threads.emplace_back([&] { static_cast<void>(read(display)); });
    first.reset();
  }
  const auto books = reader.books();
  expect_closed(books);
  EXPECT_EQ(books.committed, writers * each);
  EXPECT_EQ(books.delivered, seen.ids.size());
  EXPECT_EQ(books.in_flight, 0U);
}

TEST_P(DataBlockThreads, SeeClosedBooksAtEveryInstant) {
  auto producer = create_ring();
  auto reader = attach();
  auto display = attach_latest();
  auto member = join("team", StartAt::next());
  auto second = join("team", StartAt::next());
  const auto observer = DataBlock::attach(name_);
  std::atomic<std::uint64_t> looks{0};
  {
    std::vector<std::jthread> threads;
    for (auto* one : {&reader, &display, &member, &second})
      threads.emplace_back([&, one] { static_cast<void>(read(*one)); });
    threads.emplace_back([&] {
      SlotId next = 0;
      while (!done_ && !HasFailure()) {
        const auto block = observer.statistics();
        EXPECT_GE(block.next, next);
        next = block.next;
        expect_all_closed(block);
        ++looks;
        std::this_thread::yield();
      }
    });
    threads.emplace_back([&] {
      do write(producer, 50 * scale);
      while (looks < 20 && !HasFailure());
      done_ = true;
    });
  }
  EXPECT_GE(looks, 20U);
}

// Not with two slots: those would all belong to producers that have been broken.
using DataBlockThreadsOfLargeRings = DataBlockThreads;
INSTANTIATE_TEST_SUITE_P(, DataBlockThreadsOfLargeRings,
                         testing::Values(Ring{OnFull::wait, 100, 16}, Ring{OnFull::overwrite_oldest, 100, 32},
                                         Ring{OnFull::overwrite_oldest, 2000, 8}, Ring{OnFull::refuse, 100, 16}),
                         name_of_ring);

TEST_P(DataBlockThreadsOfLargeRings, BreakEachOtherAndReadNothingWrong) {
  auto first = std::optional{create_ring()};
  auto reader = attach();
  auto display = attach_latest();
  {
    std::atomic<int> running{2};
    std::vector<std::jthread> threads;
    for (int i = 0; i < 2; ++i)
      threads.emplace_back([&] {
        std::uint64_t written = 0;
        while (written < 100 * scale && !HasFailure()) try {
            auto producer = DataBlockProducer::attach(name_, patience);
            while (written < 100 * scale) {
              auto slot = producer.acquire_write_slot(1ms);
              if (!slot) continue;
              commit_message(slot);
              ++written;
            }
          } catch (const Error& error) {
            EXPECT_EQ(error.code(), errc::reclaimed) << error.what();
          }
        if (--running == 0) done_ = true;
      });
    threads.emplace_back([&] { static_cast<void>(read(reader)); });
    threads.emplace_back([&] { static_cast<void>(read(display)); });
    threads.emplace_back([&] {
      for (std::uint64_t i = 0; i < 3 && !done_ && !HasFailure(); ++i) try {
          DataBlock::break_producer(name_);
          std::this_thread::yield();
        } catch (const Error& error) {
          EXPECT_EQ(error.code(), std::errc::no_such_process) << error.what();
        }
    });
    first.reset();
  }
  expect_all_closed(statistics());
}
