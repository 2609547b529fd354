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
std::string random_digits() {
  std::random_device random;
  return fmt::format("{:08x}", random());
}
}  // namespace

ScratchDirectory::ScratchDirectory(const std::vector<fs::path>& bases) {
  std::error_code error;
  for (const auto& base : bases) {
    path_ = fs::canonical(base, error);
    if (error) continue;
    path_ /= "holdfast-validate-" + random_digits();
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

TestedDirectory::TestedDirectory(fs::path path) : path_{std::move(path)} {
  do {
    mark_ = "validate-" + random_digits();  // 17 bytes: so much FileLock keeps of a long name in the names beside it
  } while (!leftovers().empty());
}
TestedDirectory::~TestedDirectory() { clear(); }

fs::path TestedDirectory::resource(const std::string& name) const { return path_ / (mark_ + '.' + name); }

std::vector<std::string> TestedDirectory::leftovers() const {
  std::vector<std::string> result;
  std::error_code error;
  for (fs::directory_iterator entry{path_, error}, end; !error && entry != end; entry.increment(error))
    if (auto name = entry->path().filename().string(); name.starts_with(mark_) || name.starts_with('.' + mark_))
      result.push_back(std::move(name));
  if (error) throw Error{error, "read the directory", path_.native()};
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
