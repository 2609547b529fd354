#include <holdfast/ownership.hpp>

#include "text.hpp"

namespace holdfast {
std::string_view to_string(LockOutcome outcome) noexcept {
  return outcome == LockOutcome::clean ? "clean" : "owner died";
}

std::string to_string(const Holder& holder) {
  const bool died = holder.owner && holder.liveness == Liveness::dead;
  std::string result{died ? "taken" : "held"};
  if (holder.since != std::chrono::system_clock::time_point{}) {
    const auto age = text::in_words(std::chrono::system_clock::now() - holder.since);
    result += died ? " " + age + " ago" : " for " + age;
  }
  result += " by ";
  if (!holder.owner) {
    result += "another program (holdfast did not make this lock)";
  } else {
    result += to_string(*holder.owner);
    if (died) result += ", which has died since";
    if (holder.liveness == Liveness::unknown) result += ", which may be alive or dead";
  }
  if (!holder.queue.empty()) result += ", " + std::to_string(holder.queue.size()) + " waiting";
  return result;
}

std::string to_string(const std::optional<Holder>& holder) { return holder ? to_string(*holder) : "free"; }
}  // namespace holdfast
