// segment_image.hpp - the file of a segment: as it was left by somebody sound, and then written into by anybody.
#pragma once
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <system_error>
#include <utility>
#include <vector>

#include <holdfast/shared_memory.hpp>

#include "fuzzing.hpp"
#include "shared_memory/layout.hpp"

namespace fuzz {
using Image = std::vector<std::byte>;

/// What stands in a segment now, header and records of its users included.
inline Image image_of(const holdfast::SharedMemory& memory) {
  struct ::stat status {};
  check(::fstat(memory.descriptor(), &status) == 0, "fstat");
  Image image(static_cast<std::size_t>(status.st_size));
  check(::pread(memory.descriptor(), image.data(), image.size(), 0) == status.st_size, "pread");
  return image;
}
/// Every user of it becomes somebody else.
inline Image with_users(Image image, Who users) {
  const auto& text = identity(users);
  for (std::size_t i = 0; i < holdfast::detail::participant_limit; ++i) {
    auto* const record =
        image.data() + holdfast::detail::participants_offset + i * sizeof(holdfast::detail::Participant);
    if (record[8] == std::byte{0}) continue;
    std::fill(record + 8, record + sizeof(holdfast::detail::Participant), std::byte{0});
    std::memcpy(record + 8, text.data(), text.size());
  }
  return image;
}

/// The image three times: its users live, are dead, or cannot be judged.
inline void add_with_users(std::vector<Image>& images, const Image& image) {
  for (const auto users : {Who::self, Who::dead, Who::other_namespace}) images.push_back(with_users(image, users));
}

/// What may be said of any damaged segment, and `more`, which only some calls may say.
inline std::vector<std::error_condition> refusals_of_segment(const std::vector<std::error_condition>& more) {
  std::vector<std::error_condition> all{
      condition(holdfast::errc::foreign),          condition(holdfast::errc::corrupt),
      condition(holdfast::errc::version_mismatch), condition(holdfast::errc::layout_mismatch),
      condition(holdfast::errc::incomplete),       condition(holdfast::errc::too_many_participants),
      std::errc::no_such_file_or_directory};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

/// One change of a segment's file, of 11 bytes:
///   1     what to do, and, in the upper half, in which phase of the target's use
///   2, 3  which word of 64 bits
///   4-11  with which value
struct Patch {
  enum class What : std::uint8_t { set, flip, add, set_lower, set_upper, set_user, resize, fill };
  What what;
  unsigned phase;
  std::uint16_t at;
  std::uint64_t value;
};
constexpr std::size_t patch_limit = 32;

inline std::vector<Patch> patches_in(Script& script) {
  std::vector<Patch> patches;
  while (!script.empty() && patches.size() < patch_limit) {
    const auto kind = script.byte();
    const auto at = script.number();
    patches.push_back({static_cast<Patch::What>(kind % 8), (kind >> 4U) % 4U, at, script.word()});
  }
  return patches;
}

/// A file in the folder of segments, for one input.
class SegmentFileOnDisk {
 public:
  explicit SegmentFileOnDisk(std::string_view kind)
      : name_{"fuzz-" + std::string{kind} + "-" + std::to_string(::getpid())}, path_{"/dev/shm/holdfast." + name_} {
    ::unlink(path_.c_str());
    file_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    check(file_ >= 0, "cannot make " + path_);
  }
  SegmentFileOnDisk(const SegmentFileOnDisk&) = delete;
  SegmentFileOnDisk& operator=(const SegmentFileOnDisk&) = delete;
  ~SegmentFileOnDisk() {
    ::close(file_);
    ::unlink(path_.c_str());
  }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] int file() const { return file_; }

  void write(std::span<const std::byte> bytes, std::size_t at = 0) const {
    check(::pwrite(file_, bytes.data(), bytes.size(), static_cast<off_t>(at)) == static_cast<ssize_t>(bytes.size()),
          "pwrite");
  }
  [[nodiscard]] std::size_t size() const {
    struct ::stat status {};
    check(::fstat(file_, &status) == 0, "fstat");
    return static_cast<std::size_t>(status.st_size);
  }
  void resize(std::size_t size) const { check(::ftruncate(file_, static_cast<off_t>(size)) == 0, "ftruncate"); }
  [[nodiscard]] Image bytes() const {
    Image image(size());
    check(::pread(file_, image.data(), image.size(), 0) == static_cast<ssize_t>(image.size()), "pread");
    return image;
  }

  /// Those of that phase. `spared`: ranges of bytes that a peer may not touch, because nothing could make up for it. In the
  /// first phase nobody has it mapped, and its size may change.
  void apply(std::span<const Patch> patches, unsigned phase,
             std::span<const std::pair<std::size_t, std::size_t>> spared = {}) const {
    for (const auto& patch : patches) {
      if (patch.phase != phase) continue;
      const std::size_t at = std::size_t{patch.at} * sizeof(std::uint64_t);
      if (patch.what == Patch::What::resize) {
        if (phase == 0) resize(at + patch.value % sizeof(std::uint64_t));
      } else if (patch.what == Patch::What::set_user) {
        set_user(patch);
      } else {
        const auto count = patch.what == Patch::What::fill ? patch.value % 256 : 1;
        for (std::size_t i = 0; i < count; ++i) set_word(at + i * sizeof(std::uint64_t), patch, spared);
      }
    }
  }

 private:
  void set_word(std::size_t at, const Patch& patch, std::span<const std::pair<std::size_t, std::size_t>> spared) const {
    std::uint64_t word = 0;
    if (at + sizeof word > size()) return;
    for (const auto& [first, end] : spared)
      if (at + sizeof word > first && at < end) return;
    check(::pread(file_, &word, sizeof word, static_cast<off_t>(at)) == sizeof word, "pread");
    constexpr std::uint64_t lower = 0xffff'ffff;
    switch (patch.what) {
      case Patch::What::set:
        word = patch.value;
        break;
      case Patch::What::flip:
        word ^= patch.value;
        break;
      case Patch::What::add:
        word += patch.value;
        break;
      case Patch::What::set_lower:
        word = (word & ~lower) | (patch.value & lower);
        break;
      case Patch::What::set_upper:
        word = (word & lower) | (patch.value << 32U);
        break;
      default:
        word = patch.value >> 8U;
    }
    write(std::as_bytes(std::span{&word, 1}), at);
  }
  /// A record of a user, valid or not.
  void set_user(const Patch& patch) const {
    const std::size_t at = holdfast::detail::participants_offset +
                           patch.at % holdfast::detail::participant_limit * sizeof(holdfast::detail::Participant);
    if (at + sizeof(holdfast::detail::Participant) > size()) return;
    Image record(sizeof(holdfast::detail::Participant));
    const std::uint64_t state = patch.value >> 8U;
    const auto& text = identity(who(patch.value));
    std::memcpy(record.data(), &state, sizeof state);
    std::memcpy(record.data() + sizeof state, text.data(), text.size());
    write(record, at);
  }

  std::string name_, path_;
  int file_;
};
}  // namespace fuzz
