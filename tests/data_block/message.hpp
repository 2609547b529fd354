// message.hpp - messages whose every byte tells whether it belongs to this id, this length and this writer.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <holdfast/data_block.hpp>

namespace holdfast::test {
/// 0, 1, all there is room for, and everything between.
inline std::size_t length_of(SlotId id, std::size_t slot_size) {
  switch (id % 8) {
    case 3:
      return slot_size;
    case 5:
      return std::min<std::size_t>(id / 8 % 2, slot_size);
    default:
      return std::min<std::size_t>(slot_size, 8 + (id * 2654435761U) % (slot_size + 1));
  }
}

/// Who wrote it and which one it is, in the first 8 bytes; all others follow from these.
inline std::uint64_t seed_of(SlotId id, std::uint32_t writer) { return (std::uint64_t{writer} << 40U) ^ id; }
inline std::byte byte_of(std::uint64_t seed, std::size_t at) {
  const auto mixed = (seed + at / 8 + 1) * 0x9e37'79b9'7f4a'7c15U;
  return static_cast<std::byte>(mixed >> (8 * (at % 8)));
}

inline void fill(std::span<std::byte> bytes, SlotId id, std::uint32_t writer = 0) {
  std::size_t at = 0;
  auto seed = seed_of(id, 0);
  if (bytes.size() >= sizeof seed) {
    seed = seed_of(id, writer);
    std::memcpy(bytes.data(), &seed, sizeof seed);
    at = sizeof seed;
  }
  for (; at < bytes.size(); ++at) bytes[at] = byte_of(seed, at);
}

inline std::uint32_t writer_of(std::span<const std::byte> bytes) {
  std::uint64_t seed = 0;
  if (bytes.size() >= sizeof seed) std::memcpy(&seed, bytes.data(), sizeof seed);
  return static_cast<std::uint32_t>(seed >> 40U);
}

/// Why this is not the message with that id, of which all bytes are there. Empty: it is.
inline std::string problem_with(std::span<const std::byte> bytes, SlotId id, std::size_t slot_size) {
  if (const auto expected = length_of(id, slot_size); bytes.size() != expected)
    return "message " + std::to_string(id) + " has " + std::to_string(bytes.size()) + " bytes, not " +
           std::to_string(expected);
  std::size_t at = 0;
  auto seed = seed_of(id, 0);
  if (bytes.size() >= sizeof seed) {
    std::memcpy(&seed, bytes.data(), sizeof seed);
    if (const auto found = seed & 0xff'ffff'ffffU; found != id)
      return "message " + std::to_string(id) + " says that it is " + std::to_string(found);
    at = sizeof seed;
  }
  for (; at < bytes.size(); ++at)
    if (bytes[at] != byte_of(seed, at))
      return "message " + std::to_string(id) + ": byte " + std::to_string(at) + " of " + std::to_string(bytes.size()) +
             " is another message's";
  return {};
}
}  // namespace holdfast::test
