// targets.hpp - what was aimed at beside what was reached.
#pragma once
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "results.hpp"

namespace holdfast::benchmarks {
/// What is aimed at. Missed targets are reported, not punished: another machine, or a busy one, has other figures.
struct Target {
  std::string claim;
  std::string file_system;
  bool at_least = true;  ///< or at most
  double limit = 0;
  std::optional<Spread> reached;  ///< empty: not measured

  [[nodiscard]] std::string verdict() const;  ///< "pass", "MISS" or "-", judged by the median
};

[[nodiscard]] nlohmann::json json(const std::vector<Target>& targets);
void print_targets(std::ostream& out, const std::vector<Target>& targets);

[[nodiscard]] std::optional<Spread> spread_of(std::vector<double> values);  ///< Empty if there are none.
}  // namespace holdfast::benchmarks
