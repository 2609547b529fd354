#include <holdfast/platform/process.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <ctime>
#include <limits>
#include <new>
#include <ratio>
#include <string_view>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <fmt/format.h>
#include <holdfast/error.hpp>
#include <holdfast/steps.hpp>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434  // the same number on every architecture
#endif
#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

namespace holdfast::platform {
namespace {
/// The beginning of a small file in /proc, as one read gives it: the kernel writes such a text in one piece.
class SmallFile {
 public:
  explicit SmallFile(const char* path) noexcept {
    int file = -1;
    do {
      file = ::open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    } while (file < 0 && errno == EINTR);
    const Descriptor closing{file};
    ssize_t size = -1;
    if (file >= 0) {
      do {
        size = ::read(file, bytes_.data(), bytes_.size());
      } while (size < 0 && errno == EINTR);
    }
    if (size < 0)
      error_ = errno;
    else
      size_ = static_cast<std::size_t>(size);
  }
  [[nodiscard]] std::string_view text() const noexcept { return {bytes_.data(), size_}; }
  [[nodiscard]] int error() const noexcept { return error_; }

 private:
  std::array<char, 4096> bytes_;
  std::size_t size_ = 0;
  int error_ = 0;
};

/// For what may be readable a moment later. To go on without it would make an identity that stays unknown for ever.
void throw_if_short_of_resources(int error) {
  if (error == EMFILE || error == ENFILE || error == ENOMEM)
    throw Error{{error, std::generic_category()}, "read", "/proc", {}, "needed once, to find out who this process is"};
}

template <class Number>
bool parse(std::string_view text, Number& number) noexcept {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size();
}

struct Stat {
  std::string_view program;
  char state = 0;
  std::int64_t threads = 0;
  std::uint64_t start = 0;
};
/// proc(5), /proc/<pid>/stat. The program's name, in parentheses, may itself contain spaces and parentheses.
std::optional<Stat> parse_stat(std::string_view text) noexcept {
  const auto open = text.find('('), close = text.rfind(')');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open) return std::nullopt;
  Stat stat;
  stat.program = text.substr(open + 1, close - open - 1);
  auto rest = text.substr(close + 1);
  constexpr int state = 3, threads = 20, start = 22;
  for (int field = state; field <= start; ++field) {
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    const auto value = rest.substr(0, rest.find_first_of(" \n"));
    rest.remove_prefix(value.size());
    if (field == state && value.size() == 1) stat.state = value.front();
    if (field == threads && !parse(value, stat.threads)) return std::nullopt;
    if (field == start && !parse(value, stat.start)) return std::nullopt;
  }
  if (stat.state == 0) return std::nullopt;
  stat.start = std::max<std::uint64_t>(stat.start, 1);  // 0 means unknown; only the kernel's first process has it
  return stat;
}

/// The value behind "<key>:<tab>" at the beginning of a line; empty if there is none.
std::string_view line_of(std::string_view text, std::string_view key) noexcept {
  while (!text.empty()) {
    auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (!line.starts_with(key) || !line.substr(key.size()).starts_with(":\t")) continue;
    return line.substr(key.size() + 2);
  }
  return {};
}

/// thread-self, not self: when the main thread has ended, /proc/self has lost its namespaces and descriptors.
std::uint64_t namespace_of_self(const char* path) noexcept {
  struct stat found {};
  if (::stat(path, &found) == 0) return found.st_ino;
  const int error = errno;
  constexpr std::uint64_t the_only_one = 1;
  if (error == ENOENT && ::stat("/proc/thread-self/ns", &found) == 0) return the_only_one;
  errno = error;
  return 0;
}

Descriptor pidfd_open(std::int64_t pid) noexcept {
  if (pid <= 0 || pid > std::numeric_limits<pid_t>::max()) {
    errno = ESRCH;
    return {};
  }
  return Descriptor{static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0U))};
}

bool ended(const Descriptor& pidfd) noexcept {
  pollfd waiting{pidfd.number(), POLLIN, 0};
  int ready = -1;
  do {
    ready = ::poll(&waiting, 1, 0);
  } while (ready < 0 && errno == EINTR);
  return ready == 1 && (waiting.revents & POLLIN) != 0;
}

SmallFile information_on(const Descriptor& pidfd) noexcept {
  std::array<char, 64> path;
  *fmt::format_to_n(path.data(), path.size() - 1, "/proc/thread-self/fdinfo/{}", pidfd.number()).out = '\0';
  return SmallFile{path.data()};
}

/// What /proc calls the process behind a pidfd. That is not the caller's number for it if /proc was mounted for another
/// PID namespace. 0: not in there, or there is no /proc. -1: it has been reaped.
std::int64_t number_in_proc(const SmallFile& info) noexcept {
  std::int64_t number = 0;
  if (!parse(line_of(info.text(), "Pid"), number)) number = 0;
  return number;
}

/// True if the numbers in /proc are those of the caller's PID namespace. Comparing one pid would be too little: a process
/// may have the same number in two namespaces.
bool proc_counts_as_we_do() noexcept {
  const SmallFile status{"/proc/self/status"};
  std::int64_t number = 0;  // NSpid has one number for each namespace from that of /proc down to the process's own
  return parse(line_of(status.text(), "NSpid"), number) && number == ::getpid();
}

SmallFile stat_file(std::int64_t number_in_proc) noexcept {
  std::array<char, 64> path;
  *fmt::format_to_n(path.data(), path.size() - 1, "/proc/{}/stat", number_in_proc).out = '\0';
  return SmallFile{path.data()};
}

/// kill, not the lack of /proc/<pid>: the mount option hidepid hides other users' processes.
bool exists(std::int64_t pid) noexcept { return ::kill(static_cast<pid_t>(pid), 0) == 0 || errno != ESRCH; }

ProcessState state_without_pidfd(std::int64_t pid, std::uint64_t start) noexcept {
  if (!exists(pid)) return ProcessState::gone;
  if (!proc_counts_as_we_do()) return ProcessState::unknown;
  const auto file = stat_file(pid);
  const auto stat = parse_stat(file.text());
  if (!stat) return exists(pid) ? ProcessState::unknown : ProcessState::gone;
  if (stat->start != start) return ProcessState::replaced;
  // A main thread that has ended shows Z as well, while the other threads go on.
  const bool zombie = (stat->state == 'Z' || stat->state == 'X') && stat->threads <= 1;
  return zombie ? ProcessState::gone : ProcessState::running;
}

/// SipHash-2-4 of one block and its length. The key cannot be computed back from the result: it is the seed of the C
/// library's stack protector, and the result is written where everybody can read it.
std::uint64_t siphash(const std::array<std::uint64_t, 2>& key, std::uint64_t first, std::uint64_t second) noexcept {
  std::uint64_t v0 = key[0] ^ 0x736f6d6570736575, v1 = key[1] ^ 0x646f72616e646f6d;
  std::uint64_t v2 = key[0] ^ 0x6c7967656e657261, v3 = key[1] ^ 0x7465646279746573;
  const auto rounds = [&](int count) {
    for (; count > 0; --count) {
      v0 += v1, v1 = std::rotl(v1, 13) ^ v0, v0 = std::rotl(v0, 32);
      v2 += v3, v3 = std::rotl(v3, 16) ^ v2;
      v0 += v3, v3 = std::rotl(v3, 21) ^ v0;
      v2 += v1, v1 = std::rotl(v1, 17) ^ v2, v2 = std::rotl(v2, 32);
    }
  };
  const std::uint64_t length = std::uint64_t{16} << 56;
  for (const auto block : {first, second, length}) {
    v3 ^= block;
    rounds(2);
    v0 ^= block;
  }
  v2 ^= 0xff;
  rounds(4);
  return v0 ^ v1 ^ v2 ^ v3;
}

/// The kernel gives 16 random bytes to each program image, which all copies of this library in it see.
std::uint64_t image_of_self(std::int64_t pid, std::uint64_t start) noexcept {
  std::array<std::uint64_t, 2> key{};
  const auto address = ::getauxval(AT_RANDOM);
  if (address == 0) return 0;
  // NOLINTNEXTLINE(performance-no-int-to-ptr): that is how getauxval gives it
  std::memcpy(key.data(), reinterpret_cast<const void*>(address), sizeof key);
  return std::max<std::uint64_t>(siphash(key, static_cast<std::uint64_t>(pid), start), 1);
}

std::string boot_of_kernel() {
  const SmallFile file{"/proc/sys/kernel/random/boot_id"};
  throw_if_short_of_resources(file.error());
  std::string digits{file.text()};
  std::erase_if(digits, [](char c) { return c == '-' || c == '\n'; });
  if (digits.size() != 32 || digits.find_first_not_of("0123456789abcdef") != std::string::npos) digits.clear();
  return digits;
}

/// Everything but the process's own: pid, start, image and program.
ProcessFacts facts_of_surroundings() {
  ProcessFacts facts;
  facts.boot = boot_of_kernel();
  facts.pid_namespace = namespace_of_self("/proc/thread-self/ns/pid");
  if (facts.pid_namespace == 0) throw_if_short_of_resources(errno);
  facts.time_namespace = time_namespace_of_self();
  if (facts.time_namespace == 0) throw_if_short_of_resources(errno);
  utsname name{};
  if (::uname(&name) == 0) facts.host = name.nodename;
  return facts;
}

void add(ProcessFacts& facts, const SmallFile& file) {
  throw_if_short_of_resources(file.error());
  if (const auto stat = parse_stat(file.text())) {
    facts.start = stat->start;
    facts.program = stat->program;
  }
}

/// The slot of pointer_of_this_process(), in a page which the kernel hands to a child empty; `kept` where it cannot do that.
/// No function-local static, and no mutex: a thread inside at the moment of a fork would leave the child locked out.
using Pointer = std::atomic<const void*>;
static_assert(Pointer::is_always_lock_free);
constinit std::atomic<Pointer*> slot{nullptr};
constinit Pointer kept{nullptr};
constinit std::atomic<pid_t> kept_for{0};

Pointer* choose_slot() noexcept {
  const auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  void* page = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page != MAP_FAILED && ::madvise(page, size, MADV_WIPEONFORK) != 0) {
    ::munmap(page, size);
    page = MAP_FAILED;
  }
  Pointer* const mine = page == MAP_FAILED ? &kept : ::new (page) Pointer{nullptr};
  Pointer* chosen = nullptr;
  if (slot.compare_exchange_strong(chosen, mine, std::memory_order_acq_rel)) {
    if (mine == &kept) ::pthread_atfork(nullptr, nullptr, [] { kept.store(nullptr, std::memory_order_relaxed); });
    return mine;
  }
  if (page != MAP_FAILED) ::munmap(page, size);
  return chosen;
}
}  // namespace

ProcessFacts facts_of_self() {
  auto facts = facts_of_surroundings();
  facts.pid = ::getpid();
  add(facts, SmallFile{"/proc/self/stat"});
  facts.image = image_of_self(facts.pid, facts.start);
  return facts;
}

std::optional<ProcessFacts> facts_of(std::int64_t pid) {
  const auto pidfd = pidfd_open(pid);
  if (!pidfd) {
    throw_if_short_of_resources(errno);
    const bool is_a_thread = errno == EINVAL || errno == ENOENT;
    if (errno == ESRCH || is_a_thread || !exists(pid)) return std::nullopt;
  }
  auto facts = facts_of_surroundings();
  facts.pid = pid;
  std::int64_t number = 0;
  if (pidfd) {
    const auto info = information_on(pidfd);
    throw_if_short_of_resources(info.error());
    number = number_in_proc(info);
  } else if (proc_counts_as_we_do()) {
    number = pid;
  }
  if (number > 0) add(facts, stat_file(number));
  if (facts.start == 0 && !exists(pid)) return std::nullopt;  // reaped meanwhile
  return facts;
}

std::uint64_t time_namespace_of_self() noexcept { return namespace_of_self("/proc/thread-self/ns/time"); }

ProcessState state_of(std::int64_t pid, std::uint64_t start) noexcept {
  if (HOLDFAST_MUTANT(identity, bare_kill)) return exists(pid) ? ProcessState::running : ProcessState::gone;
  const auto pidfd = pidfd_open(pid);  // first, so that everything below is about one process, or finds that one ended
  if (!pidfd) return errno == ESRCH ? ProcessState::gone : state_without_pidfd(pid, start);
  bool same = false;
  if (const auto number = number_in_proc(information_on(pidfd)); number > 0) {
    const auto file = stat_file(number);
    if (const auto stat = parse_stat(file.text())) {
      if (stat->start != start && !HOLDFAST_MUTANT(identity, start_not_compared)) return ProcessState::replaced;
      same = true;
    }
  }
  if (ended(pidfd) && !HOLDFAST_MUTANT(identity, zombie_alive)) return ProcessState::gone;
  return same ? ProcessState::running : ProcessState::unknown;
}

Descriptor watch_death(std::int64_t pid) noexcept { return pidfd_open(pid); }

std::chrono::system_clock::time_point wall_time_of(std::uint64_t start) noexcept {
  using namespace std::chrono;
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);  // what start counts in: time in suspend included
  const auto since_boot = seconds{now.tv_sec} + nanoseconds{now.tv_nsec};
  const auto ticks_per_second = static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
  const auto whole = start / ticks_per_second, part = start % ticks_per_second;
  if (whole > static_cast<std::uint64_t>(now.tv_sec)) return {};  // in the future: no process has it
  const auto started = seconds{whole} + nanoseconds{std::nano::den * part / ticks_per_second};
  return system_clock::now() - duration_cast<system_clock::duration>(since_boot - started);
}

std::atomic<const void*>& pointer_of_this_process() noexcept {
  Pointer* chosen = slot.load(std::memory_order_acquire);
  if (chosen == nullptr) chosen = choose_slot();
  if (chosen == &kept) {
    const pid_t process = ::getpid();
    if (kept_for.load(std::memory_order_acquire) != process) {  // after a raw clone: fork's handler did not run
      kept.store(nullptr, std::memory_order_relaxed);
      kept_for.store(process, std::memory_order_release);
    }
  }
  return *chosen;
}
}  // namespace holdfast::platform
