// check_messages finds each kind of wrong history of messages, and only those.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <span>
#include <string>
#include <vector>
#include <holdfast/testing/journal.hpp>

namespace {
using holdfast::harness::check_messages;
using holdfast::harness::Entry;
using holdfast::harness::Event;
using holdfast::harness::MessageHistory;
using holdfast::harness::Numbers;

constexpr std::uint64_t ms = 1'000'000;
constexpr auto began = Event::began, ended = Event::ended, committing = Event::committing, committed = Event::committed,
               delivered = Event::delivered, delivered_again = Event::delivered_again, torn = Event::torn,
               missed = Event::missed, arrived = Event::arrived, entered = Event::entered, gave_up = Event::gave_up,
               doomed = Event::doomed;

/// One entry per item, a millisecond apart.
class MessagesOf {
 public:
  MessagesOf& operator()(std::uint32_t who, Event event, std::uint64_t value = 0, std::uint64_t count = 1) {
    return at(time_ + 1, who, event, value, count);
  }
  MessagesOf& at(std::uint64_t milliseconds, std::uint32_t who, Event event, std::uint64_t value = 0,
                 std::uint64_t count = 1) {
    time_ = milliseconds;
    entries_.push_back({time_ * 1'000'000, who, event, value, count});
    return *this;
  }
  MessagesOf& sent(std::uint32_t who, std::uint64_t first, std::uint64_t last) {
    for (; first <= last; ++first) (*this)(who, committing, first)(who, committed, first);
    return *this;
  }
  MessagesOf& got(std::uint32_t who, std::uint64_t first, std::uint64_t last) {
    for (; first <= last; ++first) (*this)(who, delivered, first);
    return *this;
  }
  /// Asks once more, is given nothing, and leaves.
  MessagesOf& closes(std::uint32_t who) { return (*this)(who, arrived)(who, gave_up)(who, ended); }
  [[nodiscard]] MessageHistory check(Numbers numbers = Numbers::of_all) const {
    return check_messages(entries_, numbers);
  }

 private:
  std::vector<Entry> entries_;
  std::uint64_t time_ = 0;
};

/// Nothing is wrong with it, however it is read.
void expect_right(const MessagesOf& messages, int line = __builtin_LINE()) {
  for (const auto numbers : {Numbers::of_each_sender, Numbers::of_all})
    if (const auto history = messages.check(numbers); !history.ok())
      ADD_FAILURE_AT(__FILE__, line) << to_string(history);
}
/// This is wrong, so many times, and nothing else.
void expect_wrong(const MessagesOf& messages, std::uint64_t MessageHistory::*kind, std::uint64_t times = 1,
                  Numbers numbers = Numbers::of_all, int line = __builtin_LINE()) {
  auto history = messages.check(numbers);
  if (history.*kind != times || history.ok()) ADD_FAILURE_AT(__FILE__, line) << to_string(history);
  if (kind != &MessageHistory::unfinished && history.violations.size() != std::min<std::size_t>(times, 10))
    ADD_FAILURE_AT(__FILE__, line) << to_string(history);
  history.*kind = 0;
  if (!history.ok()) ADD_FAILURE_AT(__FILE__, line) << "besides: " << to_string(history);
}

TEST(CheckMessages, CountsWhatASoundRunDid) {
  const auto run = MessagesOf{}(7, began)(1, arrived)
                       .sent(1, 0, 2)
                       .got(7, 0, 1)
                       .sent(1, 3, 9)(7, missed, 2, 4)
                       .got(7, 6, 9)
                       .closes(7);
  expect_right(run);
  const auto history = run.check();
  EXPECT_EQ(history.committed, 10U);
  EXPECT_EQ(history.uncertain, 0U);
  EXPECT_EQ(history.delivered, 6U);
  EXPECT_EQ(history.missed, 4U);
  EXPECT_EQ(history.receivers.at(7), (MessageHistory::Receiver{6, 0, 4}));
  EXPECT_TRUE(MessagesOf{}.check().ok());
}

TEST(CheckMessages, FindsAMessageThatIsLost) {
  expect_wrong(MessagesOf{}(7, began).sent(1, 0, 2).got(7, 0, 0).got(7, 2, 2).closes(7), &MessageHistory::lost);
  expect_wrong(MessagesOf{}(7, began).sent(1, 0, 2).got(7, 2, 2).closes(7), &MessageHistory::lost, 2);
  expect_wrong(MessagesOf{}(7, began).sent(1, 0, 2).got(7, 0, 1).closes(7), &MessageHistory::lost);
  expect_wrong(MessagesOf{}(7, began).sent(1, 0, 5).got(7, 0, 0)(7, missed, 1, 2).got(7, 4, 5).closes(7),
               &MessageHistory::lost);
}
TEST(CheckMessages, OwesNothingFromBeforeAReceiverBeganOrAfterItAsked) {
  expect_right(MessagesOf{}.sent(1, 0, 2)(7, began).sent(1, 3, 4).got(7, 3, 4).closes(7));
  expect_right(MessagesOf{}.sent(1, 0, 2)(7, began).sent(1, 3, 4).got(7, 1, 4).closes(7));
  expect_right(MessagesOf{}(1, committing, 0)(7, began)(1, committed, 0).closes(7));
  expect_right(MessagesOf{}(7, began)(7, arrived).sent(1, 0, 2)(7, gave_up)(7, ended));
  expect_right(MessagesOf{}(7, began).sent(1, 0, 2)(7, ended));
  expect_right(MessagesOf{}(7, began).sent(1, 0, 2)(7, doomed));
  expect_wrong(MessagesOf{}.sent(1, 0, 4)(7, began).got(7, 1, 1).got(7, 3, 4).closes(7), &MessageHistory::lost);
}

TEST(CheckMessages, FindsAMessageThatComesTwice) {
  expect_wrong(MessagesOf{}(7, began).sent(1, 0, 1).got(7, 0, 1).got(7, 1, 1).closes(7), &MessageHistory::duplicated);
  expect_wrong(MessagesOf{}(7, began, 5)(8, began, 5).sent(1, 0, 0).got(7, 0, 0).got(8, 0, 0)(7, ended).closes(8),
               &MessageHistory::duplicated);
  expect_wrong(
      MessagesOf{}(7, began, 5)(8, began, 5)(8, doomed).sent(1, 0, 0).got(7, 0, 0)(7, delivered_again, 0).closes(7),
      &MessageHistory::duplicated);
  expect_right(MessagesOf{}(7, began)(8, began).sent(1, 0, 0).got(7, 0, 0).got(8, 0, 0).closes(7).closes(8));
  expect_right(MessagesOf{}(7, began, 5)(8, began, 6).sent(1, 0, 0).got(7, 0, 0).got(8, 0, 0).closes(7).closes(8));
}
TEST(CheckMessages, LetsAMessageOfTheDeadComeAgainIfThatIsTold) {
  const auto until_the_kill = MessagesOf{}(7, began, 5)(8, began, 5).sent(1, 0, 1).got(7, 0, 0);
  expect_right(MessagesOf{until_the_kill}(7, doomed)(8, delivered_again, 0).got(8, 1, 1).closes(8));
  expect_right(MessagesOf{until_the_kill}(7, doomed).got(8, 1, 1)(8, delivered_again, 0).closes(8));
  expect_right(MessagesOf{until_the_kill}(7, doomed).got(8, 1, 1).closes(8));
  expect_right(MessagesOf{}(7, began, 5)(8, began, 5).sent(1, 0, 0)(7, doomed)(8, delivered_again, 0).closes(8));
  expect_right(MessagesOf{}(7, began, 5)(8, began, 5)(9, began, 5)
                   .sent(1, 0, 0)
                   .got(7, 0, 0)(7, doomed)(8, delivered_again, 0)(8, doomed)(9, delivered_again, 0)
                   .closes(9));
  expect_wrong(MessagesOf{until_the_kill}(7, doomed).got(8, 0, 1).closes(8), &MessageHistory::duplicated);
  expect_wrong(MessagesOf{until_the_kill}(8, delivered_again, 0)(7, doomed).got(8, 1, 1).closes(8),
               &MessageHistory::duplicated);
}
TEST(CheckMessages, FindsAMarkWithoutAReason) {
  expect_wrong(MessagesOf{}(7, began, 5)(8, began, 5).sent(1, 0, 0)(8, delivered_again, 0)(7, ended).closes(8),
               &MessageHistory::mismarked);
  expect_wrong(MessagesOf{}(7, began)(8, began).sent(1, 0, 0)(7, doomed)(8, delivered_again, 0).closes(8),
               &MessageHistory::mismarked);
}

TEST(CheckMessages, FindsMessagesOutOfOrder) {
  expect_wrong(
      MessagesOf{}(7, began, 5)(8, began, 5).sent(1, 0, 2).got(7, 0, 0).got(7, 2, 2).got(7, 1, 1)(8, ended).closes(7),
      &MessageHistory::out_of_order);
  expect_right(
      MessagesOf{}(7, began, 5)(8, began, 5).sent(1, 0, 2).got(7, 0, 0).got(8, 2, 2).got(7, 1, 1)(8, ended).closes(7));
  const auto two_senders =
      MessagesOf{}(7, began).sent(1, 10, 11).sent(2, 20, 21).got(7, 20, 21).got(7, 10, 11).closes(7);
  EXPECT_TRUE(two_senders.check(Numbers::of_each_sender).ok());
  EXPECT_GT(two_senders.check(Numbers::of_all).out_of_order, 0U);
  expect_wrong(MessagesOf{}(7, began, 5)
                   .sent(1, 10, 11)
                   .sent(2, 20, 21)
                   .got(7, 20, 20)
                   .got(7, 11, 11)
                   .got(7, 10, 10)
                   .got(7, 21, 21)
                   .closes(7),
               &MessageHistory::out_of_order, 1, Numbers::of_each_sender);
}

TEST(CheckMessages, FindsTornAndInventedMessages) {
  expect_wrong(MessagesOf{}(7, began).sent(1, 0, 1).got(7, 0, 0)(7, torn, 1).closes(7), &MessageHistory::torn);
  expect_wrong(MessagesOf{}(7, began).sent(1, 0, 0).got(7, 0, 1).closes(7), &MessageHistory::invented);
  expect_wrong(MessagesOf{}(7, began)(7, delivered, 0).sent(1, 0, 0).closes(7), &MessageHistory::invented);
  expect_right(MessagesOf{}(7, began)(1, committing, 0)(7, delivered, 0)(1, committed, 0).closes(7));
}

TEST(CheckMessages, LeavesOpenWhetherAMessageComesWhoseSenderWasKilled) {
  const auto killed = MessagesOf{}(7, began)(8, began)(1, committing, 0)(1, doomed);
  EXPECT_EQ(killed.check().uncertain, 1U);
  expect_right(MessagesOf{killed}.closes(7).closes(8));
  expect_right(MessagesOf{killed}.got(7, 0, 0).got(8, 0, 0).closes(7).closes(8));
  expect_right(MessagesOf{killed}.sent(2, 0, 1).got(7, 0, 1).got(8, 0, 1).closes(7).closes(8));
  expect_right(MessagesOf{killed}.closes(7).sent(2, 1, 1).got(8, 0, 1).closes(8));
  expect_wrong(MessagesOf{killed}.got(7, 0, 0).sent(2, 1, 1).got(7, 1, 1).got(8, 1, 1).closes(7).closes(8),
               &MessageHistory::lost);
  expect_wrong(MessagesOf{killed}.got(7, 0, 0).sent(2, 0, 0).got(8, 0, 0).closes(7).closes(8), &MessageHistory::reused);
  expect_right(MessagesOf{}(7, began)(1, committing, 0)(1, doomed)(1, committed, 0).got(7, 0, 0).closes(7));
  expect_wrong(MessagesOf{}(7, began)(1, committing, 0)(1, doomed)(1, committed, 0).closes(7), &MessageHistory::lost);
}
TEST(CheckMessages, LeavesOpenWhetherAMessageComesWhoseCommitFailed) {
  const auto failed = MessagesOf{}(7, began)(1, committing, 0)(1, gave_up);
  expect_right(MessagesOf{failed}.closes(7));
  expect_right(MessagesOf{failed}.got(7, 0, 0).closes(7));
  expect_right(MessagesOf{failed}.sent(2, 0, 0).got(7, 0, 0).closes(7));
}

TEST(CheckMessages, FindsNumbersThatAreUsedTwice) {
  expect_wrong(MessagesOf{}(7, began).sent(1, 0, 0).sent(2, 0, 0).got(7, 0, 0).closes(7), &MessageHistory::reused);
  expect_wrong(MessagesOf{}(7, began)(1, committing, 0).sent(2, 0, 0).got(7, 0, 0)(1, committed, 0).closes(7),
               &MessageHistory::reused);
  expect_wrong(MessagesOf{}.sent(1, 3, 3)(7, began, 5)(7, delivered, 3).sent(2, 2, 2)(7, ended),
               &MessageHistory::reused);
  expect_right(MessagesOf{}(1, committing, 3)(1, doomed)(7, began).sent(2, 2, 3).got(7, 2, 3).closes(7));
}

TEST(CheckMessages, FindsGapsThatAreNone) {
  const auto four = MessagesOf{}(7, began).sent(1, 0, 3);
  expect_wrong(MessagesOf{four}.got(7, 0, 1)(7, missed, 1, 2).got(7, 3, 3).closes(7), &MessageHistory::false_gaps);
  expect_wrong(MessagesOf{four}(7, missed, 0, 2).got(7, 1, 3).closes(7), &MessageHistory::false_gaps);
  expect_wrong(MessagesOf{four}(7, missed, 0, 2)(7, missed, 1, 2).got(7, 2, 3).closes(7), &MessageHistory::false_gaps);
  expect_wrong(MessagesOf{four}.got(7, 0, 3)(7, missed, 4, 1).closes(7), &MessageHistory::false_gaps);
  expect_right(MessagesOf{four}(7, missed, 0, 2)(7, missed, 2, 1).got(7, 3, 3).closes(7));
  // Numbers that nobody used may be within it.
  expect_right(MessagesOf{}(7, began).sent(1, 0, 0).sent(1, 5, 6).got(7, 0, 0)(7, missed, 1, 5).got(7, 6, 6).closes(7));
  expect_wrong(MessagesOf{}(7, began, 5)(8, began, 5)
                   .sent(1, 0, 2)
                   .got(7, 0, 0)(8, missed, 0, 2)
                   .got(8, 2, 2)(7, ended)
                   .closes(8),
               &MessageHistory::false_gaps);
}

TEST(CheckMessages, OwesToAGroupWhatNoneOfItGot) {
  const auto three = MessagesOf{}(7, began, 5)(8, began, 5).sent(1, 0, 2);
  expect_right(MessagesOf{three}.got(7, 0, 0).got(8, 1, 1).got(7, 2, 2)(7, ended).closes(8));
  expect_wrong(MessagesOf{three}.got(7, 0, 0).got(8, 2, 2)(7, ended).closes(8), &MessageHistory::lost);
  expect_right(MessagesOf{three}.got(7, 0, 0)(8, arrived)(8, gave_up).got(7, 1, 2)(7, ended).closes(8));
}
TEST(CheckMessages, TellsWhatAKilledMemberMayHaveBeenToldOfFromWhatIsLost) {
  const auto told = MessagesOf{}(7, began, 5)(8, began, 5).sent(1, 0, 6).got(7, 0, 0)(7, doomed);
  const auto one_row = MessagesOf{told}.got(8, 3, 6).closes(8);
  expect_right(one_row);
  EXPECT_EQ(one_row.check().unexplained, 2U);
  expect_wrong(MessagesOf{told}.got(8, 3, 4).got(8, 6, 6).closes(8), &MessageHistory::lost);
  const auto nothing = MessagesOf{told}.got(8, 1, 6).closes(8);
  EXPECT_EQ(nothing.check().unexplained, 0U);
}

TEST(CheckMessages, CallsEachSenselessEntryMisordered) {
  const auto expect_misordered = [](const MessagesOf& messages, int line = __builtin_LINE()) {
    EXPECT_EQ(messages.check().misordered, 1U) << "line " << line << ": " << to_string(messages.check());
  };
  expect_misordered(MessagesOf{}(1, committed, 0));
  expect_misordered(MessagesOf{}(1, committing, 0)(1, committed, 1));
  expect_misordered(MessagesOf{}(1, committing, 0)(1, committing, 1)(1, committed, 1));
  expect_misordered(MessagesOf{}.sent(1, 0, 0)(7, delivered, 0));
  expect_misordered(MessagesOf{}.sent(1, 0, 0)(7, torn, 0));
  expect_misordered(MessagesOf{}.sent(1, 0, 0)(7, missed, 0));
  expect_misordered(MessagesOf{}(7, began).sent(1, 0, 0)(7, missed, 0, 0));
  expect_misordered(MessagesOf{}(7, began).sent(1, 0, 0)(7, missed, 5, ~std::uint64_t{0}));
  expect_misordered(MessagesOf{}(7, began)(7, began));
  expect_misordered(MessagesOf{}(7, ended));
  expect_misordered(MessagesOf{}(7, began)(7, ended)(7, ended));
  expect_misordered(MessagesOf{}(7, began)(7, gave_up));
  expect_misordered(MessagesOf{}(7, began)(7, arrived)(7, arrived));
  expect_misordered(MessagesOf{}(7, doomed)(7, doomed));
  expect_misordered(MessagesOf{}(7, entered));
  expect_misordered(MessagesOf{}(7, static_cast<Event>(99)));
}

TEST(CheckMessages, CountsThoseWhoNeitherFinishedNorWereKilled) {
  expect_wrong(MessagesOf{}(1, committing, 0), &MessageHistory::unfinished);
  expect_wrong(MessagesOf{}(1, arrived), &MessageHistory::unfinished);
  expect_wrong(MessagesOf{}(7, began), &MessageHistory::unfinished);
  expect_wrong(MessagesOf{}(7, began)(7, arrived)(8, began), &MessageHistory::unfinished, 2);
  expect_right(MessagesOf{}(1, committing, 0)(1, doomed)(7, began)(7, arrived)(7, doomed)(8, began)(8, ended));
}

TEST(CheckMessages, MeasuresTheLongestRecovery) {
  const auto recovery_of = [](const MessagesOf& messages) { return messages.check().longest_recovery_ns; };
  const auto sender_killed = MessagesOf{}(7, began).at(10, 1, committing, 0).at(20, 1, doomed);
  EXPECT_EQ(
      recovery_of(MessagesOf{sender_killed}.at(25, 7, delivered, 0).at(60, 2, committing, 1).at(61, 2, committed, 1)),
      41 * ms)
      << "what was there already is no recovery from a sender's death";
  const auto receiver_killed = MessagesOf{}(7, began)(8, began).at(10, 1, committing, 0).at(20, 7, doomed);
  EXPECT_EQ(recovery_of(MessagesOf{receiver_killed}.at(50, 1, committed, 0).at(90, 8, delivered, 0)), 30 * ms);
  EXPECT_EQ(recovery_of(MessagesOf{receiver_killed}.at(30, 7, delivered, 0).at(70, 8, delivered, 0)), 50 * ms)
      << "what the doomed still does is no recovery";
  EXPECT_EQ(recovery_of(receiver_killed), 0U);
}

TEST(CheckMessages, TellsTheFirstViolationsInWords) {
  auto messages = MessagesOf{}(7, began).sent(1, 0, 49).got(7, 49, 49);
  const auto history = messages.check();
  EXPECT_EQ(history.lost, 49U);
  ASSERT_EQ(history.violations.size(), 10U);
  EXPECT_NE(history.violations[0].find("7 got 49, and 0 before it"), std::string::npos) << history.violations[0];
  EXPECT_NE(to_string(history).find("49 lost"), std::string::npos);
}

/// A ring that does what it should, with senders one after another, two receivers alone and three in a group, some of whom
/// are killed. The same seed gives the same run.
std::vector<Entry> run_of_a_sound_transport(std::uint32_t seed, int actions = 3000) {
  std::minstd_rand random{seed};
  std::vector<Entry> entries;
  std::uint64_t time = 0;
  const auto append = [&](std::uint32_t who, Event event, std::uint64_t value = 0, std::uint64_t count = 1) {
    entries.push_back({time += 1000, who, event, value, count});
  };
  const auto one_in = [&](unsigned n) { return random() % n == 0; };
  constexpr std::uint64_t slots = 8;
  std::uint32_t next_who = 100, sender = next_who++;
  std::uint64_t head = 0, group_next = 0;
  struct Receiver {
    std::uint32_t who;
    std::uint64_t next;
  };
  std::vector<Receiver> alone{{next_who++, 0}, {next_who++, 0}};
  std::vector<std::uint32_t> group{next_who++, next_who++, next_who++};
  std::set<std::uint64_t> orphans;
  for (const auto& receiver : alone) append(receiver.who, began);
  for (const auto who : group) append(who, began, 5);
  const auto take_alone = [&](Receiver& receiver) {
    append(receiver.who, arrived);
    if (receiver.next == head) return append(receiver.who, gave_up);
    if (const auto oldest = head - std::min(head, slots); receiver.next < oldest) {
      append(receiver.who, missed, receiver.next, oldest - receiver.next);
      receiver.next = oldest;
    }
    append(receiver.who, delivered, receiver.next++);
  };
  const auto take_as_member = [&](std::uint32_t who) {
    append(who, arrived);
    if (!orphans.empty()) {
      append(who, delivered_again, *orphans.begin());
      orphans.erase(orphans.begin());
    } else if (group_next == head) {
      append(who, gave_up);
    } else {
      append(who, delivered, group_next++);
    }
  };
  for (int i = 0; i < actions; ++i) {
    switch (random() % 4) {
      case 0:
        if (head - group_next >= slots) break;  // the group is waited for
        append(sender, committing, head);
        if (one_in(20)) {
          append(sender, doomed);
          head += random() % 2;
          sender = next_who++;
        } else {
          append(sender, committed, head++);
        }
        break;
      case 1: {
        auto& receiver = alone[random() % alone.size()];
        take_alone(receiver);
        if (!one_in(40)) break;
        append(receiver.who, doomed);
        receiver = {next_who++, head};
        append(receiver.who, began);
        break;
      }
      default: {
        auto& member = group[random() % group.size()];
        if (!one_in(20) || group_next == head) {
          take_as_member(member);
          break;
        }
        append(member, arrived);  // killed with a message, before or after it has told so
        orphans.insert(group_next);
        if (one_in(2)) append(member, delivered, group_next);
        ++group_next;
        append(member, doomed);
        member = next_who++;
        append(member, began, 5);
      }
    }
  }
  for (auto& receiver : alone) {
    while (receiver.next != head) take_alone(receiver);
    take_alone(receiver);
    append(receiver.who, ended);
  }
  append(group[0], ended);
  append(group[1], ended);
  while (!orphans.empty() || group_next != head) take_as_member(group[2]);
  take_as_member(group[2]);
  append(group[2], ended);
  return entries;
}

TEST(CheckMessages, AcceptsASoundTransportHoweverManyAreKilled) {
  for (std::uint32_t seed = 1; seed <= 40; ++seed) {
    const auto history = check_messages(run_of_a_sound_transport(seed), Numbers::of_all);
    EXPECT_TRUE(history.ok()) << "seed " << seed << ": " << to_string(history);
    EXPECT_EQ(history.unexplained, 0U);
    EXPECT_GT(history.committed, 300U);
    EXPECT_GT(history.uncertain, 0U);
    EXPECT_GT(history.delivered_again, 0U);
    EXPECT_GT(history.missed, 0U);
  }
}

TEST(CheckMessages, RaisesNoFalseAlarmWhereverAJournalIsCutShort) {
  const auto entries = run_of_a_sound_transport(3);
  for (std::size_t length = 0; length < entries.size(); length += 1 + length / 40) {
    auto history = check_messages(std::span{entries}.first(length), Numbers::of_all);
    history.unfinished = 0;
    ASSERT_TRUE(history.ok()) << "cut after " << length << ": " << to_string(history);
  }
}

// A commit, delivery or gap that is changed in a sound run is noticed.
TEST(CheckMessages, FindsEachSingleMistakeInASoundRun) {
  const auto sound = run_of_a_sound_transport(5, 700);
  const auto expect_found = [](const std::vector<Entry>& entries, std::size_t at, const char* mistake) {
    const auto history = check_messages(entries, Numbers::of_all);
    EXPECT_FALSE(history.ok() && history.unexplained == 0) << mistake << " at " << at;
  };
  std::map<std::string, int> made;
  for (std::size_t at = 0; at < sound.size(); ++at) {
    if (at % 5 != 0 && sound[at].event != missed) continue;
    const auto make = [&](const char* mistake, const std::function<void(std::vector<Entry>&, Entry&)>& change) {
      auto entries = sound;
      change(entries, entries[at]);
      expect_found(entries, at, mistake);
      ++made[mistake];
    };
    const auto turn_into = [&](Event event) {
      return [event](std::vector<Entry>&, Entry& entry) { entry.event = event; };
    };
    const bool dies_next = sound[at + 1 < sound.size() ? at + 1 : at].event == doomed;
    if (sound[at].event == delivered) {
      make("delivered twice",
           [&](auto& entries, auto&) { entries.insert(entries.begin() + static_cast<std::ptrdiff_t>(at), sound[at]); });
      make("torn", turn_into(torn));
      make("something else delivered", [](auto&, auto& entry) { entry.value += 1'000'000; });
      if (!dies_next)
        make("not delivered",
             [&](auto& entries, auto&) { entries.erase(entries.begin() + static_cast<std::ptrdiff_t>(at)); });
    }
    if (sound[at].event == missed) {
      make("gap one too long", [](auto&, auto& entry) { ++entry.count; });
      make("gap one too early", [](auto&, auto& entry) { entry.count += 1, entry.value -= 1; });
      make("gap not told", turn_into(arrived));
    }
    if (sound[at].event == committed) make("committed another one", [](auto&, auto& entry) { ++entry.value; });
  }
  EXPECT_EQ(made.size(), 8U) << "a kind of mistake that was never made";
}
}  // namespace
