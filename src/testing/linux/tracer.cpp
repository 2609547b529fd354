#include "testing/tracer.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <utility>

#include <elf.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>
#include <holdfast/error.hpp>

#include "file_contents.hpp"

namespace holdfast::harness {
namespace {
constexpr int syscall_stop = SIGTRAP | 0x80;

/// Of calls that the library makes; others are shown by number.
std::string name_of(std::uint64_t call) {
  static constexpr std::pair<std::uint64_t, const char*> names[] = {
    {SYS_close, "close"},
    {SYS_openat, "openat"},
    {SYS_fcntl, "fcntl"},
    {SYS_flock, "flock"},
    {SYS_mkdirat, "mkdirat"},
    {SYS_unlinkat, "unlinkat"},
    {SYS_renameat2, "renameat2"},
    {SYS_renameat, "renameat"},
    {SYS_mknodat, "mknodat"},
    {SYS_linkat, "linkat"},
    {SYS_fallocate, "fallocate"},
    {SYS_ftruncate, "ftruncate"},
    {SYS_fchmod, "fchmod"},
    {SYS_fchmodat, "fchmodat"},
    {SYS_mmap, "mmap"},
    {SYS_munmap, "munmap"},
    {SYS_mprotect, "mprotect"},
    {SYS_madvise, "madvise"},
    {SYS_futex, "futex"},
    {SYS_ppoll, "ppoll"},
    {SYS_pidfd_open, "pidfd_open"},
    {SYS_write, "write"},
    {SYS_pwrite64, "pwrite64"},
    {SYS_pread64, "pread64"},
    {SYS_read, "read"},
    {SYS_membarrier, "membarrier"},
    {SYS_getdents64, "getdents64"},
    {SYS_dup3, "dup3"},
    {SYS_brk, "brk"},
    {SYS_sched_yield, "sched_yield"},
    {SYS_clock_nanosleep, "clock_nanosleep"},
    {SYS_inotify_init1, "inotify_init1"},
    {SYS_inotify_add_watch, "inotify_add_watch"},
    {SYS_newfstatat, "newfstatat"},
    {SYS_fstat, "fstat"},
    {SYS_faccessat, "faccessat"},
    {SYS_faccessat2, "faccessat2"},
    {SYS_readlinkat, "readlinkat"},
    {SYS_lseek, "lseek"},
    {SYS_statfs, "statfs"},
    {SYS_fstatfs, "fstatfs"},
    {SYS_sysinfo, "sysinfo"},
    {SYS_memfd_create, "memfd_create"},
    {SYS_eventfd2, "eventfd2"},
    {SYS_clone3, "clone3"},
    {SYS_getrandom, "getrandom"},
    {SYS_kill, "kill"},
    {SYS_set_robust_list, "set_robust_list"},
    {SYS_get_robust_list, "get_robust_list"},
    {SYS_prlimit64, "prlimit64"},
#if defined(SYS_poll)  // what newer architectures have not
    {SYS_access, "access"},
    {SYS_mkdir, "mkdir"},
    {SYS_open, "open"},
    {SYS_poll, "poll"},
    {SYS_readlink, "readlink"},
    {SYS_rename, "rename"},
    {SYS_rmdir, "rmdir"},
    {SYS_unlink, "unlink"},
#endif
    {SYS_rt_sigprocmask, "rt_sigprocmask"}
  };
  for (const auto& [number, name] : names)
    if (number == call) return name;
  return fmt::format("system call {}", call);
}

/// Changes nothing that another process could see.
bool only_reads(std::uint64_t call) {
  return call == SYS_pread64 || call == SYS_newfstatat || call == SYS_fstat || call == SYS_getdents64 ||
         call == SYS_readlinkat || call == SYS_lseek || call == SYS_statx || call == SYS_getpid ||
         call == SYS_fstatfs || call == SYS_getrandom;
}

/// Or stopped.
bool is_asleep(std::int64_t pid) {
  const auto text = contents_of_file(fmt::format("/proc/{}/stat", pid));
  const auto name_end = text.rfind(") ");
  return name_end != std::string::npos && text.find_first_of("STt", name_end + 2) == name_end + 2;
}

[[noreturn]] void fail(const char* operation, const std::string& subject, std::string_view reason = {}) {
  throw Error{{errno, std::generic_category()}, operation, subject, reason};
}
}  // namespace

void set_mark(Mark mark, const void* argument) noexcept { ::syscall(SYS_close, static_cast<int>(mark), argument); }

Tracer::Tracer(WorkerProcess& worker) : pid_{worker.pid()} {
  const auto thread = static_cast<pid_t>(pid_);
  const auto options = reinterpret_cast<void*>(std::uintptr_t{PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL});
  if (::ptrace(PTRACE_SEIZE, thread, nullptr, options) != 0)
    fail("trace", "worker " + std::to_string(pid_),
         "the crash lab needs ptrace of its own children: see kernel.yama.ptrace_scope, and seccomp in containers");
  // Stopped by an event, whatever it is waiting in: from here on no system call of it is missed.
  if (::ptrace(PTRACE_INTERRUPT, thread, nullptr, nullptr) != 0) fail("stop", "worker " + std::to_string(pid_));
  wait();
  worker.release();
}

/// The status of its next stop, as waitpid() has it. 0: it has ended; -1: it sleeps, and that was to be told.
int Tracer::wait(bool unless_asleep) {
  const auto id = static_cast<id_t>(pid_);
  for (int asleep = 0;;) {
    // Looked at first, and then only a stop is taken: the end of the worker is left to the harness to reap.
    siginfo_t info{};
    const int how = WSTOPPED | WEXITED | WNOWAIT | __WALL | (unless_asleep ? WNOHANG : 0);
    if (::waitid(P_PID, id, &info, how) != 0 && errno != EINTR) fail("wait for", "worker " + std::to_string(pid_));
    if (info.si_code == CLD_EXITED || info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED) {
      gone_ = true;
      return 0;
    }
    if (info.si_pid != 0) {
      info = {};
      ::waitid(P_PID, id, &info, WSTOPPED | WNOHANG | __WALL);
      if (info.si_pid != 0) return W_STOPCODE(info.si_status);
      continue;  // killed in between: there is no stop any more
    }
    if (!unless_asleep) continue;
    constexpr int looks = 3;  // who sleeps in each of them waits for somebody else
    asleep = is_asleep(pid_) ? asleep + 1 : 0;
    if (asleep == looks) return -1;
    ::sched_yield();
  }
}

/// Whoever stands still may be killed all the same, at any time: then there is nothing to be traced any more.
bool Tracer::was_killed() {
  if (errno == ESRCH) gone_ = true;
  return gone_;
}

std::string Tracer::name_in_worker(std::uint64_t address) const {
  std::array<char, 64> name{};
  const iovec here{name.data(), name.size() - 1};
  const iovec there{reinterpret_cast<void*>(address), name.size() - 1};  // NOLINT(performance-no-int-to-ptr)
  if (::process_vm_readv(static_cast<pid_t>(pid_), &here, 1, &there, 1, 0) <= 0) return "?";
  return name.data();
}

/// What a stop is; none: nothing of interest, it may go on.
Tracer::Stop Tracer::stop_at(int status) {
  if (gone_) return Stop::ended;
  if (WSTOPSIG(status) != syscall_stop) {
    signal_ = status >> 16 != 0 ? 0 : WSTOPSIG(status);  // an event is no signal
    return Stop::none;
  }
  __ptrace_syscall_info info{};
  if (::ptrace(PTRACE_GET_SYSCALL_INFO, static_cast<pid_t>(pid_), sizeof info, &info) <= 0) {
    if (was_killed()) return Stop::ended;
    fail("look at", "a system call");
  }
  if (info.op == PTRACE_SYSCALL_INFO_EXIT) {
    call_has_failed_ = info.exit.is_error != 0;
    return std::exchange(in_mark_, false) ? Stop::none : Stop::call_left;
  }
  if (info.op != PTRACE_SYSCALL_INFO_ENTRY) return Stop::none;
  const auto mark = static_cast<Mark>(static_cast<int>(info.entry.args[0]));
  in_mark_ = info.entry.nr == SYS_close &&
             (mark == Mark::begin_of_region || mark == Mark::end_of_region || mark == Mark::step);
  if (!in_mark_) {
    call_.number = info.entry.nr;
    std::copy(std::begin(info.entry.args), std::end(info.entry.args), call_.arguments.begin());
    return Stop::call_entered;
  }
  if (mark == Mark::end_of_region) return Stop::mark_end;
  if (mark == Mark::begin_of_region) {
    words_ = info.entry.args[1];
    return Stop::mark_region;
  }
  place_ = name_in_worker(info.entry.args[1]);
  return Stop::mark_step;
}

Tracer::Stop Tracer::go_on() {
  for (;;) {
    if (gone_ || ::ptrace(PTRACE_SYSCALL, static_cast<pid_t>(pid_), nullptr, std::exchange(signal_, 0)) != 0)
      return Stop::ended;
    if (const Stop stop = stop_at(wait()); stop != Stop::none) return stop;
  }
}

Tracer::Progress Tracer::advance_unless_asleep() {
  if (at_end_) return Progress::end;
  for (;;) {
    if (!runs_ &&
        (gone_ || ::ptrace(PTRACE_SYSCALL, static_cast<pid_t>(pid_), nullptr, std::exchange(signal_, 0)) != 0))
      return Progress::end;
    runs_ = true;
    const int status = wait(true);
    if (status < 0) return Progress::asleep;
    runs_ = false;
    switch (stop_at(status)) {
      case Stop::ended:
        return Progress::end;
      case Stop::mark_end:
        at_end_ = true;
        return Progress::end;
      case Stop::mark_step:
        return Progress::step;
      default:
        break;
    }
  }
}

bool Tracer::run_to_region() {
  for (;;) {
    const Stop stop = go_on();
    if (stop == Stop::ended) return false;
    if (stop != Stop::mark_region) continue;
    // Behind the mark, so that its own instructions are none of the region's.
    if (::ptrace(PTRACE_SYSCALL, static_cast<pid_t>(pid_), nullptr, nullptr) != 0) return false;
    wait();
    in_mark_ = false;
    return !gone_;
  }
}

bool Tracer::step_one_instruction() {
  const auto thread = static_cast<pid_t>(pid_);
  for (long signal = 0;;) {
    if (gone_ || ::ptrace(PTRACE_SINGLESTEP, thread, nullptr, signal) != 0) return false;
    const int status = wait();
    if (gone_) return false;
    const int stop = WSTOPSIG(status);
    if (stop == SIGTRAP && status >> 16 == 0) break;
    signal = status >> 16 != 0 ? 0 : stop;  // an event is no signal
  }
  RegionWords words;
  const iovec here{&words, sizeof words};
  const iovec there{reinterpret_cast<void*>(words_), sizeof words};  // NOLINT(performance-no-int-to-ptr)
  if (::process_vm_readv(thread, &here, 1, &there, 1, 0) != sizeof words) {
    if (was_killed()) return false;
    fail("read", "a worker's memory");
  }
  if (words.ended != 0) {
    at_end_ = true;
    return false;
  }
  if (words.step != std::exchange(step_, words.step)) place_ = "after " + name_in_worker(words.step);
  return true;
}

bool Tracer::advance(CrashEngine engine) {
  if (at_end_) return false;
  if (engine == CrashEngine::instructions || engine == CrashEngine::images) return step_one_instruction();
  for (auto before = call_.number;; before = call_.number) {
    switch (go_on()) {
      case Stop::ended:
        return false;
      case Stop::mark_end:
        at_end_ = true;
        return false;
      case Stop::mark_step:
        if (engine == CrashEngine::steps) return true;
        break;
      case Stop::call_entered:
        if (engine != CrashEngine::system_calls || (only_reads(before) && only_reads(call_.number))) break;
        place_ = name_of(call_.number) + ", before";
        return true;
      case Stop::call_left:
        if (engine != CrashEngine::system_calls || only_reads(call_.number)) break;
        place_ = name_of(call_.number) + ", after";
        return true;
      default:
        break;
    }
  }
}

// ---- faults --------------------------------------------------------------------------------------------------------

bool Tracer::advance_to_call() {
  while (!at_end_) switch (go_on()) {
      case Stop::ended:
        return false;
      case Stop::mark_end:
        at_end_ = true;
        break;
      case Stop::call_entered:
        call_.path = call_.number == SYS_openat ? name_in_worker(call_.arguments[1]) : std::string{};
        return true;
      default:
        break;
    }
  return false;
}

std::string Tracer::call_name() const { return name_of(call_.number); }

namespace {
/// The registers, read, changed by `change`, and written back. False: errno says why not.
template <class Change>
bool change_registers(std::int64_t pid, Change change) {
  user_regs_struct registers{};
  iovec all{&registers, sizeof registers};
  void* const which = reinterpret_cast<void*>(std::uintptr_t{NT_PRSTATUS});  // NOLINT(performance-no-int-to-ptr)
  if (::ptrace(PTRACE_GETREGSET, static_cast<pid_t>(pid), which, &all) != 0) return false;
  change(registers);
  return ::ptrace(PTRACE_SETREGSET, static_cast<pid_t>(pid), which, &all) == 0;
}
}  // namespace

bool Tracer::set_call(std::int64_t number) {
#if defined(__x86_64__)
  return change_registers(pid_, [&](user_regs_struct& of) { of.orig_rax = static_cast<unsigned long long>(number); });
#elif defined(__aarch64__)
  int wanted = static_cast<int>(number);
  iovec call{&wanted, sizeof wanted};
  void* const which = reinterpret_cast<void*>(std::uintptr_t{NT_ARM_SYSTEM_CALL});  // NOLINT(performance-no-int-to-ptr)
  return ::ptrace(PTRACE_SETREGSET, static_cast<pid_t>(pid_), which, &call) == 0;
#else
#error "which register has the number of a system call here?"
#endif
}

bool Tracer::set_result(std::int64_t result) {
#if defined(__x86_64__)
  return change_registers(pid_, [&](user_regs_struct& of) { of.rax = static_cast<unsigned long long>(result); });
#else
  return change_registers(pid_, [&](user_regs_struct& of) { of.regs[0] = static_cast<unsigned long long>(result); });
#endif
}

bool Tracer::let_call_fail(int error, bool done) {
  bool made = done || set_call(-1);
  if (made) {
    if (go_on() != Stop::call_left || (done && call_has_failed_)) return false;
    made = set_result(-error);
  }
  if (made || was_killed()) return made;
  fail("change", "a system call");
}

void Tracer::let_go() {
  if (!gone_) ::ptrace(PTRACE_DETACH, static_cast<pid_t>(pid_), nullptr, nullptr);
}

// ---- images --------------------------------------------------------------------------------------------------------

Images::Images(std::vector<std::filesystem::path> files) {
  for (auto& path : files) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat found {};
    void* bytes = MAP_FAILED;
    if (file >= 0 && ::fstat(file, &found) == 0)
      bytes = ::mmap(nullptr, static_cast<std::size_t>(found.st_size), PROT_READ, MAP_SHARED, file, 0);
    const int error = errno;
    if (file >= 0) ::close(file);
    errno = error;
    if (bytes == MAP_FAILED) fail("map", path.string());
    files_.push_back({std::move(path), static_cast<const char*>(bytes), static_cast<std::size_t>(found.st_size),
                      found.st_mode & 0777U});
  }
}

Images::~Images() {
  for (const auto& file : files_) ::munmap(const_cast<char*>(file.bytes), file.size);  // NOLINT(*-const-cast)
}

void Images::look() {
  now_.clear();
  for (const auto& file : files_) now_.append(file.bytes, file.size);
  if (now_ == last_) return;
  last_ = now_;
  if (std::find(distinct_.begin(), distinct_.end(), now_) == distinct_.end()) distinct_.push_back(now_);
}

void Images::put_back(std::size_t index) const {
  const char* bytes = distinct_[index].data();
  for (const auto& file : files_) {
    ::unlink(file.path.c_str());
    const int made = ::open(file.path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    std::size_t done = 0;
    while (made >= 0 && done < file.size) {
      const auto written = ::write(made, bytes + done, file.size - done);
      if (written <= 0) break;
      done += static_cast<std::size_t>(written);
    }
    if (made < 0 || done < file.size || ::fchmod(made, file.mode) != 0) fail("put back", file.path.string());
    ::close(made);
    bytes += file.size;
  }
}

void wait_until_asleep(const WorkerProcess& worker, Deadline deadline) {
  while (worker.is_running() && !deadline.passed() && !is_asleep(worker.pid()))
    ::sched_yield();  // nothing wakes who waits for another one's sleep
}
}  // namespace holdfast::harness
