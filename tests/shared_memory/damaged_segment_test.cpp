// Whatever the bytes of a segment are, nobody crashes over them: each byte that holdfast reads is damaged in turn, files are
// cut short or made longer, and every call has an answer. A live user's segment is not removed, however damaged it is.
#include "segments.hpp"
#include "shared_memory/layout.hpp"

using namespace segments;

namespace {
using holdfast::detail::data_offset;
using holdfast::detail::page;
using holdfast::detail::Participant;
using holdfast::detail::participants_offset;

class DamagedSegment : public Segments {
 protected:
  /// The file of a segment that its users, who were killed, have left to the next ones.
  void SetUp() override {
    auto first = start("use_and_write", {1, "create", name_, 5000, "until_removed"});
    auto second = start("use", {"attach", name_});
    first.kill();
    second.kill();
    fs::copy_file(path(), sound_);
    ASSERT_TRUE(SharedMemory::remove(name_));
    ASSERT_GT(fs::file_size(sound_), data_offset);
  }
  void damage(std::size_t first, std::size_t end, unsigned mask, std::size_t step = 1) {
    auto worker = SpawnWorker(SHARED_MEMORY_WORKER, "damage_bytes", {name_, sound_, first, end, mask, step});
    ExpectWorkerOk(worker);
  }

  TempDir dir_;
  fs::path sound_ = dir_ / "sound";
};

/// One bit that changes numbers a little, the highest one, and all of them.
class DamagedSegmentBytes : public DamagedSegment, public testing::WithParamInterface<unsigned> {};
INSTANTIATE_TEST_SUITE_P(, DamagedSegmentBytes, testing::Values(1U, 0x80U, 0xffU),
                         [](const testing::TestParamInfo<unsigned>& mask) {
                           return "by_" + std::to_string(mask.param);
                         });
}  // namespace

TEST_P(DamagedSegmentBytes, OfTheHeaderCrashNobody) { damage(0, page, GetParam()); }

TEST_P(DamagedSegmentBytes, OfTheRecordsOfUsersCrashNobody) {
  constexpr auto used = participants_offset + 4 * sizeof(Participant);
  damage(participants_offset, used, GetParam());
  if (GetParam() != 0xffU) return;
  // Of the records that were never used every byte of a record, each in another one: all of them take more than a minute
  // under load.
  constexpr std::size_t step = 7;
  static_assert(sizeof(Participant) % step != 0);
  damage(used, data_offset, GetParam(), step);
}

TEST_F(DamagedSegment, CutShortOrMadeLongerCrashesNobody) {
  const auto whole = fs::file_size(sound_);
  run("cut_short", {name_, sound_, 0,     1,     7,     8,         100,   511,       512,          4095,   4096,
                    4097,  8192,   36863, 36864, 36865, whole - 1, whole, whole + 1, whole + 4096, 1 << 20});
}

// The kernel's locks prove that somebody is there; what is written does not.
TEST_F(DamagedSegment, OfALiveUserIsNotRemoved) {
  auto user = start("use", {"create", name_, 5000});
  const auto inode = [&] {
    struct stat found {};
    return ::stat(path().c_str(), &found) == 0 ? found.st_ino : 0;
  };
  const auto before = inode();
  std::fstream file{path(), std::ios::binary | std::ios::in | std::ios::out};
  const auto flip = [&](std::size_t at) {
    file.seekg(static_cast<std::streamoff>(at));
    const auto byte = static_cast<char>(file.get());
    file.seekp(static_cast<std::streamoff>(at));
    file.put(static_cast<char>(byte ^ '\xff')).flush();
  };
  for (std::size_t at = 0; at < participants_offset + 2 * sizeof(Participant); ++at) {
    if (at >= 512 && at < participants_offset && at % 64 != 0) continue;  // unused
    SCOPED_TRACE("byte " + std::to_string(at));
    flip(at);
    try {
      EXPECT_FALSE(SharedMemory::remove(name_));
      ADD_FAILURE() << "somebody uses it";
    } catch (const Error& error) {
      const bool header_is_damaged = at < 512;
      EXPECT_TRUE(error.code() == errc::in_use ||
                  (header_is_damaged && (error.code() == errc::foreign || error.code() == errc::corrupt ||
                                         error.code() == errc::version_mismatch)))
          << error.what();
    }
    EXPECT_THROW(static_cast<void>(SharedMemory::create(name_, 5000)), Error);
    EXPECT_EQ(inode(), before);
    flip(at);
    if (HasFailure()) break;
  }
  EXPECT_EQ(attempt({}, {"attach", name_}), "has 5000 bytes, 0 of them not zero") << "all damage was undone";
  finish(user);
  EXPECT_FALSE(exists());
}
