#include <holdfast/platform/segment.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <limits>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <holdfast/steps.hpp>

namespace holdfast::platform {
namespace {
template <class Call>
std::errc outcome_of(Call call) noexcept {
  while (call() < 0)
    if (errno != EINTR) return static_cast<std::errc>(errno);
  return done;
}

template <class Call>
Opened opened_by(Call call) noexcept {
  int number = -1;
  const auto why = outcome_of([&] { return number = call(); });
  return {Descriptor{number}, why};
}

/// What refers to an open file by a path. The main thread may have ended: not /proc/self.
struct DescriptorPath {
  explicit DescriptorPath(int number) noexcept { std::snprintf(text, sizeof text, "/proc/thread-self/fd/%d", number); }
  char text[48];
};

struct ::flock lock_of(short type, std::uint64_t first, std::uint64_t count) noexcept {
  struct ::flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(first);
  lock.l_len = static_cast<off_t>(count);
  return lock;
}
}  // namespace

const char* segment_folder() noexcept { return "/dev/shm"; }

Opened make_nameless(int folder) noexcept {
  return opened_by([&] { return ::openat(folder, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600); });
}

Opened make_anonymous(const char* label) noexcept {
  return opened_by([&] { return static_cast<int>(::memfd_create(label, MFD_CLOEXEC | MFD_ALLOW_SEALING)); });
}

std::errc give_name(int file, int folder, const char* name) noexcept {
  const DescriptorPath path{file};
  auto why = outcome_of([&] { return ::linkat(AT_FDCWD, path.text, folder, name, AT_SYMLINK_FOLLOW); });
  if (why == std::errc::no_such_file_or_directory)  // no /proc; this way needs a privilege
    why = outcome_of([&] { return ::linkat(file, "", folder, name, AT_EMPTY_PATH); });
  return why;
}

Opened open_segment(int folder, const char* name, bool for_writing) noexcept {
  const int access = for_writing ? O_RDWR : O_RDONLY;
  return opened_by([&] { return ::openat(folder, name, access | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY); });
}

Opened reopen(int file, bool for_writing) noexcept {
  const DescriptorPath path{file};
  return opened_by([&] { return ::open(path.text, (for_writing ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY); });
}

std::errc replace(int file, int other) noexcept {
  return outcome_of([&] { return ::dup3(other, file, O_CLOEXEC); });
}

std::errc look_at(int file, SegmentFile& found) noexcept {
  struct ::stat status {};
  const auto why = outcome_of([&] { return ::fstat(file, &status); });
  if (why != done) return why;
  found.device = status.st_dev;
  found.inode = status.st_ino;
  found.size = static_cast<std::uint64_t>(status.st_size);
  found.regular = S_ISREG(status.st_mode);
  found.has_name = status.st_nlink != 0;
  found.owner = status.st_uid;
  return done;
}

std::errc reserve(int file, std::uint64_t size) noexcept {
  if (HOLDFAST_MUTANT(segment, space_not_reserved))
    return outcome_of([&] { return ::ftruncate(file, static_cast<off_t>(size)); });
  // In steps: a signal undoes the step that it interrupts, and signals may come again and again.
  constexpr std::uint64_t step = std::uint64_t{16} << 20U;
  auto why = done;
  for (std::uint64_t from = 0; from < size && why == done; from += step) {
    const auto length = static_cast<off_t>(std::min(step, size - from));
    why = outcome_of([&] { return ::fallocate(file, 0, static_cast<off_t>(from), length); });
  }
  return why;
}

std::uint64_t free_space(int file) noexcept {
  struct ::statvfs status {};
  if (outcome_of([&] { return ::fstatvfs(file, &status); }) != done || status.f_blocks == 0)
    return std::numeric_limits<std::uint64_t>::max();
  return std::uint64_t{status.f_bavail} * status.f_frsize;
}

std::errc set_access(int file, std::uint32_t mode) noexcept {
  return outcome_of([&] { return ::fchmod(file, mode); });
}

std::errc fix_size(int file) noexcept {
  return outcome_of([&] { return ::fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL); });
}

bool has_fixed_size(int file) noexcept {
  const int seals = ::fcntl(file, F_GET_SEALS);
  return seals >= 0 && (seals & F_SEAL_SHRINK) != 0;
}

std::size_t read_at(int file, std::uint64_t offset, void* to, std::size_t size) noexcept {
  std::size_t done_already = 0;
  while (done_already < size) {
    const auto step = ::pread(file, static_cast<char*>(to) + done_already, size - done_already,
                              static_cast<off_t>(offset + done_already));
    if (step < 0 && errno == EINTR) continue;
    if (step <= 0) break;
    done_already += static_cast<std::size_t>(step);
  }
  return done_already;
}

std::errc try_lock_bytes(int file, std::uint64_t first, std::uint64_t count, LockKind kind) noexcept {
  auto lock = lock_of(kind == LockKind::exclusive ? F_WRLCK : F_RDLCK, first, count);
  const auto why = outcome_of([&] { return ::fcntl(file, F_OFD_SETLK, &lock); });
  return why == std::errc::permission_denied ? std::errc::resource_unavailable_try_again : why;  // fcntl(2): either
}

void unlock_bytes(int file, std::uint64_t first, std::uint64_t count) noexcept {
  auto lock = lock_of(F_UNLCK, first, count);
  static_cast<void>(outcome_of([&] { return ::fcntl(file, F_OFD_SETLK, &lock); }));
}

std::uint64_t size_of_lock(int file, std::uint64_t first, std::uint64_t count) noexcept {
  auto lock = lock_of(F_WRLCK, first, count);
  if (outcome_of([&] { return ::fcntl(file, F_OFD_GETLK, &lock); }) != done) return 1;  // it might be a user's
  return lock.l_type == F_UNLCK ? 0 : static_cast<std::uint64_t>(lock.l_len);
}

std::byte* map(int file, std::size_t size, bool for_writing, bool prefault, std::size_t aligned_offset,
               std::size_t alignment, std::errc& why) noexcept {
  const int protection = PROT_READ | (for_writing ? PROT_WRITE : 0);
  const int flags = MAP_SHARED | (prefault ? MAP_POPULATE : 0);
  const auto failed = [&why] {
    why = static_cast<std::errc>(errno);
    return nullptr;
  };
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  if (alignment <= page) {
    void* const address = ::mmap(nullptr, size, protection, flags, file, 0);
    return address == MAP_FAILED ? failed() : static_cast<std::byte*>(address);
  }
  // Room for every position first, then the file over the right part of it.
  const std::size_t room = size + alignment;
  void* const reserved = ::mmap(nullptr, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) return failed();
  auto* const begin = static_cast<std::byte*>(reserved);
  const auto aligned = (reinterpret_cast<std::uintptr_t>(begin) + aligned_offset + alignment - 1) & ~(alignment - 1);
  std::byte* const target = begin + (aligned - aligned_offset - reinterpret_cast<std::uintptr_t>(begin));
  void* const address = ::mmap(target, size, protection, flags | MAP_FIXED, file, 0);
  if (address == MAP_FAILED) {
    failed();
    ::munmap(reserved, room);
    return nullptr;
  }
  const std::size_t mapped = (size + page - 1) / page * page;
  if (target != begin) ::munmap(begin, static_cast<std::size_t>(target - begin));
  ::munmap(target + mapped, room - static_cast<std::size_t>(target - begin) - mapped);
  return static_cast<std::byte*>(address);
}

void unmap(const std::byte* address, std::size_t size) noexcept {
  ::munmap(const_cast<std::byte*>(address), size);  // NOLINT(*-const-cast): the call takes no other
}
}  // namespace holdfast::platform
