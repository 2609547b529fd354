#include "results.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace holdfast::benchmarks {
double percentile(std::vector<double> values, double percent) {
  std::sort(values.begin(), values.end());
  const auto rank = std::ceil(percent / 100 * static_cast<double>(values.size()));
  return values.at(std::min(values.size(), std::max<std::size_t>(1, static_cast<std::size_t>(rank))) - 1);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto upper = values.size() / 2;
  return values.size() % 2 != 0 ? values.at(upper) : (values.at(upper - 1) + values.at(upper)) / 2;
}

Spread spread(std::vector<double> values) {
  const auto [lowest, highest] = std::minmax_element(values.begin(), values.end());
  return {median(values), *lowest, *highest, values.size()};
}

void Results::add(const Subject& subject, const std::string& metric, std::size_t round, double value) {
  all_[subject][metric][round].push_back(value);
}

const Results::Rounds* Results::find(const Subject& subject, const std::string& metric) const {
  const auto metrics = all_.find(subject);
  if (metrics == all_.end()) return nullptr;
  const auto rounds = metrics->second.find(metric);
  return rounds != metrics->second.end() ? &rounds->second : nullptr;
}

std::vector<double> Results::rounds(const Subject& subject, const std::string& metric) const {
  std::vector<double> medians;
  if (const Rounds* const found = find(subject, metric))
    for (const auto& [round, values] : *found) medians.push_back(median(values));
  return medians;
}

std::vector<double> Results::samples(const Subject& subject, const std::string& metric) const {
  std::vector<double> all;
  if (const Rounds* const found = find(subject, metric))
    for (const auto& [round, values] : *found) all.insert(all.end(), values.begin(), values.end());
  return all;
}

std::vector<double> Results::ratios(const Subject& subject, const Subject& to, const std::string& metric) const {
  const Rounds *const above = find(subject, metric), *const below = find(to, metric);
  std::vector<double> ratios;
  if (above == nullptr || below == nullptr) return ratios;
  for (const auto& [round, values] : *above)
    if (const auto pair = below->find(round); pair != below->end() && median(pair->second) > 0)
      ratios.push_back(median(values) / median(pair->second));
  return ratios;
}

std::vector<std::string> Results::locks(const std::string& experiment) const {
  std::vector<std::string> list;
  for (const auto& [subject, metrics] : all_)
    if (subject.experiment == experiment) list.push_back(subject.lock);
  return list;
}

nlohmann::json Results::json() const {
  auto list = nlohmann::json::array();
  for (const auto& [subject, metrics] : all_)
    for (const auto& [metric, rounds] : metrics) {
      const auto of_rounds = spread(this->rounds(subject, metric));
      const auto all = samples(subject, metric);
      list.push_back({{"experiment", subject.experiment},
                      {"file_system", subject.file_system},
                      {"lock", subject.lock},
                      {"metric", metric},
                      {"median", of_rounds.median},
                      {"lowest", of_rounds.lowest},
                      {"highest", of_rounds.highest},
                      {"rounds", this->rounds(subject, metric)},
                      {"samples", all.size()},
                      {"sample_p10", percentile(all, 10)},
                      {"sample_median", median(all)},
                      {"sample_p99", percentile(all, 99)},
                      {"sample_max", percentile(all, 100)}});
    }
  return list;
}

std::string number(double value) {
  if (value == 0) return "0";
  const auto magnitude = std::abs(value);
  if (magnitude < 100) return fmt::format("{:.3g}", value);
  auto digits = fmt::format("{:.0f}", value);
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > (value < 0 ? 1 : 0); at -= 3)
    digits.insert(static_cast<std::size_t>(at), 1, ' ');
  return digits;
}

std::string to_string(const std::optional<Spread>& spread) {
  if (!spread) return "-";
  if (spread->rounds == 1) return number(spread->median);
  return fmt::format("{} [{} .. {}]", number(spread->median), number(spread->lowest), number(spread->highest));
}
}  // namespace holdfast::benchmarks
