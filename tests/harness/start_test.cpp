// Proves H3: a worker inherits its standard streams and its own channels, nothing else; and what cannot be started is said.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <holdfast/error.hpp>
#include <holdfast/testing/gtest.hpp>
#include <holdfast/testing/temp_dir.hpp>
#include <holdfast/testing/worker_process.hpp>

#include "watched.hpp"

namespace {
namespace fs = std::filesystem;
using namespace holdfast::harness;
using namespace std::chrono_literals;
using testing::IsSubstring;

struct Open {
  int number;
  std::string target;
};
std::vector<Open> parse_descriptors(const std::string& output) {
  std::vector<Open> result;
  std::istringstream lines{output};
  for (std::string line; std::getline(lines, line);)
    result.push_back({std::stoi(line), line.substr(line.find(' ') + 1)});
  return result;
}

/// What a worker has from the harness, and no more. Sanitizers and the C library open nothing that stays open.
void expect_exactly_its_own(const std::vector<Open>& open, bool with_ready_signal, std::string_view where) {
  ASSERT_EQ(open.size(), with_ready_signal ? 6u : 5u) << where;
  for (std::size_t i = 0; i < open.size(); ++i) EXPECT_EQ(open[i].number, static_cast<int>(i)) << where;
  EXPECT_EQ(open[0].target, "/dev/null");
  EXPECT_PRED_FORMAT2(IsSubstring, "memfd:worker's standard output", open[1].target);
  EXPECT_PRED_FORMAT2(IsSubstring, "memfd:worker's standard error", open[2].target);
  EXPECT_PRED_FORMAT2(IsSubstring, "socket:", open[3].target);
  EXPECT_PRED_FORMAT2(IsSubstring, "pipe:", open[4].target);
  if (with_ready_signal) {
    EXPECT_PRED_FORMAT2(IsSubstring, "pipe:", open[5].target);
    EXPECT_NE(open[5].target, open[4].target);
  }
}

std::set<int> own_descriptor_numbers() {
  constexpr int beyond_all = 4096;
  std::set<int> numbers;
  for (int number = 0; number < beyond_all; ++number)
    if (::fcntl(number, F_GETFD) >= 0) numbers.insert(number);
  return numbers;
}

bool has_children() { return ::waitpid(-1, nullptr, WNOHANG) != -1 || errno != ECHILD; }

TEST(HarnessStart, PassesOnItsOwnChannelsAndNothingElse) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);  // inheritable
  ASSERT_EQ(::dup2(ends[0], 300), 300);
  auto plain = SpawnWorker(HARNESS_WORKER, "print_descriptors");
  auto ready = SpawnWorkerWithReadySignal(HARNESS_WORKER, "print_descriptors");
  for (const int number : {ends[0], ends[1], 300}) ::close(number);
  ExpectWorkerOk(plain);
  ExpectWorkerOk(ready);
  expect_exactly_its_own(parse_descriptors(plain.output()), false, plain.output());
  expect_exactly_its_own(parse_descriptors(ready.output()), true, ready.output());
}

TEST(HarnessStart, PassesOnNothingElseWithoutCloseRange) {
  auto parent = SpawnWorker(HARNESS_WORKER, "start_without_close_range");
  if (parent.wait_for_exit(60s).value == 77) GTEST_SKIP() << "NOT TESTED: system calls cannot be filtered here";
  ASSERT_TRUE(parent.wait_for_exit(0s).ok()) << parent.report();
  expect_exactly_its_own(parse_descriptors(parent.output()), true, parent.output());
}

TEST(HarnessStart, PassesOnNothingOfSiblingsThatManyThreadsStartAtOnce) {
  constexpr int threads = 8, each = 12;
  std::vector<std::vector<WorkerProcess>> workers(threads);
  {
    std::vector<std::jthread> running;
    for (auto& mine : workers)
      running.emplace_back([&mine] {
        for (int i = 0; i < each; ++i) mine.push_back(SpawnWorkerWithReadySignal(HARNESS_WORKER, "print_descriptors"));
      });
  }
  std::set<std::string> channels;
  for (auto& mine : workers)
    for (auto& worker : mine) {
      ExpectWorkerOk(worker);
      EXPECT_EQ(worker.wait_for_ready(0s), Ready::yes);
      const auto open = parse_descriptors(worker.output());
      expect_exactly_its_own(open, true, worker.output());
      for (std::size_t i = 3; i < open.size(); ++i) channels.insert(open[i].target);
    }
  EXPECT_EQ(channels.size(), std::size_t{3} * threads * each) << "no two workers share a channel";
}

TEST(HarnessStart, PassesOnNothingToProgramsThatOthersStart) {
  std::vector<holdfast::platform::Descriptor> low_numbers;  // which the harness would replace by copies
  for (int i = 0; i < 16; ++i) low_numbers.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const auto before = own_descriptor_numbers();
  auto worker = SpawnWorkerWithReadySignal(HARNESS_WORKER, "hang");
  int checked = 0;
  for (const int number : own_descriptor_numbers()) {
    if (before.contains(number)) continue;
    EXPECT_EQ(::fcntl(number, F_GETFD), FD_CLOEXEC) << number;
    ++checked;
  }
  EXPECT_EQ(checked, 6);
}

TEST(HarnessStart, LeavesNoDescriptorsAndNoChildrenBehind) {
  const auto before = own_descriptor_numbers();
  {
    auto ended = SpawnWorkerWithReadySignal(HARNESS_WORKER, "end_with_code", {0});
    (void)ended.wait_for_exit();
    auto killed = SpawnWorker(HARNESS_WORKER, "hang");
    killed.kill();
    auto running = SpawnWorker(HARNESS_WORKER, "hang");
    EXPECT_LE(own_descriptor_numbers().size(), before.size() + 3 * 6) << "six for each, as promised";
    EXPECT_THROW((void)SpawnWorker("/nonexistent/worker", "pass"), holdfast::Error);
  }
  EXPECT_EQ(own_descriptor_numbers(), before);
  EXPECT_FALSE(has_children());
}

TEST(HarnessStart, GivesAnEmptyStandardInput) {
  const TempDir dir;
  std::ofstream{dir / "file"} << "the input of the test itself";
  const int kept = ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
  const int file = ::open((dir / "file").c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_EQ(::dup2(file, STDIN_FILENO), STDIN_FILENO);
  auto worker = SpawnWorker(HARNESS_WORKER, "print_standard_input");
  if (kept >= 0) ::dup2(kept, STDIN_FILENO);
  ::close(kept);
  ::close(file);
  ExpectWorkerOk(worker);
  EXPECT_EQ(worker.output(), "0 bytes\n");
}

TEST(HarnessStart, PassesArgumentsByteForByte) {
  const std::string string = "string";
  auto worker = SpawnWorker(HARNESS_WORKER, "print_arguments",
                            {"two words", "", "line\nbreak", "\xff\xfe", "\"'\\$x*", string, std::string_view{"view"},
                             fs::path{"/a path/x.h5"}, 0, -5, 18446744073709551615ULL, true});
  ExpectWorkerOk(worker);
  const char expected[] =
      "two words\0\0line\nbreak\0\xff\xfe\0\"'\\$x*\0string\0view\0/a path/x.h5\0"
      "0\0-5\0"
      "18446744073709551615\0"
      "1";
  EXPECT_EQ(worker.output(), std::string(expected, sizeof expected));
}

TEST(HarnessStart, RefusesAnArgumentThatCannotBePassed) {
  EXPECT_THROW((void)SpawnWorker(HARNESS_WORKER, "print_arguments", {std::string{"a\0b", 3}}), holdfast::Error);
  EXPECT_THROW((void)SpawnWorker(HARNESS_WORKER, "print_arguments", {}, {.environment = {{"A=B", "C"}}}),
               holdfast::Error);
}

TEST(HarnessStart, PassesTheEnvironmentWithTheChangesAskedFor) {
  ASSERT_EQ(::setenv("HARNESS_TEST_KEPT", "kept", 1), 0);
  ASSERT_EQ(::setenv("HARNESS_TEST_CHANGED", "before", 1), 0);
  ASSERT_EQ(::setenv("HARNESS_TEST_REMOVED", "before", 1), 0);
  auto worker = SpawnWorker(HARNESS_WORKER, "print_variables",
                            {"HARNESS_TEST_KEPT", "HARNESS_TEST_CHANGED", "HARNESS_TEST_REMOVED", "HARNESS_TEST_NEW",
                             "HARNESS_TEST_EMPTY", "PLH_TEST_READY_FD"},
                            {.environment = {{"HARNESS_TEST_CHANGED", "after"},
                                             {"HARNESS_TEST_REMOVED", std::nullopt},
                                             {"HARNESS_TEST_NEW", "a=b c"},
                                             {"HARNESS_TEST_EMPTY", ""}}});
  ExpectWorkerOk(worker);
  EXPECT_EQ(worker.output(), "=kept\n=after\nunset\n=a=b c\n=\nunset\n");
  auto ready = SpawnWorkerWithReadySignal(HARNESS_WORKER, "print_variables", {"PLH_TEST_READY_FD"});
  ExpectWorkerOk(ready);
  EXPECT_EQ(ready.output(), "=5\n");
}

TEST(HarnessStart, ResetsSignals) {
  sigset_t blocked, before;
  ::sigemptyset(&blocked);
  ::sigaddset(&blocked, SIGUSR1);
  ASSERT_EQ(::pthread_sigmask(SIG_BLOCK, &blocked, &before), 0);
  const auto handler = std::signal(SIGPIPE, SIG_IGN);
  auto worker = SpawnWorker(HARNESS_WORKER, "print_signals");
  sigset_t after;
  ::pthread_sigmask(SIG_SETMASK, &before, &after);
  std::signal(SIGPIPE, handler);
  EXPECT_EQ(::sigismember(&after, SIGUSR1), 1) << "the parent's mask is as it was";
  EXPECT_EQ(::sigismember(&after, SIGUSR2), 0);
  ExpectWorkerOk(worker);
  EXPECT_EQ(worker.output(), "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

void expect_not_started(const fs::path& executable, std::errc code, std::string_view words) {
  const auto before = own_descriptor_numbers();
  try {
    (void)SpawnWorkerWithReadySignal(executable, "pass");
    ADD_FAILURE() << executable << " was started";
  } catch (const holdfast::Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_EQ(error.subject(), executable.string());
    EXPECT_PRED_FORMAT2(IsSubstring, executable.string(), error.what());
    EXPECT_PRED_FORMAT2(IsSubstring, std::string{words}, error.what());
  }
  EXPECT_EQ(own_descriptor_numbers(), before);
  EXPECT_FALSE(has_children());
}

TEST(HarnessStart, SaysWhyAProgramCannotBeExecuted) {
  const TempDir dir;
  std::ofstream{dir / "text"} << "no program";
  expect_not_started(dir / "absent", std::errc::no_such_file_or_directory, "was it built?");
  expect_not_started(dir / "text", std::errc::permission_denied, "permission to execute");
  expect_not_started(dir.path(), std::errc::permission_denied, "it must be a program");
  fs::permissions(dir / "text", fs::perms::owner_all);
  expect_not_started(dir / "text", std::errc::executable_format_error, "program for this machine");
  expect_not_started(dir / "text" / "below", std::errc::not_a_directory, "");
}

TEST(HarnessStart, TellsAWorkersMistakesWithItsArguments) {
  auto missing = SpawnWorker(HARNESS_WORKER, "read_missing_argument", {"only one"});
  EXPECT_EQ(missing.wait_for_exit(30s).value, 2);
  EXPECT_PRED_FORMAT2(IsSubstring, "cannot read argument 1 of scenario 'read_missing_argument'", missing.errors());
  for (const auto* text : {"", "12x", " 12", "1.5", "99999999999999999999"}) {
    auto worker = SpawnWorker(HARNESS_WORKER, "read_number", {text});
    EXPECT_EQ(worker.wait_for_exit(30s).value, 2) << text;
    EXPECT_PRED_FORMAT2(IsSubstring, "'" + std::string{text} + "' is not a whole number", worker.errors());
  }
  auto number = SpawnWorker(HARNESS_WORKER, "read_number", {std::int64_t{-9007199254740993}});
  ExpectWorkerOk(number);
  EXPECT_EQ(number.output(), "-9007199254740993\n");
}

/// The soft limit on descriptors, restored at the end.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(rlim_t soft) {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit lower{soft, before_.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &lower);
  }
  DescriptorLimit(const DescriptorLimit&) = delete;
  DescriptorLimit& operator=(const DescriptorLimit&) = delete;
  ~DescriptorLimit() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TEST(HarnessStart, RunsTwoHundredWorkersUnderALowLimitOfDescriptors) {
  constexpr std::size_t count = 200;
  const DescriptorLimit limit{256};
  std::vector<WorkerProcess> workers;
  for (std::size_t i = 0; i < count; ++i)
    workers.push_back(SpawnWorkerWithReadySignal(HARNESS_WORKER, "print_descriptor_limit"));
  std::set<std::int64_t> pids;
  for (auto& worker : workers) {
    ASSERT_EQ(worker.wait_for_ready(60s), Ready::yes) << worker.report();
    pids.insert(worker.pid());
  }
  EXPECT_EQ(pids.size(), count);
  for (const auto& worker : workers) ASSERT_TRUE(worker.is_running()) << "all at the same time";
  ReleaseTogether(workers);
  ExpectWorkersOk(workers);
  for (const auto& worker : workers)
    EXPECT_EQ(worker.output(), "256\n") << "workers have the limit that was set before";
}

TEST(HarnessStart, SaysThatDescriptorsHaveRunOut) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const auto child = ::fork();  // a hard limit cannot be raised again
  if (child == 0) {
    const rlimit lower{20, 20};
    if (::setrlimit(RLIMIT_NOFILE, &lower) != 0) ::_exit(1);
    for (int number = 0; ::open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0 && number < 20; ++number) {
    }
    try {
      (void)SpawnWorker(HARNESS_WORKER, "hang");
      ::_exit(2);
    } catch (const holdfast::Error& error) {
      const bool clear = std::string_view{error.what()}.find("ulimit -n") != std::string_view::npos;
      ::_exit(error.code() == std::errc::too_many_files_open && clear ? 0 : 3);
    }
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

// A process that another thread forks while a worker is being started has copies of its channels: here it is forked in the
// worst moment, by a handler that runs when the harness forks.
std::atomic<pid_t> bystander{0};
std::atomic<bool> fork_a_bystander{false};
void fork_in_between() {
  if (!fork_a_bystander.exchange(false)) return;
  const auto child = static_cast<pid_t>(::syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr));
  if (child == 0)
    for (;;) ::pause();
  bystander = child;
}

TEST(HarnessStart, IsNotHeldUpByAProcessForkedMeanwhile) {
  static const bool installed = ::pthread_atfork(fork_in_between, nullptr, nullptr) == 0;
  ASSERT_TRUE(installed);
  fork_a_bystander = true;
  auto worker = SpawnWorkerWithReadySignal(HARNESS_WORKER, "ready_and_released");
  ASSERT_NE(bystander, 0);
  const Watched process{bystander};
  EXPECT_TRUE(process.lives()) << "it must hold its copies of the channels";
  EXPECT_EQ(worker.wait_for_ready(30s), Ready::yes);
  worker.release();
  ExpectWorkerOk(worker);
  ::kill(bystander, SIGKILL);
  ::waitpid(bystander, nullptr, 0);
}
}  // namespace
