// check_history finds each kind of wrong history of a lock, and only those.
#include <gtest/gtest.h>

#include <cstdint>
#include <initializer_list>
#include <vector>
#include <holdfast/testing/journal.hpp>

namespace {
using holdfast::harness::check_history;
using holdfast::harness::Entry;
using holdfast::harness::Event;
using holdfast::harness::History;

constexpr std::uint64_t ms = 1'000'000;

/// One entry per item, a millisecond apart.
class HistoryOf {
 public:
  HistoryOf& operator()(std::uint32_t who, Event event) {
    entries_.push_back({(entries_.size() + 1) * ms, who, event});
    return *this;
  }
  [[nodiscard]] History check() const { return check_history(entries_); }

 private:
  std::vector<Entry> entries_;
};
/// The same where it matters when, in milliseconds.
struct TimedEntry {
  std::uint64_t time;
  std::uint32_t who;
  Event event;
};
History check_timed(std::initializer_list<TimedEntry> timed) {
  std::vector<Entry> entries;
  for (const auto& [time, who, event] : timed) entries.push_back({time * ms, who, event});
  return check_history(entries);
}
std::uint64_t longest_gap(std::initializer_list<TimedEntry> timed) { return check_timed(timed).longest_gap_ns; }
std::uint64_t longest_recovery(std::initializer_list<TimedEntry> timed) {
  return check_timed(timed).longest_recovery_ns;
}
constexpr auto arrived = Event::arrived, entered = Event::entered, left = Event::left, gave_up = Event::gave_up,
               doomed = Event::doomed, recovered = Event::recovered;

TEST(CheckHistory, SaysNothingOfNothing) {
  const auto history = check_history({});
  EXPECT_EQ(history.acquisitions, 0U);
  EXPECT_EQ(history.overlaps, 0U);
  EXPECT_EQ(history.misordered, 0U);
  EXPECT_EQ(history.unfinished, 0U);
  EXPECT_EQ(history.longest_gap_ns, 0U);
}

TEST(CheckHistory, AcceptsSectionsOneAfterTheOther) {
  const auto history =
      HistoryOf{}(1, arrived)(1, entered)(2, arrived)(1, left)(2, entered)(2, left)(1, arrived)(1, entered)(1, left)
          .check();
  EXPECT_EQ(history.acquisitions, 3U);
  EXPECT_EQ(history.recoveries, 0U);
  EXPECT_EQ(history.overlaps, 0U);
  EXPECT_EQ(history.misordered, 0U);
  EXPECT_EQ(history.unfinished, 0U);
  EXPECT_EQ(history.overtakes, 0U);
  EXPECT_EQ(history.order, (std::vector<std::uint32_t>{1, 2, 1}));
  EXPECT_EQ(history.waits_ns, (std::vector<std::uint64_t>{1 * ms, 2 * ms, 1 * ms}));
}

TEST(CheckHistory, CountsAnEntryWhileAnotherIsInsideAsOverlap) {
  const auto history = HistoryOf{}(1, arrived)(2, arrived)(1, entered)(2, entered)(2, left)(1, left).check();
  EXPECT_EQ(history.overlaps, 1U);
  EXPECT_EQ(history.misordered, 0U);
  EXPECT_EQ(history.unfinished, 0U);
}

TEST(CheckHistory, CountsOneOverlapPerEntryHoweverManyAreInside) {
  const auto history =
      HistoryOf{}(1, arrived)(2, arrived)(3, arrived)(1, entered)(2, entered)(3, entered)(1, left)(2, left)(3, left)
          .check();
  EXPECT_EQ(history.overlaps, 2U);
}

TEST(CheckHistory, CountsARecoveryFromTheLivingAsOverlap) {
  const auto history = HistoryOf{}(1, arrived)(1, entered)(2, arrived)(2, recovered)(2, left)(1, left).check();
  EXPECT_EQ(history.overlaps, 1U);
  EXPECT_EQ(history.recoveries, 1U);
}

TEST(CheckHistory, LetsTheNextOwnerInAfterTheOneInsideIsDoomed) {
  const auto history = HistoryOf{}(1, arrived)(1, entered)(2, arrived)(1, doomed)(2, recovered)(2, left).check();
  EXPECT_EQ(history.overlaps, 0U);
  EXPECT_EQ(history.misordered, 0U);
  EXPECT_EQ(history.unfinished, 0U);
  EXPECT_EQ(history.acquisitions, 2U);
  EXPECT_EQ(history.recoveries, 1U);
}

TEST(CheckHistory, AllowsWhatADoomedContenderStillWritesBeforeItDies) {
  auto history = HistoryOf{}(1, arrived)(1, doomed)(1, entered)(2, arrived)(2, recovered)(1, left)(2, left).check();
  EXPECT_EQ(history.overlaps, 0U) << "the one inside was doomed before it entered";
  EXPECT_EQ(history.misordered, 0U);
  EXPECT_EQ(history.unfinished, 0U);

  history =
      HistoryOf{}(1, doomed)(1, arrived)(1, entered)(1, left)(1, arrived)(2, arrived)(2, entered)(2, left).check();
  EXPECT_EQ(history.overlaps, 0U);
  EXPECT_EQ(history.misordered, 0U);
  EXPECT_EQ(history.unfinished, 0U) << "nobody expects the dead to finish";
  EXPECT_EQ(history.overtakes, 0U) << "nor to be served";
}

TEST(CheckHistory, CountsADoomedContenderThatEntersWhileALivingOneIsInside) {
  const auto history = HistoryOf{}(1, arrived)(1, entered)(2, arrived)(2, doomed)(2, entered)(1, left).check();
  EXPECT_EQ(history.overlaps, 1U);
}

TEST(CheckHistory, StillSeesAnOverlapBetweenTheLivingAfterADeath) {
  const auto history = HistoryOf{}(1, arrived)(1, entered)(1, doomed)(2, arrived)(3, arrived)(2, recovered)(
                           3, recovered)(2, left)(3, left)
                           .check();
  EXPECT_EQ(history.overlaps, 1U) << "two rescuers of one dead owner";
  EXPECT_EQ(history.recoveries, 2U);
}

TEST(CheckHistory, CallsEachSenselessEntryMisordered) {
  EXPECT_EQ(HistoryOf{}(1, left).check().misordered, 1U) << "left without entered";
  EXPECT_EQ(HistoryOf{}(1, arrived)(1, left).check().misordered, 1U) << "left while waiting";
  EXPECT_EQ(HistoryOf{}(1, entered).check().misordered, 1U) << "entered without arrived";
  EXPECT_EQ(HistoryOf{}(1, recovered).check().misordered, 1U) << "recovered without arrived";
  EXPECT_EQ(HistoryOf{}(1, gave_up).check().misordered, 1U) << "gave up without arrived";
  EXPECT_EQ(HistoryOf{}(1, arrived)(1, arrived).check().misordered, 1U) << "arrived twice";
  EXPECT_EQ(HistoryOf{}(1, arrived)(1, entered)(1, arrived).check().misordered, 1U) << "arrived while inside";
  EXPECT_EQ(HistoryOf{}(1, arrived)(1, entered)(1, entered).check().misordered, 1U) << "entered twice";
  EXPECT_EQ(HistoryOf{}(1, arrived)(1, entered)(1, gave_up).check().misordered, 1U) << "gave up while inside";
  EXPECT_EQ(HistoryOf{}(1, doomed)(1, doomed).check().misordered, 1U) << "doomed twice";
  EXPECT_EQ(HistoryOf{}(1, static_cast<Event>(99)).check().misordered, 1U) << "no event";
}

TEST(CheckHistory, CountsThoseWhoNeitherFinishedNorWereKilled) {
  EXPECT_EQ(HistoryOf{}(1, arrived).check().unfinished, 1U) << "still waiting: a wedge";
  EXPECT_EQ(HistoryOf{}(1, arrived)(1, entered).check().unfinished, 1U) << "still inside";
  EXPECT_EQ(HistoryOf{}(1, arrived)(2, arrived)(1, entered).check().unfinished, 2U);
  EXPECT_EQ(HistoryOf{}(1, arrived)(1, gave_up).check().unfinished, 0U);
  EXPECT_EQ(HistoryOf{}(1, arrived)(1, doomed)(2, arrived)(2, entered)(2, doomed).check().unfinished, 0U);
}

TEST(CheckHistory, CountsWaitersThatWerePassed) {
  const auto history = HistoryOf{}(1, arrived)(1, entered)(2, arrived)(3, arrived)(4, arrived)(1, left)(4, entered)(
                           4, left)(2, entered)(2, left)(3, entered)(3, left)
                           .check();
  EXPECT_EQ(history.overtakes, 2U) << "4 passed 2 and 3";
  EXPECT_EQ(history.overlaps, 0U);
  EXPECT_EQ(history.order, (std::vector<std::uint32_t>{1, 4, 2, 3}));
}

TEST(CheckHistory, DoesNotCountPassingThoseWhoGaveUpOrWereKilled) {
  const auto history = HistoryOf{}(1, arrived)(1, entered)(2, arrived)(3, arrived)(4, arrived)(2, gave_up)(3, doomed)(
                           1, left)(4, entered)(4, left)
                           .check();
  EXPECT_EQ(history.overtakes, 0U);
}

TEST(CheckHistory, MeasuresTheLongestGapOnlyWhileSomebodyWaits) {
  // Nobody waits between 3 and 1000 ms; 2 waits 5 ms for 1.
  EXPECT_EQ(longest_gap({{1, 1, arrived},
                         {2, 1, entered},
                         {3, 1, left},
                         {1000, 1, arrived},
                         {1001, 1, entered},
                         {1003, 2, arrived},
                         {1008, 1, left},
                         {1009, 2, entered},
                         {1010, 2, left}}),
            5 * ms);
  // Entries count as progress for those who go on waiting.
  EXPECT_EQ(longest_gap({{1, 1, arrived},
                         {2, 2, arrived},
                         {3, 3, arrived},
                         {10, 1, entered},
                         {20, 1, left},
                         {21, 2, entered},
                         {35, 2, left},
                         {36, 3, entered},
                         {99, 3, left}}),
            14 * ms);
}

TEST(CheckHistory, EndsAGapWithTheLastWaiterOrTheLastEntry) {
  EXPECT_EQ(longest_gap({{1, 1, arrived}, {2, 1, entered}, {10, 2, arrived}, {70, 2, gave_up}, {500, 1, left}}),
            60 * ms);
  EXPECT_EQ(longest_gap({{1, 1, arrived}, {2, 1, entered}, {10, 2, arrived}, {80, 2, doomed}, {500, 1, left}}), 70 * ms)
      << "a waiter that is killed after it waited for nothing shows the wedge";
  EXPECT_EQ(longest_gap({{1, 1, arrived}, {2, 1, entered}, {3, 1, left}, {10, 2, arrived}, {90, 3, arrived}}), 80 * ms);
}

TEST(CheckHistory, SurvivesTimesThatAreSlightlyOutOfOrder) {
  const auto history = check_timed(
      {{10, 1, arrived}, {9, 1, entered}, {12, 2, arrived}, {11, 1, left}, {13, 2, entered}, {12, 2, left}});
  EXPECT_EQ(history.misordered, 0U);
  EXPECT_EQ(history.waits_ns, (std::vector<std::uint64_t>{0, 1 * ms}));
  EXPECT_LE(history.longest_gap_ns, 1 * ms);
}

TEST(CheckHistory, MeasuresTheLongestRecoveryWhileSomebodyWaits) {
  EXPECT_EQ(
      longest_recovery(
          {{1, 1, arrived}, {2, 1, entered}, {3, 2, arrived}, {10, 1, doomed}, {17, 2, recovered}, {90, 2, left}}),
      7 * ms);
  EXPECT_EQ(
      longest_recovery(
          {{1, 1, arrived}, {2, 1, entered}, {10, 1, doomed}, {500, 2, arrived}, {503, 2, recovered}, {600, 2, left}}),
      3 * ms)
      << "nobody waited before 500";
  EXPECT_EQ(longest_recovery({{1, 1, arrived}, {2, 1, entered}, {10, 1, doomed}, {20, 2, arrived}, {60, 2, gave_up}}),
            40 * ms)
      << "who waited for nothing shows how long it took at least";
  EXPECT_EQ(longest_recovery({{1, 1, arrived}, {2, 1, entered}, {10, 1, doomed}, {20, 2, arrived}, {90, 3, arrived}}),
            70 * ms);
}

TEST(CheckHistory, DoesNotTakeALiveOwnersSectionForARecovery) {
  EXPECT_EQ(longest_recovery({{1, 1, arrived},
                              {2, 1, entered},
                              {3, 2, arrived},
                              {4, 3, arrived},
                              {5, 2, doomed},
                              {100, 1, left},
                              {101, 3, entered},
                              {102, 3, left}}),
            0U);
}

TEST(CheckHistory, CallsEntriesOfMessagesMisordered) {
  EXPECT_EQ(HistoryOf{}(1, Event::committing)(1, Event::committed).check().misordered, 2U);
}
}  // namespace
