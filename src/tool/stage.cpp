#include "tool/stage.hpp"

#include <system_error>

#include <fmt/format.h>

#include "text.hpp"

namespace holdfast::tool {
void clear_up(const Stage& stage, const std::filesystem::path& counter, bool in_order,
              std::vector<std::string>& problems) {
  std::error_code error;
  std::filesystem::remove(counter, error);
  const auto left = stage.directory.leftovers();
  if (left.empty()) return;
  auto text = fmt::format("left behind: {}", text::escaped(left.front()));
  if (left.size() > 1) text += fmt::format(" and {} more", left.size() - 1);
  stage.directory.clear();
  const auto stay = stage.directory.leftovers().size();
  if (stay > 0)
    problems.push_back(text + fmt::format(" ({} could not be removed)", stay));
  else if (in_order)
    problems.push_back(text + " (removed)");
}
}  // namespace holdfast::tool
