// holdfast - the command line tool. Its one command is validate; it starts itself again for each worker process.
#include <cstdio>
#include <exception>
#include <optional>
#include <variant>

#include <fmt/format.h>

#include "text.hpp"
#include "tool/arguments.hpp"
#include "tool/exit_codes.hpp"
#include "tool/interruption.hpp"
#include "tool/report.hpp"
#include "tool/timeline.hpp"
#include "tool/validate.hpp"
#include "tool/worker.hpp"

namespace {
using namespace holdfast::tool;

int run(const Settings& settings) {
  std::optional<TimelineFile> timeline;
  if (settings.timeline) timeline.emplace(*settings.timeline);
  const auto results = validate(settings);
  fmt::print("{}", settings.json ? json_report(results) : report(results, settings));
  if (std::fflush(stdout) != 0) {
    std::perror("holdfast: cannot print the report");
    return exit_unusable;
  }
  if (settings.json && !results.holds()) fmt::print(stderr, "{}", verdict(results));
  if (timeline) timeline->write(draw_timeline(results, settings));
  return results.holds() ? exit_holds : exit_fails;
}
}  // namespace

int main(int argc, char** argv) {
  if (is_worker(argc, argv)) return work(argc, argv);
  try {
    const auto arguments = parse_arguments(argc, argv);
    if (const auto* done = std::get_if<ExitCode>(&arguments)) return done->value;
    begin_to_watch_for_interruption();
    return run(std::get<Settings>(arguments));
  } catch (const Interrupted&) {
    end_by_interruption();
  } catch (const std::exception& error) {
    fmt::print(stderr, "holdfast: {}\n", error.what());
    return exit_unusable;
  }
}
