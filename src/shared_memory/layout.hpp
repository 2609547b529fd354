// layout.hpp - what stands in a segment, byte by byte. Version 1. All of it may have been written by anybody: it is checked
// before it is followed.
#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <holdfast/process_identity.hpp>

namespace holdfast::detail {
constexpr std::uint64_t segment_magic = 0x7473'6166'646c'6f68;  // "holdfast", read as a little-endian number
constexpr std::uint32_t segment_version = 1;
constexpr std::size_t page = 4096;  // not the machine's: the layout's
constexpr std::size_t participant_limit = 128;

/// The encoded identity of a process, in words, because it is read while it may be written. Unused bytes are zero.
using IdentityText = std::array<std::atomic<std::uint64_t>, 31>;
static_assert(sizeof(IdentityText) >= ProcessIdentity::max_encoded);

/// Written before the segment has its name, and never again.
struct SegmentHeader {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t header_size;  // sizeof(SegmentHeader), so that another layout is not taken for this one
  std::uint64_t file_size;
  std::uint64_t size;  // bytes for the user, from `data_offset`
  std::uint64_t data_offset;
  std::uint64_t alignment;
  std::uint32_t stays;            // 1: until it is removed
  std::uint32_t prefault;         // 1: also for those who attach
  std::array<char, 248> creator;  // encoded identity, padded with zeros
  std::uint64_t word_size;        // bits of a pointer of its creator: what users put in may have pointer-sized parts
};
constexpr std::size_t mutexes_offset = 2048;  // a 64-bit word: the newest mutex in this segment, its offset + 1
static_assert(sizeof(SegmentHeader) <= mutexes_offset && std::is_trivially_copyable_v<SegmentHeader>);

/// One user. Its byte of the file, the one with its index, is locked as long as it lives.
struct Participant {
  std::atomic<std::uint64_t> state;  // generation * 2 + 1 if the record is valid
  IdentityText identity;
};
static_assert(sizeof(Participant) == 256);

constexpr std::size_t participants_offset = page;
constexpr std::size_t data_offset = participants_offset + participant_limit * sizeof(Participant);
static_assert(data_offset % page == 0);

// Bytes of the file that users lock; see the class Segment.
constexpr std::uint64_t readers_byte = participant_limit;
constexpr std::uint64_t user_bytes = participant_limit + 1;
constexpr std::uint64_t first_mutex_byte = std::uint64_t{1} << 40U;  // + the offset of a mutex that is being made

/// Names one participant for ever, as long as its record is not reused more than 2^24 times: index + 1 in the lowest byte,
/// its generation above. 0: nobody.
using Reference = std::uint32_t;
constexpr Reference reference_to(std::size_t index, std::uint64_t state) noexcept {
  return static_cast<Reference>((index + 1) | ((state >> 1U) << 8U));
}
constexpr std::size_t index_of(Reference reference) noexcept { return (reference & 0xffU) - 1; }

/// The word in which an owner signs: who, and how many acquisitions there have been.
constexpr Reference owner_in(std::uint64_t word) noexcept { return static_cast<Reference>(word); }
constexpr std::uint32_t acquisition_in(std::uint64_t word) noexcept { return static_cast<std::uint32_t>(word >> 32U); }

/// A DataBlockMutex: 256 bytes at a multiple of 64. Zeros: not made yet.
struct SharedMutex {
  // What every acquisition touches, in one cache line.
  alignas(64) std::array<std::byte, 48> robust;  // the platform's
  std::atomic<std::uint64_t> owner;              // signed after locking; the owner's part is 0 again before unlocking
  std::atomic<std::uint32_t> unrepaired;         // 1: the news below stands
  std::atomic<std::uint32_t> state;              // made_mutex, stored last
  // The rest.
  alignas(64) std::uint64_t pid_namespace;  // of all its users
  std::uint32_t robust_size;
  std::uint32_t version;
  std::atomic<std::uint64_t> next;                   // the mutex made before this one: its offset + 1
  std::atomic<std::uint32_t> first_lost, last_lost;  // References; 0: nobody was inside
  std::atomic<std::uint64_t> waiting_since;          // see data_block_mutex.cpp
  std::array<std::byte, 128> reserved;
};
static_assert(sizeof(SharedMutex) == 256 && alignof(SharedMutex) == 64);
constexpr std::uint32_t made_mutex = 0x7478'6d68;  // "hmxt"
}  // namespace holdfast::detail
