#include "tool/stage.hpp"

#include <system_error>

#include <fmt/format.h>

#include "text.hpp"

namespace holdfast::tool {
namespace {
/// What is left over is removed; said is what stays, and all of it if everybody had the chance to leave nothing.
template <class Place>
void clear(const Place& place, const std::string& where, bool in_order, std::vector<std::string>& problems) {
  const auto left = place.leftovers();
  if (left.empty()) return;
  auto text = fmt::format("left behind{}: {}", where, text::escaped(left.front()));
  if (left.size() > 1) text += fmt::format(" and {} more", left.size() - 1);
  place.clear();
  const auto stay = place.leftovers().size();
  if (stay > 0)
    problems.push_back(text + fmt::format(" ({} could not be removed)", stay));
  else if (in_order)
    problems.push_back(text + " (removed)");
}
}  // namespace

void clear_up(const Stage& stage, const std::filesystem::path& counter, bool in_order,
              std::vector<std::string>& problems) {
  std::error_code error;
  std::filesystem::remove(counter, error);
  clear(stage.directory, "", in_order, problems);
}

void clear_up_segments(const Stage& stage, bool in_order, std::vector<std::string>& problems) {
  clear(stage.segments, " in shared memory", in_order, problems);
}
}  // namespace holdfast::tool
