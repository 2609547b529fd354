// shared_page.hpp - an object in memory that processes share, by a file.
#pragma once
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <type_traits>
#include <utility>
#include <holdfast/platform/descriptor.hpp>

namespace holdfast::benchmarks {
/// It begins as the bytes of a new file, which are zero, and no constructor or destructor runs.
template <class Content>
class SharedPage {
 public:
  explicit SharedPage(const std::filesystem::path& file) {
    const platform::Descriptor opened{::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
    if (!opened || ::ftruncate(opened.number(), sizeof(Content)) != 0) fail(file);
    void* const mapped =
        ::mmap(nullptr, sizeof(Content), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, opened.number(), 0);
    if (mapped == MAP_FAILED) fail(file);
    content_ = static_cast<Content*>(mapped);
  }
  SharedPage(const SharedPage&) = delete;
  SharedPage& operator=(const SharedPage&) = delete;
  ~SharedPage() { ::munmap(content_, sizeof(Content)); }

  [[nodiscard]] Content& operator*() const noexcept { return *content_; }
  [[nodiscard]] Content* operator->() const noexcept { return content_; }

 private:
  [[noreturn]] static void fail(const std::filesystem::path& file) {
    throw std::system_error{errno, std::generic_category(), file.native()};
  }
  Content* content_ = nullptr;
};
}  // namespace holdfast::benchmarks
