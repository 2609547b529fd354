// run_tool.hpp - starts the tool, or a program that starts it, and keeps what came of it.
#pragma once
#include <algorithm>
#include <filesystem>
#include <map>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <holdfast/testing/gtest.hpp>

namespace holdfast::test {
using Strings = std::vector<std::string>;

struct Finished {
  int code;  ///< -1: killed by a signal, or not ended by the deadline.
  std::string output, errors, report;
};
inline std::ostream& operator<<(std::ostream& out, const Finished& run) { return out << run.report; }

[[nodiscard]] inline harness::WorkerProcess start(const std::string& program, const Strings& arguments,
                                                  const harness::WorkerOptions& options = {}) {
  return harness::SpawnWorker(program, arguments.at(0), {arguments.begin() + 1, arguments.end()}, options);
}

[[nodiscard]] inline Finished finish(harness::WorkerProcess worker) {
  const auto exit = worker.wait_for_exit(std::chrono::seconds{100});
  return {exit.by == harness::Exit::By::code ? exit.value : -1, worker.output(), worker.errors(), worker.report()};
}

[[nodiscard]] inline Finished run(const std::string& program, const Strings& arguments,
                                  const harness::WorkerOptions& options = {}) {
  return finish(start(program, arguments, options));
}

/// `holdfast validate arguments...`
[[nodiscard]] inline Finished validate(Strings arguments, const harness::WorkerOptions& options = {}) {
  arguments.insert(arguments.begin(), "validate");
  return run(HOLDFAST_TOOL, arguments, options);
}

/// Standard output is one JSON object and nothing else; it is returned.
[[nodiscard]] inline nlohmann::json only_json(const Finished& run) {
  auto json = nlohmann::json::parse(run.output, nullptr, false);
  EXPECT_TRUE(json.is_object()) << run;
  return json;
}

[[nodiscard]] inline std::ptrdiff_t lines(const std::string& text) {
  return std::count(text.begin(), text.end(), '\n');
}

/// Names, sizes and times of all that is in it: what has to be as it was before.
[[nodiscard]] inline std::map<std::string, std::string> contents(const std::filesystem::path& directory) {
  std::map<std::string, std::string> result;
  std::error_code gone;  // others may be at work in it
  for (std::filesystem::recursive_directory_iterator entry{directory, gone}, end; entry != end; entry.increment(gone)) {
    auto& description = result[entry->path().lexically_relative(directory)];
    if (!entry->is_regular_file(gone)) continue;
    description = std::to_string(entry->file_size(gone)) + " bytes, " +
                  std::to_string(entry->last_write_time(gone).time_since_epoch().count());
  }
  return result;
}
}  // namespace holdfast::test
