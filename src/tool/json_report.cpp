#include <nlohmann/json.hpp>

#include "tool/report.hpp"

namespace holdfast::tool {
namespace {
using Json = nlohmann::ordered_json;

Json in_ms(const std::optional<std::chrono::nanoseconds>& time) { return time ? Json(milliseconds(*time)) : Json(); }

Json to_json(const Contest& contest) {
  return {{"expected", contest.expected},
          {"final", contest.final},
          {"lost", contest.lost()},
          {"overlaps", contest.history.overlaps},
          {"ops_per_second", contest.operations_per_second()},
          {"wait_ms", {{"mean", in_ms(contest.mean_wait())}, {"max", in_ms(contest.longest_wait())}}},
          {"overtakes_per_acquisition", contest.overtakes_per_acquisition()}};
}
}  // namespace

std::string json_report(const Results& results) {
  auto iterations = Json::array();
  for (const auto& contest : results.stress)
    iterations.push_back({{"expected", contest.expected}, {"final", contest.final}});
  const Json json{{"verdict", results.holds() ? "holds" : "fails"},
                  {"file_system", results.surroundings.file_system},
                  {"contention", to_json(results.contention)},
                  {"threads", to_json(results.threads)},
                  {"kill",
                   {{"waiter_recovery_ms", in_ms(median(results.kill.waiters))},
                    {"newcomer_recovery_ms", in_ms(median(results.kill.newcomers))}}},
                  {"race",
                   {{"processes", results.race.contenders},
                    {"acquired", results.race.history.acquisitions},
                    {"overlaps", results.race.history.overlaps},
                    {"order", results.race.history.order}}},
                  {"stress", {{"iterations", iterations}}}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
}
}  // namespace holdfast::tool
