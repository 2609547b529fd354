#include "testing/shared_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <holdfast/error.hpp>
#include <holdfast/platform/descriptor.hpp>

namespace holdfast::harness {
namespace {
[[noreturn]] void fail(int error, std::string_view operation, const std::filesystem::path& file) {
  throw Error{std::error_code{error, std::generic_category()}, operation, file.native()};
}

SharedFile map(const platform::Descriptor& descriptor, std::size_t size, const std::filesystem::path& file) {
  void* const address = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor.number(), 0);
  if (address == MAP_FAILED) fail(errno, "map", file);
  return {address, size};
}
}  // namespace

SharedFile create_shared_file(const std::filesystem::path& file, std::size_t size) {
  const platform::Descriptor descriptor{::open(file.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666)};
  if (!descriptor) fail(errno, "create", file);
  try {
    // Without the reservation a full disk would be a SIGBUS in the middle of a test.
    if (const int error = ::posix_fallocate(descriptor.number(), 0, static_cast<off_t>(size)))
      fail(error, "reserve", file);
    return map(descriptor, size, file);
  } catch (...) {
    ::unlink(file.c_str());
    throw;
  }
}

SharedFile open_shared_file(const std::filesystem::path& file) {
  const platform::Descriptor descriptor{::open(file.c_str(), O_RDWR | O_CLOEXEC)};
  if (!descriptor) fail(errno, "open", file);
  struct stat status {};
  if (::fstat(descriptor.number(), &status) != 0) fail(errno, "examine", file);
  if (status.st_size <= 0) return {};
  return map(descriptor, static_cast<std::size_t>(status.st_size), file);
}

void close_shared_file(SharedFile file) noexcept {
  if (file.address != nullptr) ::munmap(file.address, file.size);
}
}  // namespace holdfast::harness
