// file_lock_contention - FileLock beside flock(2), a naive lock and the least a directory lock has to do, with real
// processes, in one run and in turns. Exit code: 0, also if a target is missed; 1 if a lock let two in or lost the news of
// a death, or a worker failed; 2 if it cannot run here.
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <linux/magic.h>
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <holdfast/testing/temp_dir.hpp>

#include "experiments.hpp"
#include "machine.hpp"
#include "report.hpp"
#include "results.hpp"

namespace {
using namespace holdfast::benchmarks;
using namespace std::chrono_literals;
using holdfast::harness::TempDir;
namespace fs = std::filesystem;

std::string file_system_of(const fs::path& directory) {
  struct statfs facts {};
  if (::statfs(directory.c_str(), &facts) != 0)
    throw fs::filesystem_error{"cannot measure in it", directory, std::error_code{errno, std::generic_category()}};
  switch (static_cast<long>(facts.f_type)) {
    case EXT4_SUPER_MAGIC:
      return "ext4";
    case TMPFS_MAGIC:
      return "tmpfs";
    case XFS_SUPER_MAGIC:
      return "xfs";
    case BTRFS_SUPER_MAGIC:
      return "btrfs";
    case OVERLAYFS_SUPER_MAGIC:
      return "overlay";
    default:
      return fmt::format("{:x}", facts.f_type);
  }
}

std::unique_ptr<TempDir> temp_dir_in(const fs::path& directory) {
  ::setenv("TMPDIR", directory.c_str(), 1);
  return std::make_unique<TempDir>();
}

struct CommandLine {
  Options options;
  std::vector<std::string> directories, experiments;
  std::size_t rounds = 7;
  std::string json_file;
  bool quick = false;
};

void make_quick(CommandLine& line) {
  line.rounds = 2;
  auto& options = line.options;
  options.processes = std::min(options.processes, 4U);
  options.contention = 50ms;
  options.batches = 3;
  options.batch = 1ms;
  options.hand_overs = 10;
  options.kills = 2;
  options.kills_of_big = 1;
  options.memory_mib = {16};
  options.waiting = 50ms;
  options.queues = {4, 8};
}

const std::vector<std::string> experiment_names = {"pairs",  "contention", "hand-over", "kill",
                                                   "memory", "waiting",    "queue"};

CLI::Option* add_microseconds(CLI::App& app, const std::string& name, std::chrono::nanoseconds& time,
                              const std::string& description) {
  return app.add_option_function<std::uint32_t>(
      name, [&time](const std::uint32_t& us) { time = std::chrono::microseconds{us}; }, description);
}

void describe(CLI::App& app, CommandLine& line) {
  auto& options = line.options;
  app.add_option("--directory", line.directories,
                 "where to lock; may be repeated (default: build directory, /dev/shm)");
  app.add_option("--experiments", line.experiments,
                 "all, or some of: pairs contention hand-over kill memory waiting queue")
      ->check(CLI::IsMember(experiment_names))
      ->delimiter(',');
  app.add_option("--locks", options.locks, "file_lock file_lock_unfair flock naive; nothing, which is no lock")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--rounds", line.rounds, "how often everything is measured in turns")->capture_default_str();
  app.add_option("--processes", options.processes, "contenders, and waiters")->capture_default_str();
  add_microseconds(app, "--hold-us", options.hold, "length of the section (default 200)");
  add_microseconds(app, "--contention-us", options.contention, "for each lock in each round (default 1000000)");
  add_microseconds(app, "--asleep-us", options.asleep, "how long a waiter has slept before its turn (default 1000)");
  app.add_option("--kills", options.kills, "of small owners, for each lock in each round")->capture_default_str();
  app.add_option("--hand-overs", options.hand_overs, "for each lock in each round")->capture_default_str();
  app.add_option("--memory-mib", options.memory_mib, "touched by the owners of the experiment memory")->delimiter(',');
  app.add_option("--queues", options.queues, "numbers of processes of the experiment queue")->delimiter(',');
  app.add_option("--json", line.json_file, "writes the results to this file as well");
  app.add_flag("--quick", line.quick, "everything once over: does it work? The figures mean little");
}

int run(const CommandLine& line) {
  std::vector<std::string> directories = line.directories;
  if (directories.empty()) {
    directories = {HOLDFAST_BENCHMARK_DIRECTORY};
    if (fs::is_directory("/dev/shm")) directories.emplace_back("/dev/shm");
  }
  // Journals in memory: written to a disk, they would be part of what is measured.
  const auto journals = temp_dir_in(fs::is_directory("/dev/shm") ? "/dev/shm" : fs::temp_directory_path());
  Results results;
  std::vector<std::string> failures, file_systems;
  std::vector<std::unique_ptr<TempDir>> places;
  std::vector<Experiments> experiments;
  for (const auto& directory : directories) {
    auto name = file_system_of(directory);
    if (std::count(file_systems.begin(), file_systems.end(), name) != 0) name += " " + directory;
    places.push_back(temp_dir_in(directory));
    std::string file_name = name;
    std::replace(file_name.begin(), file_name.end(), '/', '-');
    experiments.emplace_back(line.options, name, places.back()->path(), journals->path(), results, failures);
    file_systems.push_back(std::move(name));
  }
  auto about = machine();

  using Round = std::function<void(Experiments&, std::size_t)>;
  const std::vector<std::pair<std::string, Round>> program = {
      {"pairs", [](Experiments& here, std::size_t round) { here.pairs(round); }},
      {"contention", [](Experiments& here, std::size_t round) { here.contention(round, "work"); }},
      {"contention", [](Experiments& here, std::size_t round) { here.contention(round, "sleep"); }},
      {"hand-over", [](Experiments& here, std::size_t round) { here.hand_over(round); }},
      {"kill", [](Experiments& here, std::size_t round) { here.kill(round); }},
      {"memory", [](Experiments& here, std::size_t round) { here.kill_of_big(round); }},
      {"waiting", [](Experiments& here, std::size_t round) { here.waiting(round); }},
      {"queue", [](Experiments& here, std::size_t round) { here.queue(round); }},
  };
  for (const auto& [name, one_round] : program) {
    const auto& wanted = line.experiments;
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), name) == wanted.end()) continue;
    for (std::size_t round = 0; round < line.rounds; ++round) {
      std::fprintf(stderr, "%s, round %zu of %zu\n", name.c_str(), round + 1, line.rounds);
      for (auto& here : experiments) one_round(here, round);
    }
  }
  places.clear();  // complains about what the locks have left
  about["load_after"] = load();
  if (holdfast::harness::complaints() != 0) failures.emplace_back("locks have left something behind");

  const auto reached = targets(results, line.options, file_systems);
  std::cout << in_words(about) << '\n';
  print_tables(std::cout, results, line.options, file_systems);
  print_targets(std::cout, reached);
  for (const auto& failure : failures) std::cout << "FAILURE " << failure << '\n';
  if (!line.json_file.empty()) {
    std::ofstream file{line.json_file};
    file << nlohmann::json{{"machine", about},
                           {"rounds", line.rounds},
                           {"results", results.json()},
                           {"targets", json(reached)},
                           {"failures", failures}}
                .dump(1)
         << '\n';
    if (!file.flush()) throw std::runtime_error{"cannot write " + line.json_file};
  }
  return failures.empty() ? 0 : 1;
}
}  // namespace

int main(int argc, char** argv) {
  CommandLine line;
  CLI::App app{"FileLock measured beside flock(2), a naive lock and the bare renames"};
  describe(app, line);
  CLI11_PARSE(app, argc, argv);
  if (line.quick) make_quick(line);
  try {
    return run(line);
  } catch (const fs::filesystem_error& error) {
    std::cerr << error.what() << '\n';
    return 2;
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
