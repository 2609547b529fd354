#include <holdfast/platform/wait.hpp>

#include <cerrno>
#include <cstdint>
#include <ctime>

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <holdfast/error.hpp>

namespace holdfast::platform {
StopSignal::StopSignal(const std::stop_token& stop) : readable_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)} {
  if (!readable_)
    throw Error{std::error_code{errno, std::generic_category()},
                "wait for",
                "a stop request",
                {},
                "the process needs one descriptor for each wait with a stop_token: ulimit -n"};
  callback_.emplace(stop, Raise{readable_.number()});
}

void StopSignal::Raise::operator()() const noexcept {
  const std::uint64_t one = 1;
  while (::write(descriptor, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

Woken wait_for(int watched, int stop, Deadline deadline) noexcept {
  pollfd polled[] = {{stop, POLLIN, 0}, {watched, POLLIN, 0}};  // poll passes over negative descriptors
  for (;;) {
    timespec left{};
    if (!deadline.is_never()) {
      const auto ns = deadline.remaining().count();
      left.tv_sec = static_cast<time_t>(ns / 1'000'000'000);
      left.tv_nsec = static_cast<long>(ns % 1'000'000'000);
    }
    const int ready = ::ppoll(polled, 2, deadline.is_never() ? nullptr : &left, nullptr);
    if (ready < 0) continue;  // EINTR; ENOMEM passes
    if (polled[0].revents != 0) return Woken::stopped;
    if (polled[1].revents != 0) return Woken::event;
    if (deadline.passed()) return Woken::deadline;
  }
}
}  // namespace holdfast::platform
