// testing/journal.hpp - what happened in a run over many processes, in one order, and what that proves about a lock, or about a
// transport of messages.
// A journal outlives its writers: an entry made before a kill is there after it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace holdfast::harness {
/// What somebody did. A section runs from `entered` to `left`; or to `doomed`, written by whoever is about to kill it,
/// because a later owner may enter from that moment.
enum class Event : std::uint32_t {
  arrived = 1,  ///< is about to ask for the lock, or for a message
  entered,      ///< has the lock: append it after lock() returned
  left,         ///< is about to give it back: append it before unlock()
  gave_up,      ///< timed out or stopped without the lock, or without a message; its commit failed
  doomed,       ///< will be killed now; appended by its killer, before the kill
  recovered,    ///< has the lock, and was told that the owner before it died; append it instead of `entered`

  // Of messages. Entry::value is a message's number.
  began,       ///< receives from now on: append it after attaching; value: the group it shares messages with, 0: none
  ended,       ///< has stopped receiving, in good order: append it before leaving
  committing,  ///< is about to commit the message
  committed,   ///< its commit returned
  delivered,   ///< was given the message, and found it whole: append it before it is released
  delivered_again,  ///< the same, and was told that another one of its group had it before
  torn,             ///< was given something else than the message with that number
  missed,  ///< was told that it will not get the messages [value, value + count): append it before what comes next
};

struct Entry {
  std::uint64_t nanoseconds = 0;  ///< std::chrono::steady_clock (on Linux CLOCK_MONOTONIC), read just before the append
  std::uint32_t who = 0;          ///< one number per contender; a process started anew is a new contender
  Event event{};
  std::uint64_t value = 0;  ///< as the event says
  std::uint64_t count = 1;  ///< `missed`: how many numbers
  friend bool operator==(const Entry&, const Entry&) = default;
};

/// A file, mapped by all who write to it. Appending is one fetch_add and four stores: no system call, no lock, so that it
/// disturbs the schedule little. The order of entries agrees with every order that a lock, or a transport, enforces; on x86-64 it
/// agrees with real time.
///
/// Threads   append, entries, latest and dropped: from any thread of any process at once.
/// Signals   append is async-signal-safe.
/// fork      the child writes to the same journal.
/// Kills     A writer killed inside append loses that one entry, never another's.
class Journal {
 public:
  /// Makes the file and reserves its space, so that no later append can run out of disk. Throws Error: there is such a
  /// file, no space, no such directory.
  [[nodiscard]] static Journal create(const std::filesystem::path& file, std::size_t capacity);
  [[nodiscard]] static Journal open(
      const std::filesystem::path& file);  ///< Throws Error; errc::foreign: not a journal.
  Journal(Journal&& other) noexcept : mapping_{std::exchange(other.mapping_, nullptr)} {}
  Journal& operator=(Journal&& other) noexcept {
    std::swap(mapping_, other.mapping_);
    return *this;
  }
  ~Journal();

  /// Full: the entry is counted as dropped, see dropped().
  void append(std::uint32_t who, Event event, std::uint64_t value = 0, std::uint64_t count = 1) noexcept;
  [[nodiscard]] std::vector<Entry> entries() const;  ///< In order; entries cut short by a kill are left out.
  [[nodiscard]] std::vector<Entry> latest(
      std::size_t count) const;                          ///< The last of entries(), without reading the rest.
  [[nodiscard]] std::uint64_t dropped() const noexcept;  ///< More than 0: the journal proves nothing.

 private:
  struct Mapping;
  explicit Journal(Mapping* mapping) noexcept : mapping_{mapping} {}
  [[nodiscard]] std::vector<Entry> read(std::size_t first, std::size_t last) const;
  Mapping* mapping_ = nullptr;
};

/// What the entries of one lock say. Written for a run that is over: every contender has ended or was killed.
struct History {
  std::uint64_t acquisitions = 0;
  std::uint64_t recoveries = 0;  ///< of these, with the news that the owner before had died
  std::uint64_t overlaps = 0;    ///< entries into a section in which another live contender was: exclusion is broken
  std::uint64_t misordered = 0;  ///< entries that make no sense (left without entered ...): the run proves nothing
  std::uint64_t unfinished = 0;  ///< contenders that at the end still waited or were inside, and nobody killed them
  std::uint64_t overtakes = 0;   ///< sum over acquisitions of contenders that arrived earlier and still waited
  std::uint64_t longest_gap_ns = 0;       ///< the longest time in which somebody waited and nobody entered or left
  std::uint64_t longest_recovery_ns = 0;  ///< the longest time in which somebody waited for what only the doomed had
  std::vector<std::uint64_t> waits_ns{};  ///< arrived to entered, one for each acquisition
  std::vector<std::uint32_t> order{};     ///< who entered, in order
};

/// The rules. There are no false alarms: an overlap counts only if the one inside had entered and neither left nor been
/// doomed before the other entered, all by the order of the journal.
///   doomed      ends the section, or the wait, of a contender; what it still writes before it dies is allowed, and no
///               later owner is blamed for it. Entering while another is inside is an overlap even for the doomed.
///   misordered  arrived twice; entered, recovered or gave_up without arrived; left without entered; doomed twice
///   gap         begins when somebody waits, at the last entering or leaving or at the first arrival, whichever is later;
///               ends at the next entering or leaving, when nobody waits any more, or with the last entry
///   recovery    begins when somebody is doomed while nobody else is inside, or as soon as somebody waits after that; ends when
///               a live contender enters, when nobody waits any more, or with the last entry
[[nodiscard]] History check_history(std::span<const Entry> entries);

/// What the numbers of messages say. A number names one message of the run, or none: a transport may leave numbers out.
enum class Numbers {
  of_each_sender,  ///< rise with each sender's commits: a receiver gets each sender's messages in their order
  of_all,          ///< rise with the commits of all senders together: a receiver gets all messages in their order
};

/// What the entries of one transport say, in figures, and the first few violations in words.
struct MessageHistory {
  /// What one receiver was given and told.
  struct Receiver {
    std::uint64_t delivered = 0, delivered_again = 0, missed = 0;
    friend bool operator==(const Receiver&, const Receiver&) = default;
  };
  std::uint64_t committed = 0;        ///< messages whose commit returned
  std::uint64_t uncertain = 0;        ///< begun; the sender was doomed, or gave up, before that: delivered or not
  std::uint64_t delivered = 0;        ///< deliveries, all receivers together, without those marked as delivered before
  std::uint64_t delivered_again = 0;  ///< those
  std::uint64_t missed = 0;           ///< messages told as missed, all receivers together
  /// Messages of a group that it neither got nor was told of, and that a member of it may have been told of that was killed:
  /// one row of them for each. Wrong, too, where the transport promises that a group misses nothing.
  std::uint64_t unexplained = 0;
  std::map<std::uint32_t, Receiver> receivers{};

  std::uint64_t lost = 0;        ///< messages that a receiver, or a group, had to get or be told of, and was not
  std::uint64_t duplicated = 0;  ///< delivered twice to one receiver, or within one group to two live ones, or unmarked
  std::uint64_t mismarked = 0;   ///< marked as delivered before, although nobody had been killed who may have had it
  std::uint64_t out_of_order = 0;  ///< delivered after one with a greater number
  std::uint64_t torn = 0;
  std::uint64_t invented = 0;    ///< delivered, and never begun by anybody
  std::uint64_t reused = 0;      ///< numbers begun again although they may have been delivered, or below what has been
  std::uint64_t false_gaps = 0;  ///< told of messages that have been delivered, or are to come, or were told before
  std::uint64_t misordered = 0;  ///< entries that make no sense: the run proves nothing
  std::uint64_t unfinished = 0;  ///< who had begun a message, or asked, or not ended, and nobody killed them
  std::uint64_t longest_recovery_ns = 0;
  std::vector<std::string> violations{};  ///< the first ten of all of these but `unfinished`

  /// Nothing is wrong, and everybody came to an end. See Journal::dropped(), and `unexplained`.
  [[nodiscard]] bool ok() const noexcept {
    return lost + duplicated + mismarked + out_of_order + torn + invented + reused + false_gaps + misordered +
               unfinished ==
           0;
  }
};

/// The rules. There are no false alarms, whoever is killed wherever.
///   owed        A receiver, or a group, is owed each message that was begun after it `began`, and each above the first that it
///               got. It is lost if it is neither delivered nor told as missed by the time that a greater one is delivered
///               (not in groups), or somebody asked (`arrived`) after its commit, and `gave_up`: in a group only the last one of
///               it, when the others have ended or are dead. So ask once more at the end, with some time, and books are closed.
///   uncertain   What its sender was killed with may be delivered or not; but once somebody got it, it is owed to all. Its number
///               may be begun again by another one until then. The same goes for a commit that failed (`gave_up`).
///   again       A member's death may lead to a second delivery within the group, if that is marked. It was doomed before.
///   order       Of one receiver, without what is delivered again.
///   missed      It names only messages that have been begun, and nobody of the group gets them, before or after.
///   group       It has a live member from its first `began` to the end; a new life of it takes another number.
///   recovery    From `doomed` to the next commit or delivery by anybody else; if a sender is doomed, to the next commit.
[[nodiscard]] MessageHistory check_messages(std::span<const Entry> entries, Numbers numbers = Numbers::of_each_sender);
[[nodiscard]] std::string to_string(const MessageHistory& history);  ///< one line, and one for each violation
}  // namespace holdfast::harness
