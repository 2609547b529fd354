// stage.hpp - what all scenarios share: where they play, with which lock, and who watches.
#pragma once
#include <filesystem>
#include <string>
#include <vector>
#include <holdfast/testing/journal.hpp>

#include "tool/files.hpp"
#include "tool/progress.hpp"
#include "tool/segments.hpp"
#include "tool/settings.hpp"

namespace holdfast::tool {
struct Stage {
  const Settings& settings;
  const TestedDirectory& directory;
  const TestedSegments& segments;
  const ScratchDirectory& scratch;  ///< Journals are here: the tested directory may be full, slow or remote.
  Progress& progress;
  std::filesystem::path program;  ///< This one, to be started as a worker.

  [[nodiscard]] std::filesystem::path journal_file(const std::string& name) const { return scratch.path() / name; }
};

/// Removes what a scenario left in the tested directory. Adds a problem if that is more than the counter though all
/// workers ended in order, and if something cannot be removed.
void clear_up(const Stage& stage, const std::filesystem::path& counter, bool in_order,
              std::vector<std::string>& problems);
/// The same for segments: none may be left.
void clear_up_segments(const Stage& stage, bool in_order, std::vector<std::string>& problems);
}  // namespace holdfast::tool
