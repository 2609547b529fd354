#include <holdfast/data_block.hpp>

#include <algorithm>
#include <array>
#include <system_error>
#include <utility>

#include <holdfast/error.hpp>
#include <holdfast/platform/futex.hpp>
#include <holdfast/platform/wait.hpp>

#include "data_block/block.hpp"
#include "data_block/consumer.hpp"
#include "data_block/producer.hpp"
#include "text.hpp"

namespace holdfast {
using detail::Block;
using detail::Consumer;
using detail::EntryKind;
using detail::EntryState;
using detail::Producer;

namespace {
[[noreturn, gnu::cold]] void fail_view(std::size_t size, std::size_t has, std::size_t alignment,
                                       std::size_t aligned_to) {
  if (alignment > aligned_to && aligned_to != 0)
    throw Error{std::make_error_code(std::errc::invalid_argument), "use a slot", "",
                "the slots of this block are aligned to " + std::to_string(aligned_to) + " bytes, the type wants " +
                    std::to_string(alignment),
                "use bytes(), or slots of 4096 bytes and more, which are aligned to 64"};
  throw Error{std::make_error_code(std::errc::invalid_argument), "use a slot", "",
              "the type has " + std::to_string(size) + " bytes, there are " + std::to_string(has)};
}

/// "consumer display, holding slot 17", "the producer role"
std::string described(const Block& block, std::size_t index, std::uint64_t state) {
  const detail::Entry& entry = block.entry(index);
  std::uint64_t holding = detail::no_sequence;
  std::string text;
  switch (detail::entry_state::kind(state)) {
    case EntryKind::producer:
      return "the producer role";
    case EntryKind::member: {
      const detail::Group& group = block.group(entry.group.load(std::memory_order_relaxed) % detail::group_limit);
      text = "a member of group " + text::escaped(detail::text_in(group.name));
      const std::uint64_t member = entry.member.load(std::memory_order_acquire);
      if (detail::member_word::state(member) != detail::MemberState::idle) holding = detail::member_word::first(member);
      break;
    }
    default: {
      const std::string label = detail::text_in(entry.label);
      text = label.empty() ? "a consumer without a label" : "consumer " + text::escaped(label);
      const std::uint64_t cursor = entry.cursor.load(std::memory_order_acquire);
      holding = detail::entry_state::kind(state) != EntryKind::sequential ? entry.hold.load(std::memory_order_acquire)
                : cursor < block.role().head                              ? cursor
                                                                          : detail::no_sequence;
    }
  }
  return holding == detail::no_sequence ? text : text + ", holding slot " + std::to_string(holding);
}
}  // namespace

// ---- slots -----------------------------------------------------------------------------------------------------------

void WriteSlot::fail_empty() {
  throw Error{std::make_error_code(std::errc::operation_not_permitted), "commit", "a WriteSlot", "it holds no slot",
              "look at status() first"};
}
void WriteSlot::fail_check(std::size_t size, std::size_t alignment) const {
  fail_view(size, bytes().size(), alignment, writer_ ? writer_->alignment() : 0);
}
void SlotView::fail_check(std::size_t size, std::size_t alignment) const {
  fail_view(size, length_, alignment, header_ ? this->alignment() : 0);
}

// ---- producer --------------------------------------------------------------------------------------------------------

namespace {
Producer& of(detail::SlotWriter* writer) {
  if (writer == nullptr)
    throw Error{std::make_error_code(std::errc::operation_not_permitted), "use", "a DataBlockProducer",
                "it was moved from"};
  return static_cast<Producer&>(*writer);
}
Consumer& of(detail::SlotReader* reader) {
  if (reader == nullptr)
    throw Error{std::make_error_code(std::errc::operation_not_permitted), "use", "a DataBlockConsumer",
                "it was moved from"};
  return static_cast<Consumer&>(*reader);
}

/// What is held keeps it alive.
template <class Core, class Hot>
void let_go(Hot* hot) noexcept {
  if (hot == nullptr) return;
  auto* const core = static_cast<Core*>(hot);
  if (core->holds())
    core->abandon();
  else
    delete core;
}
}  // namespace

DataBlockProducer::DataBlockProducer(Producer* producer) noexcept : writer_{producer} {}
DataBlockProducer::DataBlockProducer(DataBlockProducer&& other) noexcept
    : writer_{std::exchange(other.writer_, nullptr)} {}
DataBlockProducer& DataBlockProducer::operator=(DataBlockProducer&& other) noexcept {
  if (this != &other) {
    let_go<Producer>(writer_);
    writer_ = std::exchange(other.writer_, nullptr);
  }
  return *this;
}
DataBlockProducer::~DataBlockProducer() { let_go<Producer>(writer_); }

DataBlockProducer DataBlockProducer::create(std::string_view name, const DataBlockOptions& options) {
  return DataBlockProducer{new Producer{Block::create(name, options), std::chrono::seconds{1}}};
}
DataBlockProducer DataBlockProducer::attach(std::string_view name, Deadline deadline) {
  return DataBlockProducer{new Producer{Block::attach(name, true, deadline), deadline}};
}
DataBlockProducer DataBlockProducer::create_or_attach(std::string_view name, const DataBlockOptions& options,
                                                      Deadline deadline) {
  return DataBlockProducer{new Producer{Block::create_or_attach(name, options, deadline), deadline}};
}

LockOutcome DataBlockProducer::outcome() const noexcept { return writer_ ? of(writer_).outcome() : LockOutcome::clean; }
std::optional<ProcessIdentity> DataBlockProducer::previous_owner() const { return of(writer_).previous_owner(); }
DataBlockOptions DataBlockProducer::options() const { return of(writer_).block().options(); }
std::span<std::byte> DataBlockProducer::zone() noexcept {
  return writer_ ? of(writer_).block().zone() : std::span<std::byte>{};
}
DataBlockMutex& DataBlockProducer::zone_mutex() { return of(writer_).zone_mutex(); }
BlockStatistics DataBlockProducer::statistics() const { return detail::statistics_of(of(writer_).block()); }
void DataBlockProducer::adopt() { of(writer_).adopt(); }

// ---- consumer --------------------------------------------------------------------------------------------------------

DataBlockConsumer::DataBlockConsumer(Consumer* consumer) noexcept : reader_{consumer} {}
DataBlockConsumer::DataBlockConsumer(DataBlockConsumer&& other) noexcept
    : reader_{std::exchange(other.reader_, nullptr)} {}
DataBlockConsumer& DataBlockConsumer::operator=(DataBlockConsumer&& other) noexcept {
  if (this != &other) {
    let_go<Consumer>(reader_);
    reader_ = std::exchange(other.reader_, nullptr);
  }
  return *this;
}
DataBlockConsumer::~DataBlockConsumer() { let_go<Consumer>(reader_); }

DataBlockConsumer DataBlockConsumer::attach(std::string_view name, const ConsumerOptions& options, Deadline deadline) {
  return DataBlockConsumer{new Consumer{Block::attach(name, true, deadline), options, deadline}};
}
ConsumeSlots DataBlockConsumer::acquire_consume_slots(std::size_t at_most, Deadline deadline) {
  const AcquireStatus status = of(reader_).acquire({nullptr, deadline}, at_most);
  return status == AcquireStatus::ok ? ConsumeSlots{*reader_} : ConsumeSlots{status};
}
ConsumeSlots DataBlockConsumer::acquire_consume_slots(std::size_t at_most, const std::stop_token& stop,
                                                      Deadline deadline) {
  if (stop.stop_requested()) return ConsumeSlots{AcquireStatus::stopped};
  const AcquireStatus status = of(reader_).acquire({&stop, deadline}, at_most);
  return status == AcquireStatus::ok ? ConsumeSlots{*reader_} : ConsumeSlots{status};
}
std::optional<SlotId> DataBlockConsumer::last_consumed_slot_id() const noexcept {
  return reader_ ? of(reader_).last_id() : std::optional<SlotId>{};
}
Books DataBlockConsumer::books() const { return of(reader_).books(); }
DataBlockOptions DataBlockConsumer::options() const { return of(reader_).block().options(); }
std::span<const std::byte> DataBlockConsumer::zone() const noexcept {
  return reader_ ? of(reader_).block().zone() : std::span<const std::byte>{};
}
DataBlockMutex& DataBlockConsumer::zone_mutex() { return of(reader_).zone_mutex(); }
BlockStatistics DataBlockConsumer::statistics() const { return detail::statistics_of(of(reader_).block()); }
void DataBlockConsumer::adopt() { of(reader_).adopt(); }
int DataBlockConsumer::event_descriptor() {
  auto& consumer = of(reader_);
  try {
    return consumer.event_descriptor();
  } catch (const Error&) {
    throw;
  } catch (const std::system_error& error) {  // no descriptor, or no thread
    throw Error{error.code(), "make an event descriptor for", consumer.block().path(), "",
                "it takes a descriptor and a thread: ulimit -n, ulimit -u"};
  }
}

std::optional<std::size_t> DataBlockConsumer::wait_any(std::span<DataBlockConsumer* const> consumers,
                                                       Deadline deadline) {
  const auto readable = [&]() -> std::optional<std::size_t> {
    for (std::size_t i = 0; i < consumers.size(); ++i)
      if (of(consumers[i]->reader_).looks_readable()) return i;
    return {};
  };
  std::vector<platform::AwaitedWord> words(consumers.size());
  unsigned spins = detail::Backoff::most_spins();
  for (detail::Backoff backoff{spins};;) {
    if (const auto index = readable()) return index;
    if (deadline.passed()) return {};
    if (backoff.again()) continue;
    for (std::size_t i = 0; i < consumers.size(); ++i) {
      const Consumer& consumer = of(consumers[i]->reader_);
      auto& shared = consumer.block().shared();
      words[i] = {&shared.reader_event, shared.reader_event.load(std::memory_order_acquire)};
      shared.readers_waiting.fetch_or(std::uint64_t{1} << consumer.index(), std::memory_order_seq_cst);
      consumer.block().heavy_barrier();  // B-park-reader
    }
    if (const auto index = readable()) return index;
    const auto at_most = std::min<std::chrono::nanoseconds>(detail::longest_park, deadline.remaining());
    // Where the kernel cannot wait for several words, the first is waited for, and the others are looked at in a moment.
    if (!platform::wait_on_any(words, at_most) && !words.empty())
      platform::wait_on(*words.front().word, words.front().value,
                        std::min<std::chrono::nanoseconds>(at_most, std::chrono::milliseconds{1}));
    if (words.empty()) static_cast<void>(platform::wait_for(-1, -1, deadline));
    for (auto* const consumer : consumers) of(consumer->reader_).judge_members();
  }
}

// ---- seen from outside -----------------------------------------------------------------------------------------------

namespace detail {
class Observer {
 public:
  explicit Observer(Block::Pointer attached) noexcept : block{std::move(attached)} {}
  Block::Pointer block;
};
}  // namespace detail

DataBlock::DataBlock(std::unique_ptr<detail::Observer> observer) noexcept : observer_{std::move(observer)} {}
DataBlock::DataBlock(DataBlock&&) noexcept = default;
DataBlock& DataBlock::operator=(DataBlock&&) noexcept = default;
DataBlock::~DataBlock() = default;

DataBlock DataBlock::attach(std::string_view name, Deadline deadline) {
  return DataBlock{std::make_unique<detail::Observer>(Block::attach(name, false, deadline))};
}
BlockStatistics DataBlock::statistics() const { return detail::statistics_of(*observer_->block); }
DataBlockOptions DataBlock::options() const { return observer_->block->options(); }

std::vector<Reclaimed> DataBlock::force_reclaim(std::string_view name) {
  const Block::Pointer block = Block::attach(name, true, Deadline{std::chrono::seconds{0}});
  std::vector<Reclaimed> reclaimed;
  std::optional<ProcessIdentity> alive;
  for (std::size_t i = 0, end = block->used(); i < end; ++i) {
    const std::uint64_t state = block->entry(i).state.load(std::memory_order_acquire);
    if (detail::entry_state::state(state) != EntryState::active) continue;
    Reclaimed what{block->identity(state), described(*block, i, state)};
    // The role stays in the dead producer's name: whoever takes it is told.
    if (block->drop_if_dead(i, state))
      reclaimed.push_back(std::move(what));
    else
      alive = what.from;
  }
  if (reclaimed.empty() && alive)
    throw Error{errc::in_use,
                "reclaim from",
                block->path(),
                "all who use it live, " + to_string(*alive) + " among them",
                "end that process, or order a break",
                std::make_shared<const ProcessIdentity>(*alive)};
  return reclaimed;
}

Reclaimed DataBlock::break_producer(std::string_view name) {
  const Block::Pointer block = Block::attach(name, true, Deadline{std::chrono::seconds{0}});
  const Producer breaker{block, Producer::ByForce{}};
  return {breaker.previous_owner(), "the producer role"};
}

Reclaimed DataBlock::break_consumer(std::string_view name, std::uint64_t place) {
  const Block::Pointer block = Block::attach(name, true, Deadline{std::chrono::seconds{0}});
  const std::size_t index = place & 0xffU;
  const auto fail = [&](std::errc why, std::string_view reason, std::string_view remedy) {
    throw Error{std::make_error_code(why), "break a consumer of", block->path(), reason, remedy};
  };
  if (index >= detail::entry_limit)
    fail(std::errc::invalid_argument, "there is no such place", "take it from statistics()");
  std::uint64_t state = block->entry(index).state.load(std::memory_order_acquire);
  const EntryKind kind = detail::entry_state::kind(state);
  if (kind == EntryKind::member)
    fail(std::errc::operation_not_supported, "it is a member of a group",
         "end its process: another member gets its slots");
  Reclaimed what{block->identity(state), described(*block, index, state)};
  if (detail::entry_state::generation(state) != place >> 8U || kind == EntryKind::producer ||
      detail::entry_state::state(state) != EntryState::active ||
      !block->entry(index).state.compare_exchange_strong(state, detail::entry_state::with(state, EntryState::broken),
                                                         std::memory_order_acq_rel))
    fail(std::errc::no_such_process, "it has left", "");
  block->wake_writer();
  return what;
}

std::optional<ConsumerStatistics> BlockStatistics::slowest() const {
  const ConsumerStatistics* slowest = nullptr;
  for (const auto& consumer : consumers)
    if (!consumer.ended && consumer.mode == ReadMode::sequential && consumer.books.in_flight != 0 &&
        (slowest == nullptr || consumer.books.in_flight > slowest->books.in_flight))
      slowest = &consumer;
  return slowest != nullptr ? std::optional{*slowest} : std::nullopt;
}

// ---- words -----------------------------------------------------------------------------------------------------------

std::string_view to_string(AcquireStatus status) noexcept {
  switch (status) {
    case AcquireStatus::ok:
      return "ok";
    case AcquireStatus::timed_out:
      return "timed out";
    case AcquireStatus::stopped:
      return "stopped";
    case AcquireStatus::full:
      return "full";
    case AcquireStatus::removed:
      return "removed";
  }
  return "unknown";
}
std::string_view to_string(OnFull choice) noexcept {
  switch (choice) {
    case OnFull::wait:
      return "wait";
    case OnFull::overwrite_oldest:
      return "overwrite the oldest";
    case OnFull::refuse:
      return "refuse";
  }
  return "unknown";
}
std::string_view to_string(ReadMode mode) noexcept {
  switch (mode) {
    case ReadMode::sequential:
      return "sequential";
    case ReadMode::latest_only:
      return "latest only";
  }
  return "unknown";
}
std::string to_string(const Books& books) {
  std::string text = std::to_string(books.committed);
  text.append(" committed, ").append(std::to_string(books.delivered));
  text.append(" delivered, ").append(std::to_string(books.skipped));
  return text.append(" skipped, ").append(std::to_string(books.in_flight)).append(" in flight");
}
}  // namespace holdfast
