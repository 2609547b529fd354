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

Json to_json(const std::vector<std::chrono::nanoseconds>& times) {
  return {{"median", in_ms(median(times))}, {"max", in_ms(longest(times))}};
}

Json to_json(const MutexResults& mutex) {
  return {{"contention", to_json(mutex.contention)},
          {"kill",
           {{"recoveries", mutex.kill.waiters.size()},
            {"waiter_recovery_ms", to_json(mutex.kill.waiters)},
            {"newcomer_recovery_ms", to_json(mutex.kill.newcomers)}}},
          {"attach",
           {{"processes", mutex.attach.processes},
            {"rounds", mutex.attach.rounds},
            {"attach_ms", to_json(mutex.attach.times)}}}};
}

Json to_json(const BlockResults& block) {
  const auto& transfer = block.transfer;
  return {{"transfer",
           {{"messages", transfer.messages},
            {"readers", Transfer::readers_of_all},
            {"delivered", transfer.delivered},
            {"lost", transfer.lost()},
            {"torn", transfer.torn},
            {"latest_seen", transfer.latest},
            {"messages_per_second", transfer.messages_per_second()}}},
          {"writer_killed",
           {{"recoveries", block.writer.waiters.size()},
            {"waiter_recovery_ms", to_json(block.writer.waiters)},
            {"newcomer_recovery_ms", to_json(block.writer.newcomers)}}},
          {"reader_killed",
           {{"recoveries", block.reader.times.size()}, {"writer_recovery_ms", to_json(block.reader.times)}}}};
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
                  {"stress", {{"iterations", iterations}}},
                  {"mutex", to_json(results.mutex)},
                  {"block", to_json(results.block)}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
}
}  // namespace holdfast::tool
