// test_segment.hpp - a name for a segment that no other test has, and nothing left under it when the test ends.
#pragma once
#include <unistd.h>

#include <filesystem>
#include <random>
#include <string>
#include <system_error>

namespace holdfast::test {
class TestSegment {
 public:
  TestSegment() : name_{"test_" + std::to_string(::getpid()) + "_" + std::to_string(std::random_device{}())} {}
  TestSegment(const TestSegment&) = delete;
  TestSegment& operator=(const TestSegment&) = delete;
  ~TestSegment() {
    std::error_code ignored;
    std::filesystem::remove(path(), ignored);
  }
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] std::filesystem::path path() const { return "/dev/shm/holdfast." + name_; }
  [[nodiscard]] bool exists() const { return std::filesystem::exists(path()); }

 private:
  std::string name_;
};
}  // namespace holdfast::test
