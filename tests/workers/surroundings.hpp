// surroundings.hpp - steps by which a worker goes somewhere hostile before its scenario runs: other namespaces, mounts and
// users, fewer descriptors, fewer system calls.
//
//   <worker> under STEP... -- SCENARIO ARGUMENT...
//
// Where the machine forbids a step, the worker's exit code is 77 and its standard error says why.
#pragma once
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>
#include <holdfast/testing/worker.hpp>

#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

namespace holdfast::test {
constexpr int not_permitted_here = 77;

[[noreturn]] inline void fail(const std::string& what) {
  throw std::system_error{errno, std::generic_category(), what};
}
inline void require(bool condition, const std::string& what) {
  if (!condition) throw std::runtime_error{what};
}

/// For what a container, a missing privilege or a missing program may forbid.
inline void or_skip(bool done, const std::string& what) {
  if (done) return;
  std::fprintf(stderr, "this machine does not permit to %s: %s\n", what.c_str(), std::strerror(errno));
  std::fflush(nullptr);
  ::_exit(not_permitted_here);
}

inline bool write_file(const std::string& path, std::string_view text) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (file < 0) return false;
  const bool written = ::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int error = errno;
  ::close(file);
  errno = error;
  return written;
}

inline int exit_code_of(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0)
    if (errno != EINTR) fail("waitpid");
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/// Lets a system call fail: as on a file system or a kernel that has it not, or in a process that has used up its share.
inline void refuse_call(long call, int error) {
  constexpr auto number = offsetof(seccomp_data, nr);
  std::array filter{
      sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, number),
      sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(call), 0, 1),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(error)),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog compiled{static_cast<unsigned short>(filter.size()), filter.data()};
  or_skip(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &compiled) == 0,
          "filter system calls");
}

/// One step, "name" or "name=value".
class Step {
 public:
  explicit Step(std::string_view text) : name_{text.substr(0, text.find('='))} {
    if (name_.size() < text.size()) value_ = text.substr(name_.size() + 1);
  }

  /// True: the rest has to begin in a new program image, so that the harness's main() runs where the namespaces are new.
  bool take() const {
    if (name_ == "mounts") {
      or_skip(::unshare(CLONE_NEWNS) == 0, "make a mount namespace");
      or_skip(::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0, "mount privately");
    } else if (name_ == "mounts_of") {
      const int there = ::open(("/proc/" + value_ + "/ns/mnt").c_str(), O_RDONLY | O_CLOEXEC);
      or_skip(there >= 0 && ::setns(there, CLONE_NEWNS) == 0, "enter a mount namespace");
      ::close(there);
    } else if (name_ == "tmpfs") {  // <directory>:<options>
      const auto [directory, options] = parts<2>();
      or_skip(::mount("tmpfs", directory.c_str(), "tmpfs", 0, options.c_str()) == 0, "mount a tmpfs");
    } else if (name_ == "hugetlbfs") {  // has directories, FIFOs and renames, and is none that holdfast knows
      or_skip(::mount("none", value_.c_str(), "hugetlbfs", 0, nullptr) == 0, "mount a hugetlbfs");
    } else if (name_ == "ext4") {  // <image file>:<directory>
      const auto [image, directory] = parts<2>();
      or_skip(run({"mkfs.ext4", "-q", "-F", "-m", "0", image}), "make an ext4 (mkfs.ext4)");
      or_skip(run({"mount", "-o", "loop", image, directory}), "mount an ext4 by a loop device");
    } else if (name_ == "overlay") {  // <directory>:<options>
      const auto [directory, options] = parts<2>();
      or_skip(::mount("overlay", directory.c_str(), "overlay", 0, options.c_str()) == 0, "mount an overlay");
    } else if (name_ == "bind") {  // <from>:<to>
      const auto [from, to] = parts<2>();
      or_skip(::mount(from.c_str(), to.c_str(), nullptr, MS_BIND, nullptr) == 0, "bind a directory");
    } else if (name_ == "read_only") {
      remount(MS_RDONLY);
    } else if (name_ == "writable") {
      remount(0);
    } else if (name_ == "proc") {
      or_skip(::mount("proc", "/proc", "proc", 0, nullptr) == 0, "mount /proc");
    } else if (name_ == "no_proc") {
      or_skip(::mount("tmpfs", "/proc", "tmpfs", 0, nullptr) == 0, "hide /proc");
    } else if (name_ == "pid") {  // /proc stays that of the parent
      or_skip(::unshare(CLONE_NEWPID) == 0, "make a PID namespace");
      go_on_in_child();
      return true;
    } else if (name_ == "time") {
      or_skip(::unshare(CLONE_NEWTIME) == 0, "make a time namespace");
      or_skip(write_file("/proc/self/timens_offsets", "boottime 100000 0"), "move the clock of a time namespace");
      go_on_in_child();
      return true;
    } else if (name_ == "uts") {
      or_skip(::unshare(CLONE_NEWUTS) == 0 && ::sethostname(value_.data(), value_.size()) == 0, "set the host name");
    } else if (name_ == "user") {  // <user id>:<group id>
      const auto [user, group] = parts<2>();
      const auto uid = static_cast<uid_t>(std::stoul(user)), gid = static_cast<gid_t>(std::stoul(group));
      or_skip(::setgroups(0, nullptr) == 0 && ::setresgid(gid, gid, gid) == 0 && ::setresuid(uid, uid, uid) == 0,
              "become another user");
      or_skip(::access(std::filesystem::temp_directory_path().c_str(), X_OK) == 0,
              "use the temporary directory as another user");
    } else if (name_ == "umask") {
      ::umask(static_cast<mode_t>(std::stoul(value_, nullptr, 8)));
    } else if (name_ == "directory") {
      if (::chdir(value_.c_str()) != 0) fail("chdir");
    } else if (name_ == "interrupted") {  // microseconds from one signal to the next
      struct sigaction action {};
      action.sa_handler = [](int) {};  // without SA_RESTART: calls end with EINTR
      const auto interval = std::stol(value_);
      const itimerval timer{{0, interval}, {0, interval}};
      if (::sigaction(SIGALRM, &action, nullptr) != 0 || ::setitimer(ITIMER_REAL, &timer, nullptr) != 0) fail("timer");
    } else if (name_ == "no_fifos") {
      refuse_call(SYS_mknodat, EPERM);
#ifdef SYS_mknod
      refuse_call(SYS_mknod, EPERM);
#endif
    } else if (name_ == "no_renameat2") {  // as a file system, or a kernel, that does not know its flags
      refuse_call(SYS_renameat2, value_ == "ENOSYS" ? ENOSYS : EINVAL);
    } else if (name_ == "no_pidfd") {
      refuse_call(SYS_pidfd_open, ENOSYS);
    } else if (name_ == "no_inotify") {
      refuse_call(SYS_inotify_init1, EMFILE);
    } else {
      throw std::runtime_error{"unknown step " + name_};
    }
    return false;
  }

 private:
  /// The value, split at its first colons.
  template <std::size_t Count>
  [[nodiscard]] std::array<std::string, Count> parts() const {
    std::array<std::string, Count> result;
    std::string_view rest{value_};
    for (auto& part : result) {
      const auto end = &part == &result.back() ? std::string_view::npos : rest.find(':');
      part = rest.substr(0, end);
      rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    }
    return result;
  }

  void remount(unsigned long flags) const {
    // MS_BIND: this mount alone. Else it would be the whole file system, for everybody on the machine.
    or_skip(::mount("", value_.c_str(), nullptr, MS_REMOUNT | MS_BIND | flags, nullptr) == 0, "mount again");
  }

  static bool run(std::vector<std::string> words) {
    std::vector<char*> arguments;
    for (auto& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    const pid_t child = ::fork();
    if (child < 0) fail("fork");
    if (child == 0) {
      ::execvp(arguments[0], arguments.data());
      ::_exit(127);
    }
    const int code = exit_code_of(child);
    errno = code == 127 ? ENOENT : EPERM;
    return code == 0;
  }

  /// The rest goes on in a child, and this process takes over its exit code.
  static void go_on_in_child() {
    const pid_t parent = ::getpid();
    const pid_t child = ::fork();
    if (child < 0) fail("fork");
    if (child == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != parent && ::getppid() != 0) ::_exit(99);  // it was too late; 0: the parent is out of sight
      return;
    }
    const int code = exit_code_of(child);
    std::fflush(nullptr);
    ::_exit(code);
  }

  std::string name_, value_;
};

/// main() of a worker that knows "under" in addition to its scenarios.
inline int run_worker_under(std::span<const harness::Scenario> scenarios, int argc, char** argv) {
  static std::span<const harness::Scenario> known;
  static std::span<char*> all;
  known = scenarios;
  all = {argv, static_cast<std::size_t>(argc)};
  const auto under = [](harness::WorkerContext&) {
    for (std::size_t i = 2; i < all.size(); ++i) {
      if (all[i] != std::string_view{"--"}) {
        if (!Step{all[i]}.take()) continue;
        std::vector<char*> arguments{all[0], all[1]};
        arguments.insert(arguments.end(), all.begin() + static_cast<std::ptrdiff_t>(i) + 1, all.end());
        arguments.push_back(nullptr);
        ::execv(all[0], arguments.data());
        fail("execv");
      }
      require(i + 1 < all.size(), "no scenario after the steps");
      for (const auto& scenario : known) {
        if (scenario.name != std::string_view{all[i + 1]}) continue;
        harness::WorkerContext context{all[i + 1], all.subspan(i + 2)};
        return scenario.run(context);
      }
      throw std::runtime_error{std::string{"unknown scenario "} + all[i + 1]};
    }
    throw std::runtime_error{"no -- after the steps"};
  };
  std::vector<harness::Scenario> with_under{scenarios.begin(), scenarios.end()};
  with_under.push_back({"under", under});
  return harness::run_worker(with_under, argc, argv);
}
}  // namespace holdfast::test
