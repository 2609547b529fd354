#include <holdfast/testing/worker_process.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <sstream>

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>
#include <holdfast/platform/descriptor.hpp>
#include <holdfast/platform/process.hpp>

#include "file_contents.hpp"
#include "testing/channel.hpp"
#include "text.hpp"

namespace holdfast::harness {
namespace {
using platform::Descriptor;

// The descriptors of a worker after exec. Fixed, so that it can be told by its environment before it exists.
constexpr int control_number = 3, lifeline_number = 4, ready_number = 5;
// Sources are lifted above these targets, so that no dup2 can hit another source.
constexpr int first_source = 8;

std::error_code system_code(int error) { return {error, std::generic_category()}; }

template <class Call>
auto retried(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

// --- descriptors ----------------------------------------------------------------------------------------------------

std::string_view remedy_for(int error) noexcept {
  switch (error) {
    case EMFILE:
      return "raise this process's limit: ulimit -n";
    case ENFILE:
      return "the system's limit is reached: fs.file-max";
    case EAGAIN:
      return "too many processes: ulimit -u, or the container's limit of processes";
    case ENOMEM:
      return "not enough memory";
    case ENOENT:
      return "was it built? With holdfast_add_process_test, name its source under WORKERS";
    case EACCES:
      return "it must be a program, with the permission to execute it, on a file system mounted without noexec";
    case ENOEXEC:
      return "it must be a program for this machine, or a script that begins with #!";
    default:
      return {};
  }
}

class Starting {
 public:
  explicit Starting(const std::filesystem::path& executable) : executable_{executable.string()} {}

  [[noreturn]] void fail(int error, std::string_view reason = {}, std::string_view remedy = {}) const {
    throw Error{system_code(error), "start worker", executable_, reason, remedy.empty() ? remedy_for(error) : remedy};
  }
  /// Takes what a call returned; close-on-exec is the call's business.
  [[nodiscard]] Descriptor take(int number) const {
    if (number < 0) fail(errno);
    return lifted(Descriptor{number});
  }
  struct Pair {
    Descriptor near, far;  // the parent's and the worker's, or the reader and the writer
  };
  [[nodiscard]] Pair pipe() const {
    std::array<int, 2> ends{-1, -1};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) fail(errno);
    return lifted({Descriptor{ends[0]}, Descriptor{ends[1]}});
  }
  [[nodiscard]] Pair sockets() const {
    std::array<int, 2> ends{-1, -1};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) fail(errno);
    return lifted({Descriptor{ends[0]}, Descriptor{ends[1]}});
  }
  /// Memory that takes a stream of any length without a reader. It has its final size from the start, and writing
  /// beyond it fails: a worker that prints without end must not fill the machine's memory. Pages are made when written.
  [[nodiscard]] Descriptor stream(const char* name) const {
    auto memory = take(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (::ftruncate(memory.number(), static_cast<off_t>(WorkerProcess::stream_limit)) != 0) fail(errno);
    if (::fcntl(memory.number(), F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) != 0) fail(errno);
    return memory;
  }

 private:
  [[nodiscard]] Descriptor lifted(Descriptor descriptor) const {
    if (descriptor.number() >= first_source) return descriptor;
    Descriptor copy{::fcntl(descriptor.number(), F_DUPFD_CLOEXEC, first_source)};
    if (!copy) fail(errno == EINVAL ? EMFILE : errno);
    return copy;
  }
  [[nodiscard]] Pair lifted(Pair pair) const { return {lifted(std::move(pair.near)), lifted(std::move(pair.far))}; }
  std::string executable_;
};

/// The soft limit on descriptors that this process had before raise_descriptor_limit(), and the one that it set.
std::atomic<rlim_t> limit_before{0}, limit_raised{0};

bool raise_descriptor_limit() {
  constexpr rlim_t enough = 65536;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return false;
  const auto wanted = std::min(limit.rlim_max, enough);
  if (limit.rlim_cur >= wanted) return limit.rlim_cur == limit_raised.load();  // another thread was faster
  if (limit.rlim_cur != limit_raised) limit_before = limit.rlim_cur;
  limit_raised = wanted;
  limit.rlim_cur = wanted;
  return ::setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

// --- between fork and exec: async-signal-safe calls only, on what was prepared before --------------------------------

struct Plan {
  const char* executable;
  char* const* arguments;
  char* const* environment;
  int input, output, errors, control, lifeline, ready, status;
  bool lower_limit;
  rlimit limit;
};

enum class Step : int { group, descriptors, lifeline, exec };
struct Failure {
  Step step;
  int error;
};

/// For kernels without close_range(CLOSE_RANGE_CLOEXEC), which is 5.11.
bool close_rest_on_exec_by_proc(int first) noexcept {
  const int directory = ::open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return false;
  struct Entry {  // linux_dirent64 up to its name
    std::uint64_t inode;
    std::int64_t offset;
    unsigned short length;
    unsigned char type;
    char name[1];
  };
  alignas(Entry) char buffer[4096];
  long size = 0;
  while ((size = ::syscall(SYS_getdents64, directory, buffer, sizeof buffer)) > 0) {
    for (long at = 0; at < size;) {
      const auto* entry = reinterpret_cast<const Entry*>(buffer + at);
      int number = 0;
      bool digits = true;
      for (const char* c = entry->name; *c != '\0'; ++c) {
        digits = digits && *c >= '0' && *c <= '9';
        if (digits) number = number * 10 + (*c - '0');
      }
      if (digits && number >= first) ::fcntl(number, F_SETFD, FD_CLOEXEC);
      at += entry->length;
    }
  }
  return size == 0;
}

bool close_rest_on_exec(int first) noexcept {
  constexpr unsigned close_range_cloexec = 1U << 2;
#ifdef SYS_close_range
  if (::syscall(SYS_close_range, static_cast<unsigned>(first), ~0U, close_range_cloexec) == 0) return true;
#endif
  return close_rest_on_exec_by_proc(first);
}

[[noreturn]] void give_up(const Plan& plan, Step step) noexcept {
  const Failure failure{step, errno};
  [[maybe_unused]] const auto written = ::write(plan.status, &failure, sizeof failure);
  ::_exit(127);
}

/// The worker's own group is killed by the kernel when the last writer of the lifeline is gone. A signal-driven pipe, not
/// PR_SET_PDEATHSIG, which would fire when the thread that started the worker ends, and is forgotten by setuid().
/// Not too late at any time: until exec this process itself has a copy of the writing end.
bool die_with_lifeline(int lifeline) noexcept {
  return ::fcntl(lifeline, F_SETOWN, -::getpid()) == 0 && ::fcntl(lifeline, F_SETSIG, SIGKILL) == 0 &&
         ::fcntl(lifeline, F_SETFL, O_ASYNC) == 0;
}

[[noreturn]] void become_worker(const Plan& plan) noexcept {
  if (::setpgid(0, 0) != 0) give_up(plan, Step::group);
  const struct {
    int from, to;
  } inherited[] = {{plan.input, 0},
                   {plan.output, 1},
                   {plan.errors, 2},
                   {plan.control, control_number},
                   {plan.lifeline, lifeline_number},
                   {plan.ready, ready_number}};
  int next = 0;
  for (const auto& [from, to] : inherited) {
    if (from < 0) continue;
    if (::dup2(from, to) < 0) give_up(plan, Step::descriptors);
    next = to + 1;
  }
  if (!close_rest_on_exec(next)) give_up(plan, Step::descriptors);
  if (!die_with_lifeline(lifeline_number)) give_up(plan, Step::lifeline);
  if (plan.lower_limit) ::setrlimit(RLIMIT_NOFILE, &plan.limit);

  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; ++signal) ::sigaction(signal, &standard, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);

  ::execve(plan.executable, plan.arguments, plan.environment);
  give_up(plan, Step::exec);
}

// --- fork, and what came of it ---------------------------------------------------------------------------------------

/// Handlers of this process must not run in the child.
class SignalsBlocked {
 public:
  SignalsBlocked() noexcept {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() {
    const int kept = errno;
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    errno = kept;
  }

 private:
  sigset_t before_{};
};

/// proc(5), /proc/<pid>/stat: what follows the program's name in parentheses, from field 3 on.
std::vector<std::string> stat_fields(const std::string& text) {
  std::vector<std::string> fields;
  const auto close = text.rfind(')');
  if (close == std::string::npos) return fields;
  std::istringstream rest{text.substr(close + 1)};
  for (std::string field; rest >> field;) fields.push_back(field);
  return fields;
}

bool has_executed(pid_t pid) {
  constexpr unsigned long forked_and_not_executed = 0x40;  // PF_FORKNOEXEC
  const auto fields = stat_fields(contents_of_file(fmt::format("/proc/{}/stat", pid)));
  constexpr std::size_t flags = 9 - 3;
  return fields.size() > flags && (std::stoul(fields[flags]) & forked_and_not_executed) == 0;
}

bool readable(int descriptor) noexcept {
  pollfd waiting{descriptor, POLLIN, 0};
  return retried([&] { return ::poll(&waiting, 1, 0); }) > 0;
}

/// Empty: the program runs. The end of the status pipe tells at once; a process that another thread forked in the
/// meantime may keep a copy of it, and then the kernel's record has to be asked.
std::optional<Failure> failure_to_execute(int status, pid_t pid, const Descriptor& death) {
  constexpr int patience_ms = 100;
  for (;;) {
    pollfd waiting{status, POLLIN, 0};
    const int ready = retried([&] { return ::poll(&waiting, 1, patience_ms); });
    if (ready > 0) {
      Failure failure{};
      const auto size = retried([&] { return ::read(status, &failure, sizeof failure); });
      if (size == ssize_t{sizeof failure}) return failure;
      return std::nullopt;
    }
    if (has_executed(pid) || (readable(death.number()) && !readable(status))) return std::nullopt;
  }
}

/// Waits until one of them is readable or closed at its other end. False: deadline.
bool wait_for_any(std::span<pollfd> descriptors, Deadline deadline) {
  for (;;) {
    timespec time{};
    const auto left = deadline.remaining();
    time.tv_sec = static_cast<time_t>(left.count() / 1'000'000'000);
    time.tv_nsec = static_cast<long>(left.count() % 1'000'000'000);
    const int ready = ::ppoll(descriptors.data(), descriptors.size(), deadline.is_never() ? nullptr : &time, nullptr);
    if (ready > 0) return true;
    if (ready == 0 && deadline.passed()) return false;
    if (ready < 0 && errno != EINTR) throw Error{system_code(errno), "wait for", "a worker"};
  }
}

std::string shell_word(std::string_view argument) {
  constexpr std::string_view plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=:,./@%";
  if (!argument.empty() && argument.find_first_not_of(plain) == std::string_view::npos) return std::string{argument};
  return fmt::format("'{}'", text::escaped(argument));
}

/// The last lines of a stream, each behind a bar.
std::string tail(std::string_view name, std::string_view bytes) {
  constexpr std::size_t most_bytes = 8192, most_lines = 60;
  if (bytes.empty()) return fmt::format("  {}: empty\n", name);
  auto rest = bytes.substr(bytes.size() - std::min(bytes.size(), most_bytes));
  std::size_t lines = 0, start = rest.size();
  if (rest.ends_with('\n')) --start;
  while (start > 0 && lines < most_lines) {
    const auto line_break = rest.rfind('\n', start - 1);
    ++lines;
    start = line_break == std::string_view::npos ? 0 : line_break;
  }
  if (start > 0) rest.remove_prefix(start + 1);
  auto result = rest.size() == bytes.size()
                    ? fmt::format("  {}, {} bytes:\n", name, bytes.size())
                    : fmt::format("  {}, the last {} of {} bytes:\n", name, rest.size(), bytes.size());
  while (!rest.empty()) {
    const auto line = rest.substr(0, rest.find('\n'));
    result += fmt::format("  | {}\n", text::escaped(line));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
  }
  return result;
}
}  // namespace

// --- WorkerProcess ---------------------------------------------------------------------------------------------------

struct WorkerProcess::Impl {
  std::string command;
  pid_t parent = ::getpid();
  pid_t pid = 0;
  Descriptor death;     // pidfd
  Descriptor control;   // release bytes out, end mark in
  Descriptor lifeline;  // its end is the end of the worker, and of what it forked
  Descriptor ready;     // empty: no ready signal was asked for
  Descriptor output, errors;
  std::optional<Ready> readiness;
  bool ready_closed = false;
  std::optional<Exit> exit;
  std::string last_seen;  // what it was doing when the deadline ended it

  Impl() = default;
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    if (pid == 0 || parent != ::getpid()) return;  // a forked child's copy: the worker is not its own
    if (exit) return;
    kill_group();
    if (death) signal(SIGKILL);
    siginfo_t info{};
    retried([&] { return ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED); });
  }

  static WorkerProcess start(const std::filesystem::path& executable, std::string_view scenario,
                             const std::vector<Argument>& arguments, const WorkerOptions& options, bool ready_signal);

  [[nodiscard]] bool dead() const noexcept { return exit || readable(death.number()); }

  /// Never hits another process, even if somebody else has reaped this one.
  bool signal(int number) const noexcept {
    return ::syscall(SYS_pidfd_send_signal, death.number(), number, nullptr, 0U) == 0 || errno == ESRCH;
  }
  void send_signal(int number, std::string_view operation) const {
    if (!signal(number)) throw Error{system_code(errno), operation, command, {}, "does it run as another user?"};
  }
  /// As long as the worker is not reaped, its number is that of its group and of no other.
  void kill_group() const noexcept {
    siginfo_t info{};
    if (::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0) ::kill(-pid, SIGKILL);
  }

  void wait_for_death(std::string_view operation) const {
    constexpr std::chrono::seconds patience{30};
    pollfd waiting{death.number(), POLLIN, 0};
    if (!wait_for_any({&waiting, 1}, patience))
      throw Error{std::make_error_code(std::errc::timed_out), operation, command,
                  "it does not end although it was killed", "the kernel keeps it: look at its state in /proc"};
  }

  /// How it ended: it is dead. `flags` is WNOWAIT to leave it a zombie, else 0.
  [[nodiscard]] std::optional<Exit> ask(int flags) const noexcept {
    siginfo_t info{};
    if (retried([&] { return ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | flags); }) != 0)
      return std::nullopt;
    char mark = 0;
    Exit result;
    result.by = info.si_code == CLD_EXITED ? Exit::By::code : Exit::By::signal;
    result.value = info.si_status;
    result.reached_end = ::recv(control.number(), &mark, 1, MSG_DONTWAIT | MSG_PEEK) == 1 && mark == end_mark;
    return result;
  }

  Exit reap() {
    exit = ask(0);
    if (exit) return *exit;
    constexpr auto remedy = "SIGCHLD must not be ignored, and nobody else may wait for all children";
    throw Error{system_code(errno), "learn the exit of worker", command, {}, remedy};
  }

  [[nodiscard]] static std::string written(const Descriptor& stream) {
    // The worker's descriptor is a copy of ours, so that we see its position: as far as it has written.
    const auto position = ::lseek(stream.number(), 0, SEEK_CUR);
    std::string result(position > 0 ? static_cast<std::size_t>(position) : 0, '\0');
    std::size_t size = 0;
    while (size < result.size()) {
      const auto more = retried([&] {
        return ::pread(stream.number(), result.data() + size, result.size() - size, static_cast<off_t>(size));
      });
      if (more <= 0) break;
      size += static_cast<std::size_t>(more);
    }
    result.resize(size);
    return result;
  }

  /// One line for each thread: its state and where in the kernel it waits.
  [[nodiscard]] std::string threads() const {
    constexpr int most = 16;
    std::string result;
    std::error_code ignored;
    int count = 0;
    for (const auto& task : std::filesystem::directory_iterator{fmt::format("/proc/{}/task", pid), ignored}) {
      if (++count > most) return result + "  thread ...\n";
      const auto fields = stat_fields(contents_of_file((task.path() / "stat").string()));
      auto place = contents_of_file((task.path() / "wchan").string());
      if (place == "0") place.clear();
      result += fmt::format("  thread {}: state {}{}{}\n", task.path().filename().string(),
                            fields.empty() ? "?" : fields.front(), place.empty() ? "" : ", waits in ", place);
    }
    return result;
  }
};

WorkerProcess::WorkerProcess(std::unique_ptr<Impl> impl) noexcept : impl_{std::move(impl)} {}
WorkerProcess::WorkerProcess(WorkerProcess&&) noexcept = default;
WorkerProcess& WorkerProcess::operator=(WorkerProcess&&) noexcept = default;
WorkerProcess::~WorkerProcess() = default;

WorkerProcess::Impl& WorkerProcess::impl() const {
  if (!impl_)
    throw Error{std::make_error_code(std::errc::operation_not_permitted), "use", "a WorkerProcess",
                "it was moved from"};
  return *impl_;
}

Ready WorkerProcess::wait_for_ready(Deadline deadline) {
  auto& worker = impl();
  if (!worker.ready)
    throw Error{std::make_error_code(std::errc::operation_not_permitted), "wait until ready for worker", worker.command,
                "it was started without a channel for it", "use SpawnWorkerWithReadySignal"};
  const auto received = [&] {
    char byte = 0;
    const auto size = retried([&] { return ::read(worker.ready.number(), &byte, 1); });
    if (size == 0) worker.ready_closed = true;
    return size == 1;
  };
  while (worker.readiness != Ready::yes && worker.readiness != Ready::died) {
    pollfd waiting[] = {{worker.death.number(), POLLIN, 0},
                        {worker.ready_closed ? -1 : worker.ready.number(), POLLIN, 0}};
    const bool something = wait_for_any(waiting, deadline);
    if (waiting[1].revents != 0 && received())
      worker.readiness = Ready::yes;
    else if (waiting[0].revents != 0 || worker.exit)  // it was dead before the look at the channel, which was empty
      worker.readiness = Ready::died;
    else if (!something)
      return Ready::timed_out;
  }
  return *worker.readiness;
}

Exit WorkerProcess::wait_for_exit(Deadline deadline) {
  auto& worker = impl();
  if (worker.exit) return *worker.exit;
  pollfd waiting{worker.death.number(), POLLIN, 0};
  if (wait_for_any({&waiting, 1}, deadline)) return worker.reap();
  worker.last_seen = worker.threads();
  worker.kill_group();
  worker.send_signal(SIGKILL, "kill worker");
  worker.wait_for_death("kill worker");
  auto result = worker.reap();
  if (result.by == Exit::By::signal) result.by = Exit::By::deadline;  // else it ended by itself in the last moment
  worker.exit = result;
  return result;
}

void WorkerProcess::release() {
  auto& worker = impl();
  if (retried([&] { return ::send(worker.control.number(), &release_mark, 1, MSG_NOSIGNAL | MSG_DONTWAIT); }) == 1)
    return;
  if (errno != EPIPE && errno != ECONNRESET) throw Error{system_code(errno), "release worker", worker.command};
}

void WorkerProcess::kill() {
  auto& worker = impl();
  if (worker.exit) return;
  worker.send_signal(SIGKILL, "kill worker");
  worker.wait_for_death("kill worker");
}

void WorkerProcess::stop() {
  auto& worker = impl();
  siginfo_t info{};
  if (!worker.dead()) {
    worker.send_signal(SIGSTOP, "stop worker");
    // WNOWAIT leaves the state to be asked for again: by another stop(), and by wait_for_exit().
    const auto id = static_cast<id_t>(worker.pid);
    if (retried([&] { return ::waitid(P_PID, id, &info, WSTOPPED | WEXITED | WNOWAIT); }) != 0)
      throw Error{system_code(errno), "stop worker", worker.command};
    if (info.si_code == CLD_STOPPED) return;
  }
  throw Error{std::make_error_code(std::errc::no_such_process), "stop worker", worker.command, "it has ended"};
}

void WorkerProcess::resume() {
  auto& worker = impl();
  if (!worker.exit) worker.send_signal(SIGCONT, "resume worker");
}

bool WorkerProcess::is_running() const { return !impl().dead(); }
std::int64_t WorkerProcess::pid() const noexcept { return impl_ ? impl_->pid : 0; }
std::string WorkerProcess::output() const { return Impl::written(impl().output); }
std::string WorkerProcess::errors() const { return Impl::written(impl().errors); }

std::string WorkerProcess::report() const {
  const auto& worker = impl();
  auto result = fmt::format("worker {}: {}\n", worker.pid, worker.command);
  if (worker.exit)
    result += fmt::format("  it {}\n{}", to_string(*worker.exit), worker.last_seen);
  else if (const auto exit = worker.dead() ? worker.ask(WNOWAIT) : std::nullopt)
    result += fmt::format("  it {}; it is not reaped yet\n", to_string(*exit));
  else
    result += fmt::format("  it runs\n{}", worker.threads());
  if (worker.ready)
    result += fmt::format("  ready signal: {}\n", worker.readiness == Ready::yes ? "received"
                                                  : worker.ready_closed          ? "none, and its channel is closed"
                                                                                 : "none");
  return result + tail("standard output", output()) + tail("standard error", errors());
}

std::string to_string(const Exit& exit) {
  const char* description = exit.by == Exit::By::code ? nullptr : ::sigdescr_np(exit.value);
  switch (exit.by) {
    case Exit::By::code:
      if (exit.reached_end) return fmt::format("ended with code {}", exit.value);
      return fmt::format("ended with code {} before its scenario had reached its end", exit.value);
    case Exit::By::signal:
      return fmt::format("was killed by signal {} ({})", exit.value, description != nullptr ? description : "unknown");
    case Exit::By::deadline:
      return fmt::format("ran still at the deadline, and was killed by signal {}", exit.value);
  }
  return "?";
}

// --- starting --------------------------------------------------------------------------------------------------------

namespace {
std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> result;
  for (auto& string : strings) result.push_back(string.data());
  result.push_back(nullptr);
  return result;
}

std::vector<std::string> environment_with(const std::map<std::string, std::optional<std::string>>& changes) {
  std::vector<std::string> result;
  for (char** entry = ::environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text{*entry};
    if (!changes.contains(std::string{text.substr(0, text.find('='))})) result.emplace_back(text);
  }
  for (const auto& [name, value] : changes)
    if (value) result.push_back(name + "=" + *value);
  return result;
}
}  // namespace

WorkerProcess WorkerProcess::Impl::start(const std::filesystem::path& executable, std::string_view scenario,
                                         const std::vector<Argument>& arguments, const WorkerOptions& options,
                                         bool ready_signal) {
  const Starting starting{executable};
  struct sigaction children {};
  if (::sigaction(SIGCHLD, nullptr, &children) == 0 &&
      (children.sa_handler == SIG_IGN || (children.sa_flags & SA_NOCLDWAIT) != 0))
    starting.fail(ECHILD, "this process ignores SIGCHLD, so that nobody could tell how the worker ended",
                  "leave SIGCHLD at its default");

  std::vector<std::string> words{executable.string(), std::string{scenario}};
  for (const auto& argument : arguments) words.push_back(argument.text);
  auto worker = std::make_unique<Impl>();
  for (const auto& word : words) {
    if (word.find('\0') != std::string::npos) starting.fail(EINVAL, "an argument contains a null byte");
    if (!worker->command.empty()) worker->command += ' ';
    worker->command += shell_word(word);
  }
  auto variables = options.environment;
  variables[control_variable] = std::to_string(control_number);
  variables[lifeline_variable] = std::to_string(lifeline_number);
  variables[ready_variable] = ready_signal ? std::optional{std::to_string(ready_number)} : std::nullopt;
  for (const auto& [name, value] : variables) {
    if (name.empty() || name.find_first_of(std::string_view{"=\0", 2}) != std::string::npos ||
        (value && value->find('\0') != std::string::npos))
      starting.fail(EINVAL, "a variable of its environment has no valid name or value");
  }
  auto environment = environment_with(variables);

  struct Channels {
    Descriptor input, output, errors;
    Starting::Pair control, lifeline, ready, status;
  } channels;
  const auto open_channels = [&] {
    channels = {};
    channels.input = starting.take(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    channels.output = starting.stream("worker's standard output");
    channels.errors = starting.stream("worker's standard error");
    channels.control = starting.sockets();
    channels.lifeline = starting.pipe();
    if (ready_signal) channels.ready = starting.pipe();
    channels.status = starting.pipe();
  };
  try {
    open_channels();
  } catch (const Error& error) {
    if (error.code() != std::errc::too_many_files_open || !raise_descriptor_limit()) throw;
    open_channels();
  }

  const auto argument_pointers = pointers(words), environment_pointers = pointers(environment);
  Plan plan{words.front().c_str(),
            argument_pointers.data(),
            environment_pointers.data(),
            channels.input.number(),
            channels.output.number(),
            channels.errors.number(),
            channels.control.far.number(),
            channels.lifeline.near.number(),
            channels.ready.far.number(),
            channels.status.far.number(),
            false,
            {}};
  if (::getrlimit(RLIMIT_NOFILE, &plan.limit) == 0 && limit_before != 0 && plan.limit.rlim_cur == limit_raised) {
    plan.lower_limit = true;
    plan.limit.rlim_cur = limit_before;
  }

  pid_t pid = -1;
  {
    const SignalsBlocked blocked;
    pid = ::fork();
    if (pid == 0) become_worker(plan);
  }
  if (pid < 0) starting.fail(errno);
  worker->pid = pid;  // from here on its destructor ends and reaps it
  worker->output = std::move(channels.output);
  worker->errors = std::move(channels.errors);
  worker->control = std::move(channels.control.near);
  worker->lifeline = std::move(channels.lifeline.far);
  worker->ready = std::move(channels.ready.near);
  channels.control.far.close();
  channels.lifeline.near.close();
  channels.ready.far.close();
  channels.status.far.close();
  worker->death = platform::watch_death(pid);
  if (!worker->death) starting.fail(errno, "its end cannot be watched", "pidfd_open is needed: Linux 5.4 or newer");

  if (const auto failure = failure_to_execute(channels.status.near.number(), pid, worker->death)) {
    switch (failure->step) {
      case Step::exec:
        starting.fail(failure->error);
      case Step::lifeline:
        starting.fail(failure->error, "its life cannot be tied to that of this process",
                      "fcntl(F_SETSIG) on a pipe is needed");
      default:
        starting.fail(failure->error, "the new process could not be prepared");
    }
  }
  return WorkerProcess{std::move(worker)};
}

WorkerProcess SpawnWorker(const std::filesystem::path& executable, std::string_view scenario,
                          const std::vector<Argument>& arguments, const WorkerOptions& options) {
  return WorkerProcess::Impl::start(executable, scenario, arguments, options, false);
}

WorkerProcess SpawnWorkerWithReadySignal(const std::filesystem::path& executable, std::string_view scenario,
                                         const std::vector<Argument>& arguments, const WorkerOptions& options) {
  return WorkerProcess::Impl::start(executable, scenario, arguments, options, true);
}
}  // namespace holdfast::harness
