// blocks.hpp - what the tests of DataBlock share: a block of their own, workers that do as they are told, messages that are
// checked byte by byte, and books that have to be closed.
#pragma once
#include <sys/mman.h>

#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>
#include <holdfast/data_block.hpp>

#include "../shared_memory/segments.hpp"
#include "message.hpp"

namespace blocks {
using namespace segments;
using holdfast::AcquireStatus;
using holdfast::BlockStatistics;
using holdfast::Books;
using holdfast::Checksum;
using holdfast::ConsumerOptions;
using holdfast::ConsumerStatistics;
using holdfast::ConsumeSlot;
using holdfast::ConsumeSlots;
using holdfast::DataBlock;
using holdfast::DataBlockConsumer;
using holdfast::DataBlockOptions;
using holdfast::DataBlockProducer;
using holdfast::LockOutcome;
using holdfast::OnFull;
using holdfast::ReadMode;
using holdfast::Schema;
using holdfast::SlotId;
using holdfast::SlotRange;
using holdfast::SlotView;
using holdfast::StartAt;
using holdfast::WriteSlot;
using holdfast::test::fill;
using holdfast::test::length_of;
using holdfast::test::problem_with;
using holdfast::test::writer_of;
using Clock = std::chrono::steady_clock;

constexpr std::size_t default_size = 200;  // bytes of a slot
inline const auto patience = holdfast::test::longest_wait(20s);

// ---- messages, in this process -----------------------------------------------------------------------------------------

/// Fills the slot with the message that belongs to it, and commits that.
inline SlotId commit_message(WriteSlot& slot) {
  const auto id = slot.id();
  const auto size = slot.bytes().size();
  fill(slot.bytes().first(length_of(id, size)), id);
  slot.commit(length_of(id, size));
  return id;
}
/// Commits one message. The test ends here if there is no slot.
inline SlotId send(DataBlockProducer& producer, Deadline deadline = patience) {
  auto slot = producer.acquire_write_slot(deadline);
  if (!slot) throw std::runtime_error{"no slot: " + std::string{to_string(slot.status())}};
  return commit_message(slot);
}
/// So many; returns the last id.
inline SlotId send(DataBlockProducer& producer, std::size_t count) {
  SlotId last = 0;
  for (; count > 0; --count) last = send(producer);
  return last;
}
inline void expect_whole(const SlotView& slot, std::size_t slot_size, int line = __builtin_LINE()) {
  if (const auto problem = problem_with(slot.bytes(), slot.id(), slot_size); !problem.empty())
    ADD_FAILURE_AT(__FILE__, line) << problem;
}
/// A slot, whatever is in it. The test ends here if there is none.
inline ConsumeSlot receive_raw(DataBlockConsumer& consumer, Deadline deadline = patience, int line = __builtin_LINE()) {
  auto slot = consumer.acquire_consume_slot(deadline);
  if (!slot)
    throw std::runtime_error{"line " + std::to_string(line) + ": no message: " + std::string{to_string(slot.status())}};
  return slot;
}
/// A slot, with the message that belongs to it. The test ends here if there is none.
inline ConsumeSlot receive(DataBlockConsumer& consumer, Deadline deadline = patience, int line = __builtin_LINE()) {
  auto slot = receive_raw(consumer, deadline, line);
  expect_whole(slot, consumer.options().slot_size, line);
  return slot;
}
/// Takes it and gives it back.
inline SlotId receive_id(DataBlockConsumer& consumer, Deadline deadline = patience, int line = __builtin_LINE()) {
  return receive(consumer, deadline, line).id();
}
/// The ids of all that is there.
inline std::vector<SlotId> receive_all(DataBlockConsumer& consumer, int line = __builtin_LINE()) {
  std::vector<SlotId> ids;
  for (;;) {
    auto slot = consumer.acquire_consume_slot(0ms);
    if (!slot) return ids;
    expect_whole(slot, consumer.options().slot_size, line);
    ids.push_back(slot.id());
  }
}
/// From first to the one before end.
inline std::vector<SlotId> range(SlotId first, SlotId end) {
  std::vector<SlotId> ids;
  for (; first < end; ++first) ids.push_back(first);
  return ids;
}

inline void expect_closed(const Books& books, int line = __builtin_LINE()) {
  if (books.committed != books.delivered + books.skipped + books.in_flight)
    ADD_FAILURE_AT(__FILE__, line) << to_string(books);
}
inline void expect_all_closed(const BlockStatistics& statistics, int line = __builtin_LINE()) {
  for (const auto& consumer : statistics.consumers)
    if (!consumer.in_motion) expect_closed(consumer.books, line);
}

/// For people who have to find out why a test failed.
inline std::string in_words(const BlockStatistics& block) {
  auto text = std::to_string(block.committed) + " committed, next " + std::to_string(block.next) +
              (block.producer ? ", has a producer" : "");
  for (const auto& consumer : block.consumers)
    text += "\n  " + consumer.label + consumer.group + (consumer.ended ? " (ended): " : ": ") +
            to_string(consumer.books) + (consumer.in_motion ? ", in motion" : "") +
            (consumer.holding ? ", holds " + std::to_string(*consumer.holding) : "");
  return text;
}
inline std::error_code code_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  return {};
}

// ---- workers -----------------------------------------------------------------------------------------------------------

class Blocks : public Segments {
 protected:
  [[nodiscard]] DataBlockProducer create(DataBlockOptions options = {}) const {
    if (options.slot_size == 0) options.slot_size = default_size;
    return DataBlockProducer::create(name_, options);
  }
  [[nodiscard]] DataBlockConsumer attach(const ConsumerOptions& options = {}) const {
    return DataBlockConsumer::attach(name_, options, patience);
  }
  [[nodiscard]] DataBlockConsumer attach_latest() const { return attach({.mode = ReadMode::latest_only}); }
  [[nodiscard]] DataBlockConsumer attach_oldest() const { return attach({.start = StartAt::oldest()}); }
  [[nodiscard]] DataBlockConsumer join(std::string group, StartAt start = StartAt::oldest()) const {
    return attach({.start = start, .group = std::move(group)});
  }
  [[nodiscard]] BlockStatistics statistics() const { return DataBlock::attach(name_).statistics(); }

  /// A worker that takes these steps (see data_block_worker.cpp), and has come to the one that is "ready".
  [[nodiscard]] WorkerProcess spawn(const std::vector<std::string>& steps) const {
    std::vector<Argument> arguments{name_};
    arguments.insert(arguments.end(), steps.begin(), steps.end());
    auto worker = SpawnWorkerWithReadySignal(
        DATA_BLOCK_WORKER, "do", arguments,
        {.environment = {{"LD_BIND_NOW", "1"}}});  // or the search for functions would be among traced steps
    EXPECT_EQ(worker.wait_for_ready(), Ready::yes) << worker.report();
    return worker;
  }
  /// The same to its end; what it printed.
  [[nodiscard]] std::string run(std::vector<std::string> steps) const {
    steps.insert(steps.begin(), "ready");
    auto worker = spawn(steps);
    ExpectWorkerOk(worker);
    return worker.output();
  }
  /// As the first of its users: until the test ends the block is not removed.
  void keep() { keeper_.emplace(SharedMemory::attach(name_, patience)); }

  std::optional<SharedMemory> keeper_;
};

/// Waits until it has printed this.
inline void expect_says(const WorkerProcess& worker, std::string_view text, int line = __builtin_LINE()) {
  if (!wait_for_output(worker, text))
    ADD_FAILURE_AT(__FILE__, line) << "did not say '" << text << "': " << worker.report();
}
inline bool says(const WorkerProcess& worker, std::string_view text) {
  return worker.output().find(text) != std::string::npos;
}
inline void expect_nothing_wrong(const WorkerProcess& worker, int line = __builtin_LINE()) {
  if (says(worker, "WRONG") || says(worker, "error ")) ADD_FAILURE_AT(__FILE__, line) << worker.report();
}
/// To its end, and nothing was wrong.
inline void finish_well(WorkerProcess& worker, int line = __builtin_LINE()) {
  worker.release();
  ExpectWorkerOk(worker);
  expect_nothing_wrong(worker, line);
}
/// The ids of "got 5" and "got 5 6 7", in the order in which the worker printed them; without those that came again.
inline std::vector<SlotId> ids_in(const std::string& output, bool with_redelivered = false) {
  std::vector<SlotId> ids;
  std::istringstream lines{output};
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("got ") || (!with_redelivered && line.ends_with(" again"))) continue;
    std::istringstream words{line.substr(4)};
    for (SlotId id = 0; words >> id;) ids.push_back(id);
  }
  return ids;
}
/// Its main thread sleeps in the kernel.
inline void expect_asleep(const WorkerProcess& worker, int line = __builtin_LINE()) {
  if (!wait_until([&] { return state_of(worker.pid()) == 'S'; }))
    ADD_FAILURE_AT(__FILE__, line) << "it does not sleep: " << worker.report();
}

inline Clock::duration duration_of(const std::function<void()>& call) {
  const auto begin = Clock::now();
  call();
  return Clock::now() - begin;
}
}  // namespace blocks

namespace holdfast {
inline void PrintTo(AcquireStatus status, std::ostream* out) { *out << to_string(status); }
inline void PrintTo(const Books& books, std::ostream* out) { *out << to_string(books); }
inline void PrintTo(const SlotRange& range, std::ostream* out) { *out << range.count << " from " << range.first; }
}  // namespace holdfast
