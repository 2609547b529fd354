// process_wide.hpp - what all objects of holdfast in one process share, and what a fork does to them.
#pragma once
#include <cstdint>
#include <mutex>

#include <holdfast/platform/directory.hpp>

namespace holdfast::detail {
/// Is told in the forked child, where only the forking thread goes on.
class ForkAware {
 public:
  ForkAware() = default;
  ForkAware(const ForkAware&) = delete;
  ForkAware& operator=(const ForkAware&) = delete;

 protected:
  ~ForkAware() = default;
  void join_fork_handlers();            ///< Last in the constructor of what derives from this.
  void leave_fork_handlers() noexcept;  ///< First in its destructor.

 private:
  friend struct ForkHandlers;
  /// Closes every descriptor whose being open speaks for the parent, and forgets the parent's names on disk.
  /// table() and fork_gate() are held.
  virtual void after_fork_in_child() noexcept = 0;
  ForkAware* older_ = nullptr;
  ForkAware* newer_ = nullptr;
};

/// Guards the tables of this process, and what threads must not do at once, over a fork as well: short sections, no system call that waits, never together with fork_gate().
[[nodiscard]] std::mutex& table() noexcept;
/// Held while a LifeDescriptor is opened or closed, and during fork(): so the child knows every one of them.
[[nodiscard]] std::mutex& fork_gate() noexcept;

/// A descriptor that tells other processes that this one lives, for as long as any copy of it is open.
class LifeDescriptor {
 public:
  template <class Open>
  [[nodiscard]] std::errc open(Open&& open_it) {
    const std::lock_guard guard{fork_gate()};
    platform::Opened opened = open_it();
    descriptor_ = std::move(opened.descriptor);
    return opened.why;
  }
  void close() noexcept {
    const std::lock_guard guard{fork_gate()};
    descriptor_.close();
  }
  void close_in_forked_child() noexcept { descriptor_.close(); }  ///< The fork handlers hold the gate.
  [[nodiscard]] bool is_open() const noexcept { return static_cast<bool>(descriptor_); }
  [[nodiscard]] int number() const noexcept { return descriptor_.number(); }

 private:
  platform::Descriptor descriptor_;
};

[[nodiscard]] std::uint64_t next_name_number() noexcept;    ///< Never the same twice in a process, nor in its children.
[[nodiscard]] std::uint64_t this_thread_number() noexcept;  ///< From 1, never used again, unlike std::thread::id.
}  // namespace holdfast::detail
