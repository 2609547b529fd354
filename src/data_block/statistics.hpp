// statistics.hpp - books and statistics, from words that others are writing.
#pragma once
#include <cstddef>
#include <cstdint>

#include <holdfast/data_block.hpp>

#include "data_block/block.hpp"

namespace holdfast::detail {
/// A group at one instant.
struct GroupPicture {
  bool exact = true;                      ///< false: its members were too busy
  std::uint64_t start = 0, next = 0;      ///< start: no_sequence if it has never been one
  std::uint64_t held = 0, held_data = 0;  ///< sequence numbers that members hold; data among them
  std::uint64_t not_taken = 0;            ///< data from next on
  std::uint64_t skipped = 0, voids = 0, redelivered = 0;
  [[nodiscard]] std::uint64_t ahead() const noexcept { return held_data + not_taken; }
};
[[nodiscard]] GroupPicture picture_of(const Block& block, std::size_t group) noexcept;

[[nodiscard]] Books books_of(const Block& block, const Entry& entry) noexcept;  ///< Of one that is no member.
[[nodiscard]] Books books_of(const Block& block, const GroupPicture& picture, std::size_t group) noexcept;
[[nodiscard]] BlockStatistics statistics_of(const Block& block);
}  // namespace holdfast::detail
