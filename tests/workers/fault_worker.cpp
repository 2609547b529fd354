// fault_worker - writes a note into a file, in a right way and in wrong ones, for fault injection to find out.
//
//   SCENARIO FILE; the file holds the note when it has been written, and FILE.new nothing afterwards
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <string>

#include <fcntl.h>
#include <unistd.h>

#include <holdfast/error.hpp>
#include <holdfast/testing/fault_injection.hpp>
#include <holdfast/testing/worker.hpp>

namespace {
using holdfast::harness::CrashRegion;
using holdfast::harness::LeakCheck;
using holdfast::harness::report_error;
using holdfast::harness::Scenario;
using holdfast::harness::signal_test_ready;
using holdfast::harness::WorkerContext;

constexpr char note[] = "done\n";
constexpr int exit_leak = 11;

[[noreturn]] void fail(const char* operation, const std::string& path) {
  throw holdfast::Error{{errno, std::generic_category()}, operation, path};
}

void write_note(const std::string& path) {
  const std::string made = path + ".new";
  const int file = ::open(made.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) fail("make", made);
  const bool written = ::write(file, note, sizeof note - 1) == sizeof note - 1;
  const int why = errno;
  ::close(file);
  if (written && ::rename(made.c_str(), path.c_str()) == 0) return;
  if (!written) errno = why;
  const holdfast::Error error{{errno, std::generic_category()}, "write", path};
  ::unlink(made.c_str());
  throw error;
}
/// What to do when the second call fails is up to `answer`.
template <class Answer>
void write_note_or(const std::string& path, Answer answer) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) fail("make", path);
  if (::write(file, note, sizeof note - 1) < 0) answer(path);
  ::close(file);
}
void write_note_and_leak(const std::string& path) {
  write_note_or(path, [](const std::string& what) { fail("write", what); });
}
void write_note_unchecked(const std::string& path) {
  write_note_or(path, [](const std::string&) {});
}
void write_note_or_abort(const std::string& path) {
  write_note_or(path, [](const std::string&) { std::abort(); });
}
void write_note_or_hang(const std::string& path) {
  write_note_or(path, [](const std::string&) {
    for (;;) ::pause();
  });
}
void write_note_or_mumble(const std::string& path) {
  std::ofstream file{path};
  file << note << std::flush;
  if (!file) throw std::runtime_error{""};
}

template <void write(const std::string&)>
int run(WorkerContext& context) {
  const auto path = context.argument(0);
  const LeakCheck check;
  signal_test_ready();
  context.wait_for_release();
  int code = 0;
  try {
    const CrashRegion region;
    write(path);
  } catch (const std::exception& error) {
    code = report_error(error);
  }
  if (const auto leaks = check.leaks(); !leaks.empty()) {
    std::fputs(leaks.c_str(), stderr);
    return exit_leak;
  }
  return code;
}

constexpr Scenario scenarios[] = {{"right", run<write_note>},
                                  {"leaking", run<write_note_and_leak>},
                                  {"unchecked", run<write_note_unchecked>},
                                  {"aborting", run<write_note_or_abort>},
                                  {"hanging", run<write_note_or_hang>},
                                  {"mumbling", run<write_note_or_mumble>}};
}  // namespace

int main(int argc, char** argv) { return holdfast::harness::run_worker(scenarios, argc, argv); }
