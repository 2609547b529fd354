// layout.hpp - what a block is made of, in the bytes of its segment. Version 1. What stands there may have been written by
// anybody: geometry_of() computes every offset anew from what was checked.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>

#include <holdfast/data_block.hpp>
#include <holdfast/slot_protocol.hpp>

namespace holdfast::detail {
constexpr std::uint64_t block_magic = 0x6b63'6f6c'6220'6668;  // "hf block", read as a little-endian number
constexpr std::uint32_t block_version = 4;

/// Written before the segment has its name, and never again.
struct BlockHeader {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t header_size;
  std::uint64_t block_size;  // bytes of the segment
  std::uint64_t slot_size, slot_count, zone_size;
  std::uint32_t on_full, checksum, time_stamps;
  std::uint32_t fences;  // 1: barrier mode "fences"; 0: asymmetric
  std::uint64_t schema_layout;
  std::uint32_t schema_version;
  std::uint32_t reserved;
  std::array<char, label_limit + 1> schema_name;  // padded with zeros
};
static_assert(std::is_trivially_copyable_v<BlockHeader> && sizeof(BlockHeader) <= 4096);

struct Geometry {
  std::uint64_t shared, zone_mutex, zone, slots, stride, payload, size;
};
/// Empty: no block can be that large.
[[nodiscard]] std::optional<Geometry> geometry_of(std::uint64_t slot_size, std::uint64_t slot_count,
                                                  std::uint64_t zone_size, bool checksums) noexcept;

[[nodiscard]] std::string text_in(const Label& label);
void write_text(Label& label, const std::string& text) noexcept;
}  // namespace holdfast::detail
