#include <holdfast/testing/temp_dir.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <random>
#include <string>
#include <system_error>

#include <fmt/format.h>
#include <holdfast/error.hpp>

#include "testing/channel.hpp"
#include "text.hpp"

namespace holdfast::harness {
namespace fs = std::filesystem;
namespace {
std::atomic<ComplaintHandler> handler{nullptr};
std::atomic<std::size_t> complaint_count{0};

void complain(const std::string& complaint) noexcept {
  ++complaint_count;
  if (const auto handle = handler.load())
    handle(complaint);
  else
    std::fprintf(stderr, "%s\n", complaint.c_str());
}

/// What tests about permissions leave behind: directories that cannot be emptied.
void make_removable(const fs::path& directory) noexcept {
  std::error_code ignored;
  fs::permissions(directory, fs::perms::owner_all, fs::perm_options::add, ignored);
  for (fs::directory_iterator entry{directory, ignored}, end; !ignored && entry != end; entry.increment(ignored)) {
    std::error_code unknown;
    if (entry->symlink_status(unknown).type() == fs::file_type::directory) make_removable(entry->path());
  }
}
}  // namespace

TempDir::TempDir() : owner_{current_pid()} {
  std::error_code error;
  auto base = fs::temp_directory_path(error);
  if (!error) base = fs::canonical(base, error);
  if (error) throw Error{error, "make a directory for temporary files in", base.string(), {}, "set TMPDIR"};
  std::random_device random;
  for (;;) {
    path_ = base / fmt::format("holdfast-{:08x}{:08x}", random(), random());
    if (fs::create_directory(path_, error)) break;
    if (error) throw Error{error, "make directory", path_.string(), {}, "set TMPDIR to a directory that is writable"};
  }
  fs::permissions(path_, fs::perms::owner_all);
}

TempDir::~TempDir() {
  if (current_pid() != owner_) return;
  try {
    make_removable(path_);
    const auto left = leftovers_allowed_ ? std::vector<fs::path>{} : leftovers();
    if (!left.empty()) {
      constexpr std::size_t most = 20;
      auto text = fmt::format("{} left of locks in a test's directory:", left.size());
      for (std::size_t i = 0; i < std::min(left.size(), most); ++i)
        text += fmt::format("\n  {}", text::escaped(left[i].string()));
      complain(text);
    }
    std::error_code error;
    fs::remove_all(path_, error);
    if (error) complain(fmt::format("cannot remove the test's directory '{}': {}", path_.string(), error.message()));
  } catch (const std::exception& exception) {
    complain(fmt::format("cannot clear the test's directory: {}", exception.what()));
  }
}

std::vector<fs::path> TempDir::leftovers() const {
  constexpr std::array<std::string_view, 4> endings{".lock", ".private", ".ticket", ".queue"};
  std::vector<fs::path> result;
  for (const auto& entry : fs::recursive_directory_iterator{path_, fs::directory_options::skip_permission_denied}) {
    const auto name = entry.path().filename().string();
    if (std::any_of(endings.begin(), endings.end(), [&](auto ending) { return name.ends_with(ending); }))
      result.push_back(entry.path().lexically_relative(path_));
  }
  std::sort(result.begin(), result.end());
  return result;
}

ComplaintHandler on_complaint(ComplaintHandler new_handler) noexcept { return handler.exchange(new_handler); }
std::size_t complaints() noexcept { return complaint_count; }
}  // namespace holdfast::harness
