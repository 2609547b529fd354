// lock_path.hpp - where a lock stands: the open parent directory and the names beside the lock.
#pragma once
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include <holdfast/platform/directory.hpp>
#include <holdfast/process_identity.hpp>

namespace holdfast::detail {
/// What may be concluded about an owner or a waiter from its name alone.
enum class Verdict {
  alive,
  dead,
  unprovable,    ///< another PID or time namespace, or no /proc: the kernel's own proof decides
  other_kernel,  ///< or also through another mount, on a shared file system: nothing can be proved from here
};

/// One per lock path and process, shared by all FileLocks on it.
class LockPath {
 public:
  /// Follows links, `..` and links in the last place. Throws Error.
  [[nodiscard]] static std::shared_ptr<LockPath> resolve(const std::filesystem::path& resource);

  [[nodiscard]] int parent() const noexcept { return parent_.number(); }
  [[nodiscard]] const char* lock() const noexcept { return lock_.c_str(); }
  [[nodiscard]] const char* queue() const noexcept { return queue_.c_str(); }
  [[nodiscard]] std::string_view side_prefix() const noexcept { return side_prefix_; }
  [[nodiscard]] const std::string& shown() const noexcept { return shown_; }  ///< For messages, as the user spelled it.
  [[nodiscard]] bool is_sticky() const noexcept { return sticky_; }  ///< Only its owner may remove what is there.
  [[nodiscard]] Verdict judge(const ProcessIdentity& identity) const;

  std::atomic<std::uint64_t> owner_thread{0};  ///< The thread of this process that has the lock, 0: none.

 private:
  platform::Descriptor parent_;
  std::string lock_, queue_, side_prefix_, shown_;
  bool one_kernel_ = false;
  bool sticky_ = false;
};

/// True for what FileLock makes: a channel, or the plain file that stands for one. Whatever else bears such a name is a
/// stranger's.
[[nodiscard]] bool is_channel(int at, const char* name);
}  // namespace holdfast::detail
