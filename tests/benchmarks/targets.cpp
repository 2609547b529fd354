#include "targets.hpp"

#include <ostream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace holdfast::benchmarks {
std::optional<Spread> spread_of(std::vector<double> values) {
  return values.empty() ? std::nullopt : std::optional{spread(std::move(values))};
}

std::string Target::verdict() const {
  if (!reached) return "-";
  return (at_least ? reached->median >= limit : reached->median <= limit) ? "pass" : "MISS";
}

nlohmann::json json(const std::vector<Target>& targets) {
  auto list = nlohmann::json::array();
  for (const auto& target : targets) {
    nlohmann::json one{{"claim", target.claim},
                       {"file_system", target.file_system},
                       {target.at_least ? "at_least" : "at_most", target.limit},
                       {"verdict", target.verdict()}};
    if (target.reached)
      one.update({{"median", target.reached->median},
                  {"lowest", target.reached->lowest},
                  {"highest", target.reached->highest},
                  {"rounds", target.reached->rounds}});
    list.push_back(std::move(one));
  }
  return list;
}

void print_targets(std::ostream& out, const std::vector<Target>& targets) {
  out << '\n' << fmt::format("{:<48} {:>8} {:>10} {:>26}  {}\n", "Target", "", "aim", "reached", "");
  for (const auto& target : targets)
    out << fmt::format("{:<48} {:>8} {:>10} {:>26}  {}\n", target.claim, target.file_system,
                       (target.at_least ? ">= " : "<= ") + number(target.limit), to_string(target.reached),
                       target.verdict());
}
}  // namespace holdfast::benchmarks
