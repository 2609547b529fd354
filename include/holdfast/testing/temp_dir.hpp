// testing/temp_dir.hpp - a fresh directory for one test, which notices when locks are left in it.
// Builds on error.hpp. Source: src/testing/temp_dir.cpp.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

namespace holdfast::harness {
/// A new, empty directory under the system's directory for temporary files (TMPDIR: set it to test on another file
/// system), for this user only, removed with all that is in it by the destructor.
///
/// If something of a FileLock is left in it then - a name that ends in .lock, .private, .ticket or .queue, at any depth -
/// the destructor complains: with testing/gtest.hpp included, the running test fails; in a worker, run_worker() returns 1
/// instead of 0; anywhere else it is a line on standard error. What cannot be removed is complained about as well.
///
/// A forked child's copy does nothing. Threads: one at a time. The destructor never throws.
class TempDir {
 public:
  TempDir();  ///< Throws Error.
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir();

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }  ///< Absolute, no symbolic links.
  [[nodiscard]] std::filesystem::path operator/(const std::filesystem::path& name) const { return path_ / name; }

  /// What of FileLocks is in it now, relative to path(), sorted.
  [[nodiscard]] std::vector<std::filesystem::path> leftovers() const;
  /// For tests that leave a lock on purpose: the destructor does not complain about leftovers.
  void allow_leftovers() noexcept { leftovers_allowed_ = true; }

 private:
  std::filesystem::path path_;
  std::int64_t owner_;  // the process that made it
  bool leftovers_allowed_ = false;
};

/// Called for each complaint of a TempDir; the default, nullptr, prints it on standard error. Returns the one before.
using ComplaintHandler = void (*)(std::string_view complaint);
ComplaintHandler on_complaint(ComplaintHandler handler) noexcept;
[[nodiscard]] std::size_t complaints() noexcept;  ///< How many there were in this process.
}  // namespace holdfast::harness
