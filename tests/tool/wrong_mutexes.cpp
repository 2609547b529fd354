// Mutexes for the tool that are wrong, each in one way: HOLDFAST_TEST_MUTEX names it.
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <holdfast/error.hpp>
#include <holdfast/shared_memory.hpp>

#include "tool/data_block_mutex_under_test.hpp"

namespace holdfast::tool {
namespace {
using namespace std::chrono_literals;

/// Lets everybody in.
class NoMutex final : public DataBlockMutexUnderTest {
 public:
  using DataBlockMutexUnderTest::DataBlockMutexUnderTest;
  bool lock(Deadline) override { return true; }
  void unlock() override {}
};

/// Survives deaths, but has no news of them.
class SilentMutex final : public DataBlockMutexUnderTest {
 public:
  using DataBlockMutexUnderTest::DataBlockMutexUnderTest;
  [[nodiscard]] std::optional<std::int64_t> died_before() const override { return std::nullopt; }
};

/// Excludes. An owner that dies keeps it for ever.
class MortalMutex final : public MutexUnderTest {
 public:
  MortalMutex(const std::string& segment, Deadline deadline)
      : segment_{SharedMemory::create_or_attach(segment, sizeof(Layout), {}, deadline)},
        layout_{segment_.as<Layout>()} {
    std::atomic_ref made{layout_.made};
    for (std::uint32_t nothing = 0; made.load() != ready && !made.compare_exchange_weak(nothing, begun); nothing = 0)
      ::sched_yield();
    if (made.load() == ready) return;
    pthread_mutexattr_t attributes;
    ::pthread_mutexattr_init(&attributes);
    ::pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    ::pthread_mutex_init(&layout_.mutex, &attributes);
    ::pthread_mutexattr_destroy(&attributes);
    made.store(ready);
  }
  bool lock(Deadline deadline) override {
    const auto left = deadline.time().time_since_epoch();
    const timespec until{static_cast<time_t>(left / 1s), static_cast<long>((left % 1s) / 1ns)};
    return ::pthread_mutex_clocklock(&layout_.mutex, CLOCK_MONOTONIC, &until) == 0;
  }
  void unlock() override { ::pthread_mutex_unlock(&layout_.mutex); }
  [[nodiscard]] std::optional<std::int64_t> died_before() const override { return std::nullopt; }
  [[nodiscard]] std::uint64_t read() const override { return layout_.counter; }
  void write(std::uint64_t value) override { layout_.counter = value; }

 private:
  static constexpr std::uint32_t begun = 1, ready = 2;
  struct Layout {
    std::uint32_t made;  // 0, begun, ready
    pthread_mutex_t mutex;
    std::uint64_t counter;
  };
  SharedMemory segment_;
  Layout& layout_;
};

/// A right one, whose segment nobody removes.
class LitteringMutex final : public DataBlockMutexUnderTest {
 public:
  LitteringMutex(const std::string& segment, Deadline deadline)
      : DataBlockMutexUnderTest{segment, deadline},
        litter_{
            SharedMemory::create_or_attach(segment + ".litter", 1, {.lifetime = Lifetime::until_removed}, deadline)} {}

 private:
  SharedMemory litter_;
};
}  // namespace

std::unique_ptr<MutexUnderTest> make_mutex(const std::string& segment, Deadline deadline) {
  const char* const name = std::getenv("HOLDFAST_TEST_MUTEX");
  const std::string_view kind = name == nullptr ? "" : name;
  if (kind == "none") return std::make_unique<NoMutex>(segment, deadline);
  if (kind == "silent") return std::make_unique<SilentMutex>(segment, deadline);
  if (kind == "mortal") return std::make_unique<MortalMutex>(segment, deadline);
  if (kind == "littering") return std::make_unique<LitteringMutex>(segment, deadline);
  if (kind == "refusing")
    throw Error{std::make_error_code(std::errc::no_space_on_device), "create segment", segment, "no memory today"};
  // Everybody is alone where all should be together.
  if (kind == "split" && segment.find(".attach") != std::string::npos)
    return std::make_unique<DataBlockMutexUnderTest>(segment + std::to_string(::getpid()), deadline);
  if (kind == "split") return std::make_unique<DataBlockMutexUnderTest>(segment, deadline);
  throw std::invalid_argument{"HOLDFAST_TEST_MUTEX names no mutex"};
}
}  // namespace holdfast::tool
