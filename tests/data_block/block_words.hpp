// block_words.hpp - the words of a block, seen from outside: for tests that look between two steps, or do damage.
#pragma once
#include <stdexcept>
#include <holdfast/shared_memory.hpp>

#include "data_block/layout.hpp"

namespace holdfast::test {
class BlockWords {
 public:
  /// The segment of a sound block; it has to stay attached.
  explicit BlockWords(SharedMemory& memory) : bytes_{memory.bytes()} {
    const auto& header = this->header();
    const auto geometry =
        detail::geometry_of(header.slot_size, header.slot_count, header.zone_size, header.checksum != 0);
    if (header.magic != detail::block_magic || !geometry || geometry->size > bytes_.size())
      throw std::runtime_error{"this is no block"};
    geometry_ = *geometry;
  }
  [[nodiscard]] detail::BlockHeader& header() const { return *reinterpret_cast<detail::BlockHeader*>(bytes_.data()); }
  [[nodiscard]] detail::Shared& shared() const {
    return *reinterpret_cast<detail::Shared*>(bytes_.data() + geometry_.shared);
  }
  [[nodiscard]] detail::ChecksummedSlotHeader& slot(std::uint64_t sequence) const {
    return *reinterpret_cast<detail::ChecksummedSlotHeader*>(bytes_.data() + geometry_.slots +
                                                             sequence % header().slot_count * geometry_.stride);
  }
  [[nodiscard]] std::byte* payload(std::uint64_t sequence) const {
    return reinterpret_cast<std::byte*>(&slot(sequence)) + geometry_.payload;
  }
  [[nodiscard]] const detail::Geometry& geometry() const { return geometry_; }
  /// Of the producer in role.
  [[nodiscard]] detail::Entry& producer() const { return shared().entries[detail::role::index(shared().role.load())]; }

 private:
  std::span<std::byte> bytes_;
  detail::Geometry geometry_{};
};
}  // namespace holdfast::test
