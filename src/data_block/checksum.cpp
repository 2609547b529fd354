// Header-only and inlined: who links holdfast needs no library of that name.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstddef>
#include <cstdint>

#include "data_block/block.hpp"

namespace holdfast::detail {
/// Over the payload; sequence and length are the seed, so that a message in the wrong place is not taken for right.
std::uint64_t checksum_of(const std::byte* payload, std::uint64_t sequence, std::size_t length) noexcept {
  return XXH3_64bits_withSeed(payload, length, sequence * 0x9e37'79b9'7f4a'7c15U + length);
}
}  // namespace holdfast::detail
