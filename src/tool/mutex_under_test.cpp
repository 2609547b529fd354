#include "tool/data_block_mutex_under_test.hpp"

namespace holdfast::tool {
std::unique_ptr<MutexUnderTest> make_mutex(const std::string& segment, Deadline deadline) {
  return std::make_unique<DataBlockMutexUnderTest>(segment, deadline);
}
}  // namespace holdfast::tool
