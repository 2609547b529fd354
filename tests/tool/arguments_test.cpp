// Proves what the command line accepts, and how it refuses the rest.
#include <chrono>
#include <string>

#include "run_tool.hpp"
#include "tool/arguments.hpp"

namespace {
using holdfast::test::lines;
using holdfast::test::run;
using holdfast::test::Strings;
using holdfast::tool::parse_duration;
using namespace std::chrono_literals;

TEST(ToolArguments, DurationsHaveUnits) {
  EXPECT_EQ(parse_duration("200us"), 200us);
  EXPECT_EQ(parse_duration("200µs"), 200us);
  EXPECT_EQ(parse_duration("1.5ms"), 1500us);
  EXPECT_EQ(parse_duration("7ns"), 7ns);
  EXPECT_EQ(parse_duration("2s"), 2s);
  EXPECT_EQ(parse_duration("1min"), 1min);
  EXPECT_EQ(parse_duration("0"), 0ns);
  EXPECT_EQ(parse_duration("0us"), 0ns);
}

TEST(ToolArguments, WhatIsNoDurationIsRefused) {
  for (const auto* text : {"", "us", "5", "-1us", "1 ms", "ms1", "1msx", "1e3us", "nan", "inf", "nans", "infs", "1h",
                           "99999999999999999999s", "0x10us", "+1us"})
    EXPECT_EQ(parse_duration(text), std::nullopt) << "'" << text << "'";
}

TEST(ToolArguments, WrongOnesAreRefusedInOneLineWithAHint) {
  for (const Strings& arguments : {Strings{"validate", "--processess", "3"},
                                   {"validate", "--processes", "0"},
                                   {"validate", "--processes", "1001"},
                                   {"validate", "--processes", "-1"},
                                   {"validate", "--processes", "many"},
                                   {"validate", "--processes", "4294967297"},
                                   {"validate", "--processes"},
                                   {"validate", "--increments", "0"},
                                   {"validate", "--increments", "200001"},
                                   {"validate", "--iterations", "0"},
                                   {"validate", "--kills", "0"},
                                   {"validate", "--kills", "100001"},
                                   {"validate", "--attach-rounds", "0"},
                                   {"validate", "--attach-rounds", "200001"},
                                   {"validate", "--messages", "0"},
                                   {"validate", "--messages", "2000001"},
                                   {"validate", "--block-kills", "0"},
                                   {"validate", "--block-kills", "100001"},
                                   {"validate", "--hold", "5"},
                                   {"validate", "--hold", "-1us"},
                                   {"validate", "--hold", "2min"},
                                   {"validate", "--deadline", "0us"},
                                   {"validate", "/tmp", "/tmp"},
                                   {"validate", "--no\nsense"},
                                   {"valid"},
                                   {"--json"}}) {
    const auto finished = run(HOLDFAST_TOOL, arguments);
    EXPECT_EQ(finished.code, 2) << finished;
    EXPECT_EQ(finished.output, "") << finished;
    EXPECT_EQ(lines(finished.errors), 2) << finished;
    EXPECT_EQ(finished.errors.rfind("holdfast: ", 0), 0U) << finished;
    const auto* const hint =
        arguments[0] == "validate" ? "\nTry 'holdfast validate --help'.\n" : "\nTry 'holdfast --help'.\n";
    EXPECT_NE(finished.errors.find(hint), std::string::npos) << finished;
  }
}

TEST(ToolArguments, HelpNamesEveryOption) {
  const auto finished = run(HOLDFAST_TOOL, {"validate", "--help"});
  EXPECT_EQ(finished.code, 0) << finished;
  EXPECT_EQ(finished.errors, "");
  for (const auto* text :
       {"DIRECTORY", "--processes", "(10)", "--increments", "(20)", "--iterations", "(5)", "--kills", "(100)",
        "--attach-rounds", "--hold", "(0us)", "--deadline", "(30s)", "--unfair", "--json", "--timeline", "Exit codes"})
    EXPECT_NE(finished.output.find(text), std::string::npos) << text << '\n' << finished;
}

TEST(ToolArguments, AMutexGetsAsManyProcessesAsASegmentHasRoomForAndEnoughToDo) {
  holdfast::tool::Settings settings;
  EXPECT_EQ(settings.processes_of_mutex() * settings.increments_of_mutex(), 20'000U);
  settings.processes = 1000;
  EXPECT_EQ(settings.processes_of_mutex(), 100U);
  EXPECT_EQ(settings.increments_of_mutex(), 200U);
  settings.increments = 2000;
  EXPECT_EQ(settings.increments_of_mutex(), 2000U);
  settings.increments = 20;
  settings.hold = 1us;
  EXPECT_EQ(settings.increments_of_mutex(), 20U) << "with sections of some length no more than asked for";
}

TEST(ToolArguments, VersionAndGeneralHelp) {
  EXPECT_EQ(run(HOLDFAST_TOOL, {"--version"}).output, "holdfast " HOLDFAST_VERSION "\n");
  const auto help = run(HOLDFAST_TOOL, {"--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_NE(help.output.find("validate"), std::string::npos) << help;
}
}  // namespace
