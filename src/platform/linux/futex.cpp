#include <holdfast/platform/futex.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <ctime>
#include <system_error>

#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace holdfast::platform {
namespace {
using Nanoseconds = std::chrono::nanoseconds;

timespec in_parts(Nanoseconds time) noexcept {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(time);
  timespec parts{};
  parts.tv_sec = static_cast<std::time_t>(seconds.count());
  parts.tv_nsec = static_cast<long>((time - seconds).count());
  return parts;
}

/// Keeps errno as it was: nobody expects it to change when a slot is acquired.
class KeepErrno {
 public:
  KeepErrno() noexcept = default;
  KeepErrno(const KeepErrno&) = delete;
  KeepErrno& operator=(const KeepErrno&) = delete;
  ~KeepErrno() { errno = before_; }

 private:
  int before_ = errno;
};

#if !defined(SYS_futex_waitv)
constexpr long SYS_futex_waitv = 449;  // the same on every architecture; glibc 2.36 has no name for it everywhere
#endif
/// As the kernel defines it since 5.16; older headers do not have it.
struct KernelWaiter {
  std::uint64_t value, address;
  std::uint32_t flags, reserved;
};
constexpr std::uint32_t word_of_32_bits = 2;  // FUTEX_32, without FUTEX_PRIVATE_FLAG: other processes wake it
}  // namespace

void wait_on(const std::atomic<std::uint32_t>& word, std::uint32_t value, Nanoseconds at_most) noexcept {
  if (at_most <= Nanoseconds::zero()) return;
  const KeepErrno keep;
  const timespec time = in_parts(at_most);
  ::syscall(SYS_futex, &word, FUTEX_WAIT, value, &time, nullptr, 0);
}

void wake_all(const std::atomic<std::uint32_t>& word) noexcept {
  const KeepErrno keep;
  ::syscall(SYS_futex, &word, FUTEX_WAKE, INT32_MAX, nullptr, nullptr, 0);
}

bool wait_on_any(std::span<const AwaitedWord> words, Nanoseconds at_most) noexcept {
  if (words.size() > awaited_limit) return false;
  if (words.empty() || at_most <= Nanoseconds::zero()) return true;
  const KeepErrno keep;
  std::array<KernelWaiter, awaited_limit> waiters;
  for (std::size_t i = 0; i < words.size(); ++i)
    waiters[i] = {words[i].value, reinterpret_cast<std::uintptr_t>(words[i].word), word_of_32_bits, 0};
  timespec end{};
  ::clock_gettime(CLOCK_MONOTONIC, &end);
  end = in_parts(std::chrono::seconds{end.tv_sec} + Nanoseconds{end.tv_nsec} + at_most);
  return ::syscall(SYS_futex_waitv, waiters.data(), static_cast<unsigned>(words.size()), 0U, &end, CLOCK_MONOTONIC) >=
             0 ||
         (errno != ENOSYS && errno != EPERM);
}

bool join_barriers() noexcept {
  const KeepErrno keep;
  const long commands = ::syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
  return commands > 0 && (commands & MEMBARRIER_CMD_GLOBAL_EXPEDITED) != 0 &&
         ::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0;
}

void barrier_in_all_threads() noexcept {
  const KeepErrno keep;
  ::syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0);
}

// Of the machine: who is bound to one processor may wait for somebody on another.
bool has_one_processor() noexcept { return ::sysconf(_SC_NPROCESSORS_ONLN) == 1; }

void leave_out_of_core_dumps(const std::byte* address, std::size_t size) noexcept {
  const KeepErrno keep;
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<std::uintptr_t>(address) + page - 1) / page * page;
  const auto end = reinterpret_cast<std::uintptr_t>(address) + size;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTDUMP);
}

Event::Event() : descriptor_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)} {
  if (descriptor_ < 0) throw std::system_error{errno, std::generic_category(), "eventfd"};
}
Event::~Event() { ::close(descriptor_); }
void Event::signal() noexcept {
  const KeepErrno keep;
  const std::uint64_t one = 1;
  static_cast<void>(::write(descriptor_, &one, sizeof one) < 0);
}
void Event::clear() noexcept {
  const KeepErrno keep;
  std::uint64_t count = 0;
  static_cast<void>(::read(descriptor_, &count, sizeof count) < 0);
}
}  // namespace holdfast::platform
