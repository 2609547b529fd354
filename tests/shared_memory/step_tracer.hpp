// step_tracer.hpp - stops a worker at a system call of its choice: at each of them, before and after, another process may be
// killed for good. Between two of them a process changes memory only.
#pragma once
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <system_error>

#include "step_marks.hpp"

namespace holdfast::test {
class StepTracer {
 public:
  /// Traces the worker, which waits for its release before it sets its first mark. The worker has one thread. All calls from
  /// one thread.
  explicit StepTracer(std::int64_t pid) : pid_{static_cast<pid_t>(pid)} {
    const auto options = reinterpret_cast<void*>(std::uintptr_t{PTRACE_O_TRACESYSGOOD});
    if (::ptrace(PTRACE_SEIZE, pid_, nullptr, options) != 0 || ::ptrace(PTRACE_INTERRUPT, pid_, nullptr, nullptr) != 0)
      throw std::system_error{errno, std::generic_category(), "trace a worker"};
    wait_for_stop();
  }

  /// Lets the worker, released by now, run to the beginning of its steps and n stops further: one before and one after each
  /// system call, where a row of reads is one. False: there are not so many, it is at the end of its steps, or dead.
  [[nodiscard]] bool run_to(std::size_t n) {
    if (!run_to_mark(begin_of_steps)) return false;
    while (n > 0) {
      const auto before = call_;
      if (!next_stop() || at_mark(end_of_steps)) return false;
      if (before != SYS_pread64 || call_ != SYS_pread64) --n;
    }
    return true;
  }

  /// It goes on by itself, from where it stands.
  [[nodiscard]] bool let_go() { return ::ptrace(PTRACE_DETACH, pid_, nullptr, nullptr) == 0; }

  /// The number of the system call that it is at, for people.
  [[nodiscard]] std::uint64_t call() const noexcept { return call_; }

 private:
  static constexpr int syscall_stop = SIGTRAP | 0x80;

  bool run_to_mark(int mark) {
    while (next_stop())
      if (at_mark(mark)) return next_stop();  // behind it
    return false;
  }
  /// To the next stop at a system call. Signals are passed on. False: it has ended.
  bool next_stop() {
    long signal = 0;
    for (;;) {
      if (::ptrace(PTRACE_SYSCALL, pid_, nullptr, reinterpret_cast<void*>(signal)) != 0) return false;
      const int status = wait_for_stop();
      if (!WIFSTOPPED(status)) return false;
      if (WSTOPSIG(status) == syscall_stop) return true;
      signal = status >> 16 != 0 ? 0 : WSTOPSIG(status);  // an event is no signal
    }
  }
  int wait_for_stop() {
    int status = 0;
    // WNOWAIT is not possible with stops; the end of the worker is left to the harness.
    siginfo_t info{};
    do {
      if (::waitid(P_PID, static_cast<id_t>(pid_), &info, WSTOPPED | WEXITED | WNOWAIT | __WALL) != 0 && errno != EINTR)
        throw std::system_error{errno, std::generic_category(), "wait for a traced worker"};
    } while (info.si_pid == 0);
    if (info.si_code == CLD_EXITED || info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED) return 0;
    if (::waitpid(pid_, &status, __WALL) != pid_)
      throw std::system_error{errno, std::generic_category(), "wait for a traced worker"};
    return status;
  }
  bool at_mark(int mark) {
    __ptrace_syscall_info info{};
    if (::ptrace(PTRACE_GET_SYSCALL_INFO, pid_, sizeof info, &info) <= 0)
      throw std::system_error{errno, std::generic_category(), "look at a system call"};
    if (info.op != PTRACE_SYSCALL_INFO_ENTRY) return false;
    call_ = info.entry.nr;
    return info.entry.nr == SYS_close && static_cast<int>(info.entry.args[0]) == mark;
  }

  pid_t pid_;
  std::uint64_t call_ = 0;
};
}  // namespace holdfast::test
