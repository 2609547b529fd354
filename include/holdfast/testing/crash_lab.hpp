// testing/crash_lab.hpp - kills a worker at every point of a piece of its work, and looks whether the next one gets through.
// Builds on testing/worker_process.hpp. System calls: src/testing/<os>. The worker's side: crash_region, step() in testing/worker.hpp.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <holdfast/testing/worker_process.hpp>

namespace holdfast::harness {
/// One piece of work that may be killed anywhere, and what has to hold after it. One description feeds all engines.
///
/// The victim, a worker with one thread, calls signal_test_ready(), waits for its release, and then works inside one
/// CrashRegion. Let to its end it ends well (Exit::ok()). A rescuer does the same, and has to get through, and end well, whatever
/// a victim left.
struct CrashScenario {
  using Start = std::function<WorkerProcess(const WorkerOptions& options)>;

  std::string name;                     ///< without blanks: "slot.commit"
  std::function<void()> prepare = {};   ///< before each run: what the victim will find
  Start victim;                         ///< starts it with these options, and with a ready signal
  Start rescuer = {};                   ///< as well; none: judge() does the rescue itself
  std::function<std::string()> judge;   ///< after each run: what is wrong; empty: nothing
  std::vector<std::string> steps = {};  ///< named steps that have to be reached, each at least once
  std::function<std::vector<std::filesystem::path>()> images = {};  ///< files that are all that a victim leaves
};

/// What is counted, and killed at.
enum class CrashEngine {
  system_calls,  ///< before and after each system call; rows of calls that only read are one
  instructions,  ///< after each instruction
  steps,         ///< at each named step, each time that it is reached
  images,        ///< no kill: after each instruction the files are copied, and each distinct copy is rescued from
};

/// When and by whom is rescued. The victim stands still at its point until it is killed.
enum class Rescue {
  after,      ///< it is dead before the rescuer begins
  before,     ///< the rescuer has begun, and sleeps or has come to its end, when the victim is killed
  at,         ///< both at once
  by_two,     ///< two rescuers at once, after it is dead: both get through
  killed,     ///< a first rescuer is killed, at points spread over its own region: a second one gets through
  continued,  ///< the rescuer begins, then the victim goes on and ends well; the rescuer gets through
};
inline constexpr Rescue all_rescues[] = {Rescue::after,  Rescue::before, Rescue::at,
                                         Rescue::by_two, Rescue::killed, Rescue::continued};

struct CrashOptions {
  std::vector<Rescue> rescues = {Rescue::after};
  std::uint64_t at_most = 0;          ///< runs of each kind of rescue, spread evenly over all points; 0: each point
  std::uint64_t rescuer_points = 3;   ///< Rescue::killed: where each first rescuer is killed, spread over its region
  std::uint64_t seed = 0;             ///< where an even spread begins
  std::chrono::seconds patience{20};  ///< for each rescuer and each continued victim; later is a wedge
};

struct CrashFailure {
  std::string where;  ///< "killed at instruction 17 of 220, rescue by_two": enough to find it again
  std::string what;
};

/// What became of the kills at one place: a named step, a system call, or all instructions together.
struct CrashPlace {
  std::uint64_t kills = 0, failures = 0;
};

struct CrashReport {
  std::string scenario;
  CrashEngine engine{};
  std::uint64_t points = 0;  ///< that there are in the victim's region
  std::uint64_t runs = 0;    ///< after which somebody was rescued and judged
  std::map<std::string, CrashPlace, std::less<>> places = {};
  std::vector<CrashFailure> failures = {};
  std::vector<std::uint64_t> recovery_ns =
      {};  ///< from a victim's death to the end of its rescuer, process ends included

  [[nodiscard]] bool ok() const noexcept { return failures.empty() && runs > 0; }
};

/// Runs the scenario, once to count the points, and then once for each point and each kind of rescue. Stops at the tenth failure.
///
/// A declared step that is not reached is a failure, and so is a victim or rescuer that does not end well when it is let.
/// With HOLDFAST_CRASH_LAB_REPORT set, the report is appended to a file of this process in the directory of that name, too.
///
/// Errors   Error; std::errc::operation_not_permitted: this machine does not permit to trace a process.
/// Threads  from one thread from beginning to end; scenarios may start threads and workers of their own.
/// Cost     about 1 ms for each system call or step killed at, 50 to 100 us for each instruction stepped; kills at all
///          instructions are quadratic in their number, so bound them by at_most, and let `images` look at the rest.
[[nodiscard]] CrashReport run_crash_scenario(const CrashScenario& scenario, CrashEngine engine,
                                             const CrashOptions& options = {});

/// Appends one line for the scenario and one for each place, of fields separated by tabs:
///   scenario <name> <engine> <points> <runs> <failures> <recovery_ns, blank separated>
///   place <name> <engine> <place> <kills> <failures>
void write_report(const CrashReport& report, const std::filesystem::path& file);

[[nodiscard]] std::string_view to_string(CrashEngine engine) noexcept;
[[nodiscard]] std::string_view to_string(Rescue rescue) noexcept;
[[nodiscard]] std::string to_string(const CrashReport& report);  ///< one line, and one for each failure
}  // namespace holdfast::harness
