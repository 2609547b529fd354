#include "tool/results.hpp"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

namespace holdfast::tool {
namespace {
using std::chrono::nanoseconds;

double per_second_of_waiting(nanoseconds cpu, nanoseconds waited) noexcept {
  return waited.count() > 0 ? 1e3 * static_cast<double>(cpu.count()) / static_cast<double>(waited.count()) : 0;
}

double per_second(std::uint64_t count, nanoseconds time) noexcept {
  return time.count() > 0 ? 1e9 * static_cast<double>(count) / static_cast<double>(time.count()) : 0;
}
}  // namespace

double milliseconds(nanoseconds time) noexcept { return static_cast<double>(time.count()) / 1e6; }

std::optional<nanoseconds> median(std::vector<nanoseconds> times) {
  if (times.empty()) return std::nullopt;
  std::sort(times.begin(), times.end());
  const auto middle = times.size() / 2;
  return times.size() % 2 != 0 ? times[middle] : (times[middle - 1] + times[middle]) / 2;
}

std::optional<nanoseconds> longest(const std::vector<nanoseconds>& times) {
  const auto found = std::max_element(times.begin(), times.end());
  return found != times.end() ? std::optional{*found} : std::nullopt;
}

nanoseconds duration_of(const std::vector<harness::Entry>& entries) {
  std::uint64_t first = ~std::uint64_t{0}, last = 0;
  for (const auto& entry : entries) {
    if (entry.event == harness::Event::arrived) first = std::min(first, entry.nanoseconds);
    if (entry.event == harness::Event::left) last = std::max(last, entry.nanoseconds);
  }
  return nanoseconds{last > first ? static_cast<std::int64_t>(last - first) : 0};
}

double Contest::operations_per_second() const noexcept { return per_second(successful, duration); }
double Transfer::messages_per_second() const noexcept { return per_second(messages, duration); }

nanoseconds Contest::total_wait() const noexcept {
  const auto& waits = history.waits_ns;
  return nanoseconds{static_cast<std::int64_t>(std::accumulate(waits.begin(), waits.end(), std::uint64_t{0}))};
}

std::optional<nanoseconds> Contest::mean_wait() const noexcept {
  if (history.waits_ns.empty()) return std::nullopt;
  return total_wait() / static_cast<std::int64_t>(history.waits_ns.size());
}

std::optional<nanoseconds> Contest::longest_wait() const noexcept {
  const auto longest = std::max_element(history.waits_ns.begin(), history.waits_ns.end());
  if (longest == history.waits_ns.end()) return std::nullopt;
  return nanoseconds{static_cast<std::int64_t>(*longest)};
}

double Contest::overtakes_per_acquisition() const noexcept {
  if (history.acquisitions == 0) return 0;
  return static_cast<double>(history.overtakes) / static_cast<double>(history.acquisitions);
}

double Contest::cpu_per_second_of_waiting() const noexcept { return per_second_of_waiting(lock_cpu, total_wait()); }
double Recovery::cpu_per_second_of_waiting() const noexcept { return per_second_of_waiting(lock_cpu, slept); }

std::vector<std::string> Results::problems() const {
  std::vector<std::string> all;
  const auto add = [&all](const std::string& name, const std::vector<std::string>& problems) {
    for (const auto& problem : problems) all.push_back(fmt::format("{}: {}", name, problem));
  };
  add("contention", contention.problems);
  add("threads", threads.problems);
  add("kill", kill.problems);
  add("race", race.problems);
  for (std::size_t i = 0; i < stress.size(); ++i) add(fmt::format("stress, iteration {}", i + 1), stress[i].problems);
  add("mutex", mutex.problems);
  add("mutex, contention", mutex.contention.problems);
  add("mutex, kill", mutex.kill.problems);
  add("mutex, attach", mutex.attach.problems);
  add("block", block.problems);
  add("block, transfer", block.transfer.problems);
  add("block, writer killed", block.writer.problems);
  add("block, reader killed", block.reader.problems);
  return all;
}
}  // namespace holdfast::tool
