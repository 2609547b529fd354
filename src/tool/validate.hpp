// validate.hpp - the main job: all scenarios in one directory.
#pragma once
#include "tool/results.hpp"
#include "tool/settings.hpp"

namespace holdfast::tool {
/// Runs the scenarios; shows progress on a terminal; leaves the directory as it was. Throws Error if that cannot be
/// done (what() is one line that says why), and Interrupted.
[[nodiscard]] Results validate(const Settings& settings);
}  // namespace holdfast::tool
