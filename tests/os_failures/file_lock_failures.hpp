// file_lock_failures.hpp - what the tests of FileLock in hostile surroundings share: workers that go there, directories that
// are compared before and after, errors that have to be clear.
#pragma once
#include <signal.h>
#include <sys/syscall.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>
#include <holdfast/file_lock.hpp>
#include <holdfast/testing/gtest.hpp>

#include "../exclusion/wait_until.hpp"

namespace hostile {
namespace fs = std::filesystem;
using namespace std::chrono_literals;
using holdfast::Deadline;
using holdfast::errc;
using holdfast::Error;
using holdfast::FileLock;
using holdfast::FileLockOptions;
using holdfast::Liveness;
using holdfast::LockOutcome;
using holdfast::ProcessIdentity;
using holdfast::Sharing;
using holdfast::harness::Argument;
using holdfast::harness::Exit;
using holdfast::harness::ExpectWorkerOk;
using holdfast::harness::Ready;
using holdfast::harness::SpawnWorker;
using holdfast::harness::SpawnWorkerWithReadySignal;
using holdfast::harness::TempDir;
using holdfast::harness::WorkerProcess;
using holdfast::test::wait_for_output;
using holdfast::test::wait_for_queue;
using holdfast::test::wait_until;

/// Steps into a worker's surroundings, as tests/workers/surroundings.hpp knows them. Empty: those of this process.
using Steps = std::vector<std::string>;

inline Steps operator+(Steps steps, const Steps& more) {
  steps.insert(steps.end(), more.begin(), more.end());
  return steps;
}

inline std::vector<Argument> arguments_for(const Steps& steps, std::string_view scenario, std::vector<Argument> more) {
  std::vector<Argument> all(steps.begin(), steps.end());
  all.emplace_back("--");
  all.emplace_back(scenario);
  all.insert(all.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  return all;
}

/// Why this machine does not let a worker go there; empty if it does.
inline std::string why_not(const Steps& steps) {
  auto worker = SpawnWorker(OS_FAILURE_WORKER, "under", arguments_for(steps, "nothing", {}));
  constexpr int not_permitted_here = 77;
  if (const auto exit = worker.wait_for_exit(); exit.by == Exit::By::code && exit.value == not_permitted_here)
    return worker.errors();
  ExpectWorkerOk(worker);
  return {};
}
#define SKIP_WHERE_FORBIDDEN(...) \
  if (const auto why = hostile::why_not(hostile::Steps __VA_ARGS__); !why.empty()) GTEST_SKIP() << "NOT TESTED: " << why

/// What a scenario writes, without the last newline. It has to succeed.
inline std::string output_of(const Steps& steps, std::string_view scenario, std::vector<Argument> more = {}) {
  auto worker = SpawnWorker(OS_FAILURE_WORKER, "under", arguments_for(steps, scenario, std::move(more)));
  ExpectWorkerOk(worker);
  auto output = worker.output();
  if (output.ends_with('\n')) output.pop_back();
  return output;
}

/// A worker that has given its ready signal.
inline WorkerProcess start(const Steps& steps, std::string_view scenario, std::vector<Argument> more = {}) {
  auto worker = SpawnWorkerWithReadySignal(OS_FAILURE_WORKER, "under", arguments_for(steps, scenario, std::move(more)));
  EXPECT_EQ(worker.wait_for_ready(), Ready::yes) << worker.report();
  return worker;
}

inline void finish(WorkerProcess& worker) {
  worker.release();
  ExpectWorkerOk(worker);
}

/// What the scenario "wait_for_a_second" took: it is released, and has to succeed.
struct Cost {
  long long sleeps = -1, microseconds = -1;  ///< of the processor
};
inline Cost cost_of(WorkerProcess& worker) {
  finish(worker);
  Cost cost;
  std::istringstream{worker.output()} >> cost.sleeps >> cost.microseconds;
  EXPECT_GE(cost.microseconds, 0) << worker.report();
  return cost;
}
/// Of a second: an endless loop takes all of it, even if it has to share the processor with nine others.
constexpr long long spinning = 50'000;

/// The identity that a worker printed as its first line.
inline ProcessIdentity identity_of(const WorkerProcess& worker) {
  const auto output = worker.output();
  const auto identity = ProcessIdentity::try_decode(output.substr(0, output.find('\n')));
  EXPECT_TRUE(identity) << worker.report();
  return identity ? *identity : ProcessIdentity::self();
}

/// Processes that a worker forked to go on in a namespace, and their descendants: the last one runs the scenario.
inline std::int64_t innermost(std::int64_t pid) {
  for (;;) {
    std::ifstream file{"/proc/" + std::to_string(pid) + "/task/" + std::to_string(pid) + "/children"};
    std::int64_t child = 0;
    if (!(file >> child)) return pid;
    pid = child;
  }
}

/// The letter in /proc/<pid>/stat: 'S' sleeps, 'T' is stopped, 'Z' is a zombie, '-' there is none.
inline char state_of(std::int64_t pid) {
  std::ifstream file{"/proc/" + std::to_string(pid) + "/stat"};
  std::string text;
  std::getline(file, text);
  const auto name_end = text.rfind(')');
  return name_end == std::string::npos ? '-' : text.at(name_end + 2);
}

/// True if that process, having one thread, sleeps in FileLock until something happens: in ppoll(2), in which nothing else
/// of a worker sleeps.
inline bool waits_for_lock(std::int64_t pid) {
  std::ifstream file{"/proc/" + std::to_string(pid) + "/syscall"};
  long call = -1;
  return file >> call && call == SYS_ppoll;
}
inline bool waits_for_lock(const WorkerProcess& worker) { return waits_for_lock(innermost(worker.pid())); }

/// Stops a worker with all that it forked. In a PID namespace the worker is not the one that runs the scenario.
inline void stop_all(const WorkerProcess& worker) {
  const auto inner = innermost(worker.pid());
  ::kill(-static_cast<pid_t>(worker.pid()), SIGSTOP);
  EXPECT_TRUE(wait_until([&] { return state_of(inner) == 'T'; }));
}
inline void resume_all(const WorkerProcess& worker) { ::kill(-static_cast<pid_t>(worker.pid()), SIGCONT); }

/// Kills the process that runs the scenario. Its parent, if it was forked for a namespace, tells of it by its exit code.
/// Comes back when it is dead: dying takes its time, and until then it is rightly taken for alive.
inline void kill_innermost(const WorkerProcess& worker) {
  const auto inner = innermost(worker.pid());
  ::kill(static_cast<pid_t>(inner), SIGKILL);
  EXPECT_TRUE(wait_until([&] { return state_of(inner) == 'Z' || state_of(inner) == '-'; })) << worker.report();
}

/// A worker that only keeps its mounts, seen from here.
class Mounts {
 public:
  explicit Mounts(const Steps& steps) : keeper_{start(Steps{"mounts"} + steps, "keep")} {}
  [[nodiscard]] Steps steps() const { return {"mounts_of=" + std::to_string(keeper_.pid())}; }
  [[nodiscard]] fs::path operator[](const fs::path& absolute) const {
    return "/proc/" + std::to_string(keeper_.pid()) + "/root" + absolute.string();
  }
  /// Mounts something again, as "read_only=<directory>" or "writable=<directory>".
  void change(const std::string& step) const { output_of(steps() + Steps{step}, "nothing"); }

 private:
  WorkerProcess keeper_;
};

/// All names below a directory, with a letter for the kind, and for files and links what is in them; sorted.
inline std::vector<std::string> contents_of(const fs::path& directory) {
  std::vector<std::string> result;
  std::error_code gone;  // others may be at work in it
  for (fs::recursive_directory_iterator position{directory, gone}, end; position != end; position.increment(gone)) {
    const fs::directory_entry& entry = *position;
    const auto status = entry.symlink_status(gone);
    std::string line = entry.path().lexically_relative(directory).string();
    if (status.type() == fs::file_type::directory) line += " directory";
    if (status.type() == fs::file_type::fifo) line += " fifo";
    if (status.type() == fs::file_type::socket) line += " socket";
    if (status.type() == fs::file_type::symlink) line += " -> " + fs::read_symlink(entry.path(), gone).string();
    if (status.type() == fs::file_type::regular) {
      std::ifstream file{entry.path()};
      line += " file: " + std::string{std::istreambuf_iterator<char>{file}, {}};
    }
    result.push_back(line);
  }
  std::sort(result.begin(), result.end());
  return result;
}

/// The call throws an Error with this code; its text names the path, the reason and the remedy.
inline void expect_refused(const std::function<void()>& call, std::error_code code,
                           const std::vector<std::string>& words, int line = __builtin_LINE()) {
  const testing::ScopedTrace trace{__FILE__, line, "called from here"};
  try {
    call();
    ADD_FAILURE() << "it was not refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    for (const auto& word : words)
      EXPECT_NE(std::string_view{error.what()}.find(word), std::string_view::npos)
          << "'" << word << "' is missing in: " << error.what();
  }
}
inline void expect_refused(const std::function<void()>& call, std::errc code, const std::vector<std::string>& words,
                           int line = __builtin_LINE()) {
  expect_refused(call, std::make_error_code(code), words, line);
}
inline void expect_refused(const std::function<void()>& call, errc code, const std::vector<std::string>& words,
                           int line = __builtin_LINE()) {
  expect_refused(call, make_error_code(code), words, line);
}

/// As a worker prints it.
inline std::string error_line(std::error_code code) {
  return "error " + std::string{code.category().name()} + ":" + std::to_string(code.value()) + ": ";
}
inline std::string error_line(errc code) { return error_line(make_error_code(code)); }
inline std::string error_line(std::errc code) { return error_line(std::make_error_code(code)); }

/// Every way to ask for a lock.
inline const std::vector<std::pair<std::string, std::function<void(FileLock&)>>>& ways_to_lock() {
  static const std::vector<std::pair<std::string, std::function<void(FileLock&)>>> ways{
      {"lock", [](FileLock& lock) { lock.lock(); }},
      {"try_lock", [](FileLock& lock) { static_cast<void>(lock.try_lock()); }},
      {"try_lock_for", [](FileLock& lock) { static_cast<void>(lock.try_lock_for(10s)); }},
  };
  return ways;
}
}  // namespace hostile
