// attach_race.hpp - processes come to a mutex at once that none of them has made before: all must end in one segment.
#pragma once
#include <cstdint>
#include <string>

#include "tool/results.hpp"
#include "tool/stage.hpp"

namespace holdfast::tool {
/// Two rounds in a row have the same name: who comes in the second may meet those who still leave the first, the last of
/// whom removes the segment. The two after them have another: there it has to be made anew.
[[nodiscard]] std::string attach_race_segment(const std::string& name, std::uint32_t round);

[[nodiscard]] double attach_race_weight(const Settings& settings) noexcept;  ///< For the progress bar.

/// Each round all processes are released together; each attaches, and increments the counter; when all have, they are
/// let go. Stops at the first round with a problem. Throws Error if that cannot be done, and Interrupted.
[[nodiscard]] AttachRace run_attach_race(const Stage& stage);
}  // namespace holdfast::tool
