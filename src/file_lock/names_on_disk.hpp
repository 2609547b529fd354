// names_on_disk.hpp - the names that the protocol gives to what it makes: everything it knows is in them.
//
//   <lock>/o.<n>.<identity>                 the lock, and its owner
//   <lock>/f.<n>.<identity>                 the lock, free: its owner could not move it away
//   .<lock>.<n>.<identity>.private          a contender's private directory, with its o.<n>.<identity> inside
//   .<lock>.<n>.<identity>.ticket           a ticket that waits for its use
//   .<lock>.queue/t.<number>.<n>.<identity> a place in the queue
//
// Lock names end in ".lock" and the others do not, so they never meet. Anything else is a stranger's and left alone.
#pragma once
#include <array>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <holdfast/process_identity.hpp>

namespace holdfast::detail {
constexpr std::string_view lock_suffix = ".lock", private_suffix = ".private", idle_ticket_suffix = ".ticket";
constexpr std::string_view owned_prefix = "o.", freed_prefix = "f.", ticket_prefix = "t.";

/// A name, or two joined by a slash, without allocation.
class NameBuffer {
 public:
  void join(std::initializer_list<std::string_view> parts) noexcept;
  [[nodiscard]] const char* c_str() const noexcept { return text_.data(); }
  [[nodiscard]] std::string_view view() const noexcept { return {text_.data(), size_}; }

 private:
  static constexpr std::size_t capacity = 2 * 255 + 1;  // NAME_MAX / NAME_MAX
  std::array<char, capacity + 1> text_{};
  std::size_t size_ = 0;
};

[[nodiscard]] std::array<char, 16> hex(std::uint64_t number) noexcept;
/// Whose name `<prefix><n>.<identity><suffix>` is. Empty: not one of ours, and to be left alone.
[[nodiscard]] std::optional<ProcessIdentity> whose_name(std::string_view name, std::string_view prefix,
                                                        std::string_view suffix);

/// What stands in a lock directory: its owner, or who freed it.
struct Mark {
  std::string name;
  bool owned = false;
  ProcessIdentity identity;
};
[[nodiscard]] std::optional<Mark> find_mark(const std::vector<std::string>& names);

/// What bears a larger number is no ticket: nobody has counted that far.
constexpr std::uint64_t last_ticket_number = 999'999'999'999'999'999;

/// A place in the queue; places are ordered by number, then by name.
struct Ticket {
  std::uint64_t number = 0;
  std::string_view name;
  [[nodiscard]] bool operator<(const Ticket& other) const noexcept {
    return number != other.number ? number < other.number : name < other.name;
  }
};
/// Reads the number only; who_waits() says whether the rest is ours.
[[nodiscard]] std::optional<Ticket> parse_ticket(std::string_view name);
[[nodiscard]] std::optional<ProcessIdentity> who_waits(const Ticket& ticket);
/// All tickets, the latest first. Decoding an identity is dear, so it is left to the caller, who needs one of them.
[[nodiscard]] std::vector<Ticket> tickets_in(const std::vector<std::string>& names);
}  // namespace holdfast::detail
