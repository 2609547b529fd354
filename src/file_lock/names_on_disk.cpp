#include "file_lock/names_on_disk.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace holdfast::detail {
void NameBuffer::join(std::initializer_list<std::string_view> parts) noexcept {
  size_ = 0;
  for (const std::string_view part : parts) {
    std::memcpy(text_.data() + size_, part.data(), std::min(part.size(), capacity - size_));
    size_ += std::min(part.size(), capacity - size_);
  }
  text_[size_] = '\0';
}

std::array<char, 16> hex(std::uint64_t number) noexcept {
  std::array<char, 16> digits{};
  for (std::size_t i = digits.size(); i-- > 0; number >>= 4U) digits[i] = "0123456789abcdef"[number & 15U];
  return digits;
}

std::optional<ProcessIdentity> whose_name(std::string_view name, std::string_view prefix, std::string_view suffix) {
  constexpr std::size_t digits = 16;
  if (!name.starts_with(prefix) || !name.ends_with(suffix)) return {};
  name.remove_prefix(prefix.size());
  if (name.size() < digits + 1 + suffix.size() || name[digits] != '.') return {};
  if (name.substr(0, digits).find_first_not_of("0123456789abcdef") != std::string_view::npos) return {};
  name.remove_prefix(digits + 1);
  name.remove_suffix(suffix.size());
  return ProcessIdentity::try_decode(name);
}

std::optional<Mark> find_mark(const std::vector<std::string>& names) {
  for (const std::string& name : names)
    for (const auto prefix : {owned_prefix, freed_prefix})
      if (auto identity = whose_name(name, prefix, "")) return Mark{name, prefix == owned_prefix, std::move(*identity)};
  return {};
}

std::optional<Ticket> parse_ticket(std::string_view name) {
  if (!name.starts_with(ticket_prefix)) return {};
  const auto digits = name.substr(ticket_prefix.size(), name.find('.', ticket_prefix.size()) - ticket_prefix.size());
  Ticket ticket{0, name};
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), ticket.number);
  if (error != std::errc{} || end != digits.data() + digits.size() || ticket.number > last_ticket_number) return {};
  return ticket;
}

std::optional<ProcessIdentity> who_waits(const Ticket& ticket) {
  const auto prefix = ticket.name.substr(0, ticket.name.find('.', ticket_prefix.size()) + 1);
  return whose_name(ticket.name, prefix, "");
}

std::vector<Ticket> tickets_in(const std::vector<std::string>& names) {
  std::vector<Ticket> tickets;
  for (const std::string& name : names)
    if (const auto ticket = parse_ticket(name)) tickets.push_back(*ticket);
  std::sort(tickets.begin(), tickets.end(), [](const Ticket& a, const Ticket& b) { return b < a; });
  return tickets;
}

}  // namespace holdfast::detail
