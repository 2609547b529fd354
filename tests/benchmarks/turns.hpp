// turns.hpp - a number that two processes count up in turns, in shared memory: who waits for a turn sleeps in the kernel.
#pragma once
#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdint>
#include <ctime>
#include <filesystem>
#include <system_error>
#include <holdfast/platform/descriptor.hpp>

namespace holdfast::benchmarks {
/// The bytes of a new file are zero, which is how it begins.
class Turns {
 public:
  struct Page {
    std::atomic<std::uint32_t> arriving, entered;
    std::array<std::atomic<std::int32_t>, 2> pids;
  };
  static_assert(std::atomic<std::uint32_t>::is_always_lock_free);

  explicit Turns(const std::filesystem::path& file) {
    const platform::Descriptor opened{::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
    if (!opened || ::ftruncate(opened.number(), sizeof(Page)) != 0) fail(file);
    void* const mapped = ::mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED, opened.number(), 0);
    if (mapped == MAP_FAILED) fail(file);
    page_ = static_cast<Page*>(mapped);
  }
  Turns(const Turns&) = delete;
  Turns& operator=(const Turns&) = delete;
  ~Turns() { ::munmap(page_, sizeof(Page)); }

  [[nodiscard]] Page& page() noexcept { return *page_; }

  static void reach(std::atomic<std::uint32_t>& number, std::uint32_t value) noexcept {
    number.store(value);
    ::syscall(SYS_futex, &number, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
  }
  static void add_one(std::atomic<std::uint32_t>& number) noexcept {
    number.fetch_add(1);
    ::syscall(SYS_futex, &number, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
  }
  static void wait_for(const std::atomic<std::uint32_t>& number, std::uint32_t value) noexcept {
    for (auto seen = number.load(); seen < value; seen = number.load())
      ::syscall(SYS_futex, &number, FUTEX_WAIT, seen, nullptr, nullptr, 0);
  }
  /// Returns after that time, too, and perhaps earlier: to look whether those who are to reach it live.
  static bool wait_a_while_for(const std::atomic<std::uint32_t>& number, std::uint32_t value,
                               std::chrono::nanoseconds time) noexcept {
    const auto seen = number.load();
    if (seen >= value) return true;
    const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
    const timespec limit{seconds.count(), (time - seconds).count()};
    ::syscall(SYS_futex, &number, FUTEX_WAIT, seen, &limit, nullptr, 0);
    return number.load() >= value;
  }

 private:
  [[noreturn]] static void fail(const std::filesystem::path& file) {
    throw std::system_error{errno, std::generic_category(), file.native()};
  }
  Page* page_ = nullptr;
};
}  // namespace holdfast::benchmarks
