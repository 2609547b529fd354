#include "tool/counter_file.hpp"

#include <cerrno>
#include <charconv>
#include <string>
#include <string_view>
#include <system_error>

#include <fcntl.h>
#include <unistd.h>

#include <fmt/format.h>
#include <holdfast/error.hpp>
#include <holdfast/platform/descriptor.hpp>

#include "text.hpp"

namespace holdfast::tool {
namespace {
constexpr std::size_t width = 20;  // always the same length: a write replaces the whole number

[[noreturn]] void fail(std::string_view operation, const std::filesystem::path& file) {
  throw Error{{errno, std::generic_category()}, operation, file.native()};
}

template <class Call>
auto retried(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}
}  // namespace

std::uint64_t read_counter(const std::filesystem::path& file) {
  const platform::Descriptor opened{retried([&] { return ::open(file.c_str(), O_RDONLY | O_CLOEXEC); })};
  if (!opened) fail("open the counter", file);
  std::string text(width + 1, '\0');
  const auto size = retried([&] { return ::read(opened.number(), text.data(), text.size()); });
  if (size < 0) fail("read the counter", file);
  text.resize(static_cast<std::size_t>(size));
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc{} && end == text.data() + text.size() && text.size() == width) return value;
  throw Error{make_error_code(errc::corrupt), "read the counter", file.native(),
              fmt::format("it contains '{}': somebody else wrote to it at the same time", text::escaped(text))};
}

void write_counter(const std::filesystem::path& file, std::uint64_t value) {
  platform::Descriptor opened{retried([&] { return ::open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666); })};
  if (!opened) fail("open the counter", file);
  const auto text = fmt::format("{:0{}}", value, width);
  errno = ENOSPC;  // for a write that is cut short
  if (retried([&] { return ::write(opened.number(), text.data(), width); }) != ssize_t{width})
    fail("write the counter", file);
  if (::close(opened.release()) != 0 && errno != EINTR) fail("write the counter", file);  // NFS tells it here
}
}  // namespace holdfast::tool
