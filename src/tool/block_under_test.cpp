#include "tool/data_block_under_test.hpp"

namespace holdfast::tool {
std::unique_ptr<WriterUnderTest> make_writer(const std::string& segment, std::size_t slots) {
  return std::make_unique<DataBlockWriterUnderTest>(create_block(segment, slots));
}
std::unique_ptr<WriterUnderTest> make_successor(const std::string& segment, Deadline deadline) {
  return std::make_unique<DataBlockWriterUnderTest>(DataBlockProducer::attach(segment, deadline));
}
std::unique_ptr<ReaderUnderTest> make_reader(const std::string& segment, ReadMode mode, Deadline deadline) {
  return std::make_unique<DataBlockReaderUnderTest>(DataBlockConsumer::attach(segment, {.mode = mode}, deadline));
}
}  // namespace holdfast::tool
