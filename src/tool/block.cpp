#include "tool/block.hpp"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>

#include <fmt/format.h>
#include <holdfast/data_block.hpp>
#include <holdfast/error.hpp>

#include "tool/block_under_test.hpp"
#include "tool/block_worker.hpp"
#include "tool/crew.hpp"
#include "tool/recovery.hpp"

namespace holdfast::tool {
namespace {
using namespace std::chrono_literals;
using harness::Event;
using harness::Journal;

double transfer_weight(const Settings& settings) noexcept { return 0.02 + 0.00002 * settings.messages; }
double reader_kills_weight(const Settings& settings) noexcept { return 0.02 * settings.block_kills; }

/// How much of it has been written, as anybody may look at it who only reads.
double written(const std::string& block, std::uint32_t messages) {
  try {
    return static_cast<double>(DataBlock::attach(block, 0s).statistics().committed) / messages;
  } catch (const Error&) {  // not yet, or no longer
    return 0;
  }
}

Transfer run_transfer(const Stage& stage) {
  const auto messages = stage.settings.messages;
  const auto block = stage.segments.name("block");
  const auto journal_file = stage.journal_file("block");
  const auto journal = Journal::create(journal_file, 16);
  Transfer transfer{.messages = messages};
  {
    const Progress::Phase phase{stage.progress, "block, transfer", transfer_weight(stage.settings),
                                [&] { return written(block, messages); }};
    Crew crew{stage};
    const Task task{
        .resource = block, .journal = journal_file, .increments = messages, .patience = stage.settings.deadline};
    for (const auto* scenario : {scenario_write_all, scenario_read_all, scenario_read_all, scenario_read_latest})
      crew.start(scenario, task);
    if (crew.wait_until_ready(stage.settings.deadline)) {
      crew.release_together();
      const std::chrono::nanoseconds for_a_message = 1ms;
      const auto tallies = crew.wait_until_done(4 * stage.settings.deadline + messages * for_a_message);
      if (tallies.size() == 4) {
        transfer.delivered = tallies[1].successful + tallies[2].successful;
        transfer.latest = tallies[3].successful;
        transfer.torn = tallies[1].failed + tallies[2].failed + tallies[3].failed;
      }
    }
    transfer.problems = crew.problems();
  }
  transfer.duration = duration_of(journal.entries());
  std::vector<std::string> found;
  if (transfer.torn > 0) found.push_back(fmt::format("{} messages torn", transfer.torn));
  if (transfer.lost() > 0) found.push_back(fmt::format("{} messages lost", transfer.lost()));
  transfer.problems.insert(transfer.problems.begin(), found.begin(), found.end());
  clear_up_segments(stage, transfer.problems.empty(), transfer.problems);
  std::filesystem::remove(journal_file);
  return transfer;
}

/// One block whose writer fills the ring for each reader that is killed. Process 0 is the writer, 1 reads everything and
/// lives, and those after it are killed, each while it holds the oldest slot.
class ReadersRound {
 public:
  ReadersRound(const Stage& stage, ReaderKills& result, std::string block, const std::filesystem::path& journal_file,
               std::uint32_t kills)
      : stage_{stage},
        result_{result},
        block_{std::move(block)},
        journal_file_{journal_file},
        kills_{kills},
        journal_{Journal::create(journal_file, std::size_t{8} * (kills + 2))},
        crew_{stage} {}

  void run() {
    start(scenario_fill_up, kills_);
    start(scenario_read_all, std::uint64_t{kills_} * (slots_of_kills + 1));
    for (std::uint32_t i = 0; i < kills_; ++i) start(scenario_hold_slot, 1);
    if (crew_.wait_until_ready(stage_.settings.deadline)) {
      crew_.worker(witness).release();
      bool recovered = true;
      for (std::uint32_t i = 0; recovered && i < kills_; ++i) recovered = kill_reader(first + i, i + 1);
      if (recovered) {
        (void)crew_.wait_for_tally(writer, patience());
        crew_.expect_done(writer, patience());
        (void)crew_.wait_for_tally(witness, patience());
        crew_.expect_done(witness, patience());
      }
    }
    const auto problems = crew_.problems();
    result_.problems.insert(result_.problems.end(), problems.begin(), problems.end());
  }

 private:
  static constexpr std::uint32_t writer = 0, witness = 1, first = 2;

  void start(const char* scenario, std::uint64_t increments) {
    crew_.start(scenario, {.resource = block_,
                           .journal = journal_file_,
                           .who = next_++,
                           .increments = static_cast<std::uint32_t>(increments),
                           .patience = stage_.settings.deadline});
  }

  [[nodiscard]] Deadline patience() const { return 4 * stage_.settings.deadline; }

  [[nodiscard]] std::size_t count(std::uint32_t who, Event event) const {
    const auto entries = journal_.entries();
    return static_cast<std::size_t>(std::count_if(
        entries.begin(), entries.end(), [&](const auto& entry) { return entry.who == who && entry.event == event; }));
  }

  /// False: it did not come about, and never will, or not by the deadline.
  template <class Condition>
  [[nodiscard]] bool wait_until(std::uint32_t who, Condition condition) {
    for (const auto deadline = patience();; std::this_thread::sleep_for(100us)) {
      const bool last_look = deadline.passed() || !crew_.worker(who).is_running();
      if (condition()) return true;
      throw_if_interrupted();
      if (last_look) return false;
    }
  }

  [[nodiscard]] bool kill_reader(std::uint32_t reader, std::size_t round) {
    crew_.worker(reader).release();
    if (!wait_until(reader, [&] { return count(reader, Event::arrived) > 0; })) return give_up(reader);
    crew_.worker(writer).release();
    const auto tally = crew_.wait_for_tally(reader, patience());
    if (!tally || !tally->error.empty()) return false;
    // The ring is full of what the reader has not released; everybody else has read it, and the writer sleeps.
    const auto settled = [&] {
      return count(writer, Event::arrived) == round && is_asleep(crew_.worker(writer).pid()) &&
             (is_asleep(crew_.worker(witness).pid()) || !crew_.worker(witness).is_running());
    };
    const auto goes_on = [&] { return count(writer, Event::recovered) == round; };
    if (!wait_until(writer, [&] { return settled() || goes_on(); })) return give_up(writer);
    if (goes_on()) {
      result_.problems.emplace_back("the writer did not wait for the reader that held the oldest slot of a full ring");
      return false;
    }
    journal_.append(reader, Event::doomed);
    crew_.worker(reader).kill();
    if (!wait_until(writer, goes_on)) {
      result_.problems.emplace_back("the writer did not get the slot of a reader that was killed");
      return give_up(writer);
    }
    result_.times.push_back(between_kill_and_next_message(reader, round));
    return true;
  }

  [[nodiscard]] std::chrono::nanoseconds between_kill_and_next_message(std::uint32_t reader, std::size_t round) const {
    std::uint64_t start = 0, end = 0;
    std::size_t seen = 0;
    for (const auto& entry : journal_.entries()) {
      if (entry.who == reader && entry.event == Event::doomed) start = entry.nanoseconds;
      if (entry.who == writer && entry.event == Event::recovered && ++seen == round) end = entry.nanoseconds;
    }
    return std::chrono::nanoseconds{static_cast<std::int64_t>(end - std::min(start, end))};
  }

  /// What it says itself is the reason, if it has ended.
  [[nodiscard]] bool give_up(std::uint32_t who) {
    (void)crew_.wait_for_tally(who, 0s);
    return false;
  }

  const Stage& stage_;
  ReaderKills& result_;
  std::string block_;
  const std::filesystem::path& journal_file_;
  std::uint32_t kills_;
  Journal journal_;
  Crew crew_;
  std::uint32_t next_ = 0;
};

ReaderKills run_reader_kills(const Stage& stage) {
  const auto kills = stage.settings.block_kills;
  const auto weight = reader_kills_weight(stage.settings) / kills;
  ReaderKills result;
  for (std::uint32_t done = 0; done < kills && result.problems.empty(); done += kills_in_a_round) {
    const auto now = std::min(kills - done, kills_in_a_round);
    const Progress::Phase phase{stage.progress, fmt::format("block, reader killed, {} of {}", done + 1, kills),
                                weight * now, [] { return 0.0; }};
    const auto name = fmt::format("block-reader-{}", done + 1);
    const auto journal_file = stage.journal_file(name);
    ReadersRound{stage, result, stage.segments.name(name), journal_file, now}.run();
    clear_up_segments(stage, result.problems.empty(), result.problems);
    std::filesystem::remove(journal_file);
  }
  return result;
}
}  // namespace

double block_weight(const Settings& settings) noexcept {
  return transfer_weight(settings) + role_recovery_weight(settings) + reader_kills_weight(settings);
}

BlockResults run_block(const Stage& stage) {
  BlockResults results;
  try {  // where there is no shared memory, that is a reason, not the end of the run
    const auto writer = make_writer(stage.segments.name("trial"), slots_of_kills);
    if (writer->acquire(stage.settings.deadline)) writer->commit();
  } catch (const Error& error) {
    results.problems.emplace_back(error.what());
    return results;
  }
  results.transfer = run_transfer(stage);
  results.writer = run_role_recovery(stage);
  results.reader = run_reader_kills(stage);
  return results;
}
}  // namespace holdfast::tool
