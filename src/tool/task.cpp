#include "tool/task.hpp"

#include <nlohmann/json.hpp>

namespace holdfast::tool {
std::vector<harness::Argument> to_arguments(const Task& task) {
  return {task.resource,     task.journal,          task.who,  task.threads, task.increments,
          task.hold.count(), task.patience.count(), task.fair, task.mutex,   task.warm};
}

Task to_task(const harness::WorkerContext& context) {
  const auto number = [&context](std::size_t index) { return static_cast<std::uint32_t>(context.number(index)); };
  return {.resource = context.argument(0),
          .journal = context.argument(1),
          .who = number(2),
          .threads = number(3),
          .increments = number(4),
          .hold = std::chrono::nanoseconds{context.number(5)},
          .patience = std::chrono::nanoseconds{context.number(6)},
          .fair = context.number(7) != 0,
          .mutex = context.number(8) != 0,
          .warm = context.number(9) != 0};
}

std::string to_line(const Tally& tally) {
  nlohmann::json json{{"successful", tally.successful},
                      {"failed", tally.failed},
                      {"lock_cpu_ns", tally.lock_cpu.count()},
                      {"error", tally.error}};
  if (tally.died_before) json["died_before"] = *tally.died_before;
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + '\n';
}

std::optional<Tally> to_tally(std::string_view output) {
  const auto json = nlohmann::json::parse(output.substr(0, output.find('\n')), nullptr, false);
  if (!output.ends_with('\n') || !json.is_object()) return std::nullopt;
  Tally tally{.successful = json.value("successful", std::uint64_t{0}),
              .failed = json.value("failed", std::uint64_t{0}),
              .lock_cpu = std::chrono::nanoseconds{json.value("lock_cpu_ns", std::int64_t{0})},
              .died_before = {},
              .error = json.value("error", std::string{})};
  if (json.contains("died_before")) tally.died_before = json["died_before"].get<std::int64_t>();
  return tally;
}
}  // namespace holdfast::tool
