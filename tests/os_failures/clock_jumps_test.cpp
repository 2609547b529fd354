// The clock of the day jumps by a year, to and fro, with every look at it: as an operator or a time server may set it. Deadlines
// and time stamps go by the monotonic clock, so nobody notices. This program's clock functions stand in front of the C library's.
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <functional>
#include <thread>
#include <holdfast/data_block.hpp>
#include <holdfast/data_block_mutex.hpp>
#include <holdfast/file_lock.hpp>
#include <holdfast/testing/temp_dir.hpp>

#include "../exclusion/test_segment.hpp"

namespace {
std::atomic<unsigned> looks{0};

time_t jump() noexcept {
  constexpr time_t year = 365L * 24 * 3600;
  return looks++ % 2 == 0 ? year : -year;
}
}  // namespace

extern "C" {
int clock_gettime(clockid_t clock, timespec* now) noexcept {
  const auto result = static_cast<int>(::syscall(SYS_clock_gettime, clock, now));
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += jump();
  return result;
}
int gettimeofday(timeval* now, void*) noexcept {
  timespec precise{};
  if (::clock_gettime(CLOCK_REALTIME, &precise) != 0) return -1;
  *now = {precise.tv_sec, precise.tv_nsec / 1000};
  return 0;
}
time_t time(time_t* result) noexcept {
  timespec now{};
  if (::clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
  if (result != nullptr) *result = now.tv_sec;
  return now.tv_sec;
}
}

namespace {
using namespace std::chrono_literals;
using holdfast::DataBlockConsumer;
using holdfast::DataBlockMutex;
using holdfast::DataBlockProducer;
using holdfast::FileLock;
using holdfast::SharedMemory;
using std::chrono::steady_clock;

constexpr auto brief = 60ms;

class ClockJumps : public testing::Test {
 protected:
  /// It comes back without what it wanted, at its deadline: not before, and not a year later.
  static void expect_timed_out(const char* what, const std::function<bool()>& call) {
    SCOPED_TRACE(what);
    const auto began = steady_clock::now();
    EXPECT_FALSE(call());
    const auto took = steady_clock::now() - began;
    EXPECT_GE(took, brief);
    EXPECT_LT(took, 10s);
  }
  holdfast::harness::TempDir dir_;
  const holdfast::test::TestSegment segment_;
};
}  // namespace

TEST_F(ClockJumps, AreWhatThisProgramSees) {
  const auto first = std::chrono::system_clock::now(), second = std::chrono::system_clock::now();
  EXPECT_GT(std::chrono::abs(second - first), 300 * 24h);
}

TEST_F(ClockJumps, MoveNoDeadlineOfALock) {
  const auto in_another_thread = [](const std::function<void()>& call) { std::thread{call}.join(); };
  for (const bool fair : {false, true}) {
    FileLock owner{dir_ / "x", {.fair = fair}}, other{dir_ / "x", {.fair = fair}};
    ASSERT_TRUE(owner.try_lock());
    in_another_thread([&] { expect_timed_out("FileLock", [&] { return other.try_lock_for(brief); }); });
    ASSERT_TRUE(owner.unlock());
    in_another_thread([&] {
      EXPECT_TRUE(other.try_lock_for(brief));
      EXPECT_TRUE(other.unlock());
    });
  }
  auto mutex = DataBlockMutex::create(segment_.name());
  mutex.lock();
  in_another_thread([&] { expect_timed_out("DataBlockMutex", [&] { return mutex.try_lock_for(brief); }); });
  mutex.unlock();
}

TEST_F(ClockJumps, MoveNoDeadlineOfASegment) {
  expect_timed_out("SharedMemory::attach", [&] {
    try {
      static_cast<void>(SharedMemory::attach(segment_.name(), brief));
      return true;
    } catch (const holdfast::Error&) {
      return false;
    }
  });
}

TEST_F(ClockJumps, MoveNeitherDeadlinesNorTimeStampsOfABlock) {
  auto producer = DataBlockProducer::create(segment_.name(), {.slot_size = 8, .slot_count = 2, .time_stamps = true});
  auto consumer = DataBlockConsumer::attach(segment_.name());
  expect_timed_out("consumer", [&] { return bool{consumer.acquire_consume_slot(brief)}; });
  const auto before = steady_clock::now();
  for (int i = 0; i < 2; ++i) producer.acquire_write_slot(brief).commit(8);
  const auto after = steady_clock::now();
  expect_timed_out("producer", [&] { return bool{producer.acquire_write_slot(brief)}; });
  for (int i = 0; i < 2; ++i) {
    const auto slot = consumer.acquire_consume_slot(brief);
    ASSERT_TRUE(slot);
    EXPECT_GE(slot.committed_at(), before);
    EXPECT_LE(slot.committed_at(), after);
  }
}
