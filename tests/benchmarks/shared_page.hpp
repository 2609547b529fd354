// shared_page.hpp - an object in memory that processes share, by a file.
#pragma once
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <system_error>
#include <type_traits>
#include <utility>
#include <holdfast/platform/descriptor.hpp>

namespace holdfast::benchmarks {
/// It begins as the bytes of a new file, which are zero, and no constructor or destructor runs. Behind it there may be more
/// bytes, as many for all who share it.
template <class Content>
class SharedPage {
 public:
  explicit SharedPage(const std::filesystem::path& file, std::size_t bytes_behind = 0)
      : size_{sizeof(Content) + bytes_behind} {
    const platform::Descriptor opened{::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
    if (!opened || ::ftruncate(opened.number(), static_cast<off_t>(size_)) != 0) fail(file);
    void* const mapped = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, opened.number(), 0);
    if (mapped == MAP_FAILED) fail(file);
    content_ = static_cast<Content*>(mapped);
  }
  SharedPage(const SharedPage&) = delete;
  SharedPage& operator=(const SharedPage&) = delete;
  ~SharedPage() { ::munmap(content_, size_); }

  [[nodiscard]] Content& operator*() const noexcept { return *content_; }
  [[nodiscard]] Content* operator->() const noexcept { return content_; }
  [[nodiscard]] std::byte* behind() const noexcept { return reinterpret_cast<std::byte*>(content_ + 1); }

 private:
  [[noreturn]] static void fail(const std::filesystem::path& file) {
    throw std::system_error{errno, std::generic_category(), file.native()};
  }
  std::size_t size_;
  Content* content_ = nullptr;
};
}  // namespace holdfast::benchmarks
