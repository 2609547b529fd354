// report.hpp - the results, for people and for programs.
#pragma once
#include <string>

#include "tool/results.hpp"
#include "tool/settings.hpp"

namespace holdfast::tool {
[[nodiscard]] std::string report(const Results& results, const Settings& settings);  ///< Ends with the verdict.
[[nodiscard]] std::string verdict(
    const Results& results);  ///< "VERDICT: holds" or "VERDICT: DOES NOT HOLD: ...", a line.
[[nodiscard]] std::string json_report(const Results& results);  ///< One object, one line.
}  // namespace holdfast::tool
