// testing/fault_injection.hpp - lets every system call of a piece of work fail in turn, with every errno that it may have.
// Builds on testing/crash_lab.hpp. System calls: src/testing/<os>. The worker's side stands at the end of this file.
#pragma once
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <holdfast/testing/crash_lab.hpp>

namespace holdfast::harness {
/// What one run came to, for its judge.
struct FaultOutcome {
  std::string fault;      ///< "openat#3=ENOSPC"
  bool reported{};        ///< false: the work was done as if nothing had happened
  std::string message{};  ///< what the worker reported
};

/// One piece of work whose system calls may fail, and what has to hold then.
///
/// The worker, of which one thread is looked at, calls signal_test_ready(), waits for its release, and then works inside one
/// CrashRegion. Undisturbed it ends well (Exit::ok()). With a call that fails it either ends well, having done all its work,
/// which it checks itself, or it tells of the failure: report_error(), and its result as the exit code. Either way it has kept
/// nothing (LeakCheck). Everything else is a failure: another code, a signal, an abort, a hang, a report without words.
struct FaultScenario {
  using Start = CrashScenario::Start;

  std::string name;                    ///< without blanks: "file_lock.lock"
  std::function<void()> prepare = {};  ///< before each run: what the worker will find
  Start worker;                        ///< starts it with these options, and with a ready signal
  Start next = {};  ///< who comes after it, undisturbed: it does the same work and ends well, whatever was left
  std::function<std::string(const FaultOutcome&)> judge =
      {};  ///< at last: what is wrong, such as files left; empty: nothing
};

struct FaultOptions {
  bool done_as_well = false;  ///< calls that were done and are reported as failed, too, as network file systems do
  std::uint64_t at_most = 0;  ///< runs, spread evenly over all faults; 0: each
  std::uint64_t seed = 0;     ///< where an even spread begins
  std::string only = {};      ///< this fault alone: as FaultOutcome has it, from the report of another run
  std::vector<std::string> spared =
      {};  ///< names of calls that never fail; in a build with a sanitizer, those for its memory are spared anyway
  std::chrono::seconds patience{20};  ///< for each worker; later is a hang
};

/// What became of one kind of fault: "openat ENOSPC".
struct FaultPlace {
  std::uint64_t runs = 0, reported = 0, failures = 0;
};

struct FaultReport {
  std::string scenario;
  std::uint64_t calls = 0;   ///< system calls in the worker's region, undisturbed
  std::uint64_t faults = 0;  ///< those calls, each with each of its errnos
  std::uint64_t runs = 0;
  std::map<std::string, FaultPlace, std::less<>> places = {};
  std::map<std::string, std::uint64_t, std::less<>> messages = {};  ///< what was reported, and how often
  std::vector<CrashFailure> failures = {};  ///< `where` is the fault: FaultOptions::only repeats it

  [[nodiscard]] bool ok() const noexcept { return failures.empty() && runs > 0; }
};

/// Runs the worker once to list its system calls, and then once for each call and each errno that it can plausibly have (a table:
/// openat has EMFILE, and no EBADF). The call is not made. Stops at the tenth failure.
///
/// Calls that only fail for programs that are wrong are left alone, and so are those that never fail; close fails having closed.
/// A call is found again by its name and its number among those of that name; a run that does not come to it is no failure.
///
/// Errors   Error; std::errc::operation_not_permitted: this machine does not permit to trace a process.
/// Threads  from one thread from beginning to end. Other threads of the worker are not disturbed.
/// Cost     two starts of a worker for each fault, some 10 ms, and some 20 us for each system call before it.
[[nodiscard]] FaultReport run_fault_scenario(const FaultScenario& scenario, const FaultOptions& options = {});

[[nodiscard]] std::string to_string(const FaultReport& report);  ///< one line, and one for each failure

// ---- the worker's side ---------------------------------------------------------------------------------------------------

inline constexpr int exit_reported = 10;  ///< of a worker that could not do its work, and said why

/// Writes the error's text to standard error, as the parent looks for it. Returns exit_reported. Outside the CrashRegion.
int report_error(const std::exception& error) noexcept;

/// What this process has open: descriptors, mapped files and threads. Anonymous memory is left to sanitizers.
class LeakCheck {
 public:
  LeakCheck();  ///< Throws Error.
  /// What there is now that was not there at the beginning; empty: nothing. For the moment before a worker ends.
  [[nodiscard]] std::string leaks() const;

 private:
  std::map<std::string, int> before_;
};
}  // namespace holdfast::harness
