// fuzzing.hpp - what the fuzz targets share: bytes read as a script, calls that have to come back in time and with an error that
// fits, and identities of processes that live, are dead, or cannot be judged.
#pragma once
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <holdfast/error.hpp>
#include <holdfast/process_identity.hpp>

/// What libFuzzer calls, and corpus_runner.cpp.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace fuzz {
/// Ends the process, with a word for whoever has to find out why.
inline void check(bool condition, const std::string& what) {
  if (condition) return;
  std::fprintf(stderr, "FOUND: %s\n", what.c_str());
  std::abort();
}

/// The bytes of one input, taken one after the other; beyond their end there are zeros.
class Script {
 public:
  Script(const std::uint8_t* data, std::size_t size) : rest_{data, size} {}
  [[nodiscard]] bool empty() const { return rest_.empty(); }
  std::uint8_t byte() {
    if (rest_.empty()) return 0;
    const auto first = rest_.front();
    rest_ = rest_.subspan(1);
    return first;
  }
  std::uint16_t number() {
    const unsigned low = byte();
    return static_cast<std::uint16_t>(low | unsigned{byte()} << 8U);
  }
  std::uint64_t word() {
    std::uint64_t word = 0;
    for (unsigned i = 0; i < 64; i += 8) word |= std::uint64_t{byte()} << i;
    return word;
  }
  std::string text(std::size_t size) {
    std::string text;
    for (; size > 0 && !rest_.empty(); --size) text += static_cast<char>(byte());
    return text;
  }
  std::span<const std::uint8_t> rest() const { return rest_; }

 private:
  std::span<const std::uint8_t> rest_;
};

constexpr std::chrono::seconds longest_call{5};  // with a deadline of milliseconds, under sanitizers, on a busy machine

/// The call has to come back soon, and every error of it has to be one of `fitting`. False: it threw one.
inline bool attempt(const std::vector<std::error_condition>& fitting, const std::function<void()>& call) {
  const auto begin = std::chrono::steady_clock::now();
  bool came_back = true;
  try {
    call();
  } catch (const holdfast::Error& error) {
    bool fits = false;
    for (const auto& condition : fitting) fits = fits || error.code() == condition;
    check(fits, std::string{"an error that does not fit: "} + error.what());
    came_back = false;
  }
  check(std::chrono::steady_clock::now() - begin < longest_call, "it does not keep its deadline");
  return came_back;
}
inline std::error_condition condition(holdfast::errc code) { return make_error_code(code).default_error_condition(); }

/// Every byte is looked at, so that a sanitizer sees one that may not be.
inline void look_at(std::span<const std::byte> bytes) {
  unsigned sum = 0;
  for (const auto byte : bytes) sum += static_cast<unsigned>(byte);
  asm volatile("" : : "r"(sum));  // it is needed, as far as the compiler knows
}

/// None is opened that is not closed again.
class DescriptorWatch {
 public:
  DescriptorWatch() : lowest_{lowest_free()} {}
  DescriptorWatch(const DescriptorWatch&) = delete;
  DescriptorWatch& operator=(const DescriptorWatch&) = delete;
  ~DescriptorWatch() { check(lowest_free() == lowest_, "a descriptor has been left open"); }

 private:
  static int lowest_free() {
    const int number = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    ::close(number);
    return number;
  }
  int lowest_;
};

/// In a corpus there can be none of this boot: they are put in by their kind.
enum class Who { self, dead, other_boot, other_namespace };
inline const std::string& identity(Who who) {
  static const std::string self = holdfast::ProcessIdentity::self().encode();
  static const auto with_field = [](std::size_t index, const std::string& value) {
    std::string text = self;
    std::size_t begin = 0;
    for (; index > 0; --index) begin = text.find('.', begin) + 1;
    return text.replace(begin, text.find('.', begin) - begin, value);
  };
  static const std::string dead = with_field(4, "1");  // this pid, but started earlier
  static const std::string other_boot = with_field(0, "0123456789abcdef0123456789abcdef");
  static const std::string other_namespace = with_field(1, "f00d");
  switch (who) {
    case Who::dead:
      return dead;
    case Who::other_boot:
      return other_boot;
    case Who::other_namespace:
      return other_namespace;
    case Who::self:
      break;
  }
  return self;
}
inline Who who(std::uint64_t number) { return static_cast<Who>(number % 4); }
}  // namespace fuzz
