// tracer.hpp - lets a worker run through its CrashRegion from one point to the next. No public interface.
// src/testing/<os>/tracer.cpp provides it.
#pragma once
#include <array>
#include <cstdint>
#include <string>

#include <holdfast/testing/crash_lab.hpp>

namespace holdfast::harness {
/// Marks of a worker for its tracer: calls without effect that nobody else makes.
enum class Mark : int { begin_of_region = -4711, end_of_region = -4712, step = -4713 };
/// What a worker says of itself in memory, for a tracer that goes by instructions and sees no calls.
struct RegionWords {
  std::uint64_t step = 0;   ///< address of the name of the step that was reached last
  std::uint64_t ended = 0;  ///< 1 from the end of the region on
};
void set_mark(Mark mark, const void* argument) noexcept;

/// One traced worker, which waits for its release. It stands still unless a member function runs. All calls from one thread.
/// Somebody else may kill the worker at any time, also where it stands still: then it has ended, which is no error.
class Tracer {
 public:
  explicit Tracer(WorkerProcess& worker);  ///< Throws Error. Releases the worker.
  Tracer(const Tracer&) = delete;
  Tracer& operator=(const Tracer&) = delete;

  /// To the beginning of its region. False: it never came there.
  [[nodiscard]] bool run_to_region();
  /// To the next point in its region. False: it has come to the end of the region, or of its life.
  [[nodiscard]] bool advance(CrashEngine engine);
  /// To the next named step, unless it falls asleep on its way; then it goes on by itself when it is woken, to that step.
  enum class Progress { step, asleep, end };
  [[nodiscard]] Progress advance_unless_asleep();
  /// To the entry of the next system call in its region, whatever that call does. False: as advance().
  [[nodiscard]] bool advance_to_call();
  struct Call {
    std::uint64_t number = 0;
    std::array<std::uint64_t, 6> arguments{};
    std::string path{};  ///< What it opens; of other calls empty, and cut off after 63 bytes.
  };
  [[nodiscard]] const Call& call() const noexcept { return call_; }  ///< That it stands at.
  [[nodiscard]] std::string call_name() const;
  /// The call that it stands at is not made, or `done` and reported as failed all the same: its result is this errno. False:
  /// the worker has ended, or the call has failed by itself. Throws Error.
  [[nodiscard]] bool let_call_fail(int error, bool done);

  [[nodiscard]] bool is_at_end() const noexcept { return at_end_; }  ///< Of the region.
  [[nodiscard]] const std::string& place() const noexcept { return place_; }
  /// It goes on by itself from where it stands.
  void let_go();

 private:
  enum class Stop { none, call_entered, call_left, mark_region, mark_end, mark_step, ended };
  Stop go_on();
  Stop stop_at(int status);
  int wait(bool unless_asleep = false);
  bool step_one_instruction();
  bool was_killed();
  bool set_call(std::int64_t number);
  bool set_result(std::int64_t result);
  std::string name_in_worker(std::uint64_t address) const;

  std::int64_t pid_;
  std::string place_;
  Call call_;
  bool call_has_failed_ = false;
  std::uint64_t words_ = 0;  // address of the worker's RegionWords
  std::uint64_t step_ = 0;
  bool at_end_ = false;
  bool in_mark_ = false;
  bool runs_ = false;  // or sleeps: it has not stopped since it was let go on
  long signal_ = 0;    // to be delivered when it goes on
  bool gone_ = false;
};

/// A copy of what files hold, and the files as they were put back.
class Images {
 public:
  explicit Images(std::vector<std::filesystem::path> files);  ///< Throws Error.
  ~Images();
  Images(const Images&) = delete;
  Images& operator=(const Images&) = delete;
  /// Keeps what the files hold now, unless it has been seen before.
  void look();
  [[nodiscard]] std::size_t count() const noexcept { return distinct_.size(); }
  void put_back(std::size_t index) const;  ///< New files in the place of the old ones. Throws Error.

 private:
  struct File {
    std::filesystem::path path;
    const char* bytes;
    std::size_t size;
    unsigned mode;
  };
  std::vector<File> files_;
  std::string now_, last_;
  std::vector<std::string> distinct_;
};

/// Waits until the worker sleeps, has stopped or has ended, but not beyond the deadline.
void wait_until_asleep(const WorkerProcess& worker, Deadline deadline);
}  // namespace holdfast::harness
