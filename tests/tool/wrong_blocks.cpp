// Blocks for the tool that are wrong, each in one way: HOLDFAST_TEST_BLOCK names it.
#include <chrono>
#include <cstdlib>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <holdfast/error.hpp>
#include <holdfast/shared_memory.hpp>

#include "tool/data_block_under_test.hpp"

namespace holdfast::tool {
namespace {
using namespace std::chrono_literals;

/// Its messages are visible before they are there.
class HastyWriter final : public DataBlockWriterUnderTest {
 public:
  using DataBlockWriterUnderTest::DataBlockWriterUnderTest;
  [[nodiscard]] std::optional<Slot> acquire(Deadline deadline) override {
    const auto slot = DataBlockWriterUnderTest::acquire(deadline);
    if (slot) DataBlockWriterUnderTest::commit();
    return slot;
  }
  void commit() override {}
};

/// Takes over, but has no news of the one before.
class SilentWriter final : public DataBlockWriterUnderTest {
 public:
  using DataBlockWriterUnderTest::DataBlockWriterUnderTest;
  [[nodiscard]] std::optional<std::int64_t> died_before() const override { return std::nullopt; }
};

/// What a reader held when it died stays held for ever.
class StuckWriter final : public DataBlockWriterUnderTest {
 public:
  using DataBlockWriterUnderTest::DataBlockWriterUnderTest;
  [[nodiscard]] std::optional<Slot> acquire(Deadline deadline) override {
    const auto before = producer_.statistics().reclaims;
    auto slot = DataBlockWriterUnderTest::acquire(deadline);
    if (producer_.statistics().reclaims == before) return slot;
    std::this_thread::sleep_until(deadline.time());
    return std::nullopt;
  }
};

/// A right one, with a segment that nobody removes.
class LitteringWriter final : public DataBlockWriterUnderTest {
 public:
  LitteringWriter(const std::string& segment, DataBlockProducer producer)
      : DataBlockWriterUnderTest{std::move(producer)},
        litter_{SharedMemory::create_or_attach(segment + ".litter", 1, {.lifetime = Lifetime::until_removed})} {}

 private:
  SharedMemory litter_;
};

/// Loses a message now and then, and says nothing.
class ForgetfulReader final : public DataBlockReaderUnderTest {
 public:
  using DataBlockReaderUnderTest::DataBlockReaderUnderTest;
  [[nodiscard]] std::optional<Message> acquire(Deadline deadline) override {
    if (++acquired_ % 50 == 0 && DataBlockReaderUnderTest::acquire(deadline)) release();
    return DataBlockReaderUnderTest::acquire(deadline);
  }

 private:
  int acquired_ = 0;
};

/// Says that it has read more than it has.
class CreativeReader final : public DataBlockReaderUnderTest {
 public:
  using DataBlockReaderUnderTest::DataBlockReaderUnderTest;
  [[nodiscard]] Books books() const override {
    auto books = DataBlockReaderUnderTest::books();
    ++books.delivered;
    return books;
  }
};

std::string_view kind() {
  const char* const name = std::getenv("HOLDFAST_TEST_BLOCK");
  return name == nullptr ? "" : name;
}
}  // namespace

std::unique_ptr<WriterUnderTest> make_writer(const std::string& segment, std::size_t slots) {
  if (kind() == "refusing")
    throw Error{std::make_error_code(std::errc::no_space_on_device), "create segment", segment, "no memory today"};
  if (kind() == "overwriting")
    return std::make_unique<DataBlockWriterUnderTest>(create_block(segment, slots, OnFull::overwrite_oldest));
  auto producer = create_block(segment, slots);
  if (kind() == "hasty") return std::make_unique<HastyWriter>(std::move(producer));
  if (kind() == "stuck") return std::make_unique<StuckWriter>(std::move(producer));
  if (kind() == "littering") return std::make_unique<LitteringWriter>(segment, std::move(producer));
  return std::make_unique<DataBlockWriterUnderTest>(std::move(producer));
}

std::unique_ptr<WriterUnderTest> make_successor(const std::string& segment, Deadline deadline) {
  auto producer = DataBlockProducer::attach(segment, deadline);
  if (kind() == "hasty") return std::make_unique<HastyWriter>(std::move(producer));
  if (kind() == "silent") return std::make_unique<SilentWriter>(std::move(producer));
  if (kind() == "mortal") throw Error{errc::in_use, "produce into", segment, "its producer took the role to the grave"};
  return std::make_unique<DataBlockWriterUnderTest>(std::move(producer));
}

std::unique_ptr<ReaderUnderTest> make_reader(const std::string& segment, ReadMode mode, Deadline deadline) {
  auto consumer = DataBlockConsumer::attach(segment, {.mode = mode}, deadline);
  if (kind() == "forgetful") return std::make_unique<ForgetfulReader>(std::move(consumer));
  if (kind() == "creative") return std::make_unique<CreativeReader>(std::move(consumer));
  return std::make_unique<DataBlockReaderUnderTest>(std::move(consumer));
}
}  // namespace holdfast::tool
