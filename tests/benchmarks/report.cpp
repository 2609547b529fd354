#include "report.hpp"

#include <ostream>

#include <fmt/format.h>

namespace holdfast::benchmarks {
namespace {
enum class Statistic { of_rounds, sample_p99, sample_max };

struct Column {
  std::string title, metric;
  Statistic statistic = Statistic::of_rounds;
  bool ratio = true;  ///< whether it makes sense to divide it by another lock's
};

struct Table {
  std::string experiment, title;
  std::vector<Column> columns;
  std::vector<std::string> baselines;  ///< what FileLock is divided by
};

std::vector<Table> tables(const Options& options) {
  const auto hold = number(std::chrono::duration<double, std::micro>(options.hold).count());
  const std::vector<Column> contended = {{"sections/s", "sections_per_s"},
                                         {"wait mean ms", "wait_mean_ms"},
                                         {"p99 ms", "wait_p99_ms"},
                                         {"longest ms", "wait_max_ms"},
                                         {"overtakes/acq", "overtakes_per_acquisition", Statistic::of_rounds, false},
                                         {"hand-over us", "hand_over_us"},
                                         {"cpu us/acq", "cpu_us_per_acquisition"},
                                         {"overlaps", "overlaps", Statistic::of_rounds, false}};
  const std::vector<Column> killed = {{"recovery ms", "recovery_ms"},
                                      {"p99 ms", "recovery_ms", Statistic::sample_p99},
                                      {"max ms", "recovery_ms", Statistic::sample_max}};
  std::vector<Table> all = {
      {"pairs",
       "uncontended lock and unlock",
       {{"pairs/s", "pairs_per_s"},
        {"us/pair", "pair_us"},
        {"cpu us/pair", "pair_cpu_us"},
        {"allocations", "allocations_per_pair", Statistic::of_rounds, false}},
       {"rename_pair", "rename_pair_reopened", "flock", "naive"}},
      {"contention, work",
       fmt::format("{} processes, section of {} us of work", options.processes, hold),
       contended,
       {"flock", "naive"}},
      {"contention, sleep",
       fmt::format("{} processes, section of {} us asleep", options.processes, hold),
       contended,
       {"flock", "naive"}},
      {"hand-over",
       "hand-over to one process asleep: from before unlock() to after lock()",
       {{"us", "hand_over_us"},
        {"p99 us", "hand_over_us", Statistic::sample_p99},
        {"max us", "hand_over_us", Statistic::sample_max}},
       {"flock", "naive"}},
      {"kill", "SIGKILL of a small owner, until one process asleep has the lock", killed, {"flock", "naive"}},
  };
  for (const auto mib : options.memory_mib)
    all.push_back({fmt::format("kill, {} MiB", mib),
                   fmt::format("SIGKILL of an owner with {} MiB touched", mib),
                   killed,
                   {"flock"}});
  all.push_back({"waiting",
                 fmt::format("{} processes wait and nothing happens", options.processes),
                 {{"cpu ms per s of waiting", "cpu_ms_per_s"}},
                 {}});
  for (const auto queue : options.queues)
    all.push_back({fmt::format("queue of {}", queue),
                   fmt::format("{} processes, section of {} us of work", queue, hold),
                   contended,
                   {"flock"}});
  return all;
}

std::string cell(const Results& results, const Subject& subject, const Column& column) {
  const auto samples = results.samples(subject, column.metric);
  if (samples.empty()) return "-";
  switch (column.statistic) {
    case Statistic::of_rounds:
      return to_string(spread_of(results.rounds(subject, column.metric)));
    case Statistic::sample_p99:
      return number(percentile(samples, 99));
    case Statistic::sample_max:
      return number(percentile(samples, 100));
  }
  return "-";
}

void print_row(std::ostream& out, const std::string& name, const std::vector<std::string>& cells) {
  out << fmt::format("  {:<38}", name);
  for (const auto& cell : cells) out << fmt::format(" {:>25}", cell);
  out << '\n';
}

void print(std::ostream& out, const Table& table, const Results& results, const Options& options,
           const std::string& file_system) {
  std::vector<std::string> locks = {"rename_pair", "rename_pair_reopened"};
  locks.insert(locks.end(), options.locks.begin(), options.locks.end());
  std::erase_if(locks, [&](const std::string& lock) {
    return results.samples({table.experiment, file_system, lock}, table.columns.front().metric).empty();
  });
  if (locks.empty()) return;
  out << '\n' << file_system << ": " << table.title << '\n';
  std::vector<std::string> titles;
  for (const auto& column : table.columns) titles.push_back(column.title);
  print_row(out, "", titles);
  for (const auto& lock : locks) {
    std::vector<std::string> cells;
    for (const auto& column : table.columns)
      cells.push_back(cell(results, {table.experiment, file_system, lock}, column));
    print_row(out, lock, cells);
  }
  for (const auto& lock : locks)
    for (const auto& baseline : table.baselines) {
      if (!lock.starts_with("file_lock")) continue;
      std::vector<std::string> cells;
      bool any = false;
      for (const auto& column : table.columns) {
        const auto ratio = spread_of(results.ratios({table.experiment, file_system, lock},
                                                    {table.experiment, file_system, baseline}, column.metric));
        const bool wanted = column.ratio && column.statistic == Statistic::of_rounds && ratio;
        cells.push_back(wanted ? to_string(ratio) : "");
        any = any || wanted;
      }
      if (any) print_row(out, lock + " / " + baseline, cells);
    }
}
}  // namespace

std::vector<Target> targets(const Results& results, const Options& options,
                            const std::vector<std::string>& file_systems) {
  std::vector<Target> list;
  for (const auto& file_system : file_systems) {
    const auto of = [&](const std::string& experiment, const std::string& lock) {
      return Subject{experiment, file_system, lock};
    };
    const auto ratio = [&](const std::string& experiment, const std::string& to, const std::string& metric) {
      return spread_of(results.ratios(of(experiment, "file_lock"), of(experiment, to), metric));
    };
    const auto rounds = [&](const std::string& experiment, const std::string& metric) {
      return spread_of(results.rounds(of(experiment, "file_lock"), metric));
    };
    list.push_back(
        {"uncontended pairs / rename pairs", file_system, true, 0.8, ratio("pairs", "rename_pair", "pairs_per_s")});
    for (const std::string section : {"work", "sleep"}) {
      const auto experiment = "contention, " + section;
      const auto claim = fmt::format("{} processes ({}), ", options.processes, section);
      list.push_back(
          {claim + "throughput / flock", file_system, true, 0.9, ratio(experiment, "flock", "sections_per_s")});
      list.push_back(
          {claim + "longest wait / flock", file_system, false, 0.5, ratio(experiment, "flock", "wait_max_ms")});
      list.push_back({claim + "overtakes per acquisition", file_system, false, 0.05,
                      rounds(experiment, "overtakes_per_acquisition")});
    }
    if (file_system.starts_with("tmpfs"))
      list.push_back({"hand-over / flock", file_system, false, 3, ratio("hand-over", "flock", "hand_over_us")});
    list.push_back({"killed owner to waiter, median ms", file_system, false, 1, rounds("kill", "recovery_ms")});
    std::optional<Spread> p99;
    if (const auto kills = results.samples(of("kill", "file_lock"), "recovery_ms"); !kills.empty()) {
      const auto [lowest, highest] = std::minmax_element(kills.begin(), kills.end());
      p99 = Spread{percentile(kills, 99), *lowest, *highest, kills.size()};
    }
    list.push_back({"killed owner to waiter, p99 ms", file_system, false, 5, p99});
    list.push_back({"cpu ms per second of waiting", file_system, false, 1, rounds("waiting", "cpu_ms_per_s")});
    if (options.queues.size() >= 2) {
      const auto few = options.queues.front(), many = options.queues.back();
      list.push_back({fmt::format("hand-over, {} waiters / {} waiters", many, few), file_system, false, 3,
                      spread_of(results.ratios(of(fmt::format("queue of {}", many), "file_lock"),
                                               of(fmt::format("queue of {}", few), "file_lock"), "hand_over_us"))});
    }
  }
  return list;
}

void print_tables(std::ostream& out, const Results& results, const Options& options,
                  const std::vector<std::string>& file_systems) {
  out << "Medians of rounds [lowest .. highest round]; p99 and max of all samples; ratios round by round.\n";
  for (const auto& table : tables(options))
    for (const auto& file_system : file_systems) print(out, table, results, options, file_system);
}

}  // namespace holdfast::benchmarks
