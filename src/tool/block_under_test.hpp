// block_under_test.hpp - the DataBlock that is being validated, as who writes and who reads it has it. One program, one
// kind: it is chosen by linking.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <holdfast/data_block.hpp>
#include <holdfast/deadline.hpp>

namespace holdfast::tool {
constexpr std::size_t block_words = 512;  ///< Of each message, which fills its slot.
constexpr std::size_t block_message_size = block_words * sizeof(std::uint64_t);

class WriterUnderTest {
 public:
  WriterUnderTest() = default;
  WriterUnderTest(const WriterUnderTest&) = delete;
  WriterUnderTest& operator=(const WriterUnderTest&) = delete;
  virtual ~WriterUnderTest() = default;

  struct Slot {
    SlotId id;
    std::span<std::uint64_t> words;
  };
  [[nodiscard]] virtual std::optional<Slot> acquire(Deadline deadline) = 0;  ///< Empty: not had by then.
  virtual void commit() = 0;                                                 ///< All of the slot.

  /// Set if the writer before it died; the value is that one's pid, 0 if unknown.
  [[nodiscard]] virtual std::optional<std::int64_t> died_before() const = 0;
};

class ReaderUnderTest {
 public:
  ReaderUnderTest() = default;
  ReaderUnderTest(const ReaderUnderTest&) = delete;
  ReaderUnderTest& operator=(const ReaderUnderTest&) = delete;
  virtual ~ReaderUnderTest() = default;

  struct Message {
    SlotId id;
    std::span<const std::uint64_t> words;
  };
  [[nodiscard]] virtual std::optional<Message> acquire(Deadline deadline) = 0;  ///< Empty: none by then.
  virtual void release() = 0;
  [[nodiscard]] virtual Books books() const = 0;
};

/// The shipped tool: block_under_test.cpp. Tests of the tool link some that are known to be wrong. All throw Error.
[[nodiscard]] std::unique_ptr<WriterUnderTest> make_writer(const std::string& segment, std::size_t slots);  ///< And it.
/// Waits until the one before has left or died.
[[nodiscard]] std::unique_ptr<WriterUnderTest> make_successor(const std::string& segment, Deadline deadline);
/// From the next message on. Waits until the block is there.
[[nodiscard]] std::unique_ptr<ReaderUnderTest> make_reader(const std::string& segment, ReadMode mode,
                                                           Deadline deadline);
}  // namespace holdfast::tool
