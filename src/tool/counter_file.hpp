// counter_file.hpp - the counter of a FileLock: a number in a file.
#pragma once
#include <cstdint>
#include <filesystem>
#include <utility>

#include "tool/counter.hpp"

namespace holdfast::tool {
/// Both open the file anew, as separate programs do (a network file system compares with its server then), and throw
/// Error. A write replaces the number in place, so that it needs no space beyond the first.
[[nodiscard]] std::uint64_t read_counter(const std::filesystem::path& file);
void write_counter(const std::filesystem::path& file, std::uint64_t value);

class CounterFile final : public Counter {
 public:
  explicit CounterFile(std::filesystem::path file) : file_{std::move(file)} {}
  [[nodiscard]] std::uint64_t read() const override { return read_counter(file_); }
  void write(std::uint64_t value) override { write_counter(file_, value); }

 private:
  std::filesystem::path file_;
};
}  // namespace holdfast::tool
