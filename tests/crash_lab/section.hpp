// section.hpp - what contenders for one lock write down of their way in and out, so that each who comes in can tell whether it may
// be there, and what it has to be told. Outlives those who are killed; used by workers and by the test itself.
#pragma once
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>
#include <holdfast/deadline.hpp>
#include <holdfast/testing/journal.hpp>

namespace crash_lab {
namespace fs = std::filesystem;
using holdfast::harness::Event;
using holdfast::harness::Journal;

/// How far a contender has come. Who is killed stays where it was, until the next owner has seen it.
enum class Phase : std::uint32_t {
  idle,     ///< has nothing to do with the lock, or no more
  asking,   ///< is in lock(): may have it already
  inside,   ///< has it
  leaving,  ///< is in unlock(): may have it still
};

struct Page {
  struct Contender {
    std::atomic<std::int64_t> pid;
    std::atomic<Phase> phase;
  };
  std::atomic<std::uint32_t> contenders;
  std::atomic<std::uint32_t>
      unrepaired;                    ///< DataBlockMutex: somebody was lost, and nobody has declared the data repaired
  std::atomic<std::int64_t> victim;  ///< its pid, for a rescuer that waits for its end
  std::array<Contender, 12> all;
};

/// A process that has ended, be it not reaped yet. Who is traced or stopped has not.
inline bool has_ended(std::int64_t pid, int milliseconds = 0) {
  const int death = static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0U));
  if (death < 0) {
    if (errno == ESRCH) return true;
    throw std::system_error{errno, std::generic_category(), "pidfd_open"};
  }
  pollfd polled{death, POLLIN, 0};
  const bool ended = ::poll(&polled, 1, milliseconds) == 1;
  ::close(death);
  return ended;
}

/// Page and journal of one run, in a directory.
class Section {
 public:
  static void create(const fs::path& directory) {
    fs::remove(directory / "page");
    fs::remove(directory / "journal");
    const int file = ::open((directory / "page").c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    const bool made = file >= 0 && ::ftruncate(file, sizeof(Page)) == 0;
    if (file >= 0) ::close(file);
    if (!made) throw std::system_error{errno, std::generic_category(), "make the page"};
    static_cast<void>(Journal::create(directory / "journal", 256));
  }
  explicit Section(const fs::path& directory) : journal_{Journal::open(directory / "journal")} {
    const int file = ::open((directory / "page").c_str(), O_RDWR | O_CLOEXEC);
    void* const memory =
        file < 0 ? MAP_FAILED
                 : ::mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, file, 0);
    if (file >= 0) ::close(file);
    if (memory == MAP_FAILED) throw std::system_error{errno, std::generic_category(), "map the page"};
    page_ = static_cast<Page*>(memory);
  }
  Section(const Section&) = delete;
  Section& operator=(const Section&) = delete;
  ~Section() { ::munmap(page_, sizeof(Page)); }

  [[nodiscard]] Page& page() const noexcept { return *page_; }
  [[nodiscard]] Journal& journal() noexcept { return journal_; }

  [[nodiscard]] Phase phase_of(std::int64_t pid) const {
    for (std::uint32_t i = 0; i < page_->contenders; ++i)
      if (page_->all[i].pid == pid) return page_->all[i].phase;
    return Phase::idle;
  }
  /// Its section, or its wait, is over: it has been killed. Only once, and only if it was in one.
  void doom(std::uint32_t who) {
    auto last = Event::left;
    for (const auto& entry : journal_.entries())
      if (entry.who == who) last = entry.event;
    if (last == Event::arrived || last == Event::entered || last == Event::recovered)
      journal_.append(who, Event::doomed);
  }

 private:
  Journal journal_;
  Page* page_ = nullptr;
};

/// What an owner is told of those before it.
struct News {
  bool told = false;
  std::int64_t from = 0;  ///< pid; 0: nobody was inside
};
/// When an owner has to be told of a death.
enum class Lasts {
  once,            ///< FileLock: the owner that comes next
  until_repaired,  ///< DataBlockMutex: everybody, until one declares the data repaired
};

/// One contender. Throws std::runtime_error where something is not as it has to be.
class Contender {
 public:
  Contender(const fs::path& directory, Lasts lasts) : section_{directory}, lasts_{lasts} {
    number_ = page().contenders.fetch_add(1);
    if (number_ >= page().all.size()) throw std::runtime_error{"more contenders than there is room for"};
    me().pid = ::getpid();
  }
  [[nodiscard]] Page& page() const noexcept { return section_.page(); }

  /// Before it asks: those whose place is visible in the queue. They have to get the lock before it does.
  void remember_as_earlier(const std::set<std::int64_t>& pids) { earlier_ = pids; }
  [[nodiscard]] bool somebody_asks() const {
    for (std::uint32_t i = 0; i < count(); ++i)
      if (i != number_ && page().all[i].phase == Phase::asking) return true;
    return false;
  }

  /// `acquire` returns whether it has the lock, `news` what it was told with it.
  bool enter(const std::function<bool()>& acquire, const std::function<News()>& news) {
    begin_to_ask();
    if (!acquire()) {
      end_to_ask();
      return false;
    }
    me().phase = Phase::inside;
    const News now = news();
    check(now);
    section_.journal().append(number_, now.told ? Event::recovered : Event::entered);
    return true;
  }
  /// From one to the other it may have the lock or not, as far as others can tell.
  void begin_to_ask() {
    me().phase = Phase::asking;
    section_.journal().append(number_, Event::arrived);
  }
  void end_to_ask() {
    section_.journal().append(number_, Event::gave_up);
    me().phase = Phase::idle;
  }
  void leave(const std::function<void()>& release) {
    me().phase = Phase::leaving;
    section_.journal().append(number_, Event::left);
    release();
    me().phase = Phase::idle;
  }
  /// Before the lock itself is told: who dies in between is told of anyway.
  void repair() { page().unrepaired = 0; }

 private:
  [[nodiscard]] Page::Contender& me() const { return page().all[number_]; }
  [[nodiscard]] std::uint32_t count() const { return page().contenders; }

  /// It has the lock. May it?
  void check(const News& news) {
    std::set<std::int64_t> lost_inside, lost;
    const bool was_unrepaired = page().unrepaired != 0;
    // Who is being killed gives up a mutex of the kernel's before it can be seen dead. One who lives, stopped or traced, stays so.
    // It does not sleep meanwhile: the lab would take a sleeper for one who waits for the lock, and kill whoever it has robbed.
    const holdfast::Deadline patience = std::chrono::seconds{3};
    for (;;) {
      bool somebody_lives = false;
      for (std::uint32_t i = 0; i < count(); ++i) {
        auto& other = page().all[i];
        const auto phase = other.phase.load();
        const auto pid = other.pid.load();
        if (i == number_ || phase == Phase::idle) continue;
        if (!has_ended(pid)) {
          somebody_lives = somebody_lives || phase == Phase::inside || pid == news.from;
          if (phase == Phase::asking && earlier_.contains(pid))
            throw std::runtime_error{"overtook " + std::to_string(pid) + ", whose place was before"};
          if (phase == Phase::inside && patience.passed())
            throw std::runtime_error{"robbed: " + std::to_string(pid) + " is inside, and lives"};
          continue;
        }
        section_.doom(i);
        (phase == Phase::inside ? lost_inside : lost).insert(pid);
        other.phase = Phase::idle;
      }
      const bool nobody_died = news.told && lost_inside.empty() && lost.empty() && !was_unrepaired;
      if (!(somebody_lives || nobody_died) || patience.passed()) break;
      std::this_thread::yield();
    }
    const auto listed = [&] {
      std::string text = news.told ? "told of " + std::to_string(news.from) : std::string{"told of nobody"};
      for (const auto pid : lost_inside) text += ", lost inside: " + std::to_string(pid);
      for (const auto pid : lost) text += ", lost at the door: " + std::to_string(pid);
      return text + (was_unrepaired ? ", unrepaired" : "");
    };
    if (!lost_inside.empty() && !(news.told && (lost_inside.contains(news.from) || lost.contains(news.from))))
      throw std::runtime_error{"a death is not told: " + listed()};
    if (news.told && lost_inside.empty() && lost.empty() && !was_unrepaired)
      throw std::runtime_error{"a death is told that nobody has died: " + listed()};
    // Of a mutex, nobody may be told of: who was killed on the way in or out. And unrepaired, it may be somebody's death long ago.
    const bool of_nobody = lasts_ == Lasts::until_repaired && news.from == 0;
    if (news.told && !of_nobody && !was_unrepaired && !lost_inside.contains(news.from) && !lost.contains(news.from))
      throw std::runtime_error{"the wrong death is told: " + listed()};
    if (lasts_ == Lasts::once) return;
    if (was_unrepaired && !news.told) throw std::runtime_error{"the news has got lost: " + listed()};
    if (news.told) page().unrepaired = 1;
  }

  Section section_;
  Lasts lasts_;
  std::uint32_t number_ = 0;
  std::set<std::int64_t> earlier_;
};
}  // namespace crash_lab
