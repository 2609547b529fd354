#include "tool/arguments.hpp"

#include <charconv>
#include <cstdio>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "text.hpp"
#include "tool/exit_codes.hpp"

namespace holdfast::tool {
namespace {
constexpr auto about =
    "Does locking hold here? Real processes contend for a holdfast::FileLock in DIRECTORY, and then for a\n"
    "holdfast::DataBlockMutex in shared memory, and increment a counter that only exclusion keeps right;\n"
    "messages go through a holdfast::DataBlock, and each is checked; owners, writers and readers are killed;\n"
    "a verdict tells what came of it.\n";

constexpr auto exit_codes =
    "Exit codes: 0 locking holds, 1 it does not, 2 it could not be tried: bad arguments, unusable directory.\n"
    "Each figure is explained in docs/validate.md.\n";

ExitCode refuse(const CLI::App& app, std::string_view why) {
  while (why.ends_with('\n')) why.remove_suffix(1);
  fmt::print(stderr, "holdfast: {}\nTry 'holdfast{} --help'.\n", text::escaped(why),
             app.got_subcommand("validate") ? " validate" : "");
  return ExitCode{exit_unusable};
}
}  // namespace

std::optional<std::chrono::nanoseconds> parse_duration(std::string_view text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc{} || !(number >= 0)) return std::nullopt;
  const std::string_view unit{end, static_cast<std::size_t>(text.data() + text.size() - end)};
  if (unit.empty() && number == 0) return std::chrono::nanoseconds{0};
  constexpr struct {
    std::string_view name;
    double nanoseconds;
  } units[] = {{"ns", 1}, {"us", 1e3}, {"µs", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"min", 60e9}};
  for (const auto& [name, nanoseconds] : units) {
    constexpr double limit = 9.2e18;
    if (name == unit && number * nanoseconds < limit)
      return std::chrono::nanoseconds{static_cast<std::int64_t>(number * nanoseconds + 0.5)};
  }
  return std::nullopt;
}

std::variant<Settings, ExitCode> parse_arguments(int argc, const char* const* argv) {
  Settings settings;
  CLI::App app{"holdfast: locks for processes that may be killed at any moment", "holdfast"};
  app.set_version_flag("--version", "holdfast " HOLDFAST_VERSION, "Print the version");
  app.set_help_flag("-h,--help", "Print this help");
  app.require_subcommand(1);
  app.get_formatter()->column_width(32);

  auto& validate = *app.add_subcommand("validate", about);
  validate.footer(exit_codes);
  const auto set_path = [](std::optional<std::filesystem::path>& path) {
    return [&path](const std::string& text) { path = text; };
  };
  validate.add_option_function<std::string>("DIRECTORY", set_path(settings.directory), "Where (a temporary one)")
      ->type_name("");
  const auto add_number = [&validate](const std::string& name, std::uint32_t& value, std::uint32_t most,
                                      const std::string& description) {
    validate.add_option(name, value, fmt::format("{} ({})", description, value))
        ->check(CLI::Range(1U, most).description(""))
        ->type_name("N");
  };
  add_number("--processes", settings.processes, most_processes, "Contenders in all but kill and stress");
  add_number("--increments", settings.increments, most_operations, "Increments by each, in contention and threads");
  add_number("--iterations", settings.iterations, most_iterations,
             "Rounds of stress, 5 processes x 10 increments each");
  add_number("--kills", settings.kills, most_kills, "Owners of a mutex that are killed");
  add_number("--attach-rounds", settings.attach_rounds, most_operations, "Rounds in which all come to one mutex");
  add_number("--messages", settings.messages, most_operations, "Messages that go through a block");
  add_number("--block-kills", settings.block_kills, most_kills, "Writers of a block that are killed, and readers");
  const auto add_duration = [&validate](const std::string& name, std::chrono::nanoseconds& value,
                                        std::chrono::nanoseconds most, const std::string& description) {
    const auto read = [&value, most, name](const std::string& text) {
      const auto duration = parse_duration(text);
      if (!duration)
        throw CLI::ValidationError{name, fmt::format("'{}' is not a duration such as 200us, 5ms, 1s", text)};
      if (*duration > most)
        throw CLI::ValidationError{name, fmt::format("{} is more than {}", text, text::in_words(most))};
      value = *duration;
    };
    validate.add_option_function<std::string>(name, read, description)->type_name("TIME");
  };
  add_duration("--hold", settings.hold, longest_hold, "How long each section lasts at least (0us)");
  add_duration("--deadline", settings.deadline, longest_deadline, "When a lock that is not had counts as failed (30s)");
  bool unfair = false;
  validate.add_flag("--unfair", unfair, "Locks without order of arrival");
  validate.add_flag("--json", settings.json, "Print one JSON object instead of the report");
  validate
      .add_option_function<std::string>("--timeline", set_path(settings.timeline),
                                        "Draw who waited and who held, as SVG")
      ->type_name("FILE");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) {
      app.exit(error);
      return ExitCode{std::fflush(stdout) == 0 ? 0 : exit_unusable};
    }
    return refuse(app, error.what());
  }
  settings.fair = !unfair;
  if (std::uint64_t{settings.processes} * settings.increments > most_operations)
    return refuse(app, fmt::format("--processes times --increments is more than {}", most_operations));
  if (std::uint64_t{settings.processes} * settings.attach_rounds > most_operations)
    return refuse(app, fmt::format("--processes times --attach-rounds is more than {}", most_operations));
  if (settings.deadline.count() == 0) return refuse(app, "--deadline: 0 leaves no time at all");
  return settings;
}
}  // namespace holdfast::tool
