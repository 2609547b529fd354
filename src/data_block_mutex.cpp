#include <holdfast/data_block_mutex.hpp>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <holdfast/error.hpp>
#include <holdfast/steps.hpp>

#include "platform/posix/robust_mutex.hpp"
#include "process_wide.hpp"
#include "shared_memory/segment.hpp"

namespace holdfast {
using detail::Reference;
using detail::Segment;
using detail::SharedMutex;
using namespace std::chrono_literals;

namespace {
/// A number that no other thread of this process ever had: the memory of a thread that has ended goes to the next one.
/// 0: whether this thread's death would be seen is not known yet.
thread_local std::uint64_t this_thread = 0;
constexpr std::uint64_t nobody = ~std::uint64_t{0};

/// `SharedMutex::waiting_since`: milliseconds of the wall clock, and the low bits of the acquisition that is waited for.
constexpr unsigned acquisition_bits = 20;
constexpr std::uint64_t acquisition_mask = (std::uint64_t{1} << acquisition_bits) - 1;

constexpr std::uint32_t mutex_version = 1;
static_assert(sizeof(platform::RobustMutex) <= sizeof(SharedMutex::robust));

platform::RobustMutex& robust_in(SharedMutex& mutex) noexcept {
  return *std::launder(reinterpret_cast<platform::RobustMutex*>(mutex.robust.data()));
}

bool is_zero(const SharedMutex& mutex) noexcept {
  static constexpr SharedMutex zero{};
  return std::memcmp(static_cast<const void*>(&mutex), &zero, sizeof mutex) == 0;
}

/// Makes the mutex, if nobody has. What is written may be half of it when this process is killed; the next one begins anew.
void make(Segment& segment, SharedMutex& mutex, std::uint64_t offset, std::string_view path) {
  const auto is_listed = [&] {
    return segment.any_mutex([&](SharedMutex&, std::uint64_t there) { return there == offset; });
  };
  if (!is_zero(mutex) && mutex.version != mutex_version && !is_listed())
    throw Error{errc::corrupt, "use the mutex in", path, "there is something else at offset " + std::to_string(offset),
                "a new mutex needs zeros"};
  if (HOLDFAST_MUTANT(mutex, made_too_early)) mutex.state.store(detail::made_mutex, std::memory_order_release);
  mutex.version = mutex_version;
  std::atomic_signal_fence(std::memory_order_seq_cst);  // first of all: it tells what is half made from something else
  mutex.robust_size = sizeof(platform::RobustMutex);
  mutex.pid_namespace = ProcessIdentity::self().pid_namespace();
  if (const int why = platform::make_robust(mutex.robust.data()); why != 0)
    throw Error{std::error_code{why, std::generic_category()}, "make the mutex in", path};
  if (!is_listed()) {
    auto newest = segment.mutexes().load(std::memory_order_relaxed);
    do {
      mutex.next.store(newest, std::memory_order_relaxed);
    } while (!segment.mutexes().compare_exchange_weak(newest, offset + 1, std::memory_order_release,
                                                      std::memory_order_relaxed));
  }
  mutex.state.store(detail::made_mutex, std::memory_order_release);  // all of the above is seen with it
  HOLDFAST_STEP(mutex, K0);
}

SharedMutex& mutex_in(Segment& segment, std::uint64_t offset, Deadline deadline) {
  const std::string& path = segment.path();
  if (!segment.fits(offset))
    throw Error{std::make_error_code(std::errc::invalid_argument), "use the mutex in", path,
                "offset " + std::to_string(offset) + " is no multiple of 64, or leaves less than 256 bytes"};
  if (segment.read_only())
    throw Error{std::make_error_code(std::errc::permission_denied), "use the mutex in", path,
                "it is attached read-only", "attach() it instead"};
  auto& mutex = *reinterpret_cast<SharedMutex*>(segment.data() + offset);
  const auto here = ProcessIdentity::self().pid_namespace();
  static_cast<void>(platform::deaths_of_this_thread_are_seen());  // its first call is dear: not in the first lock()
  static_cast<void>(segment.reference());  // a forked child shares no descriptor with its parent from here on
  // The kernel ends its lock when its owner dies, so nobody is stuck behind one who was killed. Threads of one process
  // share it: they take turns.
  while (mutex.state.load(std::memory_order_acquire) != detail::made_mutex) {
    if (here == 0) break;
    std::unique_lock guard{detail::table()};
    const auto byte = detail::first_mutex_byte + offset;
    const int file = segment.descriptor();
    if (platform::try_lock_bytes(file, byte, 1, platform::LockKind::exclusive) == platform::done ||
        HOLDFAST_MUTANT(mutex, made_by_several)) {
      struct Unlock {
        int file;
        std::uint64_t byte;
        ~Unlock() { platform::unlock_bytes(file, byte, 1); }
      } const unlock{file, byte};
      if (mutex.state.load(std::memory_order_acquire) == detail::made_mutex) break;
      make(segment, mutex, offset, path);
    } else if (deadline.passed()) {
      throw Error{std::make_error_code(std::errc::timed_out), "use the mutex in", path,
                  "another process has been making it all the time", "continue or end that process"};
    } else {
      guard.unlock();
      std::this_thread::sleep_for(1ms);  // it is made in microseconds, unless its maker is stopped
    }
  }
  if (here == 0 || (mutex.pid_namespace != here && mutex.version == mutex_version &&
                    !HOLDFAST_MUTANT(mutex, namespace_not_compared)))
    throw Error{errc::other_pid_namespace, "use the mutex in", path,
                here == 0 ? "the PID namespace of this process cannot be read"
                          : "its users are in another PID namespace: the kernel would take live owners for dead",
                here == 0 ? "mount /proc" : "share the namespace (in containers: --pid), or use a FileLock"};
  if (mutex.version != mutex_version || mutex.robust_size != sizeof(platform::RobustMutex))
    throw Error{errc::version_mismatch, "use the mutex in", path, "it was made by another version of holdfast"};
  if (!platform::is_robust(robust_in(mutex)))
    throw Error{errc::corrupt, "use the mutex in", path, "it has been written over",
                "end its users, then remove the segment"};
  return mutex;
}

std::optional<Holder> inspect(const Segment& segment, const SharedMutex& mutex) {
  const auto word = mutex.owner.load(std::memory_order_acquire);
  const Reference owner = detail::owner_in(word);
  if (owner == 0) return {};
  Holder holder;
  holder.owner = segment.identity_of(owner);
  holder.liveness = segment.liveness_of(owner);
  holder.acquisition = detail::acquisition_in(word);
  const auto since = mutex.waiting_since.load(std::memory_order_relaxed);
  const std::chrono::milliseconds begun{since >> acquisition_bits};
  constexpr auto representable =
      std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::duration::max());
  if (since != 0 && (since & acquisition_mask) == (holder.acquisition & acquisition_mask) &&
      begun <= representable)  // else it has been written over
    holder.since = std::chrono::system_clock::time_point{begun};
  return holder;
}
}  // namespace

class DataBlockMutex::Impl final : detail::ForkAware {
 public:
  Impl(std::shared_ptr<Segment> segment, SharedMutex& shared)
      : robust_{&robust_in(shared)}, shared_{&shared}, segment_{std::move(segment)} {
    join_fork_handlers();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    leave_fork_handlers();
    const bool locked = owner_thread_.load(std::memory_order_relaxed) != nobody;
    if (!locked || !segment_->is_mine(detail::owner_in(shared_->owner.load(std::memory_order_relaxed)))) return;
    std::fprintf(
        stderr,
        "holdfast: a DataBlockMutex in '%s' was destroyed while it was locked: it stays locked until its thread "
        "ends\n",
        segment_->path().c_str());
    static auto& kept = *new std::vector<std::shared_ptr<Segment>>;  // unmapped, its thread's death would not be seen
    const std::lock_guard guard{detail::table()};
    kept.push_back(std::move(segment_));
  }

  bool try_lock() {
    const Reference me = ready();
    const int why = platform::try_lock(*robust_);
    if (why != 0) [[unlikely]]
      return after(why, me);
    HOLDFAST_STEP(mutex, K1);
    sign(me);
    HOLDFAST_STEP(mutex, K2);
    return true;
  }

  void lock() {
    if (!try_lock()) wait(Deadline::never(), nullptr);
  }

  /// After a try_lock() that was in vain.
  [[gnu::cold, gnu::noinline]] bool wait(Deadline deadline, const std::stop_token* stop) {
    const Reference me = ready();
    const Counted counted{segment_->waiting};
    stamp();
    // A robust mutex cannot be waited for together with a stop request. And nobody may sleep on for ever: a waiter that is killed
    // when it has been woken takes the wake-up of the others with it if a newcomer has the mutex just then. The kernel passes it
    // on only while nobody has it (handle_futex_death), and the newcomer does not know that anybody waits.
    const auto step = stop != nullptr ? 50ms : 200ms;
    for (;;) {
      if (stop != nullptr && stop->stop_requested()) return false;
      const auto end = HOLDFAST_MUTANT(mutex, sleeps_on) ? deadline.time()
                                                         : std::min(deadline.time(), Deadline::Clock::now() + step);
      const int why = platform::lock_until(*robust_, std::max(end, Deadline::Clock::time_point{}));
      if (why != ETIMEDOUT) return after(why, me);
      if (deadline.passed()) return false;
    }
  }

  void unlock() {
    if (owner_thread_.load(std::memory_order_relaxed) != this_thread && !HOLDFAST_MUTANT(mutex, unlocked_by_anybody))
        [[unlikely]]
      fail_not_owner("unlock");
    if (HOLDFAST_MUTANT(mutex, news_end_with_the_guard)) shared_->unrepaired.store(0);
    owner_thread_.store(nobody, std::memory_order_relaxed);
    const auto word = shared_->owner.load(std::memory_order_relaxed);
    // Before the unlock, so that a death after it is nobody's. Release, for one who looks which owners are named.
    if (!HOLDFAST_MUTANT(mutex, signature_left)) shared_->owner.store(word >> 32U << 32U, std::memory_order_release);
    HOLDFAST_STEP(mutex, K3);
    platform::unlock(*robust_);
    HOLDFAST_STEP(mutex, K4);
  }

  // Relaxed: whether this thread is the owner, only this thread itself has written.
  [[nodiscard]] bool owned() const noexcept { return owner_thread_.load(std::memory_order_relaxed) == this_thread; }
  [[nodiscard]] bool has_news() const noexcept { return shared_->unrepaired.load(std::memory_order_relaxed) != 0; }
  [[noreturn, gnu::cold]] void fail_not_owner(std::string_view operation) const {
    throw Error{std::make_error_code(std::errc::operation_not_permitted), operation, segment_->path(),
                "this thread has not locked the mutex through this object"};
  }
  [[nodiscard]] SharedMutex& shared() const noexcept { return *shared_; }
  [[nodiscard]] Segment& segment() const noexcept { return *segment_; }

 private:
  struct Counted {
    explicit Counted(std::atomic<int>& number) : count{number} { count.fetch_add(1, std::memory_order_relaxed); }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
    ~Counted() { count.fetch_sub(1, std::memory_order_relaxed); }
    std::atomic<int>& count;
  };

  Reference ready() {
    if (this_thread == 0) [[unlikely]]
      check_thread();
    return segment_->reference();
  }
  [[gnu::cold, gnu::noinline]] void check_thread() const {
    if (!platform::deaths_of_this_thread_are_seen())
      throw Error{errc::deaths_unseen, "lock the mutex in", segment_->path(),
                  "another library has replaced this thread's list of robust mutexes (set_robust_list)",
                  "lock it from a thread that does not use that library's mutexes"};
    static std::atomic<std::uint64_t> threads{0};
    this_thread = threads.fetch_add(1, std::memory_order_relaxed) + 1;
  }

  /// The mutex is locked, and consistent.
  void sign(Reference me) noexcept {
    const auto word = shared_->owner.load(std::memory_order_relaxed);
    // Release: whoever sees this signature sees the news that a rescuer wrote before. Free on x86.
    if (!HOLDFAST_MUTANT(mutex, not_signed))
      shared_->owner.store((((word >> 32U) + 1) << 32U) | me, std::memory_order_release);
    owner_thread_.store(this_thread, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);  // signed before anything is done inside
  }

  /// What a call said that did not simply lock it.
  [[gnu::cold, gnu::noinline]] bool after(int why, Reference me) {
    switch (why) {
      case 0:
        HOLDFAST_STEP(mutex, K1);
        sign(me);
        HOLDFAST_STEP(mutex, K2);
        return true;
      case EOWNERDEAD:
        HOLDFAST_STEP(mutex, R1);
        if (!HOLDFAST_MUTANT(mutex, death_not_told)) write_news();
        HOLDFAST_STEP(mutex, R2);
        platform::make_consistent(*robust_);
        HOLDFAST_STEP(mutex, R3);
        sign(me);
        HOLDFAST_STEP(mutex, R4);
        return true;
      case EBUSY:
      case ETIMEDOUT:
        return false;
      case EDEADLK:
        throw Error{std::make_error_code(std::errc::resource_deadlock_would_occur), "lock the mutex in",
                    segment_->path(), "this thread has it already", "unlock it first, or hand the guard down"};
      case ENOTRECOVERABLE:
        throw Error{std::make_error_code(std::errc::state_not_recoverable), "lock the mutex in", segment_->path(),
                    "another program unlocked it after its owner's death without making it consistent",
                    "end its users and create it anew"};
      default:
        throw Error{std::error_code{why, std::generic_category()}, "lock the mutex in", segment_->path()};
    }
  }

  /// Before the mutex is consistent again: killed in here, the next owner finds everything as this one did.
  void write_news() noexcept {
    const Reference lost = detail::owner_in(shared_->owner.load(std::memory_order_relaxed));
    const bool first =
        shared_->unrepaired.load(std::memory_order_relaxed) == 0 || HOLDFAST_MUTANT(mutex, first_lost_forgotten);
    if (first) shared_->first_lost.store(lost, std::memory_order_relaxed);
    if (first || lost != 0) shared_->last_lost.store(lost, std::memory_order_relaxed);
    shared_->unrepaired.store(1, std::memory_order_release);  // the names are seen with it
  }

  /// The first who waits for an acquisition notes when.
  void stamp() noexcept {
    const auto word = shared_->owner.load(std::memory_order_relaxed);
    // Not signed yet, or not any more: the next number is the nearest guess.
    const auto acquisition =
        (detail::acquisition_in(word) + (detail::owner_in(word) == 0 ? 1U : 0U)) & acquisition_mask;
    auto seen = shared_->waiting_since.load(std::memory_order_relaxed);
    if (seen != 0 && (seen & acquisition_mask) == acquisition) return;
    const auto now =
        std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch());
    shared_->waiting_since.compare_exchange_strong(
        seen, static_cast<std::uint64_t>(now.count()) << acquisition_bits | acquisition, std::memory_order_relaxed);
  }

  void after_fork_in_child() noexcept override { owner_thread_.store(nobody, std::memory_order_relaxed); }

  platform::RobustMutex* robust_;
  SharedMutex* shared_;
  std::shared_ptr<Segment> segment_;
  std::atomic<std::uint64_t> owner_thread_{nobody};  // of this process, through this object
};

DataBlockMutex::DataBlockMutex(std::unique_ptr<Impl> impl) noexcept : impl_{std::move(impl)} {}
DataBlockMutex::DataBlockMutex(DataBlockMutex&&) noexcept = default;
DataBlockMutex& DataBlockMutex::operator=(DataBlockMutex&&) noexcept = default;
DataBlockMutex::~DataBlockMutex() = default;

namespace {
[[noreturn, gnu::cold]] void fail_moved_from(std::string_view what) {
  throw Error{std::make_error_code(std::errc::operation_not_permitted), "use", what, "it was moved from"};
}
}  // namespace

DataBlockMutex DataBlockMutex::in(SharedMemory& segment, std::size_t offset, Deadline deadline) {
  if (!segment.segment_) fail_moved_from("a SharedMemory");
  auto& mutex = mutex_in(*segment.segment_, offset, deadline);
  return DataBlockMutex{std::make_unique<Impl>(segment.segment_, mutex)};
}

DataBlockMutex DataBlockMutex::create(std::string_view name, const SegmentOptions& options) {
  auto segment = SharedMemory::create(name, footprint, options);
  return in(segment, 0);
}
DataBlockMutex DataBlockMutex::create_or_attach(std::string_view name, const SegmentOptions& options,
                                                Deadline deadline) {
  auto segment = SharedMemory::create_or_attach(name, footprint, options, deadline);
  return in(segment, 0, deadline);
}
DataBlockMutex DataBlockMutex::attach(std::string_view name, Deadline deadline) {
  auto segment = SharedMemory::attach(name, deadline);
  if (segment.size() != footprint)
    throw Error{errc::layout_mismatch, "attach", segment.segment_->path(),
                "it is not a mutex alone, but has " + std::to_string(segment.size()) + " bytes",
                "attach to the segment, and use DataBlockMutex::in()"};
  return in(segment, 0, deadline);
}

// Inline by force: two calls of it are a thirtieth of an uncontended pair.
[[gnu::always_inline]] inline DataBlockMutex::Impl& DataBlockMutex::impl() const {
  if (!impl_) [[unlikely]]
    fail_moved_from("a DataBlockMutex");
  return *impl_;
}

LockOutcome DataBlockMutex::lock() {
  Impl& mutex = impl();
  mutex.lock();
  return mutex.has_news() ? LockOutcome::owner_died : LockOutcome::clean;
}
bool DataBlockMutex::try_lock() { return impl().try_lock(); }
bool DataBlockMutex::try_lock_until(Deadline deadline) {
  Impl& mutex = impl();
  return mutex.try_lock() || mutex.wait(deadline, nullptr);
}
bool DataBlockMutex::try_lock_until(const std::stop_token& stop, Deadline deadline) {
  Impl& mutex = impl();
  if (stop.stop_requested()) {
    if (mutex.owned()) mutex.try_lock();  // tells of the deadlock
    return false;
  }
  return mutex.try_lock() || mutex.wait(deadline, &stop);
}
void DataBlockMutex::unlock() { impl().unlock(); }

bool DataBlockMutex::owns_lock() const noexcept { return impl_ && impl_->owned(); }
LockOutcome DataBlockMutex::outcome() const noexcept {
  return owns_lock() && impl_->has_news() ? LockOutcome::owner_died : LockOutcome::clean;
}
std::optional<ProcessIdentity> DataBlockMutex::previous_owner() const {
  if (outcome() == LockOutcome::clean) return {};
  return impl_->segment().identity_of(impl_->shared().last_lost.load(std::memory_order_relaxed));
}
std::optional<ProcessIdentity> DataBlockMutex::first_lost_owner() const {
  if (outcome() == LockOutcome::clean) return {};
  return impl_->segment().identity_of(impl_->shared().first_lost.load(std::memory_order_relaxed));
}

std::string DataBlockMutex::news() const {
  if (outcome() == LockOutcome::clean) return "clean";
  const auto last = previous_owner();
  if (!last) return "its owner was lost on the way in or out: nobody was inside, the data is whole";
  std::string text = to_string(*last);
  if (last->liveness() != Liveness::alive)
    text += " died with it";
  else if (impl_->segment().is_attached(impl_->shared().last_lost.load(std::memory_order_relaxed)))
    text += " lives, but its thread that had the mutex has ended";
  else
    text += " lives, but became another program (exec)";
  text += "; the data may be half changed";
  const auto first = first_lost_owner();
  if (first && !(*first == *last)) text += ", since " + to_string(*first) + " was lost with it";
  return text;
}

void DataBlockMutex::declare_repaired() {
  Impl& mutex = impl();
  if (!mutex.owned()) mutex.fail_not_owner("declare repaired");
  mutex.shared().unrepaired.store(0, std::memory_order_release);
  HOLDFAST_STEP(mutex, P1);
}

std::optional<Holder> DataBlockMutex::holder() const {
  const Impl& mutex = impl();
  return inspect(mutex.segment(), mutex.shared());
}

std::optional<Holder> DataBlockMutex::holder(std::string_view name) {
  try {
    const auto segment = SharedMemory::attach_read_only(name, 0s);
    if (!segment.segment_->fits(0)) return {};
    return inspect(*segment.segment_, *reinterpret_cast<const SharedMutex*>(segment.segment_->data()));
  } catch (const Error& error) {
    if (error.code() == std::errc::no_such_file_or_directory) return {};
    throw;
  }
}
}  // namespace holdfast
