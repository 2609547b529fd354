// platform/directory.hpp - what an operating system has to do with directories for FileLock: one function, one step.
// No public interface: it may change any time. Layer 1: src/platform/<os>/directory.cpp provides it.
//
// Names are relative to an open directory; the last name is never followed if it is a link. A result of std::errc{} means
// done. Interrupted calls are repeated. Nothing here allocates but open_path() and list().
#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <holdfast/platform/descriptor.hpp>

namespace holdfast::platform {
constexpr std::errc done{};

struct Opened {
  Descriptor descriptor{};
  std::errc why{};
};

enum class Kind { directory, channel, file, other };

/// One object on disk, whatever its names are.
struct Node {
  std::uint64_t device = 0, inode = 0;
  Kind kind = Kind::other;
  std::uint32_t owner = 0;  ///< user id
  std::uint32_t mode = 0;   ///< permission bits
  std::chrono::system_clock::time_point changed{};
  [[nodiscard]] bool is(const Node& other) const noexcept { return device == other.device && inode == other.inode; }
};

/// Opens a directory to work in, by a path of any length, following links. at: where a relative path begins, -1: here.
[[nodiscard]] Opened open_path(int at, std::string_view path);
[[nodiscard]] Opened open_directory(int at, const char* name);                     ///< For list() and names in it.
[[nodiscard]] std::errc read_link(int at, const char* name, std::string& target);  ///< invalid_argument: not a link
[[nodiscard]] std::errc list(int directory,
                             std::vector<std::string>& names);  ///< Without "." and "..". By one thread at a time.

[[nodiscard]] std::errc look(int at, const char* name, Node& node);
[[nodiscard]] std::errc look(int descriptor, Node& node);
[[nodiscard]] std::errc look(int at, const char* name);  ///< Only whether it is there.

[[nodiscard]] std::errc make_directory(int at, const char* name, std::uint32_t mode);  ///< mode less the umask
/// A channel shows its readers that its last writer is gone (a FIFO; a plain file where the file system has none).
[[nodiscard]] std::errc make_channel(int at, const char* name, std::uint32_t mode);  ///< mode less the umask
[[nodiscard]] std::errc set_mode(int at, const char* name, std::uint32_t mode);
/// While it is open, readers see a writer.
[[nodiscard]] Opened open_to_own(int at, const char* name);
/// The same, and has_reader() can tell afterwards whether anybody watches. Dearer: two more system calls.
[[nodiscard]] Opened open_to_own_and_see(int at, const char* name);
[[nodiscard]] Opened open_to_watch(int at, const char* name);  ///< A watcher is never taken for a writer.
/// True if somebody may be watching a channel: always, unless it was opened by open_to_own_and_see().
[[nodiscard]] bool has_reader(int channel) noexcept;
enum class Writer {
  none,   ///< nobody has it open for writing
  quiet,  ///< somebody has
  noisy,  ///< somebody has, and a stranger has written into it; the bytes are gone now, or some of them
};
[[nodiscard]] Writer writer_of(int channel) noexcept;
[[nodiscard]] bool has_name(int descriptor) noexcept;  ///< False once the last name of what is open has been removed.
/// The kernel's own lock, freed when the last copy of this descriptor is closed: done, or resource_unavailable_try_again.
[[nodiscard]] std::errc try_kernel_lock(int descriptor);

[[nodiscard]] std::errc rename(int from_at, const char* from, int to_at, const char* to);
/// For directories: done only if nothing bears the name `to`. file_exists otherwise. Where the file system cannot tell,
/// an empty directory may be replaced.
[[nodiscard]] std::errc rename_no_replace(int at, const char* from, const char* to);
std::errc remove_file(int at, const char* name);
std::errc remove_directory(int at, const char* name);

/// True if only one kernel at a time can have this file system mounted: then whoever came from another boot is dead.
[[nodiscard]] bool belongs_to_one_kernel(int directory);
[[nodiscard]] bool has_free_inodes(int directory);
/// Becomes readable when something is changed in that open directory, or it is moved or removed. Empty: cannot be watched.
[[nodiscard]] Descriptor watch_changes(int directory);
}  // namespace holdfast::platform
