#include <holdfast/testing/worker.hpp>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include <fmt/format.h>
#include <holdfast/error.hpp>
#include <holdfast/steps.hpp>
#include <holdfast/testing/temp_dir.hpp>

#include "testing/channel.hpp"
#include "testing/tracer.hpp"
#include "text.hpp"

namespace holdfast::harness {
namespace {
constexpr int exit_complaint = 1, exit_exception = 2, exit_usage = 3, exit_abandoned = 4;

int usage(std::span<const Scenario> scenarios, std::string_view program, std::string_view wrong) {
  std::string text;
  if (!wrong.empty()) text += fmt::format("unknown scenario '{}'\n", text::escaped(wrong));
  text += fmt::format("usage: {} SCENARIO [ARGUMENT...]\nscenarios:\n", text::escaped(program));
  for (const auto& scenario : scenarios) text += fmt::format("  {}\n", scenario.name);
  std::fputs(text.c_str(), stderr);
  return exit_usage;
}

/// Read by a tracer, at any instruction.
volatile RegionWords region_words;
bool steps_are_told = false;
}  // namespace

CrashRegion::CrashRegion() noexcept { set_mark(Mark::begin_of_region, const_cast<RegionWords*>(&region_words)); }
CrashRegion::~CrashRegion() {
  region_words.ended = 1;
  set_mark(Mark::end_of_region, nullptr);
}

void step(const char* name) noexcept {
  region_words.step = reinterpret_cast<std::uintptr_t>(name);
  if (steps_are_told) set_mark(Mark::step, name);
}

std::string WorkerContext::argument(std::size_t index) const {
  if (index < arguments_.size()) return arguments_[index];
  throw Error{std::make_error_code(std::errc::invalid_argument), fmt::format("read argument {} of scenario", index),
              scenario_, fmt::format("it was started with {}, counted from 0", arguments_.size())};
}

std::int64_t WorkerContext::number(std::size_t index) const {
  const auto text = argument(index);
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc{} && end == text.data() + text.size()) return number;
  throw Error{std::make_error_code(std::errc::invalid_argument), fmt::format("read argument {} of scenario", index),
              scenario_, fmt::format("'{}' is not a whole number of 64 bits", text::escaped(text))};
}

int WorkerContext::wait_for_release() {
  switch (receive_release()) {
    case Released::yes:
      return 0;
    case Released::no_parent: {
      std::fputs("waiting for a line on standard input, in place of a parent's release\n", stderr);
      for (int c = std::getchar(); c != '\n'; c = std::getchar())
        if (c == EOF) return exit_abandoned;
      return 0;
    }
    default:
      return exit_abandoned;
  }
}

bool WorkerContext::released() const {
  const auto state = look_for_release();
  return state == Released::yes || state == Released::abandoned;
}

int run_worker(std::span<const Scenario> scenarios, int argc, char** argv) {
  const auto self = current_pid();
  watch_lifeline();
  steps_are_told = std::getenv(steps_variable) != nullptr;  // NOLINT(concurrency-mt-unsafe): before any thread
#if defined(HOLDFAST_CRASH_LAB)
  detail::step_handler = step;
#endif
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
  const std::string_view program = argc > 0 ? argv[0] : "worker";
  if (argc < 2) return usage(scenarios, program, {});
  const std::string_view name = argv[1];
  for (const auto& scenario : scenarios) {
    if (scenario.name != name) continue;
    int code = 0;
    try {
      WorkerContext context{name, {argv + 2, static_cast<std::size_t>(argc - 2)}};
      code = scenario.run(context);
    } catch (const std::exception& exception) {  // not (...): the end of the thread is an exception, too
      std::fprintf(stderr, "scenario %s: uncaught exception: %s\n", scenario.name, exception.what());
      return exit_exception;
    }
    if (code == 0 && complaints() > 0) code = exit_complaint;
    std::fflush(nullptr);
    if (current_pid() == self) report_end();  // a process that the scenario forked may come here as well
    return code;
  }
  return usage(scenarios, program, name);
}
}  // namespace holdfast::harness
