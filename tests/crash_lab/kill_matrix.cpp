// kill_matrix - what a run of the crash lab covered: step x engine x outcome, and how long recovery took.
//
//   kill_matrix write REPORT_DIRECTORY MATRIX.md PLOT.svg SOURCE_DIRECTORY...
//   kill_matrix compare REPORT_DIRECTORY MATRIX.md SOURCE_DIRECTORY...
//
// Both use up the reports, and fail if something failed, or if a step that stands in the sources (HOLDFAST_STEP) was not killed at. compare fails as
// well if a scenario, an engine or a step of the matrix was not covered by this run, or the other way round.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace {
namespace fs = std::filesystem;

struct Outcome {
  std::uint64_t points = 0, runs = 0, failures = 0;
  std::vector<std::uint64_t> recovery_ns = {};  // sorted
};
struct Kills {
  std::uint64_t kills = 0, failures = 0;
};
constexpr std::array<const char*, 4> engines{"steps", "system calls", "instructions", "images"};

/// Steps that no victim reaches alone: the system, a stranger or a third one has to be in the way. Other tests make that.
struct Elsewhere {
  const char *step, *situation, *tests;
};
constexpr Elsewhere elsewhere[]{
    {"file.A2_close", "a stranger locks one's own channel", "FileLockTampering"},
    {"file.A2_unlink", "the same", "FileLockTampering"},
    {"file.A2_fresh", "the same", "FileLockTampering"},
    {"file.H4_close", "a stranger locks a dead owner's channel", "FileLockTampering"},
    {"file.Q6_sleep", "a live waiter stands before it in the queue", "FileLockCrash, orders of three contenders"},
    {"file.Q7_sleep", "a waiter lives that has closed its descriptors", "FileLockFork"},
    {"file.R2b", "two users in a sticky directory; a full disk", "FileLockPermissions, FileLockFullDisk"},
    {"file.R2c", "a disk that is full even for a rename", "FileLockFullDisk"},
    {"file.R2c_rmdir", "the same", "FileLockFullDisk"},
};

struct Report {
  std::map<std::string, std::map<std::string, Outcome>> scenarios;  // by name, engine
  std::map<std::string, std::map<std::string, Kills>> steps;        // by step, engine
};

std::vector<std::string> split(const std::string& line, char by) {
  std::vector<std::string> fields;
  std::istringstream stream{line};
  for (std::string field; std::getline(stream, field, by);) fields.push_back(field);
  return fields;
}

/// slot.P7, of "slot.P7" and "after slot.P7"; empty: no named step.
std::string step_in(std::string_view place) {
  if (place.starts_with("after ")) place.remove_prefix(6);
  static const std::regex named{"[a-z]+\\.[A-Za-z0-9_]+"};
  const std::string text{place};
  return std::regex_match(text, named) ? text : std::string{};
}

Report read_reports(const fs::path& directory) {
  Report report;
  std::vector<fs::path> files;
  for (const auto& file : fs::directory_iterator{directory}) files.push_back(file.path());
  for (const auto& file : files) {
    std::ifstream lines{file};
    for (std::string line; std::getline(lines, line);) {
      const auto fields = split(line, '\t');
      if (fields.size() >= 6 && fields[0] == "scenario") {
        Outcome& outcome = report.scenarios[fields[1]][fields[2]];
        outcome.points = std::max<std::uint64_t>(outcome.points, std::stoull(fields[3]));
        outcome.runs += std::stoull(fields[4]);
        outcome.failures += std::stoull(fields[5]);
        if (fields.size() > 6)
          for (const auto& time : split(fields[6], ' ')) outcome.recovery_ns.push_back(std::stoull(time));
      } else if (fields.size() == 6 && fields[0] == "place") {
        const auto step = step_in(fields[3]);
        if (step.empty()) continue;
        Kills& kills = report.steps[step][fields[2]];
        kills.kills += std::stoull(fields[4]);
        kills.failures += std::stoull(fields[5]);
      }
    }
    fs::remove(file);
  }
  for (auto& [name, by_engine] : report.scenarios)
    for (auto& [engine, outcome] : by_engine) std::sort(outcome.recovery_ns.begin(), outcome.recovery_ns.end());
  return report;
}

std::set<std::string> steps_in_sources(const std::vector<fs::path>& directories) {
  static const std::regex use{"HOLDFAST_STEP\\((\\w+), (\\w+)\\)"};
  std::set<std::string> steps;
  for (const auto& directory : directories)
    for (const auto& entry : fs::recursive_directory_iterator{directory}) {
      if (!entry.is_regular_file() || entry.path().filename() == "steps.hpp") continue;
      std::ifstream file{entry.path()};
      const std::string text{std::istreambuf_iterator<char>{file}, {}};
      for (std::sregex_iterator found{text.begin(), text.end(), use}, end; found != end; ++found)
        steps.insert((*found)[1].str() + "." + (*found)[2].str());
    }
  return steps;
}

double milliseconds(const std::vector<std::uint64_t>& sorted, double quantile) {
  const auto index = static_cast<std::size_t>(quantile * static_cast<double>(sorted.size() - 1));
  return static_cast<double>(sorted[index]) / 1e6;
}

std::string in_words(const Report& report) {
  std::string text;
  std::uint64_t kills = 0, failures = 0;
  for (const auto& [name, by_engine] : report.scenarios)
    for (const auto& [engine, outcome] : by_engine) {
      kills += outcome.runs;
      failures += outcome.failures;
    }
  text += fmt::format(
      "# The kill matrix\n\n"
      "Written by `cmake --workflow --preset crash-lab`; what it does: [testing](testing.md). In {} runs a process was "
      "killed, or "
      "what it\nleft was restored, and somebody else had to get through: {} failures.\n\n"
      "## Scenarios\n\n"
      "*points*: how many there are in the victim's region; *runs*: after how many of them somebody was rescued and "
      "judged, all "
      "kinds of\nrescue together; recovery is from a death to the end of the rescuer, the end of its process "
      "included.\n\n"
      "| scenario | engine | points | runs | failures | recovery, median | longest |\n"
      "| --- | --- | ---: | ---: | ---: | ---: | ---: |\n",
      kills, failures);
  for (const auto& [name, by_engine] : report.scenarios)
    for (const char* engine : engines) {
      const auto found = by_engine.find(engine);
      if (found == by_engine.end()) continue;
      const auto& [points, runs, failed, times] = found->second;
      text += fmt::format("| {} | {} | {} | {} | {} | {} | {} |\n", name, engine, points, runs, failed,
                          times.empty() ? "" : fmt::format("{:.1f} ms", milliseconds(times, 0.5)),
                          times.empty() ? "" : fmt::format("{:.1f} ms", milliseconds(times, 1)));
    }
  text +=
      "\n![Distribution of recovery times](images/recovery.svg)\n\n"
      "## Steps\n\n"
      "How often a victim was killed at each named step, and after an instruction that followed it.\n\n"
      "| step | killed at it | killed at an instruction after it | failures |\n| --- | ---: | ---: | ---: |\n";
  for (const auto& [step, by_engine] : report.steps) {
    const auto kills_by = [&engines_of_step = by_engine](const char* engine) {
      const auto found = engines_of_step.find(engine);
      return found == engines_of_step.end() ? Kills{} : found->second;
    };
    const Kills at = kills_by("steps"), after = kills_by("instructions");
    text += fmt::format("| {} | {} | {} | {} |\n", step, at.kills, after.kills, at.failures + after.failures);
  }
  return text;
}

std::string elsewhere_in_words() {
  std::string text =
      "\n## Steps that no victim reaches here\n\nThe system, a stranger or a third one has to be in the way; other "
      "tests "
      "make that\nsituation, without killing at the step itself.\n\n| step | situation | tests |\n| --- | --- | --- "
      "|\n";
  for (const auto& [step, situation, tests] : elsewhere)
    text += fmt::format("| {} | {} | {} |\n", step, situation, tests);
  return text;
}

/// A histogram over all scenarios of each protocol, on a logarithmic axis of time.
std::string plot(const Report& report) {
  std::map<std::string, std::vector<double>> by_protocol;
  for (const auto& [name, by_engine] : report.scenarios)
    for (const auto& [engine, outcome] : by_engine)
      for (const auto time : outcome.recovery_ns)
        by_protocol[name.substr(0, name.find('.'))].push_back(static_cast<double>(time) / 1e6);
  constexpr double left = 90, width = 760, row = 110, bar = 80, first = -1, last = 4;  // powers of ten of a millisecond
  constexpr int bins = 50;
  const double height = 60 + row * static_cast<double>(by_protocol.size());
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"13\">\n"
      "<title>Time from a death to the end of the rescuer</title>\n<rect width=\"100%\" height=\"100%\" "
      "fill=\"white\"/>\n"
      "<text x=\"{}\" y=\"24\" font-size=\"15\">From a death to the end of the rescuer, by protocol</text>\n",
      left + width + 30, height, left);
  double top = 40;
  for (const auto& [protocol, times] : by_protocol) {
    std::array<int, bins> counts{};
    for (const double time : times) {
      const double place = (std::log10(std::max(time, 1e-3)) - first) / (last - first) * bins;
      ++counts[static_cast<std::size_t>(std::clamp(place, 0.0, bins - 1.0))];
    }
    const int most = *std::max_element(counts.begin(), counts.end());
    svg += fmt::format("<text x=\"10\" y=\"{}\">{}</text>\n<text x=\"10\" y=\"{}\" fill=\"#555\">{} runs</text>\n",
                       top + bar - 18, protocol, top + bar, times.size());
    for (std::size_t i = 0; i < bins; ++i)
      if (counts[i] != 0) {
        const double tall = std::max(1.0, bar * counts[i] / most);
        svg += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"#2b6cb0\"/>\n",
                           left + width * static_cast<double>(i) / bins, top + bar - tall, width / bins - 1, tall);
      }
    svg += fmt::format("<line x1=\"{}\" x2=\"{}\" y1=\"{}\" y2=\"{}\" stroke=\"#555\"/>\n", left, left + width,
                       top + bar, top + bar);
    for (int power = static_cast<int>(first); power <= static_cast<int>(last); ++power)
      svg += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555\">{} ms</text>\n",
                         left + width * (power - first) / (last - first), top + bar + 16, std::pow(10.0, power));
    top += row;
  }
  return svg + "</svg>\n";
}

/// The first cells of all rows that have as many cells as one of these tables: "scenario | engine", and steps.
std::set<std::string> rows_of(const std::string& text) {
  std::set<std::string> rows;
  std::istringstream lines{text};
  for (std::string line; std::getline(lines, line);) {
    const auto cells = split(line, '|');
    if (cells.size() == 8) rows.insert(cells[1] + "|" + cells[2]);
    if (cells.size() == 5) rows.insert(cells[1]);
  }
  return rows;
}

int main_with(const std::vector<std::string>& arguments) {
  const bool compare = arguments.size() > 3 && arguments[0] == "compare";
  const bool write = arguments.size() > 4 && arguments[0] == "write";
  if (!compare && !write) {
    std::cerr
        << "usage: kill_matrix write REPORTS MATRIX.md PLOT.svg SOURCES... | compare REPORTS MATRIX.md SOURCES...\n";
    return 2;
  }
  const auto report = read_reports(arguments[1]);
  const fs::path matrix = arguments[2];
  const std::vector<fs::path> sources{arguments.begin() + (write ? 4 : 3), arguments.end()};
  int problems = 0;
  const auto complain = [&](const std::string& what) {
    std::cerr << what << '\n';
    ++problems;
  };
  if (report.scenarios.empty()) throw std::runtime_error{"nothing is reported in " + arguments[1]};
  for (const auto& [name, by_engine] : report.scenarios)
    for (const auto& [engine, outcome] : by_engine) {
      if (outcome.failures != 0) complain(fmt::format("{} by {}: {} failures", name, engine, outcome.failures));
      if (outcome.runs == 0) complain(fmt::format("{} by {}: nothing was judged", name, engine));
    }
  for (const auto& step : steps_in_sources(sources)) {
    const auto found = report.steps.find(step);
    const bool reached = found != report.steps.end() && found->second.contains("steps");
    const bool excused = std::any_of(std::begin(elsewhere), std::end(elsewhere),
                                     [&](const Elsewhere& known) { return known.step == step; });
    if (!reached && !excused) complain("step " + step + " was never reached by a victim");
    if (reached && excused) complain("step " + step + " is reached now: take it from the list of those that are not");
  }
  const std::string text = in_words(report) + elsewhere_in_words();
  if (write) {
    std::ofstream{matrix} << text;
    fs::create_directories(fs::path{arguments[3]}.parent_path());
    std::ofstream{arguments[3]} << plot(report);
  } else {
    std::ifstream file{matrix};
    const auto committed = rows_of({std::istreambuf_iterator<char>{file}, {}}), now = rows_of(text);
    for (const auto& row : committed)
      if (!now.contains(row)) complain("not covered by this run:" + row);
    for (const auto& row : now)
      if (!committed.contains(row)) complain("not in " + matrix.string() + ", write it anew:" + row);
  }
  std::cout << fmt::format("{} scenarios, {} steps, {} problems\n", report.scenarios.size(), report.steps.size(),
                           problems);
  return problems == 0 ? 0 : 1;
}
}  // namespace

int main(int argc, char** argv) try { return main_with({argv + 1, argv + argc}); } catch (const std::exception& error) {
  std::cerr << "kill_matrix: " << error.what() << '\n';
  return 2;
}
