// No descriptors left, at whatever point: an error that says so, nothing is lost or left half-done, and with some again all works.
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <functional>
#include <iterator>
#include <optional>
#include <system_error>
#include <vector>

#include "blocks.hpp"

using namespace blocks;

namespace {
std::size_t open_descriptors() {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator{"/proc/self/fd"}, fs::directory_iterator{}));
}

/// While it lives, only so many more descriptors can be opened in this process.
class DescriptorsLeft {
 public:
  explicit DescriptorsLeft(std::size_t count) {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    rlimit now = before_;
    now.rlim_cur = 256;
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &now), 0);
    for (int taken = ::open("/dev/null", O_RDONLY | O_CLOEXEC); taken >= 0; taken = ::dup(taken))
      taken_.push_back(taken);
    for (; count > 0; --count) {
      ::close(taken_.back());
      taken_.pop_back();
    }
  }
  DescriptorsLeft(const DescriptorsLeft&) = delete;
  DescriptorsLeft& operator=(const DescriptorsLeft&) = delete;
  ~DescriptorsLeft() {
    for (const int taken : taken_) ::close(taken);
    ::setrlimit(RLIMIT_NOFILE, &before_);
  }

 private:
  rlimit before_{};
  std::vector<int> taken_;
};

class BlockExhaustion : public Blocks {
 protected:
  /// With none left, with one, with two ... until it succeeds.
  void run_out(const char* what, const std::function<void()>& call, const std::function<void()>& expect_nothing_done) {
    SCOPED_TRACE(what);
    const auto open = open_descriptors();
    std::size_t left = 0;
    for (bool done = false; !done; ++left) {
      ASSERT_LT(left, 20U);
      std::error_code why;
      std::string text;
      {
        const DescriptorsLeft only{left};
        try {
          call();
          done = true;
        } catch (const Error& error) {
          why = error.code();
          text = error.what();
        }
      }
      if (done) break;
      EXPECT_EQ(why, std::errc::too_many_files_open) << "with " << left << " left: " << text;
      EXPECT_TRUE(text.find(name_) != text.npos || text.find("'/proc'") != text.npos) << text;
      EXPECT_EQ(open_descriptors(), open) << "with " << left << " left";
      expect_nothing_done();
      if (HasFailure()) return;
    }
    EXPECT_GT(left, 0U) << "it needs none";
  }
};
}  // namespace

TEST_F(BlockExhaustion, OfDescriptorsAtAnyPointIsAnErrorAndNothingIsHalfDone) {
  std::optional<DataBlockProducer> producer;
  run_out(
      "create", [&] { producer.emplace(create({.slot_count = 8})); }, [&] { EXPECT_FALSE(fs::exists(path())); });
  ASSERT_TRUE(producer);
  keep();
  send(*producer, 3U);
  producer.reset();
  run_out(
      "take over", [&] { producer.emplace(DataBlockProducer::attach(name_, 0ms)); },
      [&] { EXPECT_FALSE(statistics().producer); });

  std::optional<DataBlockConsumer> consumer;
  run_out(
      "consume", [&] { consumer.emplace(attach_oldest()); },
      [&] {
        for (const auto& one : statistics().consumers) EXPECT_TRUE(one.ended);
      });
  ASSERT_TRUE(consumer);
  run_out(
      "ask for a descriptor", [&] { static_cast<void>(consumer->event_descriptor()); },
      [&] { EXPECT_EQ(statistics().consumers.size(), 1U); });
  run_out(
      "look on", [&] { static_cast<void>(DataBlock::attach(name_)); }, [] {});

  ASSERT_TRUE(producer);
  send(*producer, 2U);
  EXPECT_EQ(receive_all(*consumer), range(0, 5));
  expect_all_closed(statistics());
}
