// transfer_report.hpp - the results of data_block_transfer in words: tables, ratios, and what was aimed at.
#pragma once
#include <iosfwd>
#include <map>
#include <string>
#include <vector>

#include "results.hpp"
#include "targets.hpp"
#include "transfer_options.hpp"

namespace holdfast::benchmarks::transfer {
[[nodiscard]] std::vector<Target> targets(const Results& results, const Options& options);

/// `costs`: what is no number, system calls and allocations of a message, by transport.
void print_tables(std::ostream& out, const Results& results, const std::map<std::string, std::string>& costs,
                  const Options& options);
}  // namespace holdfast::benchmarks::transfer
