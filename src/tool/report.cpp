#include "tool/report.hpp"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <vector>

#include <fmt/format.h>

#include "text.hpp"
#include "tool/block_under_test.hpp"

namespace holdfast::tool {
namespace {
using std::chrono::nanoseconds;

std::string in_ms(nanoseconds time) {
  const double ms = milliseconds(time);
  return fmt::format("{:.{}f} ms", ms, ms < 10 ? 3 : ms < 100 ? 2 : 1);
}
std::string in_ms(const std::optional<nanoseconds>& time) { return time ? in_ms(*time) : "-"; }

/// "200us", the way it is asked for on the command line.
std::string as_asked(nanoseconds time) {
  if (time.count() % 1'000'000 == 0 && time.count() != 0) return fmt::format("{} ms", time.count() / 1'000'000);
  if (time.count() % 1'000 == 0) return fmt::format("{} us", time.count() / 1'000);
  return fmt::format("{} ns", time.count());
}

class Writer {
 public:
  template <class... Arguments>
  void line(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Arguments>(arguments)...);
    text_ += '\n';
  }
  template <class Value>
  void figure(std::string_view name, const Value& value) {
    line("  {:<28}{}", name, value);
  }
  void problems(const std::vector<std::string>& problems) {
    for (const auto& problem : problems) line("  ! {}", problem);
  }
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

double percent(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0 : 100 * static_cast<double>(part) / static_cast<double>(whole);
}

void write_surroundings(Writer& out, const Results& results) {
  const auto& where = results.surroundings;
  out.line("holdfast validate {}", HOLDFAST_VERSION);
  out.figure("directory",
             text::escaped(results.directory.native()) + (results.temporary ? " (temporary, removed again)" : ""));
  out.figure("file system", where.file_system);
  if (!where.of_one_kernel)
    out.figure("", "may be in use by other machines, too: nothing is tried, nor said, about owners there");
  out.figure("kernel", fmt::format("{}, {} processors", where.kernel, where.processors));
  out.figure("container", where.container.empty() ? "no sign of one" : "signs of one: " + where.container);
}

void write_order_and_overlaps(Writer& out, const Contest& contest) {
  out.figure("Overlaps", contest.history.overlaps);
  out.figure("Overtakes", fmt::format("{:.3f} per acquisition", contest.overtakes_per_acquisition()));
}

void write_contest(Writer& out, const Contest& contest) {
  out.figure("Total operations attempted", contest.attempted);
  out.figure("Successful operations", contest.successful);
  out.figure("Failed operations", contest.failed);
  out.figure("Final counter value", contest.final);
  out.figure("Expected value", contest.expected);
  out.figure("Success rate", fmt::format("{:.2f} %", percent(contest.final, contest.expected)));
  out.figure("Total duration", in_ms(contest.duration));
  out.figure("Average wait", in_ms(contest.mean_wait()));
  out.figure("Maximum wait", in_ms(contest.longest_wait()));
  out.figure("Throughput", fmt::format("{:.0f} operations/s", contest.operations_per_second()));
  write_order_and_overlaps(out, contest);
  out.figure("CPU used while waiting", fmt::format("{:.1f} ms/s", contest.cpu_per_second_of_waiting()));
  out.problems(contest.problems);
}

std::string spread(const std::vector<nanoseconds>& times) {
  if (times.empty()) return "never";
  const auto [least, most] = std::minmax_element(times.begin(), times.end());
  return fmt::format("{} (median of {}, {} to {})", in_ms(median(times)), times.size(), in_ms(*least), in_ms(*most));
}

void write_recovery(Writer& out, const Recovery& recovery) {
  out.figure("Recovery by a waiter asleep", spread(recovery.waiters));
  out.figure("Recovery by a newcomer", spread(recovery.newcomers));
}

void write_kill(Writer& out, const Recovery& kill) {
  write_recovery(out, kill);
  out.figure("CPU used while waiting", fmt::format("{:.2f} ms/s", kill.cpu_per_second_of_waiting()));
  out.problems(kill.problems);
}

/// Who came when, and who got it when.
void write_order(Writer& out, const Contest& race) {
  std::vector<std::uint32_t> arrivals;
  std::map<std::uint32_t, std::uint64_t> arrived_at;
  for (const auto& entry : race.entries) {
    if (entry.event != harness::Event::arrived) continue;
    arrivals.push_back(entry.who);
    arrived_at[entry.who] = entry.nanoseconds;
  }
  const auto& order = race.history.order;
  if (order.empty()) return;
  const auto first = arrived_at[arrivals.front()];
  out.line("  Acquisition order, with the order and time of arrival:");
  for (std::size_t i = 0; i < order.size(); ++i) {
    const auto place = std::find(arrivals.begin(), arrivals.end(), order[i]) - arrivals.begin() + 1;
    const auto after =
        nanoseconds{static_cast<std::int64_t>(arrived_at[order[i]] - std::min(first, arrived_at[order[i]]))};
    out.line("    Process {:<4} order={:<4} arrival={:<4} at {:<11} waited {}", order[i], i + 1, place, in_ms(after),
             in_ms(nanoseconds{static_cast<std::int64_t>(race.history.waits_ns[i])}));
  }
}

void write_race(Writer& out, const Contest& race) {
  out.figure("Total processes", race.contenders);
  out.figure("Successful acquisitions", race.history.acquisitions);
  out.figure("Failed acquisitions", race.failed);
  write_order_and_overlaps(out, race);
  write_order(out, race);
  out.problems(race.problems);
}

void write_stress(Writer& out, const std::vector<Contest>& stress, std::uint32_t asked) {
  std::size_t right = 0;
  for (std::size_t i = 0; i < stress.size(); ++i) {
    const auto& contest = stress[i];
    out.figure(fmt::format("Iteration {}", i + 1),
               fmt::format("{}/{}, {:.0f} operations/s, {} overlaps", contest.final, contest.expected,
                           contest.operations_per_second(), contest.history.overlaps));
    out.problems(contest.problems);
    if (contest.final == contest.expected) ++right;
  }
  out.figure("Success rate", fmt::format("{:.1f} % of {} iterations", percent(right, asked), asked));
}

void write_mutex(Writer& out, const MutexResults& mutex, const Settings& settings, std::string_view hold) {
  if (!mutex.problems.empty()) {
    out.line("\nMutex in shared memory: not tried");
    return out.problems(mutex.problems);
  }
  out.line("\nMutex in shared memory: {} processes x {} increments{}", settings.processes_of_mutex(),
           settings.increments_of_mutex(), hold);
  write_contest(out, mutex.contention);
  out.line("\nMutex, kill: the owner is killed (SIGKILL), {} times", settings.kills);
  write_recovery(out, mutex.kill);
  out.problems(mutex.kill.problems);
  out.line("\nMutex, attach: {} rounds of {} processes at once", settings.attach_rounds, settings.processes_of_mutex());
  out.figure("All in one segment", fmt::format("{} of {} rounds", mutex.attach.rounds, settings.attach_rounds));
  out.figure("Attached and had it after", spread(mutex.attach.times));
  out.problems(mutex.attach.problems);
}

void write_block(Writer& out, const BlockResults& block, const Settings& settings) {
  if (!block.problems.empty()) {
    out.line("\nBlock in shared memory: not tried");
    return out.problems(block.problems);
  }
  const auto& transfer = block.transfer;
  const double rate = transfer.messages_per_second();
  out.line("\nBlock in shared memory: {} messages of {} bytes", transfer.messages, block_message_size);
  out.figure("Readers of all",
             fmt::format("{}, which got {} of {}", Transfer::readers_of_all, transfer.delivered, transfer.expected()));
  out.figure("Reader of the latest", fmt::format("1, which got {}", transfer.latest));
  out.figure("Messages lost", transfer.lost());
  out.figure("Messages torn", transfer.torn);
  out.figure("Total duration", in_ms(transfer.duration));
  out.figure("Throughput", fmt::format("{:.0f} messages/s, {:.0f} MB/s", rate, rate * block_message_size / 1e6));
  out.problems(transfer.problems);
  out.line("\nBlock, writer killed (SIGKILL) in the middle of a message, {} times", settings.block_kills);
  write_recovery(out, block.writer);
  out.problems(block.writer.problems);
  out.line("\nBlock, reader killed (SIGKILL) with a slot of a full ring, {} times", settings.block_kills);
  out.figure("Writer goes on after", spread(block.reader.times));
  out.problems(block.reader.problems);
}
}  // namespace

std::string verdict(const Results& results) {
  const auto problems = results.problems();
  if (problems.empty()) return "VERDICT: holds\n";
  return fmt::format("VERDICT: DOES NOT HOLD: {}\n", fmt::join(problems, "; "));
}

std::string report(const Results& results, const Settings& settings) {
  Writer out;
  write_surroundings(out, results);
  const auto hold = settings.hold.count() == 0 ? "" : fmt::format(", each held for {}", as_asked(settings.hold));
  out.line("\nContention: {} processes x {} increments{}", settings.processes, settings.increments, hold);
  write_contest(out, results.contention);
  out.line("\nThreads: {} threads of one process x {} increments{}", settings.processes, settings.increments, hold);
  write_contest(out, results.threads);
  out.line("\nKill: the owner is killed (SIGKILL)");
  write_kill(out, results.kill);
  out.line("\nRace: {} processes at once", settings.processes);
  write_race(out, results.race);
  out.line("\nStress: {} iterations x 5 processes x 10 increments{}", settings.iterations, hold);
  write_stress(out, results.stress, settings.iterations);
  write_mutex(out, results.mutex, settings, hold);
  write_block(out, results.block, settings);
  return out.take() + '\n' + verdict(results);
}
}  // namespace holdfast::tool
