// lock_under_test.hpp - the lock that is being validated. One program, one kind of lock: it is chosen by linking.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <holdfast/deadline.hpp>

namespace holdfast::tool {
class LockUnderTest {
 public:
  LockUnderTest() = default;
  LockUnderTest(const LockUnderTest&) = delete;
  LockUnderTest& operator=(const LockUnderTest&) = delete;
  virtual ~LockUnderTest() = default;

  virtual bool lock(Deadline deadline) = 0;  ///< False: not had by then. Throws if it cannot work.
  virtual void unlock() = 0;                 ///< Throws if it was not held any more, or stays held.

  /// For the owner: set if the owner before it died; the value is that one's pid, 0 if unknown.
  [[nodiscard]] virtual std::optional<std::int64_t> died_before() const = 0;
};

/// The shipped tool: file_lock_under_test.cpp. Tests of the tool link locks that are known to be wrong.
[[nodiscard]] std::unique_ptr<LockUnderTest> make_lock(const std::filesystem::path& resource, bool fair);
}  // namespace holdfast::tool
