// counter_file.hpp - the shared resource of the suites: a number in a file, read, incremented and written back in two
// steps. Without exclusion increments are lost; that is what it is for.
#pragma once
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <system_error>

namespace holdfast::test {
class CounterFile {
 public:
  /// Opened anew for each access, as separate programs do.
  explicit CounterFile(std::filesystem::path file) : file_{std::move(file)} {}

  void create() const { write(0); }

  [[nodiscard]] std::uint64_t read() const {
    const int descriptor = open(O_RDONLY);
    std::array<char, width> text{};
    const auto length = ::read(descriptor, text.data(), text.size());
    ::close(descriptor);
    std::uint64_t value = 0;
    if (length != width || std::from_chars(text.data(), text.data() + length, value).ptr != text.data() + length)
      throw std::runtime_error{"the counter file is torn: " + file_.native()};
    return value;
  }

  void write(std::uint64_t value) const {
    std::array<char, width + 1> text{};
    std::snprintf(text.data(), text.size(), "%0*llu", width, static_cast<unsigned long long>(value));
    const int descriptor = open(O_WRONLY | O_CREAT);
    const auto length = ::write(descriptor, text.data(), width);
    ::close(descriptor);
    if (length != width) throw std::runtime_error{"the counter file cannot be written: " + file_.native()};
  }

 private:
  static constexpr int width = 20;  // always the same length: a write replaces the whole number

  [[nodiscard]] int open(int flags) const {
    const int descriptor = ::open(file_.c_str(), flags | O_CLOEXEC, 0666);
    if (descriptor < 0) throw std::system_error{errno, std::generic_category(), file_.native()};
    return descriptor;
  }

  std::filesystem::path file_;
};
}  // namespace holdfast::test
