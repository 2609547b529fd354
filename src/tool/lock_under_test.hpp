// lock_under_test.hpp - the locks that are being validated. One program, one kind of each: they are chosen by linking.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <holdfast/deadline.hpp>

#include "tool/counter.hpp"

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

/// A mutex in a segment, and the counter beside it. Attached as long as the object lives.
class MutexUnderTest : public LockUnderTest, public Counter {};

/// The shipped tool: file_lock_under_test.cpp and mutex_under_test.cpp. Tests of the tool link some that are known to be
/// wrong.
[[nodiscard]] std::unique_ptr<LockUnderTest> make_lock(const std::filesystem::path& resource, bool fair);
/// Attached to the segment of that name; the first who comes makes it, with the counter at 0. Throws Error.
[[nodiscard]] std::unique_ptr<MutexUnderTest> make_mutex(const std::string& segment, Deadline deadline);
}  // namespace holdfast::tool
