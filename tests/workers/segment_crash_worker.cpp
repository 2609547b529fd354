// segment_crash_worker - processes that make, attach to, leave and remove a segment in a crash region, and whoever comes next.
//
//   SCENARIO DIRECTORY NAME HOW SIZE [until_removed]; DIRECTORY has the page, see tests/crash_lab/section.hpp
//   HOW is create, create_or_attach, attach, attach_read_only, remove, create_anonymous, or /proc/<pid>/fd/<number>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <holdfast/process_identity.hpp>
#include <holdfast/shared_memory.hpp>
#include <holdfast/testing/worker.hpp>

#include "../crash_lab/section.hpp"

namespace {
using holdfast::Error;
using holdfast::Lifetime;
using holdfast::ProcessIdentity;
using holdfast::SegmentState;
using holdfast::SharedMemory;
using holdfast::harness::CrashRegion;
using holdfast::harness::Scenario;
using holdfast::harness::signal_test_ready;
using holdfast::harness::WorkerContext;
using namespace std::chrono_literals;

void require(bool condition, const std::string& what) {
  if (!condition) throw std::runtime_error{what};
}

class Call {
 public:
  explicit Call(const WorkerContext& context)
      : section_{context.argument(0)},
        name_{context.argument(1)},
        how_{context.argument(2)},
        size_{static_cast<std::size_t>(context.number(3))} {
    if (context.argument_count() > 4) options_.lifetime = Lifetime::until_removed;
    static_cast<void>(ProcessIdentity::self());
    if (!how_.starts_with('/')) return;
    given_ = ::open(how_.c_str(), O_RDWR | O_CLOEXEC);
    if (given_ < 0) throw std::system_error{errno, std::generic_category(), how_};
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  ~Call() { ::close(given_); }

  void be_the_victim() const { section_.page().victim = ::getpid(); }

  /// If nobody uses it.
  void try_to_remove() const {
    try {
      SharedMemory::remove(name_);
    } catch (const Error& error) {
      if (error.code() != holdfast::errc::in_use) throw;
    }
  }
  [[nodiscard]] std::optional<SharedMemory> make() const {
    if (given_ >= 0) return SharedMemory::attach(given_);
    if (how_ == "create_anonymous") return SharedMemory::create_anonymous(name_, size_);
    if (how_ == "create_or_attach") return SharedMemory::create_or_attach(name_, size_, options_, 20s);
    if (how_ == "attach") return SharedMemory::attach(name_, 20s);
    if (how_ == "attach_read_only") return SharedMemory::attach_read_only(name_, 20s);
    try {
      if (how_ == "create") return SharedMemory::create(name_, size_, options_);
      require(how_ == "remove", "no such call: " + how_);
      SharedMemory::remove(name_);
    } catch (const Error& error) {  // a rescuer was faster
      if (error.code() != std::errc::file_exists && error.code() != holdfast::errc::in_use) throw;
    }
    return std::nullopt;
  }

  /// Whole, or not there at all (M4). An empty file counts as not there.
  void look() const {
    if (has_no_name()) return;
    for (const auto& info : SharedMemory::list()) {
      if (info.name != name_) continue;
      const bool whole = (info.state == SegmentState::in_use || info.state == SegmentState::orphaned) &&
                         info.size == size_ && info.creator;
      require(whole || info.state == SegmentState::incomplete, "half made: " + to_string(info));
    }
  }
  /// As long as it is attached, the name is that of what it has (M5, M6).
  void require_not_split_off(const SharedMemory& memory) const {
    if (has_no_name()) return;
    struct stat mine {
    }, named{};
    require(::fstat(memory.descriptor(), &mine) == 0, "fstat");
    require(::stat(("/dev/shm/holdfast." + name_).c_str(), &named) == 0, "its name is gone, though it is in use");
    require(mine.st_ino == named.st_ino, "its name is another segment's, though it is in use");
  }
  void require_sound(const SharedMemory& memory) const {
    const auto bytes = memory.bytes();
    require(bytes.size() == size_, "it has " + std::to_string(bytes.size()) + " bytes");
    const auto others = bytes.subspan(sizeof(std::int64_t));
    require(std::all_of(others.begin(), others.end(), [](std::byte byte) { return byte == std::byte{0}; }),
            "it is not zero where nobody has written");
  }
  void wait_for_end_of_victim() const {
    const auto victim = section_.page().victim.load();
    require(victim == 0 || crash_lab::has_ended(victim, 20'000), "the victim goes on and on");
  }

 private:
  [[nodiscard]] bool has_no_name() const { return given_ >= 0 || how_ == "create_anonymous"; }

  crash_lab::Section section_;
  std::string name_, how_;
  std::size_t size_;
  holdfast::SegmentOptions options_;
  int given_ = -1;
};

/// The call itself is the region. Continued, it finds what it has unharmed.
int enter(WorkerContext& context) {
  const Call call{context};
  call.be_the_victim();
  signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  std::optional<SharedMemory> memory;
  {
    const CrashRegion region;
    memory = call.make();
  }
  if (memory) call.require_not_split_off(*memory);
  return 0;
}
/// The end of its use is the region.
int detach(WorkerContext& context) {
  const Call call{context};
  call.be_the_victim();
  auto memory = call.make();
  signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  const CrashRegion region;
  memory.reset();
  return 0;
}
int enter_and_detach(WorkerContext& context) {
  const Call call{context};
  call.be_the_victim();
  signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  const CrashRegion region;
  call.make().reset();
  return 0;
}
/// Who comes next: looks, gets it, and keeps it until nobody else is on his way.
int next(WorkerContext& context) {
  const Call call{context};
  signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  const CrashRegion region;
  call.look();
  const auto memory = call.make();
  call.require_sound(*memory);
  call.require_not_split_off(*memory);
  call.wait_for_end_of_victim();
  call.require_not_split_off(*memory);
  return 0;
}
/// The same, after it has removed what nobody used: perhaps under somebody's hands who is about to.
int remove_then_next(WorkerContext& context) {
  const Call call{context};
  signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  const CrashRegion region;
  call.try_to_remove();
  const auto memory = call.make();
  call.require_sound(*memory);
  call.wait_for_end_of_victim();
  call.require_not_split_off(*memory);
  return 0;
}
/// Has written into it, and will be killed.
int leave_behind(WorkerContext& context) {
  const Call call{context};
  auto memory = call.make();
  memory->as<std::int64_t>() = -1;
  signal_test_ready();
  return context.wait_for_release();
}

constexpr Scenario scenarios[] = {{"enter", enter},
                                  {"detach", detach},
                                  {"enter_and_detach", enter_and_detach},
                                  {"next", next},
                                  {"remove_then_next", remove_then_next},
                                  {"leave_behind", leave_behind}};
}  // namespace

int main(int argc, char** argv) { return holdfast::harness::run_worker(scenarios, argc, argv); }
