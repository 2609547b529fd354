// segments.hpp - what the tests of SharedMemory share: names of their own, of which nothing may be left, workers in
// surroundings of their own, errors that have to be clear.
#pragma once
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>
#include <holdfast/process_identity.hpp>
#include <holdfast/shared_memory.hpp>
#include <holdfast/testing/gtest.hpp>

#include "../exclusion/wait_until.hpp"

namespace segments {
namespace fs = std::filesystem;
using namespace std::chrono_literals;
using holdfast::Access;
using holdfast::Deadline;
using holdfast::errc;
using holdfast::Error;
using holdfast::Lifetime;
using holdfast::Liveness;
using holdfast::ProcessIdentity;
using holdfast::SegmentInfo;
using holdfast::SegmentOptions;
using holdfast::SegmentState;
using holdfast::SharedMemory;
using holdfast::harness::Argument;
using holdfast::harness::Exit;
using holdfast::harness::ExpectWorkerOk;
using holdfast::harness::ExpectWorkersOk;
using holdfast::harness::Ready;
using holdfast::harness::ReleaseTogether;
using holdfast::harness::SpawnWorker;
using holdfast::harness::SpawnWorkerWithReadySignal;
using holdfast::harness::TempDir;
using holdfast::harness::WorkerProcess;
using holdfast::test::wait_for_output;
using holdfast::test::wait_until;

inline const fs::path folder = "/dev/shm";

/// Names that begin with one that no other test has. Whatever still bears one of them when the test ends is removed, and
/// fails the test.
class Segments : public testing::Test {
 protected:
  Segments()
      : name_{"test_" + std::to_string(::getpid()) + "_" + std::to_string(std::random_device{}())},
        second_{name_ + "_2"} {}
  ~Segments() override {
    for (const auto& left : leftovers()) {
      if (!leftovers_allowed_) ADD_FAILURE() << "left behind: " << left;
      std::error_code ignored;
      fs::remove_all(left, ignored);
    }
  }

  /// All in the folder that has to do with this test.
  [[nodiscard]] std::vector<fs::path> leftovers() const {
    std::vector<fs::path> result;
    std::error_code gone;
    for (fs::directory_iterator entry{folder, gone}, end; entry != end; entry.increment(gone))
      if (entry->path().native().find(name_) != std::string::npos) result.push_back(entry->path());
    return result;
  }
  [[nodiscard]] static fs::path path_of(const std::string& name) { return folder / ("holdfast." + name); }
  [[nodiscard]] fs::path path() const { return path_of(name_); }
  [[nodiscard]] bool exists() const { return fs::exists(fs::symlink_status(path())); }

  /// As list() has it.
  [[nodiscard]] static std::optional<SegmentInfo> listed(const std::string& name) {
    for (auto& info : SharedMemory::list())
      if (info.name == name) return std::move(info);
    return std::nullopt;
  }
  [[nodiscard]] std::optional<SegmentInfo> listed() const { return listed(name_); }
  [[nodiscard]] std::optional<SegmentState> state() const {
    const auto info = listed();
    return info ? std::optional{info->state} : std::nullopt;
  }

  const std::string name_, second_;
  bool leftovers_allowed_ = false;
};

// ---- workers -----------------------------------------------------------------------------------------------------------

/// Steps into a worker's surroundings, as tests/workers/surroundings.hpp knows them. Empty: those of this process.
using Steps = std::vector<std::string>;

inline std::vector<Argument> arguments_for(const Steps& steps, std::string_view scenario, std::vector<Argument> more) {
  std::vector<Argument> all(steps.begin(), steps.end());
  all.emplace_back("--");
  all.emplace_back(scenario);
  all.insert(all.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  return all;
}

/// A worker that has given its ready signal.
inline WorkerProcess start(const Steps& steps, std::string_view scenario, std::vector<Argument> more = {}) {
  auto worker =
      SpawnWorkerWithReadySignal(SHARED_MEMORY_WORKER, "under", arguments_for(steps, scenario, std::move(more)));
  EXPECT_EQ(worker.wait_for_ready(), Ready::yes) << worker.report();
  return worker;
}
inline WorkerProcess start(std::string_view scenario, std::vector<Argument> more = {}) {
  return start({}, scenario, std::move(more));
}

/// What a scenario writes, without the last newline. It has to succeed.
inline std::string output_of(const Steps& steps, std::string_view scenario, std::vector<Argument> more = {}) {
  auto worker = SpawnWorker(SHARED_MEMORY_WORKER, "under", arguments_for(steps, scenario, std::move(more)));
  ExpectWorkerOk(worker);
  auto output = worker.output();
  if (output.ends_with('\n')) output.pop_back();
  return output;
}
/// What comes of a call in a process of its own.
inline std::string attempt(const Steps& steps, std::vector<Argument> call) {
  return output_of(steps, "attempt", std::move(call));
}
inline void run(std::string_view scenario, std::vector<Argument> more = {}) {
  static_cast<void>(output_of({}, scenario, std::move(more)));
}
inline void finish(WorkerProcess& worker) {
  worker.release();
  ExpectWorkerOk(worker);
}

/// Why this machine does not let a worker go there; empty if it does.
inline std::string why_not(const Steps& steps) {
  auto worker = SpawnWorker(SHARED_MEMORY_WORKER, "under", arguments_for(steps, "nothing", {}));
  constexpr int not_permitted_here = 77;
  if (const auto exit = worker.wait_for_exit(); exit.by == Exit::By::code && exit.value == not_permitted_here)
    return worker.errors();
  ExpectWorkerOk(worker);
  return {};
}
#define SKIP_WHERE_FORBIDDEN(...)                                                    \
  if (const auto why = segments::why_not(segments::Steps __VA_ARGS__); !why.empty()) \
  GTEST_SKIP() << "NOT TESTED: " << why

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

/// Comes back when it is dead: dying takes its time, and until then it is rightly taken for alive.
inline void kill_and_wait(std::int64_t pid) {
  ::kill(static_cast<pid_t>(pid), SIGKILL);
  EXPECT_TRUE(wait_until([&] { return state_of(pid) == 'Z' || state_of(pid) == '-'; }));
}

/// A worker that only keeps its mounts, for others to come to.
class Mounts {
 public:
  explicit Mounts(Steps steps) {
    steps.insert(steps.begin(), "mounts");
    keeper_.emplace(start(steps, "wait"));
  }
  [[nodiscard]] Steps steps(const Steps& more = {}) const {
    Steps result{"mounts_of=" + std::to_string(keeper_->pid())};
    result.insert(result.end(), more.begin(), more.end());
    return result;
  }
  /// Where something is that stands in these mounts.
  [[nodiscard]] fs::path operator[](const fs::path& absolute) const {
    return "/proc/" + std::to_string(keeper_->pid()) + "/root" + absolute.string();
  }

 private:
  std::optional<WorkerProcess> keeper_;
};

// ---- errors ------------------------------------------------------------------------------------------------------------

/// The call throws an Error with this code, about this subject; its text has these words.
inline void expect_error(const std::function<void()>& call, std::error_code code, std::string_view subject,
                         const std::vector<std::string>& words = {}, int line = __builtin_LINE()) {
  const testing::ScopedTrace trace{__FILE__, line, "called from here"};
  try {
    call();
    ADD_FAILURE() << "it was not refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_EQ(error.subject(), subject) << error.what();
    for (const auto& word : words)
      EXPECT_NE(std::string_view{error.what()}.find(word), std::string_view::npos)
          << "'" << word << "' is missing in: " << error.what();
  }
}
inline void expect_error(const std::function<void()>& call, std::errc code, std::string_view subject,
                         const std::vector<std::string>& words = {}, int line = __builtin_LINE()) {
  expect_error(call, std::make_error_code(code), subject, words, line);
}
inline void expect_error(const std::function<void()>& call, errc code, std::string_view subject,
                         const std::vector<std::string>& words = {}, int line = __builtin_LINE()) {
  expect_error(call, make_error_code(code), subject, words, line);
}

/// The pid of the holder that comes with the error of this call; 0 if there is none.
inline std::int64_t holder_told_by(const std::function<void()>& call) {
  try {
    call();
    ADD_FAILURE() << "it was not refused";
  } catch (const Error& error) {
    if (error.holder() != nullptr) return error.holder()->pid();
  }
  return 0;
}

/// As a worker prints it.
inline std::string error_line(std::error_code code) {
  return "error " + std::string{code.category().name()} + ":" + std::to_string(code.value()) + ": ";
}
inline std::string error_line(errc code) { return error_line(make_error_code(code)); }
inline std::string error_line(std::errc code) { return error_line(std::make_error_code(code)); }

/// What a worker printed is this error, and its text has these words.
inline void expect_error_line(const std::string& output, std::error_code code,
                              const std::vector<std::string>& words = {}, int line = __builtin_LINE()) {
  const testing::ScopedTrace trace{__FILE__, line, "called from here"};
  EXPECT_TRUE(output.starts_with(error_line(code))) << output;
  for (const auto& word : words)
    EXPECT_NE(output.find(word), std::string::npos) << "'" << word << "' is missing in: " << output;
}
inline void expect_error_line(const std::string& output, errc code, const std::vector<std::string>& words = {},
                              int line = __builtin_LINE()) {
  expect_error_line(output, make_error_code(code), words, line);
}
inline void expect_error_line(const std::string& output, std::errc code, const std::vector<std::string>& words = {},
                              int line = __builtin_LINE()) {
  expect_error_line(output, std::make_error_code(code), words, line);
}

// ---- files -------------------------------------------------------------------------------------------------------------

inline std::string content_of(const fs::path& file) {
  std::ifstream stream{file, std::ios::binary};
  return {std::istreambuf_iterator<char>{stream}, {}};
}
inline void write_file(const fs::path& file, std::string_view content) {
  std::ofstream{file, std::ios::binary}.write(content.data(), static_cast<std::streamsize>(content.size()));
}

/// What has to be the same afterwards if nothing was changed: which file, of what kind, whose, how large, changed when.
inline std::string description_of(const fs::path& file) {
  struct stat found {};
  if (::lstat(file.c_str(), &found) != 0) return "nothing";
  std::string result;
  for (const auto number :
       {static_cast<std::uint64_t>(found.st_ino), static_cast<std::uint64_t>(found.st_mode),
        static_cast<std::uint64_t>(found.st_uid), static_cast<std::uint64_t>(found.st_gid),
        static_cast<std::uint64_t>(found.st_size), static_cast<std::uint64_t>(found.st_nlink),
        static_cast<std::uint64_t>(found.st_ctim.tv_sec), static_cast<std::uint64_t>(found.st_ctim.tv_nsec)})
    result += std::to_string(number) + " ";
  return result;
}

inline unsigned mode_of(const fs::path& file) { return static_cast<unsigned>(fs::status(file).permissions()); }
}  // namespace segments

namespace holdfast {
inline void PrintTo(SegmentState state, std::ostream* out) { *out << to_string(state); }
inline void PrintTo(const ProcessIdentity& identity, std::ostream* out) { *out << identity.encode(); }
}  // namespace holdfast
