#include <atomic>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <optional>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <holdfast/testing/worker.hpp>

#include "testing/channel.hpp"

namespace holdfast::harness {
namespace {
/// The descriptor that a variable names. Empty if it is not set, or if that number is not of the expected kind (any more):
/// a program that closed it may have given the number to a file of its own.
std::optional<int> descriptor_in(const char* variable, mode_t kind) noexcept {
  const char* text = std::getenv(variable);  // NOLINT(concurrency-mt-unsafe): nobody changes it while scenarios run
  if (text == nullptr) return std::nullopt;
  int number = -1;
  const char* const end = text + std::strlen(text);
  const auto [parsed, error] = std::from_chars(text, end, number);
  struct stat found {};
  if (error != std::errc{} || parsed != end || number < 0 || ::fstat(number, &found) != 0 ||
      (found.st_mode & S_IFMT) != kind) {
    std::fprintf(stderr, "holdfast: %s=%s is not an open descriptor of the harness\n", variable, text);
    return std::nullopt;
  }
  return number;
}

std::optional<int> control() noexcept { return descriptor_in(control_variable, S_IFSOCK); }

/// write() to a pipe whose reader may be gone, in a program that may want to keep its disposition of SIGPIPE.
bool write_byte(int pipe, char byte) noexcept {
  sigset_t broken_pipe, before, pending;
  ::sigemptyset(&broken_pipe);
  ::sigaddset(&broken_pipe, SIGPIPE);
  ::sigpending(&pending);
  const bool was_pending = ::sigismember(&pending, SIGPIPE) == 1;
  ::pthread_sigmask(SIG_BLOCK, &broken_pipe, &before);
  ssize_t written = -1;
  do {
    written = ::write(pipe, &byte, 1);
  } while (written < 0 && errno == EINTR);
  const int error = errno;
  if (written < 0 && error == EPIPE && !was_pending) {
    const timespec at_once{};
    while (::sigtimedwait(&broken_pipe, nullptr, &at_once) < 0 && errno == EINTR) {
    }
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = error;
  return written == 1;
}
}  // namespace

std::int64_t current_pid() noexcept { return ::getpid(); }

void signal_test_ready() noexcept {
  static std::atomic<bool> signalled{false};
  if (signalled.exchange(true)) return;
  const auto pipe = descriptor_in(ready_variable, S_IFIFO);
  if (pipe && !write_byte(*pipe, '1') && errno != EPIPE) std::perror("holdfast: cannot signal ready");
}

Released receive_release() noexcept {
  if (std::getenv(control_variable) == nullptr) return Released::no_parent;  // NOLINT(concurrency-mt-unsafe)
  const auto socket = control();
  if (!socket) return Released::abandoned;
  char mark = 0;
  ssize_t size = -1;
  do {
    size = ::recv(*socket, &mark, 1, 0);
  } while (size < 0 && errno == EINTR);
  return size == 1 ? Released::yes : Released::abandoned;
}

Released look_for_release() noexcept {
  if (std::getenv(control_variable) == nullptr) return Released::no_parent;  // NOLINT(concurrency-mt-unsafe)
  const auto socket = control();
  if (!socket) return Released::abandoned;
  char mark = 0;
  const auto size = ::recv(*socket, &mark, 1, MSG_PEEK | MSG_DONTWAIT);
  if (size == 1) return Released::yes;
  return size < 0 && (errno == EAGAIN || errno == EINTR) ? Released::no : Released::abandoned;
}

void watch_lifeline() noexcept {
  if (::getpid() != 1 || std::getenv(lifeline_variable) == nullptr) return;  // NOLINT(concurrency-mt-unsafe)
  const auto pipe = descriptor_in(lifeline_variable, S_IFIFO);
  if (!pipe) return;
  // The init of a PID namespace gets a signal from within or from the kernel only if it has a handler for it.
  struct sigaction action {};
  action.sa_handler = [](int) { ::_exit(128 + SIGKILL); };
  if (::sigaction(SIGIO, &action, nullptr) != 0 || ::fcntl(*pipe, F_SETSIG, SIGIO) != 0)
    std::perror("holdfast: cannot watch the parent");
  pollfd waiting{*pipe, POLLIN, 0};
  if (::poll(&waiting, 1, 0) > 0) ::_exit(128 + SIGKILL);  // it was gone before the handler was in place
}

void report_end() noexcept {
  if (std::getenv(control_variable) == nullptr) return;  // NOLINT(concurrency-mt-unsafe)
  if (const auto socket = control()) [[maybe_unused]]
    const auto sent = ::send(*socket, &end_mark, 1, MSG_NOSIGNAL);
}
}  // namespace holdfast::harness
