// shared_memory_worker - a process that makes, uses and removes segments. See surroundings.hpp for `under`.
//
// A call is given as: <how> <name> [<size> [<options> [<milliseconds>]]], where how is create, create_or_attach, attach,
// attach_read_only, remove or list, and options is a list out of group, everyone, until_removed, no_prefault,
// alignment=<n>, separated by commas. What comes of it is printed on one line:
//   has <n> bytes, <m> of them not zero | removed | nothing to remove | <state> by to_string | not listed |
//   error <category>:<number>: <what()>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <optional>
#include <set>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>
#include <holdfast/process_identity.hpp>
#include <holdfast/shared_memory.hpp>
#include <holdfast/testing/worker.hpp>

#include "../shared_memory/meeting.hpp"
#include "../shared_memory/step_marks.hpp"
#include "descriptor_limit.hpp"
#include "surroundings.hpp"

namespace {
using holdfast::Access;
using holdfast::Deadline;
using holdfast::errc;
using holdfast::Error;
using holdfast::Lifetime;
using holdfast::ProcessIdentity;
using holdfast::SegmentOptions;
using holdfast::SharedMemory;
using holdfast::harness::Scenario;
using holdfast::harness::signal_test_ready;
using holdfast::harness::WorkerContext;
using namespace holdfast::test;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

// ---- calls, and what came of them ------------------------------------------------------------------------------------

SegmentOptions options_from(const std::string& text) {
  SegmentOptions options;
  std::istringstream list{text};
  for (std::string word; std::getline(list, word, ',');) {
    if (word == "group") options.access = Access::group;
    if (word == "everyone") options.access = Access::everyone;
    if (word == "until_removed") options.lifetime = Lifetime::until_removed;
    if (word == "no_prefault") options.prefault = false;
    if (word.starts_with("alignment=")) options.alignment = std::stoull(word.substr(10));
  }
  return options;
}

struct Call {
  std::string how, name;
  std::size_t size = 4096;
  SegmentOptions options{};
  std::chrono::milliseconds patience = 30s;

  /// The arguments from this one on.
  Call(const WorkerContext& context, std::size_t first)
      : how{context.argument(first)}, name{context.argument(first + 1)} {
    if (context.argument_count() > first + 2) size = std::stoull(context.argument(first + 2));
    if (context.argument_count() > first + 3) options = options_from(context.argument(first + 3));
    if (context.argument_count() > first + 4) patience = std::chrono::milliseconds{context.number(first + 4)};
  }

  [[nodiscard]] SharedMemory memory() const {
    if (how == "create") return SharedMemory::create(name, size, options);
    if (how == "create_or_attach") return SharedMemory::create_or_attach(name, size, options, patience);
    if (how == "attach") return SharedMemory::attach(name, patience);
    if (how == "attach_read_only") return SharedMemory::attach_read_only(name, patience);
    throw std::runtime_error{"no such call: " + how};
  }
};

void print_error(const Error& error) {
  std::printf("error %s:%d: %s\n", error.code().category().name(), error.code().value(), error.what());
}

void print_memory(const SharedMemory& memory) {
  const auto bytes = memory.bytes();
  const auto zeros = std::count(bytes.begin(), bytes.end(), std::byte{0});
  std::printf("has %zu bytes, %zu of them not zero\n", bytes.size(), bytes.size() - static_cast<std::size_t>(zeros));
}

/// Makes the call, prints what came of it, and keeps the segment if there is one.
std::optional<SharedMemory> answer(const Call& call) try {
  if (call.how == "remove") {
    std::printf(SharedMemory::remove(call.name) ? "removed\n" : "nothing to remove\n");
    return std::nullopt;
  }
  if (call.how == "list") {
    for (const auto& info : SharedMemory::list()) {
      if (info.name != call.name) continue;
      std::printf("%s: %s\n", std::string{to_string(info.state)}.c_str(), to_string(info).c_str());
      return std::nullopt;
    }
    std::printf("not listed\n");
    return std::nullopt;
  }
  auto memory = call.memory();
  print_memory(memory);
  return memory;
} catch (const Error& error) {
  print_error(error);
  return std::nullopt;
}

void print_identity() { std::printf("%s\n", ProcessIdentity::self().encode().c_str()); }

int nothing(WorkerContext&) { return 0; }

/// Ready without doing anything: to be a place with its own mounts, or a process after exec.
int wait(WorkerContext& context) {
  signal_test_ready();
  return context.wait_for_release();
}

/// One call, and the end of its use.
int attempt(WorkerContext& context) {
  static_cast<void>(answer(Call{context, 0}));
  return 0;
}

/// Has the segment when it is ready, until it is released.
int use(WorkerContext& context) {
  print_identity();
  const auto memory = answer(Call{context, 0});
  signal_test_ready();
  return context.wait_for_release();
}

/// Ready before the call: it may have to wait there.
int wait_then_use(WorkerContext& context) {
  print_identity();
  const Call call{context, 0};
  signal_test_ready();
  const auto memory = answer(call);
  return context.wait_for_release();
}

/// The same, and writes a number at the beginning that others read.
int use_and_write(WorkerContext& context) {
  const Call call{context, 1};
  auto memory = call.memory();
  memory.as<std::int64_t>() = context.number(0);
  signal_test_ready();
  return context.wait_for_release();
}

/// The mode of the file, whatever the umask.
int show_mode(WorkerContext& context) {
  const Call call{context, 0};
  const auto memory = call.memory();
  struct stat found {};
  if (::fstat(memory.descriptor(), &found) != 0) fail("fstat");
  std::printf("%o\n", found.st_mode & 07777U);
  return 0;
}

/// How many page faults it costs to write to every page.
int show_faults(WorkerContext& context) {
  const Call call{context, 0};
  auto memory = call.memory();
  rusage before{}, after{};
  const auto bytes = memory.bytes();
  ::getrusage(RUSAGE_SELF, &before);
  for (std::size_t i = 0; i < bytes.size(); i += 4096) bytes[i] = std::byte{1};
  ::getrusage(RUSAGE_SELF, &after);
  std::printf("%ld\n", after.ru_minflt - before.ru_minflt);
  return 0;
}

// ---- what becomes of a user --------------------------------------------------------------------------------------------

std::set<int> open_numbers() {
  std::set<int> result;
  for (const auto& entry : fs::directory_iterator{"/proc/self/fd"}) result.insert(std::stoi(entry.path().filename()));
  return result;
}

/// As closefrom() and daemons do, for all descriptors but those that the harness has.
int use_without_descriptors(WorkerContext& context) {
  print_identity();
  const Call call{context, 0};
  static_cast<void>(ProcessIdentity::self());
  const auto kept = open_numbers();
  auto memory = call.memory();
  std::size_t closed = 0;
  for (const int number : open_numbers())
    if (!kept.contains(number) && ::close(number) == 0) ++closed;
  require(closed > 0, "it must have had descriptors");
  memory.bytes()[0] = std::byte{1};  // the memory is there
  signal_test_ready();
  return context.wait_for_release();
}

/// Has a child, which keeps the segment mapped until one of the two is released, whoever that is.
int use_with_child(WorkerContext& context) {
  const Call call{context, 0};
  auto memory = std::optional{call.memory()};
  std::fflush(stdout);
  const pid_t child = ::fork();
  if (child < 0) fail("fork");
  if (child == 0) {
    memory->bytes()[0] = std::byte{7};
    std::printf("child %d\n", static_cast<int>(::getpid()));
    std::fflush(stdout);
    signal_test_ready();
    const int code = context.wait_for_release();
    memory.reset();
    std::printf("child detached\n");
    std::fflush(stdout);
    std::_Exit(code);
  }
  const int code = context.wait_for_release();
  memory.reset();
  return code;
}

/// A child that destroys its copy, and one that just ends, leave the segment to its parent.
int child_detaches(WorkerContext& context) {
  const Call call{context, 0};
  auto memory = std::optional{call.memory()};
  for (const bool destroys : {true, false}) {
    const pid_t child = ::fork();
    if (child < 0) fail("fork");
    if (child == 0) {
      if (destroys) memory.reset();
      std::_Exit(0);
    }
    require(exit_code_of(child) == 0, "the child");
    require(fs::exists("/dev/shm/holdfast." + call.name), "the parent uses it still");
    require(SharedMemory::attach(call.name, 0s).size() == call.size, "others still find it");
    try {
      SharedMemory::remove(call.name);
      require(false, "it must not be removed");
    } catch (const Error& error) {
      require(error.code() == errc::in_use, error.what());
    }
  }
  memory.reset();
  require(!fs::exists("/dev/shm/holdfast." + call.name), "the last user has detached");
  return 0;
}

/// Has the segment, and becomes another program, which is ready then.
int use_then_exec(WorkerContext& context) {
  const Call call{context, 0};
  auto memory = call.memory();
  std::printf("attached\n");
  std::fflush(stdout);
  ::execl("/proc/self/exe", "/proc/self/exe", "wait", nullptr);
  fail("exec");
}

/// Detaches by a member function, and tells what becomes of the object.
int detach_and_stay(WorkerContext& context) {
  const Call call{context, 0};
  auto memory = call.memory();
  memory.detach();
  signal_test_ready();
  return context.wait_for_release();
}

// ---- memory without a name ---------------------------------------------------------------------------------------------

/// Argument 0: a descriptor that it has inherited, 1: what it has to find, 2: what it writes.
int use_inherited(WorkerContext& context) {
  auto memory = SharedMemory::attach(static_cast<int>(context.number(0)));
  require(memory.as<std::int64_t>() == context.number(1), "it must be the same memory");
  memory.as<std::int64_t>() = context.number(2);
  return 0;
}

/// Starts a program that inherits the descriptor, by exec.
int pass_by_inheritance(WorkerContext& context) {
  auto memory = SharedMemory::create_anonymous(context.argument(0), 8192);
  memory.as<std::int64_t>() = 11;
  const pid_t child = ::fork();
  if (child < 0) fail("fork");
  if (child == 0) {
    const auto number = std::to_string(::dup(memory.descriptor()));  // without close-on-exec
    ::execl("/proc/self/exe", "/proc/self/exe", "use_inherited", number.c_str(), "11", "12", nullptr);
    std::_Exit(99);
  }
  require(exit_code_of(child) == 0, "the program that inherits it");
  require(memory.as<std::int64_t>() == 12, "it is the same memory");
  return 0;
}

/// Argument 0: a socket that the descriptor comes from. Adds 1 to the number it finds there, and keeps the memory.
int use_received(WorkerContext& context) {
  const int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const auto path = context.argument(0);
  require(path.size() < sizeof address.sun_path, "a shorter path for the socket");
  std::copy(path.begin(), path.end(), std::begin(address.sun_path));
  if (::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) fail("connect");
  char byte = 0;
  iovec data{&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  if (::recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != 1) fail("recvmsg");
  const cmsghdr* const header = CMSG_FIRSTHDR(&message);
  require(header != nullptr && header->cmsg_type == SCM_RIGHTS, "a descriptor");
  int descriptor = -1;
  std::memcpy(&descriptor, CMSG_DATA(header), sizeof descriptor);
  auto memory = SharedMemory::attach(descriptor);
  ::close(descriptor);  // it stays the caller's
  ::close(socket);
  ++memory.as<std::int64_t>();
  signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  ++memory.as<std::int64_t>();
  return 0;
}

// ---- many at once ------------------------------------------------------------------------------------------------------

/// What bears the name now is what this process has attached.
void require_not_split_off(const SharedMemory& memory) {
  struct stat mine {
  }, named{};
  if (::fstat(memory.descriptor(), &mine) != 0) fail("fstat");
  const auto path = "/dev/shm/holdfast." + memory.name();
  if (::stat(path.c_str(), &named) != 0) fail("nothing bears the name of a segment in use: " + path);
  require(mine.st_ino == named.st_ino, "something else bears the name of a segment in use");
}

/// Arguments: name, file of the meeting, participants, rounds, own number, and what to leave there before each round: nothing,
/// or a file to be copied.
struct Race {
  std::string name;
  Meeting meeting;
  std::int64_t rounds;
  bool first;
  std::string leftover;

  explicit Race(const WorkerContext& context)
      : name{context.argument(0)},
        meeting{context.argument(1), static_cast<std::uint64_t>(context.number(2))},
        rounds{context.number(3)},
        first{context.number(4) == 0},
        leftover{context.argument_count() > 5 ? context.argument(5) : ""} {}

  [[nodiscard]] std::string path() const { return "/dev/shm/holdfast." + name; }
  void begin_round() const {
    meeting.meet();
    if (first) require(!fs::exists(path()), "the last user of the round before has removed it");
    if (first && !leftover.empty()) fs::copy_file(leftover, path());
    meeting.meet();
  }
};

/// Of all who create at once exactly one does; the others are told, and find what it has made.
int create_in_rounds(WorkerContext& context) {
  const Race race{context};
  signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  for (std::int64_t round = 0; round < race.rounds; ++round) {
    race.begin_round();
    std::optional<SharedMemory> memory;
    try {
      memory.emplace(SharedMemory::create(race.name, 5000));
      race.meeting.count(0) += 1;
    } catch (const Error& error) {
      if (error.code() != std::errc::file_exists) throw;
      race.meeting.count(1) += 1;
    }
    if (!memory) memory.emplace(SharedMemory::attach(race.name, 0s));
    require(memory->size() == 5000, "the size");
    require_not_split_off(*memory);
    race.meeting.meet();
    const auto created = race.meeting.count(0).load();
    require(created == static_cast<std::uint64_t>(round) + 1,
            "created " + std::to_string(created) + " times by round " + std::to_string(round + 1));
    race.meeting.meet();
  }
  return 0;
}

/// All who create or attach at once end in one segment, which was zeroed before the first of them had it.
int create_or_attach_in_rounds(WorkerContext& context) {
  const Race race{context};
  const auto participants = static_cast<std::uint64_t>(context.number(2));
  signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  for (std::int64_t round = 0; round < race.rounds; ++round) {
    race.begin_round();
    auto memory = SharedMemory::create_or_attach(race.name, 5000);
    ++memory.as<std::atomic<std::uint64_t>>(8);
    require_not_split_off(memory);
    race.meeting.meet();
    const auto sum = memory.as<std::atomic<std::uint64_t>>(8).load();
    require(sum == participants, "counted " + std::to_string(sum) + " in round " + std::to_string(round + 1));
    race.meeting.meet();
  }
  return 0;
}

/// Of all who remove at once exactly one does; to the others there was nothing.
int remove_in_rounds(WorkerContext& context) {
  const Race race{context};
  signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  for (std::int64_t round = 0; round < race.rounds; ++round) {
    race.begin_round();
    if (SharedMemory::remove(race.name)) race.meeting.count(0) += 1;
    race.meeting.meet();
    const auto removed = race.meeting.count(0).load();
    require(removed == static_cast<std::uint64_t>(round) + 1,
            "removed " + std::to_string(removed) + " times by round " + std::to_string(round + 1));
  }
  return 0;
}

/// Attaches and detaches without waiting for anybody. As long as it is attached, the name is that of what it has.
int come_and_go(WorkerContext& context) {
  const Race race{context};
  signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  for (std::int64_t round = 0; round < race.rounds; ++round) {
    auto memory = SharedMemory::create_or_attach(race.name, 5000, {}, 60s);
    require(memory.size() == 5000, "the size");
    auto& inside = memory.as<std::atomic<std::uint64_t>>();
    ++inside;
    require_not_split_off(memory);
    --inside;
  }
  return 0;
}

/// The same until it is killed or released.
int come_and_go_for_ever(WorkerContext& context) {
  signal_test_ready();
  while (!context.released()) {
    auto memory = SharedMemory::create_or_attach(context.argument(0), 5000, {}, 60s);
    require(memory.size() == 5000, "the size");
    require_not_split_off(memory);
  }
  return context.wait_for_release();
}

/// Removes over and over what others use over and over: false, or in use, or it was really nobody's.
int remove_for_ever(WorkerContext& context) {
  signal_test_ready();
  while (!context.released()) try {
      SharedMemory::remove(context.argument(0));
    } catch (const Error& error) {
      if (error.code() != errc::in_use) throw;
    }
  return context.wait_for_release();
}

// ---- step by step ------------------------------------------------------------------------------------------------------

/// Makes one call between two marks that a tracer sees: the steps between them are the call's. Argument 0: "call", or
/// "detach": then the call comes before, and it is the end of the segment's use that is marked.
int make_steps(WorkerContext& context) {
  const Call call{context, 1};
  static_cast<void>(ProcessIdentity::self());
  std::optional<SharedMemory> memory;
  const bool detaches = context.argument(0) == "detach";
  if (detaches) memory = call.memory();
  signal_test_ready();
  if (const int code = context.wait_for_release()) return code;
  mark_begin_of_steps();
  if (detaches)
    memory.reset();
  else if (call.how == "remove")
    SharedMemory::remove(call.name);
  else
    memory = call.memory();
  mark_end_of_steps();
  return context.wait_for_release();
}

// ---- damage ------------------------------------------------------------------------------------------------------------

std::vector<char> bytes_of(const std::string& path) {
  std::ifstream file{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{file}, {}};
}

std::atomic<std::size_t> damaged_byte{0};

/// Says where the damage was that a crash came from.
void tell_of_crashes() {
  const auto tell = [](int signal) {
    std::array<char, 64> text{};
    std::snprintf(text.data(), text.size(), "crash with byte %zu damaged\n", damaged_byte.load());
    [[maybe_unused]] const auto written = ::write(2, text.data(), std::strlen(text.data()));
    ::signal(signal, SIG_DFL);
    ::raise(signal);
  };
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) ::signal(signal, tell);
}

/// Whatever is there: an answer, or an Error with a code that fits.
void use_what_is_there(const std::string& name) {
  const auto clear = [](const std::function<void()>& call) {
    try {
      call();
    } catch (const Error& error) {
      for (const auto code : {errc::foreign, errc::corrupt, errc::version_mismatch, errc::layout_mismatch,
                              errc::incomplete, errc::in_use, errc::too_many_participants})
        if (error.code() == code) return;
      for (const auto code : {std::errc::file_exists, std::errc::no_such_file_or_directory})
        if (error.code() == code) return;
      throw;
    }
  };
  const auto touch = [](const SharedMemory& memory) {
    for (const auto& byte : memory.bytes())
      [[maybe_unused]] const auto value = *static_cast<const volatile std::byte*>(&byte);
  };
  clear([&] { touch(SharedMemory::attach_read_only(name, 0s)); });
  clear([&] {
    for (const auto& info : SharedMemory::list())
      if (info.name == name) require(!to_string(info).empty(), "a description");
  });
  clear([&] { touch(SharedMemory::create_or_attach(name, 5000, {}, 0s)); });
}

/// Arguments: name, a sound segment's file, the first byte to be damaged, the byte behind the last one, by which mask, and
/// how far they are apart.
int damage_bytes(WorkerContext& context) {
  const auto name = context.argument(0), path = "/dev/shm/holdfast." + name;
  auto sound = bytes_of(context.argument(1));
  const auto first = static_cast<std::size_t>(context.number(2)), end = static_cast<std::size_t>(context.number(3));
  const auto mask = static_cast<char>(context.number(4));
  const auto step = static_cast<std::size_t>(context.number(5));
  require(sound.size() >= end && first < end, "the file is smaller than that");
  tell_of_crashes();
  const auto write = [&] {
    const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || ::write(file, sound.data(), sound.size()) != static_cast<ssize_t>(sound.size())) fail("write");
    ::close(file);
  };
  for (std::size_t i = first; i < end; i += step) try {
      damaged_byte = i;
      sound[i] = static_cast<char>(sound[i] ^ mask);
      write();
      use_what_is_there(name);
      write();  // it may have been replaced or removed
      try {
        SharedMemory::remove(name);
      } catch (const Error& error) {
        require(error.code() == errc::foreign || error.code() == errc::corrupt ||
                    error.code() == errc::version_mismatch || error.code() == errc::in_use,
                error.what());
      }
      fs::remove(path);
      sound[i] = static_cast<char>(sound[i] ^ mask);
    } catch (const std::exception& exception) {
      throw std::runtime_error{"byte " + std::to_string(i) + ": " + exception.what()};
    }
  return 0;
}

/// Arguments: name, a sound segment's file, sizes.
int cut_short(WorkerContext& context) {
  const auto name = context.argument(0), path = "/dev/shm/holdfast." + name;
  const auto sound = bytes_of(context.argument(1));
  tell_of_crashes();
  for (std::size_t i = 2; i < context.argument_count(); ++i) {
    const auto size = static_cast<std::size_t>(context.number(i));
    damaged_byte = size;
    const auto write = [&] {
      std::ofstream{path, std::ios::binary}.write(sound.data(),
                                                  static_cast<std::streamsize>(std::min(size, sound.size())));
      fs::resize_file(path, size);
    };
    write();
    use_what_is_there(name);
    write();
    try {
      SharedMemory::remove(name);
    } catch (const Error& error) {
      require(error.code() == errc::foreign || error.code() == errc::corrupt, error.what());
    }
    fs::remove(path);
  }
  return 0;
}

// ---- too few descriptors -----------------------------------------------------------------------------------------------

/// Every call with each number of free descriptors, from none on, until it works: the right error before, and nothing is left.
int run_out_of_descriptors(WorkerContext& context) {
  const auto name = context.argument(0), path = "/dev/shm/holdfast." + name;
  static_cast<void>(ProcessIdentity::self());
  try {  // a sanitizer needs descriptors when it meets a type of exception for the first time
    SharedMemory::attach(name, 0s).detach();
  } catch (const Error& error) {
    require(error.code() == std::errc::no_such_file_or_directory, error.what());
  }
  constexpr int enough = 12;
  const auto with_each_number = [&](const std::string& what, const std::function<void()>& prepare,
                                    const std::function<void()>& call, const std::function<void()>& check) {
    prepare();
    call();  // with all of them; a sanitizer needs some, too, for what it sees for the first time
    check();
    int failures = 0;
    bool worked = false;
    for (int free = 0; free <= enough; ++free) try {
        prepare();
        const auto before = open_descriptors();
        try {
          const DescriptorLimit limit{free};
          call();
          worked = true;
        } catch (const Error& error) {
          require(!worked, std::string{"with fewer it worked: "} + error.what());
          require(error.code() == std::errc::too_many_files_open, std::string{"wrong error: "} + error.what());
          const std::string_view text{error.what()};
          require(text.find("holdfast." + name) != text.npos || text.find("/dev/shm") != text.npos,
                  "the path is missing: " + std::string{text});
          require(text.find("ulimit -n") != text.npos, "the remedy is missing: " + std::string{text});
          ++failures;
        }
        require(open_descriptors() == before, "descriptors were left open");
        check();
      } catch (const std::exception& exception) {
        throw std::runtime_error{what + ", " + std::to_string(free) + " free: " + exception.what()};
      }
    require(worked && failures > 0, what + ": " + std::to_string(failures) + " failures prove nothing");
    std::printf("%s: %d\n", what.c_str(), failures);
  };
  const auto nothing_there = [&] { require(!fs::exists(path), "left behind"); };
  const auto no_preparation = [] {};
  with_each_number(
      "create", no_preparation, [&] { SharedMemory::create(name, 5000).detach(); }, nothing_there);
  with_each_number(
      "create_or_attach", no_preparation, [&] { SharedMemory::create_or_attach(name, 5000).detach(); }, nothing_there);
  with_each_number(
      "create_anonymous", no_preparation, [&] { SharedMemory::create_anonymous("holdfast." + name, 5000).detach(); },
      nothing_there);
  {
    auto keeper = SharedMemory::create(name, 5000);
    const auto there = [&] { require_not_split_off(keeper); };
    with_each_number(
        "attach", no_preparation, [&] { SharedMemory::attach(name).detach(); }, there);
    with_each_number(
        "attach_read_only", no_preparation, [&] { SharedMemory::attach_read_only(name).detach(); }, there);
  }
  with_each_number(
      "remove", [&] { SharedMemory::create(name, 5000, {.lifetime = Lifetime::until_removed}).detach(); },
      [&] { SharedMemory::remove(name); },
      [&] {
        SharedMemory::remove(name);
        nothing_there();
      });
  with_each_number(
      "attach to nothing", no_preparation,
      [&] {
        try {
          static_cast<void>(SharedMemory::attach(name, 10ms));
        } catch (const Error& error) {
          if (error.code() != std::errc::no_such_file_or_directory) throw;
        }
      },
      nothing_there);
  return 0;
}

constexpr Scenario scenarios[] = {
    {"nothing", nothing},
    {"wait", wait},
    {"attempt", attempt},
    {"use", use},
    {"wait_then_use", wait_then_use},
    {"use_and_write", use_and_write},
    {"show_mode", show_mode},
    {"show_faults", show_faults},
    {"use_without_descriptors", use_without_descriptors},
    {"use_with_child", use_with_child},
    {"child_detaches", child_detaches},
    {"use_then_exec", use_then_exec},
    {"detach_and_stay", detach_and_stay},
    {"use_inherited", use_inherited},
    {"pass_by_inheritance", pass_by_inheritance},
    {"use_received", use_received},
    {"create_in_rounds", create_in_rounds},
    {"create_or_attach_in_rounds", create_or_attach_in_rounds},
    {"remove_in_rounds", remove_in_rounds},
    {"come_and_go", come_and_go},
    {"come_and_go_for_ever", come_and_go_for_ever},
    {"remove_for_ever", remove_for_ever},
    {"make_steps", make_steps},
    {"damage_bytes", damage_bytes},
    {"cut_short", cut_short},
    {"run_out_of_descriptors", run_out_of_descriptors},
};
}  // namespace

// The search for leaks needs /proc, and some of these processes have none.
extern "C" const char* __asan_default_options();  // NOLINT(bugprone-reserved-identifier)
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }

int main(int argc, char** argv) { return run_worker_under(scenarios, argc, argv); }
