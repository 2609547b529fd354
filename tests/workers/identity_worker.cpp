// Processes to be identified and judged, in surroundings where that is hard.
//
//   identity_worker [without_main_thread] under STEP... -- SCENARIO ARGUMENT...
//
// goes through the steps in order and runs the scenario there. Where the machine forbids a step, the exit code is 77 and
// standard error says why.
#include <holdfast/deadline.hpp>
#include <holdfast/process_identity.hpp>
#include <holdfast/testing/worker.hpp>

#include <array>
#include <atomic>
#include <barrier>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <optional>
#include <set>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

using holdfast::Error;
using holdfast::Liveness;
using holdfast::ProcessIdentity;
using holdfast::harness::Scenario;
using holdfast::harness::signal_test_ready;
using holdfast::harness::WorkerContext;
using namespace std::chrono_literals;
using namespace std::string_literals;
using namespace std::string_view_literals;

namespace {
constexpr int not_permitted = 77;
const char* program = nullptr;

[[noreturn]] void fail(const std::string& what) { throw std::system_error{errno, std::generic_category(), what}; }

void require(bool condition, const std::string& what) {
  if (!condition) throw std::runtime_error{what};
}

/// For what a container or a missing privilege may forbid.
void or_skip(bool done, const std::string& what) {
  if (done) return;
  std::fprintf(stderr, "this machine does not permit to %s: %s\n", what.c_str(), std::strerror(errno));
  std::fflush(nullptr);
  ::_exit(not_permitted);
}

bool write_file(const std::string& path, std::string_view text) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (file < 0) return false;
  const bool written = ::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int error = errno;
  ::close(file);
  errno = error;
  return written;
}

std::string read_file(const std::string& path) {
  std::ifstream file{path};
  return {std::istreambuf_iterator<char>{file}, {}};
}

/// State, number of threads and start time, as /proc/<name>/stat has them.
struct Stat {
  char state = 0;
  long threads = 0;
  std::uint64_t start = 0;
};
Stat stat_of(const std::string& name) {
  const auto text = read_file("/proc/" + name + "/stat");
  require(!text.empty(), "no /proc/" + name + "/stat");
  std::istringstream rest{text.substr(text.rfind(')') + 1)};
  const std::vector<std::string> fields{std::istream_iterator<std::string>{rest}, {}};
  return {fields.at(0).front(), std::stol(fields.at(17)), std::stoull(fields.at(19))};
}

/// Field of an encoded identity, from 0.
enum { start_field = 4, nonce_field = 5 };
std::string field(const ProcessIdentity& identity, int index) {
  std::istringstream text{identity.encode()};
  std::string result;
  for (int i = 0; i <= index; ++i) std::getline(text, result, '.');
  return result;
}

// ---- children ------------------------------------------------------------------------------------------------------

/// Ends with its parent. Copies of the library's state come along, as in every fork.
pid_t fork_child() {
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) fail("fork");
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent && ::getppid() != 0) ::_exit(99);  // it was too late; 0: the parent is out of sight
  }
  return child;
}

int exit_code_of(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0)
    if (errno != EINTR) fail("waitpid");
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

struct Child {
  pid_t pid = 0;
  ProcessIdentity identity;

  void kill_to_zombie() const {
    ::kill(pid, SIGKILL);
    siginfo_t info{};
    if (::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT) != 0) fail("waitid");
  }
  void stop() const {
    ::kill(pid, SIGSTOP);
    siginfo_t info{};
    if (::waitid(P_PID, static_cast<id_t>(pid), &info, WSTOPPED | WNOWAIT) != 0) fail("waitid");
  }
  void reap() const { exit_code_of(pid); }
};

/// Forked by `how`; tells its identity and then lives until it is killed.
Child living_child(const std::function<pid_t()>& how = fork_child) {
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) fail("pipe2");
  const pid_t pid = how();
  if (pid == 0) {
    ::prctl(PR_SET_NAME, ") Z 1 (x) 0");  // as confusing as a name in /proc/<pid>/stat can be
    const auto text = ProcessIdentity::self().encode();
    if (::write(pipe[1], text.data(), text.size()) < 0) ::_exit(98);
    ::close(pipe[1]);
    for (;;) ::pause();
  }
  ::close(pipe[1]);
  std::array<char, ProcessIdentity::max_encoded + 1> text{};
  const auto size = ::read(pipe[0], text.data(), text.size());
  ::close(pipe[0]);
  require(size > 0, "the child died");
  return {pid, ProcessIdentity::decode({text.data(), static_cast<std::size_t>(size)})};
}

/// clone3: with its own idea of the new process's numbers, innermost namespace first.
pid_t clone_with(std::uint64_t flags, std::vector<pid_t> numbers) {
  struct clone_args arguments {};
  arguments.flags = flags;
  arguments.exit_signal = SIGCHLD;
  arguments.set_tid = reinterpret_cast<std::uintptr_t>(numbers.data());
  arguments.set_tid_size = numbers.size();
  return static_cast<pid_t>(::syscall(SYS_clone3, &arguments, sizeof arguments));
}

// ---- surroundings --------------------------------------------------------------------------------------------------

void unshare_or_skip(int flags) {
  if (::geteuid() != 0) {  // as a user: in a user namespace, where one is root
    const auto uid = std::to_string(::geteuid()), gid = std::to_string(::getegid());
    or_skip(::unshare(CLONE_NEWUSER) == 0, "make a user namespace");
    or_skip(write_file("/proc/self/setgroups", "deny") && write_file("/proc/self/uid_map", "0 " + uid + " 1") &&
                write_file("/proc/self/gid_map", "0 " + gid + " 1"),
            "map users");
  }
  or_skip(::unshare(flags) == 0, "make a namespace");
  if (flags & CLONE_NEWNS) or_skip(::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0, "mount privately");
}

void mount_or_skip(const char* type, const char* options = nullptr) {
  or_skip(::mount(type, "/proc", type, 0, options) == 0, "mount "s + type + " on /proc");
}

/// Lets a system call fail as on a kernel that has it not: with ENOSYS, or for one value of its third argument EINVAL.
void forbid(long call, std::optional<std::uint32_t> third_argument = {}) {
  constexpr auto number = offsetof(seccomp_data, nr);
  constexpr auto third = offsetof(seccomp_data, args) + 2 * sizeof(std::uint64_t);  // its low half: little-endian only
  const auto value = third_argument.value_or(0);
  const std::uint32_t error = SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(third_argument ? EINVAL : ENOSYS);
  std::array filter{
      sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, number),
      sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(call), 0, 3),
      sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, third),
      sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, static_cast<std::uint8_t>(third_argument ? 1 : 0)),
      sock_filter BPF_STMT(BPF_RET | BPF_K, error),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog compiled{static_cast<unsigned short>(filter.size()), filter.data()};
  or_skip(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &compiled) == 0,
          "filter system calls");
}

void offset_children_in_time() {
  unshare_or_skip(CLONE_NEWTIME);
  or_skip(write_file("/proc/self/timens_offsets", "boottime 100000 0"), "move the clock of a time namespace");
}

/// The rest goes on in a child, and this process takes over its exit code.
void go_on_in_child() {
  if (const pid_t child = fork_child(); child != 0) {
    const int code = exit_code_of(child);
    std::fflush(nullptr);
    ::_exit(code);
  }
}

int run_scenario(std::string_view name, std::span<char*> arguments);

/// Steps, then "--", then scenario and arguments.
int go_through(std::span<char*> rest) {
  const auto take = [&] {
    require(!rest.empty(), "no scenario after the steps");
    const std::string_view first{rest.front()};
    rest = rest.subspan(1);
    return first;
  };
  const auto start_anew = [&] {  // so that the harness's main() runs where the namespaces are new
    std::vector<char*> arguments{const_cast<char*>(program), const_cast<char*>("under")};
    arguments.insert(arguments.end(), rest.begin(), rest.end());
    arguments.push_back(nullptr);
    ::execv(program, arguments.data());
    fail("execv");
  };
  for (auto step = take(); step != "--"; step = take()) {
    if (step == "pid") {  // /proc stays that of the parent
      unshare_or_skip(CLONE_NEWPID);
      go_on_in_child();
      start_anew();
    } else if (step == "time") {
      offset_children_in_time();
      go_on_in_child();
      start_anew();
    } else if (step == "mount") {
      unshare_or_skip(CLONE_NEWNS);
    } else if (step == "proc") {
      mount_or_skip("proc");
    } else if (step == "no_proc") {
      mount_or_skip("tmpfs");
    } else if (step == "hidden_proc") {
      mount_or_skip("proc", "hidepid=2");
    } else if (step == "childs_proc") {  // of a PID namespace below this one, in which this process has no number
      if (const pid_t child = ::fork(); child == 0) {
        unshare_or_skip(CLONE_NEWPID);
        if (const pid_t grandchild = ::fork(); grandchild == 0) {
          mount_or_skip("proc");
          ::_exit(0);
        } else {
          ::_exit(exit_code_of(grandchild));
        }
      } else if (const int code = exit_code_of(child); code != 0) {
        return code;
      }
      require(::access("/proc/self", F_OK) != 0, "this process must not be in /proc");
    } else if (step.starts_with("uts=")) {
      unshare_or_skip(CLONE_NEWUTS);
      const auto name = step.substr(4);
      or_skip(::sethostname(name.data(), name.size()) == 0, "set the host name");
    } else if (step.starts_with("name=")) {
      ::prctl(PR_SET_NAME, std::string{step.substr(5)}.c_str());
    } else if (step == "nobody") {
      errno = EPERM;
      or_skip(::geteuid() == 0 && ::setresgid(65534, 65534, 65534) == 0 && ::setresuid(65534, 65534, 65534) == 0,
              "become another user");
    } else if (step == "no_pidfd") {
      forbid(SYS_pidfd_open);
      require(::syscall(SYS_pidfd_open, ::getpid(), 0) < 0 && errno == ENOSYS, "pidfd_open must fail");
    } else if (step == "no_wipe") {
      forbid(SYS_madvise, MADV_WIPEONFORK);
    } else if (step == "sign") {
      static_cast<void>(ProcessIdentity::self());
    } else if (step == "moved_in_time") {
      offset_children_in_time();
      const int there = ::open("/proc/self/ns/time_for_children", O_RDONLY | O_CLOEXEC);
      or_skip(there >= 0 && ::setns(there, CLONE_NEWTIME) == 0, "enter a time namespace");
      ::close(there);
    } else {
      throw std::runtime_error{"unknown step " + std::string{step}};
    }
  }
  const auto scenario = take();
  return run_scenario(scenario, rest);
}

// ---- scenarios -----------------------------------------------------------------------------------------------------

int nothing(WorkerContext&) { return 0; }

/// Tells its identity and lives.
int live(WorkerContext& context) {
  std::cout << ProcessIdentity::self().encode() << '\n';
  signal_test_ready();
  return context.wait_for_release();
}

/// Tells for each identity whether it lives.
int judge(WorkerContext& context) {
  for (std::size_t i = 0; i < context.argument_count(); ++i)
    std::cout << to_string(ProcessIdentity::decode(context.argument(i)).liveness()) << '\n';
  return 0;
}

int describe(WorkerContext& context) {
  std::cout << to_string(ProcessIdentity::decode(context.argument(0))) << '\n';
  return 0;
}

/// Judges its own children in every state that a process can be in.
int judge_children(WorkerContext&) {
  const auto verdict = [](const Child& child) { return to_string(child.identity.liveness()); };
  const auto child = living_child();
  std::cout << "running " << verdict(child);
  child.stop();
  std::cout << ", stopped " << verdict(child);
  child.kill_to_zombie();
  std::cout << ", zombie " << verdict(child);
  child.reap();
  std::cout << ", reaped " << verdict(child) << '\n';
  return 0;
}

/// Lets a second process have the pid of a first one that has died, and judges both. Needs a PID namespace of its own.
int reuse_pid(WorkerContext&) {
  for (const holdfast::Deadline deadline{30s}; !deadline.passed();) {
    const auto first = living_child();
    first.kill_to_zombie();
    first.reap();
    require(first.identity.liveness() == Liveness::dead, "the first must be dead before its pid is given away");
    or_skip(write_file("/proc/sys/kernel/ns_last_pid", std::to_string(first.pid - 1)), "choose the next pid");
    const auto second = living_child();
    require(second.pid == first.pid, "the pid must be the same");
    const bool told_apart =
        field(first.identity, start_field) != field(second.identity, start_field);  // start times tick at 10 ms
    if (told_apart)
      std::cout << "first " << to_string(first.identity.liveness()) << ", second "
                << to_string(second.identity.liveness()) << '\n';
    second.kill_to_zombie();
    second.reap();
    if (told_apart) return 0;
  }
  throw std::runtime_error{"never did two processes in a row start in different ticks"};
}

/// Forked, cloned and cloned behind the C library's back: each one signs for itself.
int sign_in_every_child(WorkerContext&) {
  const ProcessIdentity& mine = ProcessIdentity::self();
  const std::string before = mine.encode();
  const auto ways = std::to_array<std::pair<const char*, std::function<pid_t()>>>({
      {"fork", [] { return ::fork(); }},
      {"_Fork", [] { return ::_Fork(); }},
      {"clone", [] { return static_cast<pid_t>(::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)); }},
  });
  for (const auto& [name, way] : ways) {
    const pid_t child = way();
    if (child < 0) fail(name);
    if (child == 0) {
      const ProcessIdentity& own = ProcessIdentity::self();
      const bool right = own.pid() == ::getpid() && field(own, nonce_field) != field(mine, nonce_field) &&
                         &own != &mine && mine.encode() == before && own.liveness() == Liveness::alive &&
                         mine.liveness() == Liveness::alive;
      if (!right) ::_exit(1);
      const pid_t grandchild = ::fork();  // of one that has its own by now
      if (grandchild == 0) {
        const ProcessIdentity& third = ProcessIdentity::self();
        ::_exit(third != own && third != mine && third.pid() == ::getpid() ? 0 : 2);
      }
      ::_exit(exit_code_of(grandchild));
    }
    const int code = exit_code_of(child);
    require(code == 0, name + " gives a child with a wrong identity, "s + std::to_string(code));
    require(&ProcessIdentity::self() == &mine && mine.encode() == before, name + " changes the parent's identity"s);
  }
  return 0;
}

/// A process that is number 1 of its PID namespace, and its child that is number 1 of the next one.
int sign_as_number_one_twice(WorkerContext& context) {
  require(::getpid() == 1, "needs a PID namespace of its own");
  const ProcessIdentity& mine = ProcessIdentity::self();
  const bool raw = context.argument(0) == "clone";
  if (!raw) unshare_or_skip(CLONE_NEWPID);
  const pid_t child = raw ? static_cast<pid_t>(::syscall(SYS_clone, SIGCHLD | CLONE_NEWPID, 0, 0, 0, 0)) : ::fork();
  or_skip(child >= 0, "make a PID namespace within a PID namespace");
  if (child == 0) {
    const ProcessIdentity& own = ProcessIdentity::self();
    const bool right = ::getpid() == 1 && own.pid() == 1 && own != mine && own.liveness() == Liveness::alive &&
                       mine.liveness() == Liveness::unknown;
    if (!right) std::cerr << own.encode() << " is a child of " << mine.encode() << '\n';
    std::cerr.flush();
    ::_exit(right ? 0 : 1);
  }
  require(exit_code_of(child) == 0, "the child has a wrong identity");
  return 0;
}

/// Forks while other threads are about to sign for the first time.
int fork_during_first_use(WorkerContext&) {
  constexpr int signers = 3, forks = 4;
  std::barrier start{signers + 1};
  std::vector<std::thread> threads;
  std::array<const ProcessIdentity*, signers> seen{};
  for (auto& self : seen)
    threads.emplace_back([&] {
      start.arrive_and_wait();
      self = &ProcessIdentity::self();
    });
  start.arrive_and_wait();
  std::vector<pid_t> children;
  for (int i = 0; i < forks; ++i) {
    const pid_t child = ::fork();
    if (child < 0) fail("fork");
    if (child == 0) {
      ::alarm(20);  // a child that is locked out ends with a signal
      ::_exit(ProcessIdentity::self().pid() == ::getpid() ? 0 : 1);
    }
    children.push_back(child);
  }
  for (auto& thread : threads) thread.join();
  for (const pid_t child : children) require(exit_code_of(child) == 0, "a child cannot sign");
  for (const auto* self : seen) require(self == &ProcessIdentity::self(), "threads must agree");
  require(ProcessIdentity::self().pid() == ::getpid(), "the parent's identity");
  return 0;
}

int sign_in_many_threads(WorkerContext&) {
  constexpr int signers = 8;
  std::barrier start{signers};
  std::array<const ProcessIdentity*, signers> seen{};
  std::vector<std::thread> threads;
  for (auto& self : seen)
    threads.emplace_back([&] {
      start.arrive_and_wait();
      self = &ProcessIdentity::self();
      require(self->pid() == ::getpid() && self->liveness() == Liveness::alive, "must be complete when it is seen");
    });
  for (auto& thread : threads) thread.join();
  for (const auto* self : seen) require(self == seen[0], "threads must agree");
  return 0;
}

/// Keeps pid and start time, and becomes another program image.
int replace_image(WorkerContext&) {
  const auto former = ProcessIdentity::self().encode();
  std::cout << former << '\n' << std::flush;
  std::array arguments{const_cast<char*>(program), const_cast<char*>("remember"), const_cast<char*>(former.c_str()),
                       static_cast<char*>(nullptr)};
  ::execv(program, arguments.data());
  fail("execv");
}
int remember(WorkerContext& context) {
  const auto former = ProcessIdentity::decode(context.argument(0));
  std::cout << ProcessIdentity::self().encode() << '\n' << to_string(former.liveness()) << '\n';
  signal_test_ready();
  return context.wait_for_release();
}

/// argument 0: somebody alive; 1: somebody dead.
int run_out_of_descriptors(WorkerContext& context) {
  const auto alive = ProcessIdentity::decode(context.argument(0)), dead = ProcessIdentity::decode(context.argument(1));
  rlimit before{};
  if (::getrlimit(RLIMIT_NOFILE, &before) != 0) fail("getrlimit");
  const auto allow = [&](bool some) {
    rlimit limit{some ? before.rlim_cur : 0, before.rlim_max};
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) fail("setrlimit");
  };
  const auto code_of = [](const auto& call) {
    try {
      call();
    } catch (const Error& error) {
      return error.code();
    }
    return std::error_code{};
  };
  // UndefinedBehaviorSanitizer needs a descriptor to look at an object's type for the first time.
  require(code_of([] { static_cast<void>(ProcessIdentity::of(0)); }) == std::errc::no_such_process, "process 0");
  allow(false);
  require(code_of([] { static_cast<void>(ProcessIdentity::self()); }) == std::errc::too_many_files_open,
          "no identity that is unknown for ever");
  require(alive.liveness() == Liveness::unknown, "nothing is known yet");
  require(!alive.same_boot() && !to_string(alive).empty(), "and nothing throws");
  allow(true);
  require(alive.liveness() == Liveness::alive, "later it works");
  require(ProcessIdentity::self().liveness() == Liveness::alive, "later it works");
  allow(false);
  require(alive.liveness() == Liveness::unknown, "alive, but that cannot be seen");
  require(dead.liveness() == Liveness::dead, "to see this takes no descriptor");
  require(code_of([&] { static_cast<void>(ProcessIdentity::of(alive.pid())); }) == std::errc::too_many_files_open,
          "of");
  allow(true);
  return 0;
}

/// Numbers of threads are no processes.
int look_for_a_thread(WorkerContext&) {
  std::atomic<pid_t> number{0};
  std::atomic<bool> done{false};
  std::thread other{[&] {
    number = static_cast<pid_t>(::syscall(SYS_gettid));
    number.notify_one();
    done.wait(false);
  }};
  number.wait(0);
  std::error_code code;
  try {
    static_cast<void>(ProcessIdentity::of(number));
  } catch (const Error& error) {
    code = error.code();
  }
  done = true;
  done.notify_one();
  other.join();
  require(code == std::errc::no_such_process, "a thread's number is taken for a process");
  return 0;
}

/// Judges a child whose number in this PID namespace is that of another process in the namespace that /proc is of, by a
/// process whose own number is the same in both: who compares numbers only takes the other process's start time for the
/// child's. argument 0: a process outside.
int judge_a_namesake(WorkerContext& context) {
  const auto outside = static_cast<pid_t>(context.number(0));
  unshare_or_skip(CLONE_NEWPID);
  const pid_t init = fork_child();
  if (init != 0) return exit_code_of(init);
  pid_t judge = -1;
  for (pid_t number = 32000; judge < 0 && number > 300; number -= 7) {  // one that is free in both namespaces
    judge = clone_with(0, {number, number});
    if (judge < 0) or_skip(errno == EEXIST, "choose pids");
    if (judge != 0) continue;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    int code = 1;
    try {
      std::array<char, 32> self{};
      require(::readlink("/proc/self", self.data(), self.size() - 1) > 0 && std::to_string(::getpid()) == self.data(),
              "the judge's number must be the same inside and outside");
      const auto namesake = stat_of(std::to_string(outside));
      for (bool told_apart = false; !told_apart;) {
        const auto child = living_child([&] {
          const pid_t pid = clone_with(0, {outside});
          or_skip(pid >= 0, "choose pids");
          return pid;
        });
        require(child.pid == outside, "the child's number must be that of the process outside");
        // Its start, by the number that it has out there, as its parent sees it.
        std::istringstream children{read_file("/proc/self/task/" + std::to_string(::getpid()) + "/children")};
        pid_t number_outside = 0;
        children >> number_outside;
        require(number_outside > 0 && number_outside != outside, "the child's number outside");
        told_apart = stat_of(std::to_string(number_outside)).start != namesake.start;
        if (told_apart) std::cout << "running " << to_string(child.identity.liveness());
        child.kill_to_zombie();
        if (told_apart) std::cout << ", zombie " << to_string(child.identity.liveness());
        child.reap();
        if (told_apart) std::cout << ", reaped " << to_string(child.identity.liveness()) << '\n';
      }
      std::cout.flush();
      code = 0;
    } catch (const std::exception& exception) {
      std::fprintf(stderr, "%s\n", exception.what());
    }
    ::_exit(code);
  }
  ::_exit(exit_code_of(judge));
}

int under(WorkerContext& context);

constexpr Scenario scenarios[] = {
    {"under", under},
    {"nothing", nothing},
    {"live", live},
    {"judge", judge},
    {"describe", describe},
    {"judge_children", judge_children},
    {"reuse_pid", reuse_pid},
    {"sign_in_every_child", sign_in_every_child},
    {"sign_as_number_one_twice", sign_as_number_one_twice},
    {"fork_during_first_use", fork_during_first_use},
    {"sign_in_many_threads", sign_in_many_threads},
    {"replace_image", replace_image},
    {"remember", remember},
    {"run_out_of_descriptors", run_out_of_descriptors},
    {"look_for_a_thread", look_for_a_thread},
    {"judge_a_namesake", judge_a_namesake},
};

std::span<char*> all_arguments;  // those of main()
int under(WorkerContext&) { return go_through(all_arguments.subspan(2)); }

int run_scenario(std::string_view name, std::span<char*> arguments) {
  for (const auto& scenario : scenarios) {
    if (scenario.name != name) continue;
    WorkerContext context{name, arguments};
    return scenario.run(context);
  }
  throw std::runtime_error{"unknown scenario " + std::string{name}};
}
}  // namespace

/// Without /proc the leak detector cannot look, and ends the program. What self() leaves is looked for by the unit tests.
extern "C" const char* __asan_default_options();  // NOLINT(bugprone-reserved-identifier)
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }

int main(int argc, char** argv) {
  program = argv[0];
  if (argc < 2 || argv[1] != "without_main_thread"sv) {
    all_arguments = {argv, static_cast<std::size_t>(argc)};
    return run_worker(scenarios, argc, argv);
  }
  argv[1] = argv[0];
  all_arguments = {argv + 1, static_cast<std::size_t>(argc - 1)};
  std::thread{[] {
    while (stat_of(std::to_string(::getpid())).state != 'Z') std::this_thread::yield();  // no event tells of it
    std::exit(run_worker(scenarios, static_cast<int>(all_arguments.size()), all_arguments.data()));
  }}.detach();
  ::syscall(SYS_exit, 0);  // ends this thread alone; its stack, with the arguments on it, stays
}
