#include "transfer_report.hpp"

#include <algorithm>
#include <optional>
#include <ostream>

#include <fmt/format.h>

namespace holdfast::benchmarks::transfer {
std::vector<Target> targets(const Results& results, const Options& options) {
  std::vector<Target> list;
  const auto of = [](const std::string& experiment, const std::string& kind) {
    return Subject{experiment, "memory", kind};
  };
  const auto rate = [&](const std::string& experiment, const std::string& kind, const std::string& to) {
    return spread_of(results.ratios(of(experiment, kind), of(experiment, to), "messages_per_s"));
  };
  for (const auto size : options.sizes) {
    const auto experiment = "transfer, " + in_bytes(size);
    const double aim = size <= 64 ? 0.8 : 0.95;
    if (size <= 64 || size >= 4 << 10) {
      list.push_back({fmt::format("{}, wait / {}", experiment, limit), "", true, aim, rate(experiment, ours, limit)});
      list.push_back({fmt::format("{}, refuse / {}", experiment, limit), "", true, aim,
                      rate(experiment, "data_block_refuse", limit)});
    }
    for (const auto* const way : {"overwrite", "display", "group", "group_batches"})
      list.push_back({fmt::format("{}, {} / {}", experiment, way, limit), "", true, 0.5,
                      rate(experiment, fmt::format("{}_{}", ours, way), limit)});
    for (const auto& peer : peers)
      list.push_back({fmt::format("{}, wait / {}", experiment, peer), "", true, 1, rate(experiment, ours, peer)});
  }
  for (const auto size : options.round_trip_sizes) {
    const auto busy = "round trip, " + in_bytes(size), asleep = "to a sleeper, " + in_bytes(size);
    list.push_back({fmt::format("half {} / {}", busy, limit), "", false, 1.1,
                    spread_of(results.ratios(of(busy, ours), of(busy, limit), "half_ns"))});
    list.push_back({fmt::format("{} / pipe", asleep), "", false, 1,
                    spread_of(results.ratios(of(asleep, ours), of(asleep, sleeper), "wake_us"))});
  }
  for (const auto receivers : options.fan_out_receivers)
    for (const auto size : options.fan_out_sizes) {
      const auto experiment = fmt::format("{} receivers, {}", receivers, in_bytes(size));
      list.push_back({fmt::format("{} / {}", experiment, fan_out_limit), "", true, size < 4 << 10 ? 0.8 : 0.9,
                      rate(experiment, ours, fan_out_limit)});
    }
  const auto cost = [&](std::size_t consumers) { return of("producer's cost", fmt::format("{} {}", ours, consumers)); };
  list.push_back(
      {fmt::format("producer's cost, {} / {} consumers", options.consumers.back(), options.consumers.front()), "",
       false, 1.1,
       spread_of(results.ratios(cost(options.consumers.back()), cost(options.consumers.front()), "slot_ns"))});
  const auto recovery = [&](const std::string& metric) { return results.samples(of("recovery", ours), metric); };
  list.push_back({"writer killed, next one commits, median ms", "", false, 2, spread_of(recovery("writer_ms"))});
  std::optional<Spread> worst = spread_of(recovery("reader_ms"));
  if (worst) worst->median = worst->highest;
  list.push_back({"reader killed, producer resumes, worst ms", "", false, 15, worst});
  return list;
}

namespace {
class Tables {
 public:
  Tables(std::ostream& out, const Results& results, const Options& options)
      : out_{out}, results_{results}, options_{options} {}

  void print(const std::map<std::string, std::string>& costs) const {
    out_ << "Medians of rounds [lowest .. highest round]; ratios round by round.\n";
    if (!costs.empty()) {
      out_ << fmt::format("\n{} messages of 64 B, sent and received in one process\n",
                          options_.messages_without_system_calls);
      for (const auto& [kind, cost] : costs) out_ << fmt::format("  {:<28} {}\n", kind, cost);
    }
    for (const auto size : options_.sizes) {
      const std::vector<Column> columns{{"messages_per_s", "messages/s", true}, {"written_per_s", "written/s"}};
      table("transfer, " + in_bytes(size), "one sender, one receiver", limit, columns);
      for (const auto& distance : distances)
        table("transfer, " + in_bytes(size) + ", " + distance.name, "the windows with the processors at that distance",
              limit, columns);
    }
    for (const auto size : options_.round_trip_sizes)
      table("round trip, " + in_bytes(size), "both busy", limit,
            {{"half_ns", "half round trip, ns", true}, {"half_p99_ns", "p99, ns"}});
    for (const auto size : options_.round_trip_sizes)
      table("to a sleeper, " + in_bytes(size), "until the receiver, asleep in the kernel, has the message", sleeper,
            {{"wake_us", "us", true}, {"wake_p99_us", "p99, us"}, {"half_us", "half round trip, us"}});
    for (const auto receivers : options_.fan_out_receivers)
      for (const auto size : options_.fan_out_sizes)
        table(fmt::format("{} receivers, {}", receivers, in_bytes(size)), "all receive each message", fan_out_limit,
              {{"messages_per_s", "messages/s", true}});
    table("producer's cost", "of a slot of 64 B, with so many consumers that keep up",
          fmt::format("{} {}", ours, options_.consumers.front()), {{"slot_ns", "ns", true}});
    recoveries();
  }

 private:
  struct Column {
    std::string metric, title;
    bool ratio = false;
  };
  void row(const std::string& name, const std::vector<std::string>& cells) const {
    out_ << fmt::format("  {:<28}", name);
    for (const auto& cell : cells) out_ << fmt::format(" {:>38}", cell);
    out_ << '\n';
  }

  void table(const std::string& experiment, const std::string& what, const std::string& to,
             const std::vector<Column>& columns) const {
    std::vector<std::string> titles;
    for (const auto& column : columns) {
      titles.push_back(column.title);
      if (column.ratio) titles.push_back("ratio to " + to);
    }
    auto kinds = results_.locks(experiment);
    if (kinds.empty()) return;
    if (const auto found = std::find(kinds.begin(), kinds.end(), to); found != kinds.end())
      std::rotate(kinds.begin(), found, found + 1);
    out_ << fmt::format("\n{}: {}\n", experiment, what);
    row("", titles);
    for (const auto& kind : kinds) {
      std::vector<std::string> cells;
      const Subject subject{experiment, "memory", kind};
      for (const auto& column : columns) {
        cells.push_back(to_string(spread_of(results_.rounds(subject, column.metric))));
        if (column.ratio)
          cells.push_back(
              kind == to ? "1"
                         : to_string(spread_of(results_.ratios(subject, {experiment, "memory", to}, column.metric))));
      }
      row(kind, cells);
    }
  }

  void recoveries() const {
    const auto tell = [this](const std::string& metric, const std::string& what) {
      const auto samples = results_.samples({"recovery", "memory", ours}, metric);
      if (!samples.empty())
        out_ << fmt::format("  {:<72} {} ms, worst of {}: {} ms\n", what, number(median(samples)), samples.size(),
                            number(percentile(samples, 100)));
    };
    if (!results_.locks("recovery").empty()) out_ << "\nSIGKILL, until...\n";
    tell("process_start_ms", "writer in mid-write: a process started after that runs");
    tell("writer_ms", "writer in mid-write: that one, being the next producer, has committed");
    tell("reader_ms", "reader that holds the slot which the producer waits for: it has that slot");
  }

  std::ostream& out_;
  const Results& results_;
  const Options& options_;
};
}  // namespace

void print_tables(std::ostream& out, const Results& results, const std::map<std::string, std::string>& costs,
                  const Options& options) {
  Tables{out, results, options}.print(costs);
}
}  // namespace holdfast::benchmarks::transfer
