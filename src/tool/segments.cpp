#include "tool/segments.hpp"

#include <algorithm>
#include <exception>
#include <random>

#include <fmt/format.h>
#include <holdfast/error.hpp>
#include <holdfast/shared_memory.hpp>

namespace holdfast::tool {
TestedSegments::TestedSegments() {
  std::random_device random;
  mark_ = fmt::format("validate-{:08x}{:08x}", random(), random());
}
TestedSegments::~TestedSegments() { clear(); }

std::string TestedSegments::name(const std::string& what) const { return mark_ + '.' + what; }

std::vector<std::string> TestedSegments::leftovers() const {
  std::vector<std::string> result;
  for (auto& segment : SharedMemory::list())
    if (segment.name.starts_with(mark_)) result.push_back(std::move(segment.name));
  std::sort(result.begin(), result.end());
  return result;
}

void TestedSegments::clear() const noexcept {
  try {
    for (const auto& name : leftovers()) try {
        SharedMemory::remove(name);
      } catch (const Error&) {  // in use, or no longer ours: it stays
      }
  } catch (const std::exception&) {  // what cannot be listed cannot be cleared
  }
}
}  // namespace holdfast::tool
