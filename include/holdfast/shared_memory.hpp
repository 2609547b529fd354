// shared_memory.hpp - a named segment of memory that processes share: found complete or not at all, never full of holes.
// Layer 3: builds on deadline.hpp and process_identity.hpp. System calls: src/shared_memory.cpp and src/platform.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <holdfast/deadline.hpp>
#include <holdfast/error.hpp>
#include <holdfast/process_identity.hpp>

namespace holdfast {
namespace detail {
class Block;
class Segment;
}  // namespace detail

/// Who may attach, whatever the umask is: mode 0600, 0660, 0666. Whoever may attach may also destroy what is in it.
enum class Access { owner, group, everyone };

/// What becomes of a segment that nobody is attached to any more.
enum class Lifetime {
  until_last_detach,  ///< The last one to detach removes it. What users that were killed left is replaced by create().
  until_removed,      ///< It stays, with its data, until remove() or the end of the kernel; who comes attaches to it.
};

struct SegmentOptions {
  Access access = Access::owner;
  Lifetime lifetime = Lifetime::until_last_detach;
  bool prefault = true;          ///< Pages are mapped at once, also by those who attach: no page fault later.
  std::size_t alignment = 4096;  ///< Of the first byte, in every process: a power of two from 4096 to 2 MiB.
};

enum class SegmentState {
  in_use,         ///< a live process is attached
  orphaned,       ///< complete, but nobody is attached
  incomplete,     ///< empty: whoever was to make it has not, or died at it
  other_version,  ///< made by a holdfast whose layout this one does not read, or with words of another size
  foreign,        ///< not made by holdfast, or damaged
  unreadable,     ///< its permissions keep this user from looking
};

/// A snapshot for people and tools.
struct SegmentInfo {
  std::string name;
  std::size_t size = 0;  ///< Bytes for the user; of a segment that cannot be read, of the whole file.
  SegmentState state = SegmentState::foreign;
  std::optional<ProcessIdentity> creator{};
  std::vector<ProcessIdentity> users{};  ///< Those attached and alive. Who attached read-only is not listed by name.
};

/// Bytes under a name, for all processes of one machine that see the same /dev/shm.
///
/// Guarantees (docs/guarantees.md has all of them, each with its test)
///   M4 attach    nobody ever sees a half-made segment: it appears under its name complete, zeroed, reserved in full
///   M5 creators  of two creators at once one creates, the other is told or attaches; nobody is split off
///   M6 leftovers what the dead left is recognised and replaced; nothing is removed under a live user
/// A user is alive as long as the kernel holds its lock on the segment: no pid is compared, so this holds in containers
/// that share /dev/shm as well. A process that is alive by its identity is a user, too, if it closed all its descriptors.
///
/// Errors   Error (code, subject = the segment's path, holder) for everything that keeps the segment from being made or
///          attached. Nothing is left behind then. Found sizes and offsets are checked before they are used; a segment
///          whose file is cut short later by somebody else raises SIGBUS, as any mapping does.
/// Threads  Members of one object are for one thread at a time; the bytes are the users' business.
/// Signals  No member is async-signal-safe.
/// fork     The child shares the memory, and detaches for itself; the segment is in use as long as either lives. A process
///          that becomes another program by exec counts as a user until it ends.
/// Cost     attach: some ten system calls, and the page tables if prefault. bytes(), as(): a few loads.
/// Limits   128 processes at once may be attached to one segment for writing (errc::too_many_participants).
class SharedMemory {
 public:
  /// Makes the segment: zeroed, with its space reserved in full (no SIGBUS later). Replaces what the dead left, unless
  /// that was to stay until removed. Throws std::errc::file_exists (with holder) if it exists, std::errc::invalid_argument
  /// or filename_too_long for a name, size or alignment that cannot be, no_space_on_device with the free space, timed_out
  /// if somebody was stopped at removing an older one, and errc::foreign, errc::version_mismatch, errc::corrupt,
  /// errc::layout_mismatch if what is there was made by a process with words of another size (32 and 64 bits).
  [[nodiscard]] static SharedMemory create(std::string_view name, std::size_t size, const SegmentOptions& options = {});

  /// Attaches if it is there, else creates it. Throws errc::layout_mismatch if it is there with another size.
  [[nodiscard]] static SharedMemory create_or_attach(std::string_view name, std::size_t size,
                                                     const SegmentOptions& options = {},
                                                     Deadline deadline = std::chrono::seconds{5});

  /// Waits until somebody has created it. At the deadline throws std::errc::no_such_file_or_directory, or
  /// errc::incomplete. At once: errc::foreign, errc::version_mismatch, errc::layout_mismatch (words of another size),
  /// errc::corrupt, std::errc::permission_denied.
  [[nodiscard]] static SharedMemory attach(std::string_view name, Deadline deadline = std::chrono::seconds{5});
  /// The same for one who only looks. It counts as a user, so the segment is not removed under it.
  [[nodiscard]] static SharedMemory attach_read_only(std::string_view name,
                                                     Deadline deadline = std::chrono::seconds{5});

  /// A segment without a name, for those who get its descriptor: by inheritance, or over a local socket. It ends with its
  /// last user. The label is for people; it has to be what a name may be.
  [[nodiscard]] static SharedMemory create_anonymous(std::string_view label, std::size_t size,
                                                     const SegmentOptions& options = {});
  /// Attaches to what that descriptor of another process's segment refers to; the descriptor stays the caller's.
  [[nodiscard]] static SharedMemory attach(int descriptor);

  /// All segments of holdfast on this machine, by name.
  [[nodiscard]] static std::vector<SegmentInfo> list();
  /// Removes a segment that nobody is attached to. false: there was none. Throws errc::in_use (with holder), errc::foreign,
  /// errc::version_mismatch, errc::layout_mismatch.
  static bool remove(std::string_view name);

  SharedMemory(SharedMemory&&) noexcept;
  SharedMemory& operator=(SharedMemory&&) noexcept;
  ~SharedMemory();

  [[nodiscard]] std::span<std::byte> bytes();  ///< Throws std::errc::permission_denied if attached read-only.
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return bytes().size(); }
  [[nodiscard]] bool read_only() const noexcept;
  [[nodiscard]] const std::string& name() const noexcept;  ///< As given, or the label.
  [[nodiscard]] int descriptor() const noexcept;           ///< To be passed on; it stays this object's.

  /// A T at that many bytes from the beginning. Throws std::errc::invalid_argument if it does not fit there.
  template <class T>
  [[nodiscard]] T& as(std::size_t offset = 0) {
    static_assert(std::is_trivially_copyable_v<T>, "what processes share must hold no pointers and need no destructor");
    check_range(offset, sizeof(T), alignof(T));
    return *reinterpret_cast<T*>(bytes().data() + offset);
  }
  template <class T>
  [[nodiscard]] const T& as(std::size_t offset = 0) const {
    static_assert(std::is_trivially_copyable_v<T>, "what processes share must hold no pointers and need no destructor");
    check_range(offset, sizeof(T), alignof(T));
    return *reinterpret_cast<const T*>(bytes().data() + offset);
  }

  /// As the destructor, but throws errc::in_use while a mutex in it is held through it. The memory stays mapped until the
  /// last handle into it (a DataBlockMutex) is gone as well.
  void detach();

 private:
  friend class DataBlockMutex;
  friend class detail::Block;
  explicit SharedMemory(std::shared_ptr<detail::Segment> segment) noexcept;
  void check_range(std::size_t offset, std::size_t size, std::size_t alignment) const;
  std::shared_ptr<detail::Segment> segment_;
};

[[nodiscard]] std::string_view to_string(SegmentState state) noexcept;
/// "run_state: 4096 bytes, in use by process 4211 (daq_writer, started 12:01:07)"
[[nodiscard]] std::string to_string(const SegmentInfo& info);
}  // namespace holdfast
