// The journal keeps what writers wrote in the order in which it happened, also when they are killed; and check_history
// finds each kind of wrong history, and only those.
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <thread>
#include <vector>
#include <holdfast/error.hpp>
#include <holdfast/testing/journal.hpp>

namespace {
using holdfast::Error;
using holdfast::harness::check_history;
using holdfast::harness::Entry;
using holdfast::harness::Event;
using holdfast::harness::History;
using holdfast::harness::Journal;
namespace fs = std::filesystem;

class JournalTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "journal_test.XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    file_ = directory_ / "journal";
  }
  void TearDown() override { fs::remove_all(directory_); }

  fs::path directory_, file_;
};
using JournalThreads = JournalTest;

TEST_F(JournalTest, IsReadBackByAnotherMappingInTheOrderWritten) {
  auto journal = Journal::create(file_, 10);
  journal.append(7, Event::arrived);
  journal.append(7, Event::entered);
  auto other = Journal::open(file_);
  other.append(8, Event::arrived);

  const auto entries = journal.entries();
  ASSERT_EQ(entries.size(), 3U);
  EXPECT_EQ(entries[0].who, 7U);
  EXPECT_EQ(entries[0].event, Event::arrived);
  EXPECT_EQ(entries[1].event, Event::entered);
  EXPECT_EQ(entries[2].who, 8U);
  EXPECT_LE(entries[0].nanoseconds, entries[1].nanoseconds);
  EXPECT_LE(entries[1].nanoseconds, entries[2].nanoseconds) << "one clock for all processes";
  EXPECT_EQ(entries, other.entries());
  EXPECT_EQ(journal.dropped(), 0U);
}

TEST_F(JournalTest, GivesTheLatestEntriesWithoutTheRest) {
  auto journal = Journal::create(file_, 10);
  EXPECT_TRUE(journal.latest(3).empty());
  for (std::uint32_t who = 0; who < 5; ++who) journal.append(who, Event::arrived);
  const auto latest = journal.latest(2);
  ASSERT_EQ(latest.size(), 2U);
  EXPECT_EQ(latest[0].who, 3U);
  EXPECT_EQ(latest[1].who, 4U);
  EXPECT_EQ(journal.latest(100).size(), 5U);
}

TEST_F(JournalTest, CountsWhatDoesNotFitInsteadOfOverwriting) {
  auto journal = Journal::create(file_, 2);
  for (std::uint32_t who = 0; who < 5; ++who) journal.append(who, Event::arrived);
  EXPECT_EQ(journal.entries().size(), 2U);
  EXPECT_EQ(journal.entries()[1].who, 1U);
  EXPECT_EQ(journal.latest(1).at(0).who, 1U);
  EXPECT_EQ(journal.dropped(), 3U);
}

TEST_F(JournalTest, RefusesAnExistingFileAndWhatIsNotAJournal) {
  { std::ofstream{file_} << std::string(4096, 'x'); }
  EXPECT_THROW((void)Journal::create(file_, 10), Error);
  try {
    (void)Journal::open(file_);
    ADD_FAILURE() << "a file of letters was taken for a journal";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), holdfast::make_error_code(holdfast::errc::foreign));
    EXPECT_EQ(error.subject(), file_.native());
  }
  { std::ofstream{file_, std::ios::trunc}; }
  EXPECT_THROW((void)Journal::open(file_), Error) << "an empty file";
  EXPECT_THROW((void)Journal::open(directory_ / "none"), Error);
  EXPECT_THROW((void)Journal::create(directory_ / "none" / "journal", 10), Error);
}

TEST_F(JournalTest, RefusesAJournalThatWasCutShort) {
  { (void)Journal::create(file_, 100); }
  fs::resize_file(file_, fs::file_size(file_) - 16);
  EXPECT_THROW((void)Journal::open(file_), Error);
}

TEST_F(JournalTest, LeavesNoFileBehindWhenItsSpaceCannotBeReserved) {
  EXPECT_THROW((void)Journal::create(file_, std::size_t{1} << 50), Error) << "16 PiB";
  EXPECT_FALSE(fs::exists(file_));
}

// Every entry of every writer is there, complete, and each writer's own entries are in its own order.
TEST_F(JournalThreads, LoseNothingWhenManyAppendAtOnce) {
  constexpr std::uint32_t writers = 4, each = 5'000;
  auto journal = Journal::create(file_, std::size_t{writers} * each * 2);
  std::atomic<bool> reading{true};
  std::thread reader{[&] {  // what is visible while others write is complete, too
    while (reading.load())
      for (const Entry& entry : journal.latest(64)) ASSERT_GT(entry.nanoseconds, 0U);
  }};
  std::vector<std::thread> threads;
  for (std::uint32_t who = 0; who < writers; ++who)
    threads.emplace_back([&journal, who] {
      for (std::uint32_t i = 0; i < each; ++i) {
        journal.append(who, Event::arrived);
        journal.append(who, Event::gave_up);
      }
    });
  for (auto& thread : threads) thread.join();
  reading = false;
  reader.join();

  EXPECT_EQ(journal.dropped(), 0U);
  const auto entries = journal.entries();
  ASSERT_EQ(entries.size(), std::size_t{writers} * each * 2);
  EXPECT_EQ(check_history(entries).misordered, 0U) << "arrived and gave_up alternate for each writer";
}

// A writer is killed at an arbitrary instruction, often. What it had appended stays; what others append stays whole.
TEST_F(JournalTest, KeepsWhatKilledWritersWrote) {
  constexpr int rounds = 50;
  auto journal = Journal::create(file_, std::size_t{rounds} * 20'000);
  std::map<std::uint32_t, std::size_t> seen_before_kill;
  for (std::uint32_t who = 0; who < rounds; ++who) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (int i = 0; i < 10'000; ++i) {  // more than a writer gets to write before it is killed, as a rule
        journal.append(who, Event::arrived);
        journal.append(who, Event::gave_up);
      }
      for (;;) ::pause();
    }
    const auto by_child = [&] {
      const auto latest = journal.latest(200);
      return static_cast<std::size_t>(
          std::count_if(latest.begin(), latest.end(), [who](const Entry& entry) { return entry.who == who; }));
    };
    while (by_child() < 100) std::this_thread::yield();
    seen_before_kill[who] = by_child();
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
  }
  ASSERT_EQ(journal.dropped(), 0U);
  std::map<std::uint32_t, std::size_t> kept;
  for (const Entry& entry : journal.entries()) {
    ++kept[entry.who];
    ASSERT_GT(entry.nanoseconds, 0U);
    ASSERT_TRUE(entry.event == Event::arrived || entry.event == Event::gave_up);
  }
  for (const auto& [who, count] : seen_before_kill) EXPECT_GE(kept[who], count);
  const auto history = check_history(journal.entries());
  EXPECT_EQ(history.misordered, 0U) << "what a killed writer left is the beginning of what it would have written";
}

// A kill between taking a place and filling it, made by hand: the counter of taken places is the word at byte 64.
TEST_F(JournalTest, LeavesOutAnEntryThatAKillCutShort) {
  auto journal = Journal::create(file_, 3);
  journal.append(1, Event::arrived);
  {
    std::fstream raw{file_, std::ios::in | std::ios::out | std::ios::binary};
    std::uint64_t taken = 0;
    raw.seekg(64).read(reinterpret_cast<char*>(&taken), sizeof taken);
    ASSERT_EQ(taken, 1U);
    ++taken;
    raw.seekp(64).write(reinterpret_cast<const char*>(&taken), sizeof taken);
  }
  journal.append(2, Event::arrived);
  const auto entries = journal.entries();
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_EQ(entries[0].who, 1U);
  EXPECT_EQ(entries[1].who, 2U);
  EXPECT_EQ(journal.dropped(), 0U);
  journal.append(3, Event::arrived);
  EXPECT_EQ(journal.dropped(), 1U) << "the lost entry keeps its place";
}

// ---- check_history -------------------------------------------------------------------------------------------------

/// One entry per item, a millisecond apart.
class HistoryOf {
 public:
  HistoryOf& operator()(std::uint32_t who, Event event) { return at(time_ + 1, who, event); }
  HistoryOf& at(std::uint64_t milliseconds, std::uint32_t who, Event event) {
    time_ = milliseconds;
    entries_.push_back({time_ * 1'000'000, who, event});
    return *this;
  }
  [[nodiscard]] History check() const { return check_history(entries_); }

 private:
  std::uint64_t time_ = 0;
  std::vector<Entry> entries_;
};
constexpr auto arrived = Event::arrived, entered = Event::entered, left = Event::left, gave_up = Event::gave_up,
               doomed = Event::doomed, recovered = Event::recovered;
constexpr std::uint64_t ms = 1'000'000;

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
  EXPECT_EQ(HistoryOf{}
                .at(1, 1, arrived)
                .at(2, 1, entered)
                .at(3, 1, left)
                .at(1000, 1, arrived)
                .at(1001, 1, entered)
                .at(1003, 2, arrived)
                .at(1008, 1, left)
                .at(1009, 2, entered)
                .at(1010, 2, left)
                .check()
                .longest_gap_ns,
            5 * ms);
  // Entries count as progress for those who go on waiting.
  EXPECT_EQ(HistoryOf{}
                .at(1, 1, arrived)
                .at(2, 2, arrived)
                .at(3, 3, arrived)
                .at(10, 1, entered)
                .at(20, 1, left)
                .at(21, 2, entered)
                .at(35, 2, left)
                .at(36, 3, entered)
                .at(99, 3, left)
                .check()
                .longest_gap_ns,
            14 * ms);
}

TEST(CheckHistory, EndsAGapWithTheLastWaiterOrTheLastEntry) {
  EXPECT_EQ(HistoryOf{}
                .at(1, 1, arrived)
                .at(2, 1, entered)
                .at(10, 2, arrived)
                .at(70, 2, gave_up)
                .at(500, 1, left)
                .check()
                .longest_gap_ns,
            60 * ms);
  EXPECT_EQ(HistoryOf{}
                .at(1, 1, arrived)
                .at(2, 1, entered)
                .at(10, 2, arrived)
                .at(80, 2, doomed)
                .at(500, 1, left)
                .check()
                .longest_gap_ns,
            70 * ms)
      << "a waiter that is killed after it waited for nothing shows the wedge";
  EXPECT_EQ(HistoryOf{}
                .at(1, 1, arrived)
                .at(2, 1, entered)
                .at(3, 1, left)
                .at(10, 2, arrived)
                .at(90, 3, arrived)
                .check()
                .longest_gap_ns,
            80 * ms);
}

TEST(CheckHistory, SurvivesTimesThatAreSlightlyOutOfOrder) {
  const auto history = HistoryOf{}
                           .at(10, 1, arrived)
                           .at(9, 1, entered)
                           .at(12, 2, arrived)
                           .at(11, 1, left)
                           .at(13, 2, entered)
                           .at(12, 2, left)
                           .check();
  EXPECT_EQ(history.misordered, 0U);
  EXPECT_EQ(history.waits_ns, (std::vector<std::uint64_t>{0, 1 * ms}));
  EXPECT_LE(history.longest_gap_ns, 1 * ms);
}
}  // namespace
