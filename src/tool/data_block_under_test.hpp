// data_block_under_test.hpp - a DataBlock whose full ring waits for its readers.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <holdfast/data_block.hpp>

#include "tool/block_under_test.hpp"

namespace holdfast::tool {
[[nodiscard]] inline DataBlockProducer create_block(const std::string& segment, std::size_t slots,
                                                    OnFull on_full = OnFull::wait) {
  return DataBlockProducer::create(segment, {.slot_size = block_message_size, .slot_count = slots, .on_full = on_full});
}

class DataBlockWriterUnderTest : public WriterUnderTest {
 public:
  explicit DataBlockWriterUnderTest(DataBlockProducer producer) : producer_{std::move(producer)} {}

  [[nodiscard]] std::optional<Slot> acquire(Deadline deadline) override {
    slot_.emplace(producer_.acquire_write_slot(deadline));
    if (!*slot_) return std::nullopt;
    return Slot{slot_->id(), slot_->as_span<std::uint64_t>()};
  }
  void commit() override { slot_->commit(block_message_size); }
  [[nodiscard]] std::optional<std::int64_t> died_before() const override {
    if (producer_.outcome() == LockOutcome::clean) return std::nullopt;
    const auto previous = producer_.previous_owner();
    return previous ? previous->pid() : 0;
  }

 protected:
  DataBlockProducer producer_;

 private:
  std::optional<WriteSlot> slot_;
};

class DataBlockReaderUnderTest : public ReaderUnderTest {
 public:
  explicit DataBlockReaderUnderTest(DataBlockConsumer consumer) : consumer_{std::move(consumer)} {}

  [[nodiscard]] std::optional<Message> acquire(Deadline deadline) override {
    slot_.emplace(consumer_.acquire_consume_slot(deadline));
    if (!*slot_) return std::nullopt;
    return Message{slot_->id(), slot_->as_span<std::uint64_t>()};
  }
  void release() override { slot_.reset(); }
  [[nodiscard]] Books books() const override { return consumer_.books(); }

 private:
  DataBlockConsumer consumer_;
  std::optional<ConsumeSlot> slot_;
};
}  // namespace holdfast::tool
