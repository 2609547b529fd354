// block.hpp - one attached block, as producer, consumers and tools see it: entries, proofs of death, barriers.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <holdfast/data_block.hpp>
#include <holdfast/error.hpp>

#include "data_block/layout.hpp"
#include "shared_memory/segment.hpp"

namespace holdfast::detail {
/// Every park ends after that long, and looks who is dead (I7).
constexpr std::chrono::milliseconds longest_park{10};

class Block {
 public:
  using Pointer = std::shared_ptr<Block>;
  [[nodiscard]] static Pointer create(std::string_view name, const DataBlockOptions& options);
  [[nodiscard]] static Pointer create_or_attach(std::string_view name, const DataBlockOptions& options,
                                                Deadline deadline);
  [[nodiscard]] static Pointer attach(std::string_view name, bool for_writing, Deadline deadline);
  Block(Segment::Pointer segment, std::string name, std::string_view operation);  ///< Checks everything first.

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] const std::string& path() const noexcept { return segment_->path(); }
  [[nodiscard]] const BlockHeader& header() const noexcept { return header_; }
  [[nodiscard]] DataBlockOptions options() const;
  [[nodiscard]] OnFull on_full() const noexcept { return static_cast<OnFull>(header_.on_full); }
  [[nodiscard]] bool has_checksums() const noexcept { return header_.checksum != 0; }
  [[nodiscard]] bool verifies_reads() const noexcept {
    return header_.checksum == static_cast<std::uint32_t>(Checksum::every_read);
  }
  [[nodiscard]] bool fences() const noexcept { return header_.fences != 0; }
  [[nodiscard]] std::uint64_t batch() const noexcept { return batch_; }  ///< b
  [[nodiscard]] const Ring& ring() const noexcept { return ring_; }
  [[nodiscard]] Shared& shared() const noexcept { return *shared_; }
  [[nodiscard]] Entry& entry(std::size_t index) const noexcept { return shared_->entries[index]; }
  [[nodiscard]] Group& group(std::size_t index) const noexcept { return shared_->groups[index]; }
  [[nodiscard]] std::size_t used() const noexcept;  ///< Entries from there on are free.
  [[nodiscard]] Segment& segment() const noexcept { return *segment_; }
  [[nodiscard]] std::span<std::byte> zone() const noexcept { return zone_; }
  [[nodiscard]] DataBlockMutex make_zone_mutex() const;
  void check_schema(const Schema& wanted) const;  ///< Throws errc::schema_mismatch.

  /// The rare side of B-join, B-role, B-park-reader, B-park-writer.
  void heavy_barrier() const noexcept;
  [[nodiscard]] bool is_gone(std::uint64_t state) const { return segment_->is_gone(entry_state::reference(state)); }

  struct Role {
    std::uint64_t word;
    Entry* entry;
    std::uint64_t head, base;
  };
  /// Whose head counts, that head, and below which number labels of earlier epochs count (I4). All of one moment: the entry may
  /// be somebody else's afterwards.
  [[nodiscard]] Role role() const noexcept;
  /// The same, and `head` is where what has been committed ends: `head`, or one beyond it (P8, I4).
  [[nodiscard]] Role committed() const noexcept;
  /// Where that ends for the producer of this entry in that role. Exact once it commits no more.
  [[nodiscard]] std::uint64_t committed_until(const Entry& entry, std::uint64_t role) const noexcept;
  /// Where a broken producer's messages end: [first, end) is its quarantine. Empty: it has none.
  struct Quarantine {
    std::uint64_t first = 0, end = 0;
  };
  [[nodiscard]] static Quarantine quarantine_of(const Entry& entry) noexcept;
  /// In which it was broken while s was in its claim: never data, until it is dead (I4).
  [[nodiscard]] bool is_quarantined(std::uint64_t sequence) const noexcept;
  /// Data of that sequence, to one who holds it, has seen that role, and knows that it is below head.
  [[nodiscard]] bool is_valid(std::uint64_t sequence, const Role& role) const noexcept;
  /// Bytes of payload and voids below a head, and that head.
  struct Totals {
    std::uint64_t head, bytes, voids;
  };
  [[nodiscard]] Totals totals() const noexcept;
  /// Of the two the one with the greatest position that is not beyond that head.
  [[nodiscard]] static TotalsRecord& record_at(Entry& entry, std::uint64_t head) noexcept;
  /// What the record has, and the slots from its position to the head of that role (I6). Exact while nobody writes there.
  [[nodiscard]] Totals totals_from(const TotalsRecord& record, const Role& role) const noexcept;

  /// An entry of this process, joining, with cleared words. Throws errc::too_many_participants.
  struct Claimed {
    std::size_t index;
    std::uint64_t state;
  };
  [[nodiscard]] Claimed claim_entry(EntryKind kind, std::string_view operation);
  /// Makes the words count (E-active), and everybody look (J3). Heavy.
  void activate(Claimed& claimed);
  void leave(std::size_t index, std::uint64_t state) noexcept;  ///< Unless it is another incarnation's by now.
  /// Takes the place of a dead consumer or producer away, which drops its holds. True: this call did.
  bool drop_if_dead(std::size_t index, std::uint64_t state);
  /// Of a group: those who are dead are dropped, and their slots are for others.
  void judge_members(std::size_t group_index);
  /// A dead member of the group has left slots, and nobody who lives is about to adopt them.
  [[nodiscard]] bool has_orphans(std::size_t group_index) const;
  [[nodiscard]] bool group_lives(std::size_t group) const noexcept;  ///< It has an active member.

  void wake_readers() const noexcept;
  void wake_writer() const noexcept;
  [[nodiscard]] std::optional<ProcessIdentity> identity(std::uint64_t state) const {
    return segment_->identity_of(entry_state::reference(state));
  }
  [[nodiscard]] bool has_name() const noexcept;  ///< The segment bears its name still.

 private:
  void note_end(Entry& ended, std::uint64_t state) const noexcept;
  void note_end_of_group(std::uint64_t index) const noexcept;
  Segment::Pointer segment_;
  std::string name_;
  BlockHeader header_{};
  Shared* shared_ = nullptr;
  Ring ring_;
  std::uint64_t batch_ = 1;
  std::uint64_t zone_mutex_offset_ = 0;
  std::span<std::byte> zone_;
};

/// Spins and yields for a while before the caller parks, which is dear. Where processes outnumber processors, to spin takes the
/// processor away from whom is waited for: who finds that others have run while it yielded spins for half as long the next time.
class Backoff {
 public:
  [[nodiscard]] static unsigned most_spins() noexcept;
  /// `spins`: of the producer or consumer that waits, from one of its waits to the next.
  explicit Backoff(unsigned& spins) noexcept : spins_{spins} {}
  /// False: it is time to park.
  [[nodiscard]] bool again() noexcept;

 private:
  using Clock = std::chrono::steady_clock;
  unsigned& spins_;
  unsigned spun_ = 0;
  Clock::time_point now_{}, until_{};
};

[[nodiscard]] std::uint64_t checksum_of(const std::byte* payload, std::uint64_t sequence, std::size_t length) noexcept;
}  // namespace holdfast::detail
