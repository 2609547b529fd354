// testing/worker_process.hpp - the parent's side of a test with real processes: start, await, hold, kill, and the truth.
// Builds on deadline.hpp and error.hpp. System calls: src/testing/<os>. The worker's side: testing/worker.hpp.
#pragma once
#include <chrono>
#include <concepts>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <holdfast/deadline.hpp>
#include <holdfast/error.hpp>

namespace holdfast::harness {
template <class T>
concept WholeNumber = std::integral<T> && !std::same_as<T, char>;

/// One argument of a worker: a string, a path or a whole number, as text.
struct Argument {
  std::string text;

  Argument(const char* string) : text{string} {}                        // NOLINT(*-explicit-*)
  Argument(std::string_view string) : text{string} {}                   // NOLINT(*-explicit-*)
  Argument(std::string string) : text{std::move(string)} {}             // NOLINT(*-explicit-*)
  Argument(const std::filesystem::path& path) : text{path.string()} {}  // NOLINT(*-explicit-*)
  template <WholeNumber T>
  Argument(T number) : text{std::to_string(number)} {}  // NOLINT(*-explicit-*)
};

struct WorkerOptions {
  /// Added to a copy of this process's environment, or, without a value, removed from it.
  std::map<std::string, std::optional<std::string>> environment = {};
};

/// Did the worker say that it is ready?
enum class Ready {
  yes,        ///< it called signal_test_ready(), whatever has become of it since
  died,       ///< it ended without
  timed_out,  ///< neither had happened at the deadline
};

/// How a worker ended.
struct Exit {
  enum class By {
    code,      ///< by itself; value is its exit code
    signal,    ///< value is the signal's number
    deadline,  ///< it ran still at the deadline of wait_for_exit(), and was killed; value is the signal's number
  };
  By by = By::code;
  int value = 0;
  bool reached_end = false;  ///< the scenario returned to run_worker(); false after exit(), a crash, a kill

  /// Code 0, and the scenario reached its end: a worker that leaves early has not passed.
  [[nodiscard]] bool ok() const noexcept { return by == By::code && value == 0 && reached_end; }
  friend bool operator==(const Exit&, const Exit&) = default;
};

[[nodiscard]] std::string_view to_string(Ready ready) noexcept;
[[nodiscard]] std::string to_string(const Exit& exit);  ///< "was killed by signal 9 (Killed)"

/// One running executable, started by SpawnWorker() or SpawnWorkerWithReadySignal(). Move-only; empty when moved from.
///
/// Guarantees
///   H2 three answers   ready, died before ready and timed out are told apart; end-of-file is not ready
///   H3 no leaks        a worker inherits its three standard streams and its own channels, nothing else, however many
///                      threads start workers at once
///   H4 no orphans      the end of this process, by any cause, ends the worker, be it stopped or under another user; the
///                      end of the thread that started it does not. The destructor ends it as well.
///   H5 the truth       a code, a signal and the deadline are different results; output is captured, up to stream_limit
///
/// H4 includes the processes that a worker forks, as long as they stay in its process group. Limits: a process that the
/// test itself forks and that does not exec holds copies of the channels, so that only the end of both ends the worker;
/// a worker in a PID namespace of its own, being its init, is ended by run_worker(), so it has to call that.
///
/// Errors      Error, when a worker cannot be started (what() says what to do), and for misuse.
/// Threads     Different objects may be used by different threads at once; one object by one thread at a time.
/// Signals     A worker starts with default dispositions and nothing blocked, whatever this process has set. SIGCHLD
///             must not be ignored, and nobody else may wait for all children: it would take the exit away.
/// Descriptors Six for each worker. When they run out, the soft limit of this process is raised towards the hard one;
///             workers start with the limit that was set before.
/// Platforms   Linux 5.4 or newer.
class WorkerProcess {
 public:
  WorkerProcess(WorkerProcess&&) noexcept;
  WorkerProcess& operator=(WorkerProcess&&) noexcept;
  ~WorkerProcess();  ///< Kills it, with all processes that it forked, and reaps it.

  /// Returns at the signal, at the death (a byte sent before it counts) or at the deadline, whichever comes first. A
  /// closed channel does not end the wait. May be repeated.
  [[nodiscard]] Ready wait_for_ready(Deadline deadline = std::chrono::seconds{30});

  /// Reaps it. A worker that still runs at the deadline is killed, with the processes that it forked; report() then
  /// tells what its threads were doing. May be repeated: the answer stays.
  Exit wait_for_exit(Deadline deadline = std::chrono::seconds{60});

  void release();  ///< Lets one wait_for_release() return, now or when it is called. Without effect on the dead.
  void kill();     ///< SIGKILL. When it returns, the worker is dead: a zombie until wait_for_exit() or the destructor.
  void stop();     ///< Suspends it (SIGSTOP). When it returns, no thread of it runs. Throws Error if it has ended.
  void resume();   ///< Lets a stopped worker go on.

  [[nodiscard]] bool is_running() const;            ///< Has not ended. A stopped worker is running.
  [[nodiscard]] std::int64_t pid() const noexcept;  ///< As this process sees it. 0 if moved from.
  [[nodiscard]] std::string output() const;         ///< What it has written to its standard output by now.
  [[nodiscard]] std::string errors() const;         ///< What it has written to its standard error by now.

  /// For people: command, state, and the last lines of both streams, control characters escaped.
  [[nodiscard]] std::string report() const;

  /// Bytes that are kept of each stream. A worker that writes more gets an error (EPERM).
  static constexpr std::size_t stream_limit = 64 * 1024 * 1024;

 private:
  struct Impl;
  friend WorkerProcess SpawnWorker(const std::filesystem::path&, std::string_view, const std::vector<Argument>&,
                                   const WorkerOptions&);
  friend WorkerProcess SpawnWorkerWithReadySignal(const std::filesystem::path&, std::string_view,
                                                  const std::vector<Argument>&, const WorkerOptions&);
  explicit WorkerProcess(std::unique_ptr<Impl> impl) noexcept;
  [[nodiscard]] Impl& impl() const;
  std::unique_ptr<Impl> impl_;
};

/// Starts `executable scenario arguments...`; the path is not searched for. Standard input is empty. The caller's working
/// directory, user and namespaces are inherited. Throws Error if it cannot be executed.
[[nodiscard]] WorkerProcess SpawnWorker(const std::filesystem::path& executable, std::string_view scenario,
                                        const std::vector<Argument>& arguments = {}, const WorkerOptions& options = {});

/// The same with a pipe for signal_test_ready(), its number in PLH_TEST_READY_FD: call wait_for_ready() before you go on.
[[nodiscard]] WorkerProcess SpawnWorkerWithReadySignal(const std::filesystem::path& executable,
                                                       std::string_view scenario,
                                                       const std::vector<Argument>& arguments = {},
                                                       const WorkerOptions& options = {});

/// release() for all of them, back to back. For a race wait until all are ready first.
void ReleaseTogether(std::span<WorkerProcess> workers);
}  // namespace holdfast::harness
