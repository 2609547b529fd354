#include "tool/interruption.hpp"

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <string>
#include <system_error>
#include <utility>

#include <sys/syscall.h>
#include <unistd.h>

#include <holdfast/error.hpp>
#include <holdfast/platform/descriptor.hpp>
#include <holdfast/platform/process.hpp>

#include "tool/settings.hpp"

#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424  // the same number on every architecture
#endif

namespace holdfast::tool {
namespace {
// Read by a signal handler: no lock, no allocation. A pidfd names one process for ever, whatever becomes of its pid.
constexpr int none = -1;
std::array<std::atomic<int>, most_processes + 8> watched;
std::atomic<int> received{0};
static_assert(std::atomic<int>::is_always_lock_free);

void kill_workers(int signal) {
  const int kept = errno;
  received.store(signal);
  for (const auto& descriptor : watched)
    if (const int pidfd = descriptor.load(); pidfd != none)
      ::syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, nullptr, 0U);
  errno = kept;
}
}  // namespace

void begin_to_watch_for_interruption() {
  for (auto& descriptor : watched) descriptor.store(none);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction action {};
    if (::sigaction(signal, nullptr, &action) != 0 || action.sa_handler == SIG_IGN) continue;
    action = {};
    action.sa_handler = kill_workers;
    action.sa_flags = static_cast<int>(SA_RESTART | SA_RESETHAND);
    ::sigaction(signal, &action, nullptr);
  }
}

void throw_if_interrupted() {
  if (received.load() != 0) throw Interrupted{};
}

void end_by_interruption() {
  const int signal = received.load();
  std::signal(signal, SIG_DFL);
  std::raise(signal);
  std::_Exit(128 + signal);  // not reached, unless the signal is blocked
}

EndedByInterruption::EndedByInterruption(std::int64_t pid) : place_{none} {
  auto pidfd = platform::watch_death(pid);
  for (std::size_t i = 0; pidfd && i < watched.size(); ++i) {
    if (watched[i].load() != none) continue;
    watched[i].store(pidfd.release());
    place_ = static_cast<int>(i);
    return;
  }
  throw Error{std::make_error_code(std::errc::too_many_files_open), "watch worker", std::to_string(pid)};
}

EndedByInterruption::EndedByInterruption(EndedByInterruption&& other) noexcept
    : place_{std::exchange(other.place_, none)} {}

EndedByInterruption::~EndedByInterruption() {
  if (place_ != none) platform::close_descriptor(watched[static_cast<std::size_t>(place_)].exchange(none));
}
}  // namespace holdfast::tool
