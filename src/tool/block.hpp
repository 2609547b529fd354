// block.hpp - messages go through a DataBlock, and its writers and readers are killed.
#pragma once
#include "tool/results.hpp"
#include "tool/stage.hpp"

namespace holdfast::tool {
[[nodiscard]] double block_weight(const Settings& settings) noexcept;  ///< For the progress bar.

/// One writer, two readers of all messages, one of the latest. Then writers are killed in the middle of a message while
/// the next one waits for the role, and readers while they hold a slot of a full ring. A step that fails ends its
/// scenario. Throws Error if that cannot be done, and Interrupted.
[[nodiscard]] BlockResults run_block(const Stage& stage);
}  // namespace holdfast::tool
