// segment.hpp - one mapping of a segment by one process, and its part in who is alive.
//
// Alive is who has its byte of the file locked: byte i for the participant with record i, the readers' byte, shared, for
// those who only read. Who takes a segment away locks all bytes at once, which is possible only when nobody is alive, and
// then removes the name. Who enters locks its byte first and then looks whether the file still has a name. So, whatever is
// killed when: no name is removed under a live user, and a segment whose users are all dead can always be taken away.
#pragma once
#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <holdfast/deadline.hpp>
#include <holdfast/platform/segment.hpp>
#include <holdfast/process_identity.hpp>
#include <holdfast/shared_memory.hpp>

#include "process_wide.hpp"
#include "shared_memory/layout.hpp"

namespace holdfast::detail {
/// A name in the folder of segments. Creates nothing.
class SegmentPlace {
 public:
  SegmentPlace(std::string_view name, std::string_view operation);  ///< Throws Error: not a name, no such folder.
  [[nodiscard]] int folder() const noexcept { return folder_.number(); }
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] const char* file() const noexcept { return file_.c_str(); }
  [[nodiscard]] std::string path() const;
  [[nodiscard]] std::string_view operation() const noexcept { return operation_; }

  static constexpr std::string_view prefix = "holdfast.";                ///< of all names in the folder
  static void check(std::string_view name, std::string_view operation);  ///< Throws Error: not a name.

 private:
  std::string name_, file_, operation_;
  platform::Descriptor folder_;
};

/// What bears a name, or is behind a descriptor.
struct SegmentFound {
  enum class Is {
    absent,
    incomplete,
    foreign,
    other_version,
    other_word_size,
    corrupt,
    unreadable,
    complete
  } is = Is::absent;
  platform::Descriptor file{};
  platform::SegmentFile facts{};
  SegmentHeader header{};
};
[[nodiscard]] SegmentFound look(const SegmentPlace& place, bool for_writing);

[[nodiscard]] std::optional<ProcessIdentity> creator_of(const SegmentFound& found);
/// Who is attached to it and alive. Others than this process's own descriptor `file`.
[[nodiscard]] std::vector<ProcessIdentity> users_of(const SegmentFound& found);
/// `being_removed`: somebody has all bytes locked, for the microseconds in which he makes sure that nobody uses it.
enum class Use { none, being_removed, in_use };
[[nodiscard]] Use use_of(const SegmentFound& found);
/// A moment, for the one who removes it. Throws std::errc::timed_out at the deadline: he was stopped at it.
void wait_for_remover(const SegmentPlace& place, Deadline deadline);
/// True: it had no live user, and the name is free now. False: it has, or it has changed meanwhile.
[[nodiscard]] bool take_away(const SegmentPlace& place, const SegmentFound& found);
[[noreturn]] void fail_unusable(const SegmentPlace& place, const SegmentFound& found);
[[noreturn]] void fail_existing(const SegmentPlace& place, const SegmentFound& found);

class Segment final : ForkAware {
 public:
  using Pointer = std::shared_ptr<Segment>;
  /// Writes what has to be there before anybody else can see it.
  using Fill = std::function<void(std::span<std::byte> data)>;
  /// Null: something is there that may not be replaced; `instead` tells what.
  [[nodiscard]] static Pointer create(const SegmentPlace& place, std::size_t size, const SegmentOptions& options,
                                      Deadline deadline, SegmentFound& instead, const Fill& fill = {});
  /// Null: it has been removed meanwhile, or is about to be: look again.
  [[nodiscard]] static Pointer enter(const SegmentPlace& place, SegmentFound&& found, bool for_writing,
                                     Deadline deadline);
  [[nodiscard]] static Pointer create_anonymous(std::string_view label, std::size_t size,
                                                const SegmentOptions& options);
  [[nodiscard]] static Pointer enter_anonymous(int descriptor);

  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;
  ~Segment();

  [[nodiscard]] std::byte* data() const noexcept { return base_ + data_offset; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool read_only() const noexcept { return !writable_; }
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] int descriptor() const noexcept { return file_.number(); }

  /// This process as a participant. A forked child is another one, from here on. May throw then.
  [[nodiscard]] Reference reference() {
    const Reference mine = reference_.load(std::memory_order_relaxed);  // relaxed: nothing else is read on its account
    return mine != 0 ? mine : enlist_again();
  }
  [[nodiscard]] bool is_mine(Reference reference) const noexcept {
    return reference != 0 && reference == reference_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::optional<ProcessIdentity> identity_of(Reference reference) const;
  [[nodiscard]] Liveness liveness_of(Reference reference) const;
  /// The kernel's proof that it lives and is attached still.
  [[nodiscard]] bool is_attached(Reference reference) const;
  /// Proof that its process is dead, or has detached. Unknown is not gone.
  [[nodiscard]] bool is_gone(Reference reference) const;

  /// Calls function(SharedMutex&, offset) for each that is listed, until it returns true. True if one did.
  template <class Function>
  bool any_mutex(Function function) const {
    std::uint64_t link = mutexes().load(std::memory_order_acquire);
    for (std::size_t left = size_ / sizeof(SharedMutex); link != 0 && left != 0; --left) {
      const std::uint64_t offset = link - 1;
      if (!fits(offset)) return false;
      auto& mutex = *reinterpret_cast<SharedMutex*>(data() + offset);
      if (function(mutex, offset)) return true;
      link = mutex.next.load(std::memory_order_acquire);
    }
    return false;
  }
  [[nodiscard]] bool fits(std::uint64_t offset) const noexcept {
    return offset % alignof(SharedMutex) == 0 && offset < size_ && size_ - offset >= sizeof(SharedMutex);
  }
  [[nodiscard]] std::atomic<std::uint64_t>& mutexes() const noexcept {
    return *reinterpret_cast<std::atomic<std::uint64_t>*>(base_ + mutexes_offset);
  }
  /// A mutex in it is held, or waited for, by this process.
  [[nodiscard]] bool is_held_here() const;
  std::atomic<int> waiting{0};  ///< threads of this process that sleep for a mutex in it

 private:
  Segment() = default;
  static Pointer make(const SegmentPlace* place, std::string_view name, platform::Descriptor file, std::size_t size,
                      const SegmentOptions& options);
  static Pointer open_already(const platform::SegmentFile& facts, bool for_writing);
  void map(platform::Descriptor file, const platform::SegmentFile& facts, const SegmentHeader& header,
           bool for_writing);
  void publish(const Pointer& self);
  enum class Enlisted { yes, full, try_again };
  Enlisted enlist(int file);
  Reference enlist_again();
  void after_fork_in_child() noexcept override;
  [[nodiscard]] Participant& participant(std::size_t index) const noexcept;
  [[nodiscard]] bool is_named(Reference reference) const;

  std::string name_, path_;
  platform::Descriptor file_;  // its locks speak for this process, and for children forked since
  std::byte* base_ = nullptr;
  std::size_t file_size_ = 0, size_ = 0;
  platform::SegmentFile facts_;
  bool writable_ = false, named_ = false, stays_ = false;
  std::atomic<Reference> reference_{0};
};

/// Waits until somebody has created it; throws as SharedMemory::attach().
[[nodiscard]] Segment::Pointer attach_to(const SegmentPlace& place, bool for_writing, Deadline deadline);
/// Removing takes microseconds. Whoever takes that long was stopped at it.
constexpr std::chrono::seconds patience_with_removers{1};
}  // namespace holdfast::detail
