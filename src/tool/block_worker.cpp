#include "tool/block_worker.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

#include <fmt/format.h>
#include <holdfast/deadline.hpp>
#include <holdfast/testing/journal.hpp>

#include "tool/block_under_test.hpp"
#include "tool/task.hpp"

namespace holdfast::tool {
namespace {
using harness::Event;
using harness::Journal;

/// What stands in a message: its number among all messages first, and then words of which each follows from the sequence
/// number of the slot, and is in no other message.
std::uint64_t word(SlotId id, std::size_t index) noexcept { return (id * block_words + index) * 0x9e3779b97f4a7c15U; }

void fill(const WriterUnderTest::Slot& slot, std::uint64_t number, std::size_t end) {
  slot.words[0] = number;
  for (std::size_t i = 1; i < end; ++i) slot.words[i] = word(slot.id, i);
}

bool is_whole(const ReaderUnderTest::Message& message) {
  if (message.words.size() != block_words) return false;
  for (std::size_t i = 1; i < block_words; ++i)
    if (message.words[i] != word(message.id, i)) return false;
  return true;
}

void tell(const Tally& tally) { std::fputs(to_line(tally).c_str(), stdout); }

/// Writes messages with consecutive numbers.
class Numbered {
 public:
  Numbered(WriterUnderTest& writer, const Task& task, std::uint64_t first)
      : writer_{writer}, task_{task}, next_{first} {}

  /// False: no slot by the deadline.
  bool write() {
    const auto slot = writer_.acquire(Deadline{task_.patience});
    if (!slot) {
      tally_.error = "it did not get a slot by the deadline";
      return false;
    }
    fill(*slot, next_, block_words);
    writer_.commit();
    ++next_;
    ++tally_.successful;
    return true;
  }
  bool write(std::uint64_t count) {
    while (count > 0 && write()) --count;
    return count == 0;
  }
  /// Acquires a slot, and fills one half of it.
  bool begin_to_write() {
    const auto slot = writer_.acquire(Deadline{task_.patience});
    if (slot) fill(*slot, next_, block_words / 2);
    return slot.has_value();
  }
  [[nodiscard]] Tally& tally() noexcept { return tally_; }

 private:
  WriterUnderTest& writer_;
  const Task& task_;
  std::uint64_t next_;
  Tally tally_;
};

/// Reads until the message with the last number, and holds against the block what is not as it has to be.
class Checked {
 public:
  Checked(ReaderUnderTest& reader, ReadMode mode, const Task& task) : reader_{reader}, mode_{mode}, task_{task} {}

  void read() {
    while (next_ < task_.increments) {
      const auto message = reader_.acquire(Deadline{task_.patience});
      if (!message) return fail(fmt::format("message {} did not come by the deadline", next_));
      check(*message);
      reader_.release();
    }
    check(reader_.books());
  }
  [[nodiscard]] const Tally& tally() const noexcept { return tally_; }

 private:
  void check(const ReaderUnderTest::Message& message) {
    last_ = message.id;
    if (!is_whole(message)) {
      ++tally_.failed;
      ++next_;  // where it stood
      return fail(fmt::format("the message in slot {} is torn", message.id));
    }
    const auto number = message.words[0];
    if (number < next_)
      fail(fmt::format("message {} came again, or too late", number));
    else if (number > next_ && mode_ == ReadMode::sequential)
      fail(fmt::format("message {} was followed by {}", static_cast<std::int64_t>(next_) - 1, number));
    if (number >= next_) ++tally_.successful;
    next_ = std::max(next_, number + 1);
  }

  /// All that was committed is accounted for, and each sequence number was data or a void: no hole.
  void check(const Books& books) {
    const auto seen = tally_.successful + tally_.failed;
    if (books.committed != task_.increments || books.delivered != seen || books.in_flight != 0 ||
        books.committed != books.delivered + books.skipped || last_ + 1 != books.committed + books.voids)
      fail(fmt::format("after {} of {} messages, the last one in slot {}, the books say: {}, {} voids", seen,
                       task_.increments, last_, to_string(books), books.voids));
  }

  void fail(std::string why) {
    if (tally_.error.empty()) tally_.error = std::move(why);
  }

  ReaderUnderTest& reader_;
  ReadMode mode_;
  const Task& task_;
  std::uint64_t next_ = 0;  // the number of the message that has to come
  SlotId last_ = 0;
  Tally tally_;
};

int read(harness::WorkerContext& context, ReadMode mode) {
  const auto task = to_task(context);
  auto journal = Journal::open(task.journal);
  const auto reader = make_reader(task.resource, mode, Deadline{task.patience});
  harness::signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  Checked checked{*reader, mode, task};
  checked.read();
  journal.append(task.who, Event::left);
  tell(checked.tally());
  return 0;
}
}  // namespace

int write_all(harness::WorkerContext& context) {
  const auto task = to_task(context);
  auto journal = Journal::open(task.journal);
  const auto writer = make_writer(task.resource, slots_of_transfer);
  harness::signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  Numbered messages{*writer, task, 0};
  journal.append(task.who, Event::arrived);
  messages.write(task.increments);
  journal.append(task.who, Event::left);
  tell(messages.tally());
  return 0;
}

int read_all(harness::WorkerContext& context) { return read(context, ReadMode::sequential); }
int read_latest(harness::WorkerContext& context) { return read(context, ReadMode::latest_only); }

int own_role(harness::WorkerContext& context) {
  const auto task = to_task(context);
  auto journal = Journal::open(task.journal);
  std::unique_ptr<WriterUnderTest> writer;
  if (task.who == 0) writer = make_writer(task.resource, slots_of_kills);
  harness::signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  journal.append(task.who, Event::arrived);
  if (!writer) writer = make_successor(task.resource, Deadline{task.patience});
  Numbered messages{*writer, task, std::uint64_t{task.who} * messages_of_a_writer};
  messages.tally().died_before = writer->died_before();
  if (messages.write()) {
    journal.append(task.who, writer->died_before() ? Event::recovered : Event::entered);
    if (messages.write(messages_of_a_writer - 1)) (void)messages.begin_to_write();
  }
  tell(messages.tally());
  return context.wait_for_release();  // or it is killed here
}

int fill_up(harness::WorkerContext& context) {
  const auto task = to_task(context);
  auto journal = Journal::open(task.journal);
  const auto writer = make_writer(task.resource, slots_of_kills);
  Numbered messages{*writer, task, 0};
  harness::signal_test_ready();
  for (std::uint32_t round = 0; round < task.increments; ++round) {
    if (const int code = context.wait_for_release()) return code;
    if (!messages.write(slots_of_kills)) break;
    journal.append(task.who, Event::arrived);
    if (!messages.write()) break;  // waits for the one who holds the first of them
    journal.append(task.who, Event::recovered);
  }
  tell(messages.tally());
  return 0;
}

int hold_slot(harness::WorkerContext& context) {
  const auto task = to_task(context);
  auto journal = Journal::open(task.journal);
  harness::signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  const auto reader = make_reader(task.resource, ReadMode::sequential, Deadline{task.patience});
  journal.append(task.who, Event::arrived);
  Tally tally;
  const auto message = reader->acquire(Deadline{task.patience});
  if (!message)
    tally.error = "no message came by the deadline";
  else if (!is_whole(*message))
    tally.error = fmt::format("the message in slot {} is torn", message->id);
  tally.successful = tally.error.empty();
  tell(tally);
  return context.wait_for_release();  // it is killed here
}
}  // namespace holdfast::tool
