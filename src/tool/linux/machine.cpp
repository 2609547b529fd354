#include "tool/machine.hpp"

#include <cstdlib>
#include <ctime>
#include <iterator>
#include <sstream>
#include <string_view>
#include <system_error>
#include <vector>

#include <sched.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <fmt/format.h>
#include <holdfast/platform/directory.hpp>

#include "file_contents.hpp"
#include "text.hpp"

namespace holdfast::tool {
namespace {
namespace fs = std::filesystem;

std::vector<std::string> words(const std::string& line) {
  std::istringstream in{line};
  return {std::istream_iterator<std::string>{in}, {}};
}

/// By the number of the mount, which is exact also where one directory is mounted on another: proc(5), mountinfo.
std::string file_system_of(int directory) {
  std::string mount;
  std::istringstream information{contents_of_file(fmt::format("/proc/self/fdinfo/{}", directory))};
  for (std::string line; std::getline(information, line);)
    if (const auto fields = words(line); fields.size() == 2 && fields[0] == "mnt_id:") mount = fields[1];
  std::istringstream mounts{contents_of_file("/proc/self/mountinfo")};
  for (std::string line; std::getline(mounts, line);) {
    const auto fields = words(line);
    if (fields.empty() || fields[0] != mount) continue;
    for (std::size_t i = 0; i + 1 < fields.size(); ++i)
      if (fields[i] == "-") return text::escaped(fields[i + 1]);
  }
  struct statfs status {};
  if (::fstatfs(directory, &status) != 0) return "unknown";
  return fmt::format("unknown (type {:#x})", static_cast<unsigned long>(status.f_type));
}

std::string container_hints() {
  std::vector<std::string> hints;
  constexpr std::string_view first_namespace = "pid:[4026531836]";  // PROC_PID_INIT_INO, the same on every machine
  std::error_code error;
  const auto pid_namespace = fs::read_symlink("/proc/self/ns/pid", error).string();
  if (!error && pid_namespace != first_namespace) hints.push_back(fmt::format("PID namespace {}", pid_namespace));
  if (fs::exists("/.dockerenv", error)) hints.emplace_back("/.dockerenv");
  if (fs::exists("/run/.containerenv", error)) hints.emplace_back("/run/.containerenv");
  if (const char* name = std::getenv("container")) hints.push_back(fmt::format("container={}", text::escaped(name)));
  return fmt::format("{}", fmt::join(hints, ", "));
}

unsigned usable_processors() {
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof set, &set) == 0) return static_cast<unsigned>(CPU_COUNT(&set));
  return static_cast<unsigned>(::sysconf(_SC_NPROCESSORS_ONLN));
}
}  // namespace

Surroundings look_around(const fs::path& directory) {
  Surroundings found;
  const auto opened = platform::open_path(-1, directory.native());
  found.file_system = opened.descriptor ? file_system_of(opened.descriptor.number()) : "unknown";
  found.of_one_kernel = opened.descriptor && platform::belongs_to_one_kernel(opened.descriptor.number());
  utsname names{};
  if (::uname(&names) == 0) found.kernel = fmt::format("{} {} {}", names.sysname, names.release, names.machine);
  found.processors = usable_processors();
  found.container = container_hints();
  return found;
}

std::chrono::nanoseconds thread_cpu_time() noexcept {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds{time.tv_sec} + std::chrono::nanoseconds{time.tv_nsec};
}

bool is_asleep(std::int64_t pid) {
  const auto stat = contents_of_file(fmt::format("/proc/{}/stat", pid));  // pid (program) state ...
  const auto close = stat.rfind(')');
  return close != std::string::npos && close + 2 < stat.size() && stat[close + 2] == 'S';
}

bool is_terminal(std::FILE* stream) noexcept { return ::isatty(::fileno(stream)) == 1; }

unsigned terminal_columns(std::FILE* stream) noexcept {
  winsize size{};
  return ::ioctl(::fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

fs::path this_program() {
  const fs::path link = "/proc/self/exe";
  std::error_code error;
  const auto program = fs::read_symlink(link, error);  // its name is in the workers' identities then
  return !error && ::access(program.c_str(), X_OK) == 0 && fs::equivalent(program, link, error) && !error ? program
                                                                                                          : link;
}
}  // namespace holdfast::tool
