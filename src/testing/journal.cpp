#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include <fmt/format.h>
#include <holdfast/error.hpp>
#include <holdfast/testing/journal.hpp>

#include "testing/shared_file.hpp"

namespace holdfast::harness {
namespace {
/// One entry, in four words, so that the last one stored can publish the others.
///
///   what             the others    state                              next step
///   0                any           free, or taken and not yet filled  its taker stores the others, then what
///   event << 32|who  the entry's   published, never changes again
///
/// E1 publish  append's store of `what` -> read's load of it: who sees an event sees its time and its value.
///
/// Crash: killed between taking a place and publishing it, a writer leaves `what` at 0 for ever. Readers skip it.
struct Place {
  std::atomic<std::uint64_t> nanoseconds;
  std::atomic<std::uint64_t> what;
  std::atomic<std::uint64_t> value, count;
};

struct Header {
  std::array<char, 16> magic;
  std::uint64_t capacity;  // written before anybody else can open the file
  std::byte padding[40];
  std::atomic<std::uint64_t> taken;  // places handed out, and beyond the capacity the number of attempts
  std::byte padding_after[56];       // the counter is alone in its cache line
};
constexpr std::array<char, 16> journal_magic{"holdfast jrnl 2"};

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);  // or it would not work across processes
static_assert(sizeof(Place) == 32 && sizeof(Header) == 128);

std::uint64_t now() noexcept {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
          .count());
}
}  // namespace

/// The mapped file seen as a journal. It is never made from scratch: the bytes of a new file are zero, which is a valid
/// empty journal but for magic and capacity.
struct Journal::Mapping {
  SharedFile file;
  Header* header;
  std::span<Place> places;

  explicit Mapping(SharedFile shared)
      : file{shared},
        header{static_cast<Header*>(file.address)},
        places{reinterpret_cast<Place*>(header + 1), (file.size - sizeof(Header)) / sizeof(Place)} {}
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() { close_shared_file(file); }

  [[nodiscard]] std::size_t used() const noexcept {
    return std::min<std::uint64_t>(header->taken.load(std::memory_order_relaxed), places.size());  // relaxed: E1 orders
  }
};

Journal Journal::create(const std::filesystem::path& file, std::size_t capacity) {
  if (capacity > (std::numeric_limits<std::size_t>::max() / 2 - sizeof(Header)) / sizeof(Place))
    throw Error{make_error_code(std::errc::value_too_large), "create", file.native()};
  auto mapping = std::make_unique<Mapping>(create_shared_file(file, sizeof(Header) + capacity * sizeof(Place)));
  mapping->header->magic = journal_magic;
  mapping->header->capacity = capacity;
  return Journal{mapping.release()};
}

Journal Journal::open(const std::filesystem::path& file) {
  const auto refuse = [&file](std::string_view reason) {
    throw Error{make_error_code(errc::foreign), "open the journal", file.native(), reason};
  };
  const SharedFile shared = open_shared_file(file);
  if (shared.size < sizeof(Header)) {
    close_shared_file(shared);
    refuse("it is too short to be one");
  }
  auto mapping = std::make_unique<Mapping>(shared);
  if (mapping->header->magic != journal_magic || mapping->header->capacity != mapping->places.size())
    refuse("it was not made by Journal::create");
  return Journal{mapping.release()};
}

Journal::~Journal() { delete mapping_; }

void Journal::append(std::uint32_t who, Event event, std::uint64_t value, std::uint64_t count) noexcept {
  const auto time = now();
  // relaxed: one counter has one order, and it agrees with happens-before. A lock worth its name makes what one owner
  // did before unlock() happen before what the next does after lock(), so `left` gets the smaller number.
  const auto index = mapping_->header->taken.fetch_add(1, std::memory_order_relaxed);
  if (index >= mapping_->places.size()) return;
  Place& place = mapping_->places[index];
  place.nanoseconds.store(time, std::memory_order_relaxed);                                                   // E1
  place.value.store(value, std::memory_order_relaxed);                                                        // E1
  place.count.store(count, std::memory_order_relaxed);                                                        // E1
  place.what.store(std::uint64_t{static_cast<std::uint32_t>(event)} << 32 | who, std::memory_order_release);  // E1
}

std::vector<Entry> Journal::read(std::size_t first, std::size_t last) const {
  std::vector<Entry> result;
  result.reserve(last - first);
  for (const Place& place : mapping_->places.subspan(first, last - first)) {
    const auto what = place.what.load(std::memory_order_acquire);  // E1
    if (what == 0) continue;
    result.push_back({place.nanoseconds.load(std::memory_order_relaxed), static_cast<std::uint32_t>(what),
                      static_cast<Event>(what >> 32), place.value.load(std::memory_order_relaxed),
                      place.count.load(std::memory_order_relaxed)});
  }
  return result;
}

std::vector<Entry> Journal::entries() const { return read(0, mapping_->used()); }

std::vector<Entry> Journal::latest(std::size_t count) const {
  const auto used = mapping_->used();
  return read(used - std::min(count, used), used);
}

std::uint64_t Journal::dropped() const noexcept {
  const auto taken = mapping_->header->taken.load(std::memory_order_relaxed);
  return taken - std::min<std::uint64_t>(taken, mapping_->places.size());
}

namespace {
struct Contender {
  enum class State { outside, waiting, inside } state = State::outside;
  bool doomed = false;
  std::uint64_t arrived_at = 0;
};

/// The state of all contenders after some entries.
class Checker {
 public:
  void step(const Entry& entry) {
    // The clock is read before the place is taken, so times may be out of order by what passed between the two.
    last_time_ = std::max(last_time_, entry.nanoseconds);
    Contender& contender = contenders_[entry.who];
    switch (entry.event) {
      case Event::arrived:
        if (contender.state != Contender::State::outside) return misordered();
        contender.state = Contender::State::waiting;
        contender.arrived_at = entry.nanoseconds;
        if (!contender.doomed) begin_wait(entry.who);
        return;
      case Event::entered:
      case Event::recovered:
        if (contender.state != Contender::State::waiting) return misordered();
        enter(entry, contender);
        return;
      case Event::left:
        if (contender.state != Contender::State::inside) return misordered();
        contender.state = Contender::State::outside;
        std::erase(inside_, entry.who);
        progress();
        return;
      case Event::gave_up:
        if (contender.state != Contender::State::waiting) return misordered();
        contender.state = Contender::State::outside;
        end_wait(entry.who);
        return;
      case Event::doomed:
        if (contender.doomed) return misordered();
        contender.doomed = true;
        end_wait(entry.who);
        std::erase(inside_, entry.who);
        if (inside_.empty() && !recovering_) {
          recovering_ = true;
          recovery_began_ = last_time_;
        }
        return;
      default:  // a message's, or a number that is no event
        return misordered();
    }
  }

  [[nodiscard]] History finish() {
    if (!waiting_.empty()) {
      end_gap();
      measure_recovery();
    }
    history_.unfinished = waiting_.size() + inside_.size();
    return std::move(history_);
  }

 private:
  void misordered() { ++history_.misordered; }

  void enter(const Entry& entry, Contender& contender) {
    if (!inside_.empty()) ++history_.overlaps;
    ++history_.acquisitions;
    if (entry.event == Event::recovered) ++history_.recoveries;
    history_.order.push_back(entry.who);
    history_.waits_ns.push_back(entry.nanoseconds - std::min(entry.nanoseconds, contender.arrived_at));
    progress();
    if (!contender.doomed) {
      measure_recovery();
      recovering_ = false;
    }
    history_.overtakes += static_cast<std::uint64_t>(end_wait(entry.who));
    contender.state = Contender::State::inside;
    if (!contender.doomed) inside_.push_back(entry.who);
  }

  void begin_wait(std::uint32_t who) {
    if (waiting_.empty()) gap_began_ = recovery_began_ = last_time_;
    waiting_.push_back(who);
  }
  /// Returns how many waited before it and still do.
  std::ptrdiff_t end_wait(std::uint32_t who) {
    const auto found = std::find(waiting_.begin(), waiting_.end(), who);
    if (found == waiting_.end()) return 0;
    const auto earlier = found - waiting_.begin();
    waiting_.erase(found);
    if (waiting_.empty()) {
      end_gap();
      measure_recovery();
    }
    return earlier;
  }
  void progress() {
    if (!waiting_.empty()) end_gap();
    gap_began_ = last_time_;
  }
  void measure_recovery() {
    if (recovering_)
      history_.longest_recovery_ns = std::max(history_.longest_recovery_ns, last_time_ - recovery_began_);
  }
  void end_gap() { history_.longest_gap_ns = std::max(history_.longest_gap_ns, last_time_ - gap_began_); }

  History history_;
  std::unordered_map<std::uint32_t, Contender> contenders_;
  std::vector<std::uint32_t> waiting_;  // live ones, in order of arrival
  std::vector<std::uint32_t> inside_;   // live ones
  std::uint64_t last_time_ = 0;
  std::uint64_t gap_began_ = 0;       // of meaning while somebody waits
  bool recovering_ = false;           // somebody was doomed, nobody else was inside, and no live one has been since
  std::uint64_t recovery_began_ = 0;  // of meaning while somebody waits, too
};
}  // namespace

History check_history(std::span<const Entry> entries) {
  Checker checker;
  for (const Entry& entry : entries) checker.step(entry);
  return checker.finish();
}

// ---- messages ----------------------------------------------------------------------------------------------------------

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
