#include <system_error>
#include <holdfast/file_lock.hpp>

#include "tool/lock_under_test.hpp"

namespace holdfast::tool {
namespace {
class FileLockUnderTest final : public LockUnderTest {
 public:
  FileLockUnderTest(const std::filesystem::path& resource, bool fair) : lock_{resource, {.fair = fair}} {}

  bool lock(Deadline deadline) override { return lock_.try_lock_until(deadline); }
  void unlock() override {
    std::error_code why;
    if (!lock_.unlock(why)) throw std::system_error{why, "cannot unlock"};
  }
  [[nodiscard]] std::optional<std::int64_t> died_before() const override {
    if (lock_.outcome() == LockOutcome::clean) return std::nullopt;
    const auto previous = lock_.previous_owner();
    return previous ? previous->pid() : 0;
  }

 private:
  FileLock lock_;
};
}  // namespace

std::unique_ptr<LockUnderTest> make_lock(const std::filesystem::path& resource, bool fair) {
  return std::make_unique<FileLockUnderTest>(resource, fair);
}
}  // namespace holdfast::tool
