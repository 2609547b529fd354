// instruction_tracer.hpp - lets a worker go on by single instructions, to be killed, or left standing, between any two of them.
#pragma once
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstdint>
#include <holdfast/testing/gtest.hpp>

namespace holdfast::test {
/// The worker waits for its release before it says "begin" (SIGUSR2); "end" is SIGUSR1. It has one thread, and so has its
/// tracer. While it is traced, it stands still whenever no member runs.
class InstructionTracer {
 public:
  explicit InstructionTracer(harness::WorkerProcess& worker)
      : worker_{worker}, thread_{static_cast<pid_t>(worker.pid())} {
    traced_ = ::ptrace(PTRACE_SEIZE, thread_, nullptr, PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD) == 0;
    worker_.release();
  }
  [[nodiscard]] bool may_trace() const noexcept { return traced_; }

  /// To the beginning. False: it never came there.
  [[nodiscard]] bool run_to_begin() const { return run_to(SIGUSR2); }
  [[nodiscard]] bool run_to_end() const { return run_to(SIGUSR1); }
  /// Before its next system call of that number. False: it comes to the end first, or has died.
  [[nodiscard]] bool run_to_call(long number) const {
    for (__ptrace_syscall_info info{};;) {
      if (::ptrace(PTRACE_SYSCALL, thread_, nullptr, nullptr) != 0) return false;
      const int status = wait();
      if (!WIFSTOPPED(status) || WSTOPSIG(status) == SIGUSR1) return false;
      if (::ptrace(PTRACE_GET_SYSCALL_INFO, thread_, sizeof info, &info) <= 0) return false;
      if (info.op == PTRACE_SYSCALL_INFO_ENTRY && static_cast<long>(info.entry.nr) == number) return true;
    }
  }
  /// So many instructions, or as long as the condition is false, or to the end. How many they were.
  template <class Condition>
  long step(long most, Condition condition) const {
    for (long done = 0; done < most; ++done) {
      if (condition() || ::ptrace(PTRACE_SINGLESTEP, thread_, nullptr, nullptr) != 0) return done;
      const int status = wait();
      if (!WIFSTOPPED(status) || WSTOPSIG(status) == SIGUSR1) return done;
    }
    return most;
  }
  long step(long most) const {
    return step(most, [] { return false; });
  }
  /// It goes on by itself from where it stands.
  void let_go() const { ::ptrace(PTRACE_DETACH, thread_, nullptr, nullptr); }

 private:
  bool run_to(int signal) const {
    for (;;) {
      const int status = wait();
      if (!WIFSTOPPED(status)) return false;
      if (WSTOPSIG(status) == signal) return true;
      ::ptrace(PTRACE_CONT, thread_, nullptr, nullptr);
    }
  }
  int wait() const {
    int status = 0;
    while (::waitpid(thread_, &status, __WALL) < 0)
      if (errno != EINTR) return 0;
    return status;
  }
  harness::WorkerProcess& worker_;
  pid_t thread_;
  bool traced_ = false;
};
}  // namespace holdfast::test
