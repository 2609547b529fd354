// platform/wait.hpp - sleeping in the kernel until something happens. No public interface: it may change any time.
// Layer 1: src/platform/<os>/wait.cpp provides it.
#pragma once
#include <optional>
#include <stop_token>

#include <holdfast/deadline.hpp>
#include <holdfast/platform/descriptor.hpp>

namespace holdfast::platform {
/// Turns a stop request into a descriptor that becomes readable. Made only when a wait begins.
class StopSignal {
 public:
  explicit StopSignal(const std::stop_token& stop);  ///< Throws Error: no descriptors left.
  [[nodiscard]] int number() const noexcept { return readable_.number(); }

 private:
  struct Raise {
    int descriptor;
    void operator()() const noexcept;
  };
  Descriptor readable_;
  std::optional<std::stop_callback<Raise>> callback_;
};

enum class Woken { event, stopped, deadline };
/// Sleeps until `watched` is readable or has lost its last writer, the stop signal is raised, or the deadline passes.
/// Either descriptor may be -1. Of several reasons the first in the order stopped, event, deadline is told.
[[nodiscard]] Woken wait_for(int watched, int stop, Deadline deadline) noexcept;
}  // namespace holdfast::platform
