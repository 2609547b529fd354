#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <holdfast/testing/journal.hpp>

namespace holdfast::harness {
namespace {
constexpr std::size_t never = std::numeric_limits<std::size_t>::max();
constexpr std::uint64_t no_number = std::numeric_limits<std::uint64_t>::max();

struct Message {
  std::uint32_t sender = 0;
  std::size_t begun_at = 0;        // places in the journal
  std::size_t visible_at = never;  // from there on it was certain: its commit had returned, or somebody got it
  bool given_up = false;
};

/// Messages of one sequence, by number.
using Sequence = std::map<std::uint64_t, Message>;

struct Participant {
  std::size_t doomed_at = never, ended_at = never;
  std::optional<std::uint64_t> committing = {};
  bool sends = false;
  bool receives = false;
  std::optional<std::size_t> asked_at = {};
  std::map<std::uint32_t, std::uint64_t> last = {};  // number delivered, of each sequence
};

/// A receiver alone, or those of a group.
struct Team {
  struct Progress {
    std::uint64_t judged = 0;         // all below that
    std::uint64_t first = no_number;  // the least that was delivered
  };
  bool alone = true;
  std::size_t began_at = 0;
  std::vector<std::uint32_t> members = {};
  std::unordered_map<std::uint64_t, std::uint32_t> deliveries = {};  // number -> who had it last
  std::map<std::uint64_t, std::uint64_t> gaps = {};                  // first -> end
  std::map<std::uint32_t, Progress> progress = {};
  std::uint64_t excused = 0;  // rows of messages that killed members may have been told of

  [[nodiscard]] bool is_told(std::uint64_t number) const {
    const auto after = gaps.upper_bound(number);
    return after != gaps.begin() && std::prev(after)->second > number;
  }
};

/// Two ways through the entries: what has become of each message in the end, and then who had to get it.
class MessageChecker {
 public:
  MessageChecker(std::span<const Entry> entries, Numbers numbers) : entries_{entries}, numbers_{numbers} {}

  [[nodiscard]] MessageHistory check() {
    for (now_ = 0; now_ < entries_.size(); ++now_) look_at_message(entries_[now_]);
    for (auto& [id, participant] : participants_)
      if (participant.committing && participant.doomed_at == never) ++history_.unfinished;
    for (const auto& [id, sequence] : sequences_)
      for (const auto& [number, message] : sequence)
        if (!committed_.contains(number) && is_abandoned(message)) ++history_.uncertain;
    for (now_ = 0; now_ < entries_.size(); ++now_) look_at_receiver(entries_[now_]);
    for (auto& [id, participant] : participants_)
      if (participant.doomed_at == never && !participant.committing &&
          (participant.asked_at || (participant.receives && participant.ended_at == never)))
        ++history_.unfinished;
    return std::move(history_);
  }

 private:
  void blame(std::uint64_t& counter, std::string words) {
    ++counter;
    if (history_.violations.size() < 10)
      history_.violations.push_back(fmt::format("entry {}: {}", now_, std::move(words)));
  }
  void misordered(const Entry& entry, std::string_view what) {
    blame(history_.misordered, fmt::format("{} {}", entry.who, what));
  }

  [[nodiscard]] std::uint32_t sequence_of(std::uint64_t number) const {
    if (numbers_ == Numbers::of_all) return 0;
    const auto found = sender_of_.find(number);
    return found == sender_of_.end() ? 0 : found->second;
  }
  [[nodiscard]] Message* find(std::uint64_t number) {
    auto& sequence = sequences_[sequence_of(number)];
    const auto found = sequence.find(number);
    return found == sequence.end() ? nullptr : &found->second;
  }
  /// Its sender was killed with it, or gave it up.
  [[nodiscard]] bool is_abandoned(const Message& message) const {
    return message.given_up || participants_.at(message.sender).doomed_at != never;
  }

  // ---- the first way ----
  void look_at_message(const Entry& entry) {
    Participant& participant = participants_[entry.who];
    switch (entry.event) {
      case Event::committing:
        return begin_message(entry, participant);
      case Event::committed: {
        if (participant.committing != entry.value)
          return misordered(entry, fmt::format("committed {} without having begun it", entry.value));
        participant.committing.reset();
        ++history_.committed;
        committed_.insert(entry.value);
        Message* const message = find(entry.value);
        if (message->sender == entry.who) message->visible_at = std::min(message->visible_at, now_);
        return end_recoveries(entry, true);
      }
      case Event::gave_up:
        if (!participant.committing) return;
        if (Message* const message = find(*participant.committing); message->sender == entry.who)
          message->given_up = true;
        participant.committing.reset();
        return;
      case Event::delivered:
      case Event::delivered_again: {
        Message* const message = find(entry.value);
        if (message == nullptr)
          return blame(history_.invented, fmt::format("{} got {}, which nobody had begun", entry.who, entry.value));
        message->visible_at = std::min(message->visible_at, now_);
        auto& greatest = delivered_until_[sequence_of(entry.value)];
        greatest = std::max(greatest, entry.value);
        return end_recoveries(entry, false);
      }
      case Event::missed:
        if (entry.count == 0 || entry.value > no_number - entry.count)
          return misordered(entry, "missed what is no range");
        if (!begun_until_ || entry.value + entry.count - 1 > *begun_until_)
          blame(history_.false_gaps, fmt::format("{} was told of a gap of {} from {}, where nothing was begun yet",
                                                 entry.who, entry.count, entry.value));
        return;
      case Event::doomed: {
        if (participant.doomed_at != never) return misordered(entry, "was doomed twice");
        participant.doomed_at = now_;
        auto& begun = participant.sends ? sender_lost_ : receiver_lost_;
        if (!begun) begun = entry.nanoseconds;
        return;
      }
      default:
        return;
    }
  }

  void begin_message(const Entry& entry, Participant& participant) {
    const auto number = entry.value;
    participant.sends = true;
    if (participant.committing)
      misordered(entry, fmt::format("began {} before {} was committed", number, *participant.committing));
    participant.committing = number;
    begun_until_ = std::max(begun_until_.value_or(0), number);
    if (const Message* const earlier = find(number); earlier != nullptr) {
      if (earlier->visible_at != never || !is_abandoned(*earlier))
        return blame(history_.reused,
                     fmt::format("{} began {}, which {} had begun before", entry.who, number, earlier->sender));
      ++history_.uncertain;
      sequences_[sequence_of(number)].erase(number);
    }
    if (numbers_ == Numbers::of_each_sender) sender_of_[number] = entry.who;
    const auto sequence = sequence_of(number);
    if (const auto greatest = delivered_until_.find(sequence);
        greatest != delivered_until_.end() && greatest->second > number)
      blame(history_.reused,
            fmt::format("{} began {} after {} had been delivered", entry.who, number, greatest->second));
    sequences_[sequence].emplace(number, Message{entry.who, now_});
  }

  void end_recoveries(const Entry& entry, bool commit) {
    if (participants_[entry.who].doomed_at != never) return;
    const auto end = [&](std::optional<std::uint64_t>& begun) {
      if (begun)
        history_.longest_recovery_ns =
            std::max(history_.longest_recovery_ns, entry.nanoseconds - std::min(entry.nanoseconds, *begun));
      begun.reset();
    };
    end(receiver_lost_);
    if (commit) end(sender_lost_);
  }

  // ---- the second way ----
  void look_at_receiver(const Entry& entry) {
    Participant& participant = participants_[entry.who];
    if (participant.ended_at != never && entry.event != Event::doomed) return misordered(entry, "had ended");
    switch (entry.event) {
      case Event::began:
        if (participant.receives) return misordered(entry, "began twice");
        participant.receives = true;
        return join(entry);
      case Event::ended:
        if (!participant.receives) return misordered(entry, "ended without having begun");
        participant.ended_at = now_;
        participant.asked_at.reset();
        return;
      case Event::arrived:
        if (participant.asked_at) return misordered(entry, "arrived twice");
        participant.asked_at = now_;
        return;
      case Event::committing:
        participant.asked_at.reset();
        commits_.insert(entry.who);
        return;
      case Event::committed:
        commits_.erase(entry.who);
        return;
      case Event::gave_up:
        if (commits_.erase(entry.who) != 0) return;
        if (!participant.asked_at) return misordered(entry, "gave up without having asked");
        if (participant.receives) found_nothing(team_of(entry.who), *participant.asked_at);
        participant.asked_at.reset();
        return;
      case Event::delivered:
      case Event::delivered_again:
      case Event::torn:
        participant.asked_at.reset();
        if (!participant.receives) return misordered(entry, "got a message without having begun");
        return deliver(entry, participant, team_of(entry.who));
      case Event::missed:
        if (!participant.receives) return misordered(entry, "missed a message without having begun");
        if (entry.count != 0 && entry.value <= no_number - entry.count) miss(entry, team_of(entry.who));
        return;
      case Event::doomed:
        return;
      default:
        misordered(entry, "did what is no event of messages");
    }
  }

  void join(const Entry& entry) {
    const auto key = entry.value != 0 ? std::pair{true, entry.value} : std::pair{false, std::uint64_t{entry.who}};
    const auto [found, is_new] = teams_.try_emplace(key);
    if (is_new) {
      found->second.alone = entry.value == 0;
      found->second.began_at = now_;
    }
    found->second.members.push_back(entry.who);
    team_of_[entry.who] = &found->second;
  }
  [[nodiscard]] Team& team_of(std::uint32_t who) { return *team_of_.at(who); }
  [[nodiscard]] bool was_doomed(std::uint32_t who) const { return participants_.at(who).doomed_at < now_; }

  void deliver(const Entry& entry, Participant& receiver, Team& team) {
    const auto number = entry.value;
    auto& books = history_.receivers[entry.who];
    const bool again = entry.event == Event::delivered_again;
    if (entry.event == Event::torn) {
      blame(history_.torn, fmt::format("{} was given something else than {}", entry.who, number));
      team.deliveries[number] = entry.who;
      return;
    }
    ++(again ? history_.delivered_again : history_.delivered);
    ++(again ? books.delivered_again : books.delivered);
    if (find(number) == nullptr) return;  // invented: told already
    if (team.is_told(number))
      blame(history_.false_gaps, fmt::format("{} got {}, which had been told as missed", entry.who, number));
    const auto earlier = team.deliveries.find(number);
    if (again)
      look_at_mark(entry, team, earlier == team.deliveries.end() ? std::nullopt : std::optional{earlier->second});
    else if (earlier != team.deliveries.end())
      blame(history_.duplicated, fmt::format("{} got {}, which {} had had before", entry.who, number, earlier->second));
    else
      look_at_order(entry, receiver, team);
    team.deliveries[number] = entry.who;
  }
  void look_at_mark(const Entry& entry, const Team& team, std::optional<std::uint32_t> earlier) {
    if (earlier && (*earlier == entry.who || !was_doomed(*earlier)))
      return blame(history_.duplicated,
                   fmt::format("{} got {} again, which {} had, who lives", entry.who, entry.value, *earlier));
    if (!earlier && std::none_of(team.members.begin(), team.members.end(),
                                 [&](std::uint32_t member) { return member != entry.who && was_doomed(member); }))
      blame(history_.mismarked,
            fmt::format("{} got {} again, and nobody can have had it before", entry.who, entry.value));
  }
  void look_at_order(const Entry& entry, Participant& receiver, Team& team) {
    const auto sequence = sequence_of(entry.value);
    const auto [last, is_first] = receiver.last.try_emplace(sequence, entry.value);
    if (last->second > entry.value)
      return blame(history_.out_of_order, fmt::format("{} got {} after {}", entry.who, entry.value, last->second));
    if (team.alone) {
      for (const auto& row : owed(team, sequence, entry.value, never))
        for (const auto number : row)
          blame(history_.lost, fmt::format("{} got {}, and {} before it neither came nor was told as missed", entry.who,
                                           entry.value, number));
    }
    last->second = entry.value;
    auto& first = team.progress[sequence].first;
    first = std::min(first, entry.value);
  }

  void miss(const Entry& entry, Team& team) {
    const auto end = entry.value + entry.count;
    const auto after = team.gaps.lower_bound(end);
    if (after != team.gaps.begin() && std::prev(after)->second > entry.value)
      return blame(history_.false_gaps, fmt::format("{} was told of a gap of {} from {}: part of that had been told",
                                                    entry.who, entry.count, entry.value));
    team.gaps[entry.value] = end;
    for (const auto& [id, sequence] : sequences_)
      for (auto message = sequence.lower_bound(entry.value); message != sequence.end() && message->first < end;
           ++message) {
        const auto earlier = team.deliveries.find(message->first);
        if (earlier != team.deliveries.end() && !was_doomed(earlier->second))
          blame(history_.false_gaps, fmt::format("{} was told that {} is missing, which {} had had", entry.who,
                                                 message->first, earlier->second));
        else if (message->second.visible_at != never)
          ++history_.missed, ++history_.receivers[entry.who].missed;
      }
  }

  /// Asked at that entry, answered by nothing now.
  void found_nothing(Team& team, std::size_t asked_at) {
    std::uint64_t dead = 0;
    for (const auto member : team.members) {
      const auto& participant = participants_.at(member);
      dead += participant.doomed_at < asked_at ? 1U : 0U;
      if (member != entries_[asked_at].who && participant.doomed_at >= asked_at && participant.ended_at >= asked_at)
        return;  // may have what is not there
    }
    for (const auto& [sequence, messages] : sequences_)
      for (const auto& row : owed(team, sequence, no_number, asked_at)) {
        if (team.excused < dead && !team.alone) {
          ++team.excused;
          history_.unexplained += row.size();
          continue;
        }
        for (const auto number : row)
          blame(history_.lost,
                fmt::format("{} was given nothing, when {} was there for it", entries_[asked_at].who, number));
      }
  }

  /// What is missing below that number of what was certain before that entry, as rows without anything else between. Nothing is
  /// told twice.
  [[nodiscard]] std::vector<std::vector<std::uint64_t>> owed(Team& team, std::uint32_t sequence, std::uint64_t below,
                                                             std::size_t certain_before) {
    std::vector<std::vector<std::uint64_t>> rows;
    auto& progress = team.progress[sequence];
    const auto& messages = sequences_.at(sequence);
    bool in_row = false;
    for (auto it = messages.lower_bound(progress.judged); it != messages.end() && it->first < below; ++it) {
      const auto& [number, message] = *it;
      if (message.visible_at == never || message.begun_at > now_) continue;
      if (message.visible_at >= certain_before) break;
      progress.judged = number + 1;
      const bool is_owed = message.begun_at > team.began_at || number > progress.first;
      if (!is_owed || team.deliveries.contains(number) || team.is_told(number)) {
        in_row = false;
        continue;
      }
      if (!in_row) rows.emplace_back();
      in_row = true;
      rows.back().push_back(number);
    }
    return rows;
  }

  std::span<const Entry> entries_;
  Numbers numbers_;
  std::size_t now_ = 0;
  MessageHistory history_;
  std::map<std::uint32_t, Sequence> sequences_;  // one, or one of each sender
  std::unordered_map<std::uint64_t, std::uint32_t> sender_of_;
  std::unordered_set<std::uint64_t> committed_;
  std::map<std::uint32_t, std::uint64_t> delivered_until_;  // the greatest number, of each sequence
  std::optional<std::uint64_t> begun_until_;
  std::optional<std::uint64_t> sender_lost_, receiver_lost_;  // since when
  std::unordered_map<std::uint32_t, Participant> participants_;
  std::map<std::pair<bool, std::uint64_t>, Team> teams_;
  std::unordered_map<std::uint32_t, Team*> team_of_;
  std::unordered_set<std::uint32_t> commits_;  // who is between committing and committed
};
}  // namespace

MessageHistory check_messages(std::span<const Entry> entries, Numbers numbers) {
  return MessageChecker{entries, numbers}.check();
}

std::string to_string(const MessageHistory& history) {
  auto text = fmt::format(
      "{} committed, {} uncertain, {} delivered, {} again, {} missed, {} unexplained; {} lost, {} duplicated, {} "
      "mismarked, "
      "{} out of order, {} torn, {} invented, {} reused, {} false gaps, {} misordered, {} unfinished; longest recovery "
      "{:.1f} ms",
      history.committed, history.uncertain, history.delivered, history.delivered_again, history.missed,
      history.unexplained, history.lost, history.duplicated, history.mismarked, history.out_of_order, history.torn,
      history.invented, history.reused, history.false_gaps, history.misordered, history.unfinished,
      static_cast<double>(history.longest_recovery_ns) / 1e6);
  for (const auto& violation : history.violations) text += "\n  " + violation;
  return text;
}
}  // namespace holdfast::harness
