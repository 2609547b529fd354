// Workers that behave, and workers that do everything that a worker should not: scenarios for tests/harness.
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <holdfast/error.hpp>
#include <holdfast/testing/temp_dir.hpp>
#include <holdfast/testing/worker.hpp>
#include <holdfast/testing/worker_process.hpp>

namespace {
namespace fs = std::filesystem;
using namespace holdfast::harness;
using namespace std::chrono_literals;

constexpr int cannot_try = 77;  // this machine does not permit what the scenario is about

[[noreturn]] void wait_for_a_signal() {
  for (;;) ::pause();
}

void no_core() {
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
}

std::string this_program() { return fs::read_symlink("/proc/self/exe").string(); }

// --- ends ------------------------------------------------------------------------------------------------------------

int end_with_code(WorkerContext& context) { return static_cast<int>(context.number(0)); }

int end_by_signal(WorkerContext& context) {
  no_core();
  const int signal = static_cast<int>(context.number(0));
  std::signal(signal, SIG_DFL);  // a sanitizer may have put its own handler there
  std::raise(signal);
  return 0;
}

int leave_early(WorkerContext& context) {
  if (context.argument(0) == "exit") std::exit(0);
  if (context.argument(0) == "_exit") ::_exit(0);
  if (context.argument(0) == "exec") ::execl("/bin/true", "true", nullptr);
  return 1;
}

/// Its forked child returns from the scenario in its place.
int let_a_child_return(WorkerContext&) {
  const auto child = ::fork();
  if (child == 0) return 0;
  ::waitpid(child, nullptr, 0);
  std::fputs("the child has returned\n", stderr);
  ::_exit(0);
}

int throw_exception(WorkerContext&) { throw std::runtime_error{"the detector is on fire"}; }

int throw_number(WorkerContext&) {
  no_core();
  std::signal(SIGABRT, SIG_DFL);
  throw 42;  // NOLINT(hicpp-exception-baseclass)
}

int end_after_end(WorkerContext&) {
  no_core();
  std::atexit([] {
    std::signal(SIGTERM, SIG_DFL);
    std::raise(SIGTERM);
  });
  return 0;
}

int hang(WorkerContext&) {
  signal_test_ready();
  wait_for_a_signal();
}

int hang_and_ignore_signals(WorkerContext&) {
  sigset_t all;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  for (int signal = 1; signal < NSIG; ++signal) std::signal(signal, SIG_IGN);
  std::puts("nothing stops me");
  signal_test_ready();
  wait_for_a_signal();
}

// --- output ----------------------------------------------------------------------------------------------------------

/// Writes so many bytes to both streams, in lines of 64 bytes that are numbered.
int flood(WorkerContext& context) {
  const auto bytes = context.number(0);
  for (std::int64_t line = 0; line < bytes / 64; ++line) {
    std::fprintf(stdout, "%063lld\n", static_cast<long long>(line));
    std::fprintf(stderr, "%063lld\n", static_cast<long long>(-line));
  }
  return 0;
}

int write_until_refused(WorkerContext&) {
  const std::string block(1 << 20, 'x');
  std::int64_t written = 0;
  for (;;) {
    const auto size = ::write(STDOUT_FILENO, block.data(), block.size());
    if (size < 0) break;
    written += size;
  }
  std::fprintf(stderr, "%lld: %d\n", static_cast<long long>(written), errno);
  return 0;
}

int print_and_hang(WorkerContext& context) {
  for (std::size_t i = 0; i < context.argument_count(); ++i) std::printf("%s\n", context.argument(i).c_str());
  signal_test_ready();
  wait_for_a_signal();
}

// --- what was inherited ----------------------------------------------------------------------------------------------

int print_arguments(WorkerContext& context) {
  for (std::size_t i = 0; i < context.argument_count(); ++i) std::cout << context.argument(i) << '\0';
  return 0;
}

int print_variables(WorkerContext& context) {
  for (std::size_t i = 0; i < context.argument_count(); ++i) {
    const char* value = std::getenv(context.argument(i).c_str());
    std::cout << (value != nullptr ? std::string{"="} + value : "unset") << '\n';
  }
  return 0;
}

/// One line for each descriptor: number, and what it is.
int print_descriptors(WorkerContext&) {
  std::map<int, std::string> found;
  {
    const int directory = ::open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (const auto& entry : fs::directory_iterator{"/proc/self/fd"}) {
      std::error_code gone;
      const int number = std::stoi(entry.path().filename().string());
      const auto target = fs::read_symlink(entry.path(), gone);
      if (number != directory && !gone && target != fs::path{"/proc"} / std::to_string(::getpid()) / "fd")
        found[number] = target.string();
    }
    ::close(directory);
  }
  for (const auto& [number, target] : found) std::cout << number << ' ' << target << '\n';
  signal_test_ready();
  return 0;
}

int print_standard_input(WorkerContext&) {
  std::cout << std::string{std::istreambuf_iterator<char>{std::cin}, {}}.size() << " bytes\n";
  return 0;
}

int print_signals(WorkerContext&) {
  std::ifstream status{"/proc/self/status"};
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("SigBlk") || line.starts_with("SigIgn")) std::cout << line << '\n';
  return 0;
}

int print_descriptor_limit(WorkerContext& context) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  std::cout << limit.rlim_cur << '\n';
  signal_test_ready();
  return context.wait_for_release();
}

int read_missing_argument(WorkerContext& context) {
  std::cout << context.argument(1) << '\n';
  return 0;
}

int read_number(WorkerContext& context) {
  std::cout << context.number(0) << '\n';
  return 0;
}

// --- readiness -------------------------------------------------------------------------------------------------------

int ready_and_released(WorkerContext& context) {
  signal_test_ready();
  return context.wait_for_release();
}

int never_ready(WorkerContext& context) { return context.wait_for_release(); }

int ready_and_dead(WorkerContext&) {
  signal_test_ready();
  ::kill(::getpid(), SIGKILL);
  return 0;
}

int close_ready_channel(WorkerContext& context) {
  ::close(std::atoi(std::getenv("PLH_TEST_READY_FD")));
  std::puts("closed");
  return context.wait_for_release();
}

/// Dies and leaves behind a process that holds all of its descriptors.
int die_leaving_a_child(WorkerContext&) {
  const auto child = ::fork();
  if (child == 0) wait_for_a_signal();
  std::printf("%d\n", static_cast<int>(child));
  ::kill(::getpid(), SIGKILL);
  return 0;
}

int hang_with_a_child(WorkerContext&) {
  const auto child = ::fork();
  if (child == 0) wait_for_a_signal();
  std::printf("%d\n", static_cast<int>(child));
  signal_test_ready();
  wait_for_a_signal();
}

int leave_a_child(WorkerContext&) {
  const auto child = ::fork();
  if (child == 0) wait_for_a_signal();
  std::printf("%d\n", static_cast<int>(child));
  return 0;
}

int signal_twice(WorkerContext&) {
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0) return 1;
  ::setenv("PLH_TEST_READY_FD", std::to_string(ends[1]).c_str(), 1);
  signal_test_ready();
  signal_test_ready();
  std::array<char, 8> bytes{};
  const auto size = ::read(ends[0], bytes.data(), bytes.size());
  std::cout << size << '\n';
  return 0;
}

int signal_to_nobody(WorkerContext&) {
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0) return 1;
  ::close(ends[0]);
  ::setenv("PLH_TEST_READY_FD", std::to_string(ends[1]).c_str(), 1);
  signal_test_ready();  // SIGPIPE would end this process
  sigset_t pending;
  ::sigpending(&pending);
  return ::sigismember(&pending, SIGPIPE) == 0 ? 0 : 1;
}

/// The number in the variable belongs to a file of the worker: it must not be written to.
int signal_to_a_file(WorkerContext& context) {
  const int file = ::open(context.argument(0).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  ::setenv("PLH_TEST_READY_FD", std::to_string(file).c_str(), 1);
  signal_test_ready();
  return ::lseek(file, 0, SEEK_END) == 0 ? 0 : 1;
}

// --- held by the parent ----------------------------------------------------------------------------------------------

int wait_twice(WorkerContext& context) {
  std::puts("waiting for the first");
  signal_test_ready();
  if (context.wait_for_release() != 0) return 1;
  std::puts("waiting for the second");
  if (context.wait_for_release() != 0) return 1;
  std::puts("released");
  return 0;
}

int work_until_released(WorkerContext& context) {
  if (context.released()) return 1;
  signal_test_ready();
  while (!context.released()) ::sched_yield();
  if (!context.released()) return 2;  // looking does not take it
  return context.wait_for_release();
}

int print_time_of_release(WorkerContext& context) {
  signal_test_ready();
  if (context.wait_for_release() != 0) return 1;
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  std::cout << std::chrono::nanoseconds{now}.count() << '\n';
  return 0;
}

int spin_on_threads(WorkerContext& context) {
  std::atomic<bool> end{false};
  std::vector<std::jthread> threads;
  for (int i = 0; i < 3; ++i)
    threads.emplace_back([&] {
      while (!end) {
      }
    });
  signal_test_ready();
  const int result = context.wait_for_release();
  end = true;
  return result;
}

// --- workers that are parents -----------------------------------------------------------------------------------------

/// Starts another worker and tells its pid; what becomes of it when this one ends is the test's question.
///   how   plain, stopped, other_user, program, child, own_namespace
///   end   hang, exit, return
int be_a_parent(WorkerContext& context) {
  const auto how = context.argument(0), end = context.argument(1);
  const auto scenario = how == "waiting" ? "ready_and_released" : how == "child" ? "hang_with_a_child" : "hang";
  static std::optional<WorkerProcess> worker;  // no destructor before exit()
  if (how == "own_namespace" && ::unshare(CLONE_NEWPID) != 0) return cannot_try;
  if (how == "program") {
    worker = SpawnWorker("/bin/sleep", "1000");
  } else {
    worker = SpawnWorkerWithReadySignal(this_program(), how == "other_user" ? "hang_as_another_user" : scenario);
    if (const auto ready = worker->wait_for_ready(30s); ready != Ready::yes) {
      std::cerr << worker->report();
      return worker->wait_for_exit(0s) == Exit{Exit::By::code, cannot_try, true} ? cannot_try : 1;
    }
  }
  if (how == "stopped") worker->stop();
  std::cout << (how == "child" ? worker->output() : std::to_string(worker->pid()) + "\n");
  signal_test_ready();
  if (end == "hang") wait_for_a_signal();
  if (context.wait_for_release() != 0) return 1;
  if (end == "exit") ::_exit(0);
  return 0;
}

int hang_as_another_user(WorkerContext&) {
  constexpr uid_t nobody = 65534;
  if (::setresuid(nobody, nobody, nobody) != 0) return cannot_try;
  signal_test_ready();
  wait_for_a_signal();
}

int start_with_children_ignored(WorkerContext&) {
  std::signal(SIGCHLD, SIG_IGN);
  try {
    (void)SpawnWorker(this_program(), "end_with_code", {0});
  } catch (const holdfast::Error& error) {
    std::cout << error.what() << '\n';
    return 0;
  }
  return 1;
}

/// As on a kernel that has no close_range: what the next worker inherits must be the same.
int start_without_close_range(WorkerContext&) {
  std::array<sock_filter, 4> rules{{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offsetof(seccomp_data, nr))),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog program{static_cast<unsigned short>(rules.size()), rules.data()};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
    return cannot_try;
  if (::syscall(SYS_close_range, 1000U, 1000U, 0U) == 0 || errno != ENOSYS) return cannot_try;
  for (const int number : {6, 7, 50, 400}) ::dup2(STDERR_FILENO, number);  // inheritable
  auto worker = SpawnWorkerWithReadySignal(this_program(), "print_descriptors");
  const bool ok = worker.wait_for_exit(30s).ok();
  std::cout << worker.output();
  std::cerr << worker.errors();
  return ok ? 0 : 1;
}

int leave_a_lock(WorkerContext&) {
  const TempDir dir;
  fs::create_directory(dir / "left.lock");
  return 0;
}

/// As somebody to whom permissions apply.
int leave_unreadable_directories(WorkerContext&) {
  constexpr uid_t nobody = 65534;
  if (::getuid() == 0 && ::setresuid(nobody, nobody, nobody) != 0) return 1;
  if (::access(fs::temp_directory_path().c_str(), W_OK | X_OK) != 0) return cannot_try;
  const TempDir dir;
  fs::create_directories(dir / "a" / "b" / "c");
  fs::permissions(dir / "a" / "b", fs::perms::none);
  fs::permissions(dir / "a", fs::perms::owner_read);
  fs::permissions(dir.path(), fs::perms::owner_read | fs::perms::owner_exec);
  std::cout << dir.path().string();
  return 0;
}

int need_a_directory(WorkerContext&) {
  const TempDir dir;
  return 0;
}

constexpr Scenario scenarios[] = {
    {"be_a_parent", be_a_parent},
    {"close_ready_channel", close_ready_channel},
    {"die_leaving_a_child", die_leaving_a_child},
    {"end_after_end", end_after_end},
    {"end_by_signal", end_by_signal},
    {"end_with_code", end_with_code},
    {"flood", flood},
    {"hang", hang},
    {"hang_and_ignore_signals", hang_and_ignore_signals},
    {"hang_as_another_user", hang_as_another_user},
    {"hang_with_a_child", hang_with_a_child},
    {"leave_a_child", leave_a_child},
    {"leave_a_lock", leave_a_lock},
    {"leave_early", leave_early},
    {"leave_unreadable_directories", leave_unreadable_directories},
    {"let_a_child_return", let_a_child_return},
    {"need_a_directory", need_a_directory},
    {"never_ready", never_ready},
    {"print_and_hang", print_and_hang},
    {"print_arguments", print_arguments},
    {"print_descriptor_limit", print_descriptor_limit},
    {"print_descriptors", print_descriptors},
    {"print_signals", print_signals},
    {"print_standard_input", print_standard_input},
    {"print_time_of_release", print_time_of_release},
    {"print_variables", print_variables},
    {"read_missing_argument", read_missing_argument},
    {"read_number", read_number},
    {"ready_and_dead", ready_and_dead},
    {"ready_and_released", ready_and_released},
    {"signal_to_a_file", signal_to_a_file},
    {"signal_to_nobody", signal_to_nobody},
    {"signal_twice", signal_twice},
    {"spin_on_threads", spin_on_threads},
    {"start_with_children_ignored", start_with_children_ignored},
    {"start_without_close_range", start_without_close_range},
    {"throw_exception", throw_exception},
    {"throw_number", throw_number},
    {"wait_twice", wait_twice},
    {"work_until_released", work_until_released},
    {"write_until_refused", write_until_refused},
};
}  // namespace

int main(int argc, char** argv) { return run_worker(scenarios, argc, argv); }
