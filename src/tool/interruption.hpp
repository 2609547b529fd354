// interruption.hpp - Ctrl-C: the workers are ended, and the run unwinds and clears up behind itself.
// Source: src/tool/<os>/interruption.cpp.
#pragma once
#include <cstdint>
#include <exception>

namespace holdfast::tool {
/// From here on SIGINT, SIGTERM and SIGHUP kill the workers, so that every wait for one of them ends. The second signal
/// has its usual effect. A signal that is ignored stays ignored.
void begin_to_watch_for_interruption();

struct Interrupted : std::exception {
  [[nodiscard]] const char* what() const noexcept override { return "interrupted"; }
};
/// To be called after every wait: throws Interrupted.
void throw_if_interrupted();

[[noreturn]] void end_by_interruption();  ///< Ends this process by the signal that came, as shells expect it.

/// While it lives the process is killed at an interruption. The process must not have been reaped before it is made.
class EndedByInterruption {
 public:
  explicit EndedByInterruption(std::int64_t pid);  ///< Throws Error.
  EndedByInterruption(EndedByInterruption&& other) noexcept;
  EndedByInterruption& operator=(EndedByInterruption&&) = delete;
  ~EndedByInterruption();

 private:
  int place_;
};
}  // namespace holdfast::tool
