// results.hpp - what was measured, by rounds: medians with their spread, and ratios of what was measured side by side.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace holdfast::benchmarks {
/// A median and how far it can be trusted: of the rounds, not of single samples, unless said otherwise.
struct Spread {
  double median = 0, lowest = 0, highest = 0;
  std::size_t rounds = 0;
};

[[nodiscard]] double median(std::vector<double> values);  ///< Of at least one.
[[nodiscard]] double percentile(std::vector<double> values,
                                double percent);  ///< The smallest that so many do not exceed.
[[nodiscard]] Spread spread(std::vector<double> values);

/// Which lock, doing what, where.
struct Subject {
  std::string experiment, file_system, lock;
  friend auto operator<=>(const Subject&, const Subject&) = default;
};

class Results {
 public:
  void add(const Subject& subject, const std::string& metric, std::size_t round, double value);

  /// The medians of the rounds, in order of the rounds. Empty: not measured.
  [[nodiscard]] std::vector<double> rounds(const Subject& subject, const std::string& metric) const;
  /// All samples of all rounds.
  [[nodiscard]] std::vector<double> samples(const Subject& subject, const std::string& metric) const;
  /// Round by round: what happened side by side is compared with each other, so that other load cancels out.
  [[nodiscard]] std::vector<double> ratios(const Subject& subject, const Subject& to, const std::string& metric) const;

  /// Those of which there is something in that experiment.
  [[nodiscard]] std::vector<std::string> locks(const std::string& experiment) const;

  [[nodiscard]] nlohmann::json json() const;

 private:
  using Rounds = std::map<std::size_t, std::vector<double>>;
  [[nodiscard]] const Rounds* find(const Subject& subject, const std::string& metric) const;
  std::map<Subject, std::map<std::string, Rounds>> all_;
};

/// A number for people: three digits that count, thousands apart.
[[nodiscard]] std::string number(double value);
[[nodiscard]] std::string to_string(const std::optional<Spread>& spread);  ///< "12.3 [11.8 .. 14.0]"
}  // namespace holdfast::benchmarks
