// platform/segment.hpp - what an operating system has to do for shared segments. No public interface: it may change any
// time. Layer 1: src/platform/<os>/segment.cpp provides it.
//
// A result of std::errc{} means done. Interrupted calls are repeated. Nothing here allocates.
#pragma once
#include <cstddef>
#include <cstdint>
#include <system_error>

#include <holdfast/platform/descriptor.hpp>
#include <holdfast/platform/directory.hpp>

namespace holdfast::platform {
/// The directory in which named segments stand.
[[nodiscard]] const char* segment_folder() noexcept;

/// A new file in that directory without a name, for its owner only. It ends with its last descriptor.
[[nodiscard]] Opened make_nameless(int folder) noexcept;
/// Memory that never has a name; the label is for people who look at the process's mappings.
[[nodiscard]] Opened make_anonymous(const char* label) noexcept;
/// Gives a nameless file its name, in one step. file_exists if something bears it.
[[nodiscard]] std::errc give_name(int file, int folder, const char* name) noexcept;
/// Never follows a link and never waits, whatever is found.
[[nodiscard]] Opened open_segment(int folder, const char* name, bool for_writing) noexcept;
/// The same file with a descriptor that shares nothing with the given one: neither position nor locks.
[[nodiscard]] Opened reopen(int file, bool for_writing) noexcept;

/// `file` refers from here on to what `other` refers to, at once for all threads.
[[nodiscard]] std::errc replace(int file, int other) noexcept;

struct SegmentFile {
  std::uint64_t device = 0, inode = 0, size = 0;
  bool regular = false;
  bool has_name = false;
  std::uint32_t owner = 0;  ///< user id
};
[[nodiscard]] std::errc look_at(int file, SegmentFile& found) noexcept;

/// All of these bytes exist from here on and are zero: writing to them cannot fail later.
[[nodiscard]] std::errc reserve(int file, std::uint64_t size) noexcept;
/// What is left where that file stands; the largest number if there is no limit.
[[nodiscard]] std::uint64_t free_space(int file) noexcept;
[[nodiscard]] std::errc set_access(int file, std::uint32_t mode) noexcept;
/// Anonymous memory keeps its size from here on.
[[nodiscard]] std::errc fix_size(int file) noexcept;
[[nodiscard]] bool has_fixed_size(int file) noexcept;
/// How many bytes could be read; fewer than asked for: the end of the file, or it cannot be read.
[[nodiscard]] std::size_t read_at(int file, std::uint64_t offset, void* to, std::size_t size) noexcept;

/// Locks on bytes of a file, of the kernel: they end with the last copy of the descriptor that took them. They need not
/// exist as bytes. Two descriptors from two calls of open exclude each other, in one process, too.
enum class LockKind { shared, exclusive };
[[nodiscard]] std::errc try_lock_bytes(int file, std::uint64_t first, std::uint64_t count, LockKind kind) noexcept;
void unlock_bytes(int file, std::uint64_t first, std::uint64_t count) noexcept;
/// How many bytes the lock covers that somebody else's descriptor has on one of them; 0: there is none.
[[nodiscard]] std::uint64_t size_of_lock(int file, std::uint64_t first, std::uint64_t count) noexcept;

/// Maps the whole file such that the byte at `aligned_offset` has an address that is a multiple of `alignment` (a power of
/// two). Null: not possible, why tells.
[[nodiscard]] std::byte* map(int file, std::size_t size, bool for_writing, bool prefault, std::size_t aligned_offset,
                             std::size_t alignment, std::errc& why) noexcept;
void unmap(const std::byte* address, std::size_t size) noexcept;
}  // namespace holdfast::platform
