#include "tool/files.hpp"

#include <algorithm>
#include <random>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <holdfast/error.hpp>

namespace holdfast::tool {
namespace fs = std::filesystem;
namespace {
std::string marked_name() {
  std::random_device random;
  return fmt::format("holdfast-validate-{:08x}{:08x}", random(), random());
}
}  // namespace

ScratchDirectory::ScratchDirectory(const std::vector<fs::path>& bases) {
  std::error_code error;
  for (const auto& base : bases) {
    path_ = fs::canonical(base, error);
    if (error) continue;
    path_ /= marked_name();
    if (!fs::create_directory(path_, error)) continue;
    fs::permissions(path_, fs::perms::owner_all, error);
    return;
  }
  throw Error{error, "make a directory in", bases.back().native(), {}, "set TMPDIR to a directory that is writable"};
}

ScratchDirectory::~ScratchDirectory() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

TestedDirectory::TestedDirectory(fs::path path) : path_{std::move(path)}, mark_{marked_name()} {}
TestedDirectory::~TestedDirectory() { clear(); }

fs::path TestedDirectory::resource(const std::string& name) const { return path_ / (mark_ + '.' + name); }

std::vector<std::string> TestedDirectory::leftovers() const {
  std::vector<std::string> result;
  for (const auto& entry : fs::directory_iterator{path_})
    if (auto name = entry.path().filename().string(); name.find(mark_) != std::string::npos)
      result.push_back(std::move(name));
  std::sort(result.begin(), result.end());
  return result;
}

void TestedDirectory::clear() const noexcept {
  try {
    std::error_code ignored;
    for (const auto& name : leftovers()) fs::remove_all(path_ / name, ignored);
  } catch (const std::exception&) {  // what cannot be read cannot be cleared
  }
}
}  // namespace holdfast::tool
