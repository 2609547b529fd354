#include <holdfast/file_lock.hpp>

#include <atomic>
#include <mutex>
#include <utility>
#include <vector>

#include <holdfast/steps.hpp>

#include "file_lock/contender.hpp"
#include "file_lock/inspect.hpp"
#include "file_lock/lock_path.hpp"
#include "process_wide.hpp"

namespace holdfast {
using detail::Contender;
using detail::Patience;

class FileLock::Impl final : detail::ForkAware {
 public:
  Impl(const std::filesystem::path& resource, FileLockOptions options)
      : path_{detail::LockPath::resolve(resource)}, options_{options} {
    join_fork_handlers();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    if (owner() != nullptr) {
      std::error_code why;
      unlock(why);
    }
    if (owner() != nullptr) owner()->abandon();  // the file system refused: it stays locked until this process ends
    for (const auto& contender : contenders_) contender->clean_up();
    leave_fork_handlers();  // last: until here the child of a fork has to close what is open
  }

  bool acquire(Patience patience) {
    if (path_->owner_thread.load(std::memory_order_relaxed) ==
        detail::this_thread_number())  // relaxed: only this thread
      throw Error{std::make_error_code(std::errc::resource_deadlock_would_occur), "lock",
                  path_->shown(),  // writes its number
                  "this thread has it already", "unlock it first, or hand the guard down"};
    if (patience.stopped()) return false;
    Contender& contender = take();
    try {
      if (!contender.acquire(patience)) {
        put_back(contender);
        return false;
      }
    } catch (...) {
      put_back(contender);
      throw;
    }
    // Acquire: what the last owner in this process wrote before its exchange below is visible here.
    path_->owner_thread.exchange(detail::this_thread_number(), std::memory_order_acq_rel);
    owner_.store(&contender, std::memory_order_release);
    return true;
  }

  bool unlock(std::error_code& why) noexcept {
    Contender* const contender = owner();
    if (contender == nullptr) {
      why = std::make_error_code(std::errc::operation_not_permitted);
      return false;
    }
    // Before the release, because after it the next owner may be a thread of this process.
    const auto thread = path_->owner_thread.exchange(0, std::memory_order_acq_rel);
    owner_.store(nullptr, std::memory_order_relaxed);
    why = contender->release();
    if (why && why != errc::broken) {
      path_->owner_thread.exchange(thread, std::memory_order_acq_rel);
      owner_.store(contender, std::memory_order_release);
      return false;
    }
    contender->prepare_next();
    put_back(*contender);
    return !why;
  }

  [[nodiscard]] Contender* owner() const noexcept { return owner_.load(std::memory_order_acquire); }
  [[nodiscard]] const detail::LockPath& path() const noexcept { return *path_; }

 private:
  Contender& take() {
    const std::lock_guard guard{detail::table()};
    for (const auto& contender : contenders_) {
      if (contender->in_use) continue;
      contender->in_use = true;
      return *contender;
    }
    contenders_.push_back(std::make_unique<Contender>(*path_, options_));
    contenders_.back()->in_use = true;
    return *contenders_.back();
  }
  void put_back(Contender& contender) noexcept {
    const std::lock_guard guard{detail::table()};
    contender.in_use = false;
  }
  void after_fork_in_child() noexcept override {
    if (HOLDFAST_MUTANT(file, child_owns)) return;
    // What other threads were using may be torn, and is never touched again; a list keeps it reachable.
    static Contender* forgotten = nullptr;
    for (auto& contender : contenders_) {
      contender->forget_in_forked_child();
      if (contender->in_use) {
        contender->next_forgotten = forgotten;
        forgotten = contender.release();
      }
    }
    std::erase(contenders_, nullptr);
    owner_.store(nullptr, std::memory_order_relaxed);
    path_->owner_thread.store(0, std::memory_order_relaxed);
  }

  std::shared_ptr<detail::LockPath> path_;
  FileLockOptions options_;
  std::vector<std::unique_ptr<Contender>> contenders_;  // one for each thread that wants it at once; guarded by table()
  std::atomic<Contender*> owner_{nullptr};
};

FileLock::FileLock(const std::filesystem::path& resource, FileLockOptions options)
    : impl_{std::make_unique<Impl>(resource, options)} {}
FileLock::FileLock(FileLock&&) noexcept = default;
FileLock& FileLock::operator=(FileLock&&) noexcept = default;
FileLock::~FileLock() = default;

FileLock::Impl& FileLock::impl() const {
  if (!impl_)
    throw Error{std::make_error_code(std::errc::operation_not_permitted), "use", "a FileLock", "it was moved from"};
  return *impl_;
}

LockOutcome FileLock::lock() {
  impl().acquire(Patience::endless());
  return outcome();
}
bool FileLock::try_lock() { return impl().acquire(Patience::none()); }
bool FileLock::try_lock_until(Deadline deadline) { return impl().acquire(Patience{deadline, nullptr}); }
bool FileLock::try_lock_until(const std::stop_token& stop, Deadline deadline) {
  return impl().acquire(Patience{deadline, &stop});
}
bool FileLock::unlock() noexcept {
  std::error_code why;
  return unlock(why);
}
bool FileLock::unlock(std::error_code& why) noexcept {
  if (impl_) return impl_->unlock(why);
  why = std::make_error_code(std::errc::operation_not_permitted);
  return false;
}

bool FileLock::owns_lock() const noexcept { return impl_ && impl_->owner() != nullptr; }
LockOutcome FileLock::outcome() const noexcept {
  const Contender* const owner = impl_ ? impl_->owner() : nullptr;
  return owner != nullptr && owner->previous_owner() ? LockOutcome::owner_died : LockOutcome::clean;
}
std::optional<ProcessIdentity> FileLock::previous_owner() const {
  const Contender* const owner = impl_ ? impl_->owner() : nullptr;
  return owner != nullptr ? owner->previous_owner() : std::nullopt;
}

std::optional<Holder> FileLock::holder() const { return detail::inspect(impl().path()); }
std::optional<Holder> FileLock::holder(const std::filesystem::path& resource) {
  return detail::inspect(*detail::LockPath::resolve(resource));
}
}  // namespace holdfast
