// The journal keeps what writers wrote in the order in which it happened, also when they are killed.
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
  other.append(8, Event::missed, 17, 4);

  const auto entries = journal.entries();
  ASSERT_EQ(entries.size(), 3U);
  EXPECT_EQ(entries[0].who, 7U);
  EXPECT_EQ(entries[0].event, Event::arrived);
  EXPECT_EQ(entries[1].event, Event::entered);
  EXPECT_EQ(entries[2].who, 8U);
  EXPECT_EQ(entries[2].value, 17U);
  EXPECT_EQ(entries[2].count, 4U);
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
}  // namespace
