#include "tool/crew.hpp"

#include <algorithm>
#include <chrono>
#include <thread>

#include <fmt/format.h>

#include "text.hpp"

namespace holdfast::tool {
namespace {
using namespace std::chrono_literals;
constexpr std::chrono::nanoseconds start_patience = 30s;

/// Why it ended, as far as it said so: its last line.
std::string last_words(const harness::WorkerProcess& worker) {
  const auto errors = worker.errors();
  std::string_view rest = errors;
  while (rest.ends_with('\n')) rest.remove_suffix(1);
  rest.remove_prefix(rest.rfind('\n') + 1);
  constexpr std::string_view exception = "uncaught exception: ";
  if (const auto at = rest.find(exception); at != std::string_view::npos) rest.remove_prefix(at + exception.size());
  return rest.empty() ? "" : fmt::format(": {}", text::escaped(rest));
}
}  // namespace

void Crew::start(std::string_view scenario, const Task& task) {
  throw_if_interrupted();
  workers_.push_back(harness::SpawnWorkerWithReadySignal(stage_.program, scenario, to_arguments(task)));
  ended_.emplace_back(workers_.back().pid());
}

bool Crew::wait_until_ready(std::chrono::nanoseconds patience) {
  const Deadline deadline{start_patience + patience};
  bool all = true;
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    const auto ready = workers_[i].wait_for_ready(deadline);
    throw_if_interrupted();
    if (ready == harness::Ready::yes) continue;
    all = false;
    note(i, fmt::format("{}{}", to_string(ready), last_words(workers_[i])));
  }
  return all;
}

std::vector<Tally> Crew::wait_until_done(Deadline deadline) {
  std::vector<Tally> tallies;
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    expect_done(i, deadline);
    if (auto tally = to_tally(workers_[i].output())) {
      if (!tally->error.empty()) note(i, tally->error);
      tallies.push_back(std::move(*tally));
    }
  }
  return tallies;
}

std::optional<Tally> Crew::wait_for_tally(std::size_t index, Deadline deadline) {
  auto& worker = workers_[index];
  for (;;) {
    const bool last_look = deadline.passed() || !worker.is_running();
    if (auto tally = to_tally(worker.output())) {
      if (!tally->error.empty()) note(index, tally->error);
      return tally;
    }
    throw_if_interrupted();
    if (last_look) break;
    std::this_thread::sleep_for(100us);
  }
  note(index, worker.is_running() ? "not done at the deadline"
                                  : to_string(worker.wait_for_exit(Deadline{0s})) + last_words(worker));
  return std::nullopt;
}

void Crew::expect_done(std::size_t index, Deadline deadline) {
  const auto exit = workers_[index].wait_for_exit(deadline);
  throw_if_interrupted();
  if (!exit.ok()) note(index, to_string(exit) + last_words(workers_[index]));
}

void Crew::note(std::size_t index, const std::string& problem) {
  const auto same = std::find_if(problems_.begin(), problems_.end(), [&](const auto& p) { return p.text == problem; });
  if (same == problems_.end())
    problems_.push_back({problem, index, 1});
  else
    ++same->count;
}

std::vector<std::string> Crew::problems() const {
  std::vector<std::string> result;
  for (const auto& [text, first, count] : problems_)
    result.push_back(
        fmt::format("process {}{}: {}", first, count > 1 ? fmt::format(" and {} more", count - 1) : "", text));
  return result;
}
}  // namespace holdfast::tool
