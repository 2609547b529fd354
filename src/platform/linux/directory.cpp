#include <holdfast/platform/directory.hpp>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace holdfast::platform {
namespace {
/// File servers and FUSE say "stale" of what somebody has removed while it was open, or while its name was looked up.
std::errc reason() noexcept {
  return errno == ESTALE ? std::errc::no_such_file_or_directory : static_cast<std::errc>(errno);
}

/// Repeats an interrupted call; its negative result becomes the reason.
template <class Call>
std::errc outcome_of(Call call) noexcept {
  while (call() < 0)
    if (errno != EINTR) return reason();
  return done;
}

Opened open_at(int at, const char* name, int flags) noexcept {
  int number = -1;
  const auto why = outcome_of([&] { return number = ::openat(at, name, flags | O_CLOEXEC); });
  return {Descriptor{number}, why};
}

Node node_of(const struct ::stat& status) noexcept {
  Node node;
  node.device = status.st_dev;
  node.inode = status.st_ino;
  node.kind = S_ISDIR(status.st_mode)    ? Kind::directory
              : S_ISFIFO(status.st_mode) ? Kind::channel
              : S_ISREG(status.st_mode)  ? Kind::file
                                         : Kind::other;
  node.owner = status.st_uid;
  node.mode = status.st_mode & 07777U;
  node.changed = std::chrono::system_clock::time_point{
      std::chrono::duration_cast<std::chrono::system_clock::duration>(std::chrono::seconds{status.st_ctim.tv_sec}) +
      std::chrono::duration_cast<std::chrono::system_clock::duration>(
          std::chrono::nanoseconds{status.st_ctim.tv_nsec})};
  return node;
}
}  // namespace

Opened open_path(int at, std::string_view path) {
  // The kernel takes at most PATH_MAX bytes at a time, so a longer path is walked in pieces that end at a slash.
  constexpr std::size_t piece_limit = PATH_MAX / 2;
  Opened current{Descriptor{}, done};
  int from = at < 0 ? AT_FDCWD : at;
  std::string piece;
  do {
    std::size_t end = path.size();
    if (end > piece_limit) {
      end = path.rfind('/', piece_limit);
      if (end == std::string_view::npos) return {Descriptor{}, std::errc::filename_too_long};
      ++end;
    }
    piece.assign(path.substr(0, end));
    path.remove_prefix(end);
    while (!path.empty() && path.front() == '/') path.remove_prefix(1);  // or the rest would be an absolute path
    Opened next = open_at(from, piece.empty() ? "." : piece.c_str(), O_PATH | O_DIRECTORY);
    if (next.why != done) return next;
    current = std::move(next);
    from = current.descriptor.number();
  } while (!path.empty());
  return current;
}

Opened open_directory(int at, const char* name) { return open_at(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW); }

std::errc read_link(int at, const char* name, std::string& target) {
  std::array<char, PATH_MAX> buffer{};
  ssize_t size = 0;
  const auto why = outcome_of([&] {
    size = ::readlinkat(at, name, buffer.data(), buffer.size());
    return size < 0 ? -1 : 0;
  });
  if (why == done) target.assign(buffer.data(), static_cast<std::size_t>(size));
  return why;
}

std::errc list(int directory, std::vector<std::string>& names) {
  names.clear();
  Opened readable{};  // only needed for a directory that was opened to work in
  if (::lseek(directory, 0, SEEK_SET) < 0) {
    readable = open_at(directory, ".", O_RDONLY | O_DIRECTORY);
    if (readable.why != done) return readable.why;
    directory = readable.descriptor.number();
  }
  // The call itself: opendir() would cost five more, and an allocation.
  alignas(dirent64) std::array<char, 8192> entries;
  for (;;) {
    const auto size = ::getdents64(directory, entries.data(), entries.size());
    if (size < 0 && errno == EINTR) continue;
    if (size == 0) return done;
    if (size < 0) return reason() == std::errc::no_such_file_or_directory ? done : reason();  // removed meanwhile: done
    for (ssize_t at = 0; at < size;) {
      const auto* const entry = reinterpret_cast<const dirent64*>(entries.data() + at);
      at += entry->d_reclen;
      const std::string_view name{entry->d_name};
      if (name != "." && name != "..") names.emplace_back(name);
    }
  }
}

std::errc look(int at, const char* name, Node& node) {
  struct ::stat status {};
  const auto why = outcome_of([&] { return ::fstatat(at, name, &status, AT_SYMLINK_NOFOLLOW); });
  if (why == done) node = node_of(status);
  return why;
}

std::errc look(int descriptor, Node& node) {
  struct ::stat status {};
  const auto why = outcome_of([&] { return ::fstat(descriptor, &status); });
  if (why == done) node = node_of(status);
  return why;
}

std::errc look(int at, const char* name) {
  return outcome_of([&] { return ::faccessat(at, name, F_OK, AT_SYMLINK_NOFOLLOW); });
}

std::errc make_directory(int at, const char* name, std::uint32_t mode) {
  return outcome_of([&] { return ::mkdirat(at, name, mode); });
}

std::errc make_channel(int at, const char* name, std::uint32_t mode) {
  const auto why = outcome_of([&] { return ::mkfifoat(at, name, mode); });
  if (why != std::errc::operation_not_permitted && why != std::errc::operation_not_supported &&
      why != std::errc::function_not_supported)
    return why;
  Descriptor plain;
  return outcome_of([&] {
    plain = Descriptor{::openat(at, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode)};
    return plain.number();
  });
}

std::errc set_mode(int at, const char* name, std::uint32_t mode) {
  return outcome_of([&] { return ::fchmodat(at, name, mode, 0); });
}

Opened open_to_own(int at, const char* name) { return open_at(at, name, O_RDWR | O_NONBLOCK | O_NOFOLLOW); }
Opened open_to_own_and_see(int at, const char* name) {
  const Opened reader = open_to_watch(at, name);  // or opening for writing alone would fail
  if (reader.why != done) return {Descriptor{}, reader.why};
  return open_at(at, name, O_WRONLY | O_NONBLOCK | O_NOFOLLOW);
}
Opened open_to_watch(int at, const char* name) { return open_at(at, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW); }

bool has_reader(int channel) noexcept {
  pollfd polled{channel, POLLOUT, 0};
  return ::poll(&polled, 1, 0) != 1 || (polled.revents & POLLERR) == 0;
}

Writer writer_of(int channel) noexcept {
  std::array<char, 16384> strays;
  constexpr int pieces = 4;  // as much as fits in; one who writes without end must not keep the reader here
  bool has_strays = false;
  for (int i = 0; i < pieces; ++i) {
    const auto size = ::read(channel, strays.data(), strays.size());
    if (size == 0) return Writer::none;
    if (size < 0 && errno == EAGAIN) return has_strays ? Writer::noisy : Writer::quiet;
    has_strays = has_strays || size > 0;
  }
  // Or no answer: to be asked again after a while, for who polls is not told that all have gone before.
  return Writer::noisy;
}

bool has_name(int descriptor) noexcept {
  struct ::stat status {};
  const auto why = outcome_of([&] { return ::fstat(descriptor, &status); });
  return why == done ? status.st_nlink != 0 : why != std::errc::no_such_file_or_directory;
}

std::errc try_kernel_lock(int descriptor) {
  return outcome_of([&] { return ::flock(descriptor, LOCK_EX | LOCK_NB); });
}

std::errc rename(int from_at, const char* from, int to_at, const char* to) {
  return outcome_of([&] { return ::renameat(from_at, from, to_at, to); });
}

std::errc rename_no_replace(int at, const char* from, const char* to) {
  auto why = outcome_of([&] { return ::renameat2(at, from, at, to, RENAME_NOREPLACE); });
  // Decided anew each time: some file systems say so only when the name is free.
  if (why == std::errc::invalid_argument || why == std::errc::function_not_supported)
    why = outcome_of([&] { return ::renameat(at, from, at, to); });
  return why == std::errc::directory_not_empty || why == std::errc::not_a_directory ? std::errc::file_exists : why;
}

std::errc remove_file(int at, const char* name) {
  return outcome_of([&] { return ::unlinkat(at, name, 0); });
}

std::errc remove_directory(int at, const char* name) {
  return outcome_of([&] { return ::unlinkat(at, name, AT_REMOVEDIR); });
}

bool belongs_to_one_kernel(int directory) {
  constexpr long f2fs = 0xF2F52010, zfs = 0x2FC12FC1, bcachefs = static_cast<long>(0xCA451A4E);
  struct ::statfs facts {};
  if (outcome_of([&] { return ::fstatfs(directory, &facts); }) != done) return false;
  switch (static_cast<long>(facts.f_type)) {
    case EXT4_SUPER_MAGIC:  // ext2 and ext3, too
    case XFS_SUPER_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case TMPFS_MAGIC:
    case RAMFS_MAGIC:
    case OVERLAYFS_SUPER_MAGIC:  // its upper layer cannot be a network file system
    case f2fs:
    case zfs:
    case bcachefs:
      return true;
    default:
      return false;
  }
}

bool has_free_inodes(int directory) {
  struct ::statvfs facts {};
  if (outcome_of([&] { return ::fstatvfs(directory, &facts); }) != done) return true;
  return facts.f_files == 0 || facts.f_favail > 0;  // f_files is 0 where the file system makes inodes as it needs them
}

Descriptor watch_changes(int directory) {
  Descriptor watch{::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)};
  if (!watch) return {};
  std::array<char, 40> path{};
  std::snprintf(path.data(), path.size(), "/proc/thread-self/fd/%d", directory);
  constexpr std::uint32_t changes = IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_MOVE_SELF | IN_DELETE_SELF;
  if (::inotify_add_watch(watch.number(), path.data(), changes) < 0) return {};
  return watch;
}
}  // namespace holdfast::platform
