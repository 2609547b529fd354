// report.hpp - the results of the lock on files in words: tables, ratios, and what was aimed at.
#pragma once
#include <iosfwd>
#include <string>
#include <vector>

#include "experiments.hpp"
#include "results.hpp"
#include "targets.hpp"

namespace holdfast::benchmarks {
[[nodiscard]] std::vector<Target> targets(const Results& results, const Options& options,
                                          const std::vector<std::string>& file_systems);

void print_tables(std::ostream& out, const Results& results, const Options& options,
                  const std::vector<std::string>& file_systems);
}  // namespace holdfast::benchmarks
