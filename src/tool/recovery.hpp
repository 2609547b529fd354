// recovery.hpp - the scenarios kill, of the lock, the mutex and the writer's role: owners are killed, and somebody else has
// to get what they had.
#pragma once
#include <cstdint>

#include "tool/results.hpp"
#include "tool/stage.hpp"

namespace holdfast::tool {
constexpr int recovery_rounds = 5;
constexpr double recovery_weight = 1 + 0.05 * recovery_rounds;  ///< For the progress bar.

/// Each round, with three processes: the owner is killed while a second one sleeps, waiting for the lock; then that one,
/// being the owner now, is killed, and a third one comes and asks. Stops at the first round with a problem.
/// Throws Error if that cannot be done, and Interrupted.
[[nodiscard]] Recovery run_recovery(const Stage& stage);

constexpr std::uint32_t kills_in_a_round = 10;  ///< Of a mutex, or a block.
[[nodiscard]] double mutex_recovery_weight(const Settings& settings) noexcept;

/// The same with the mutex, and more processes in a round: each that has got it from a dead one is killed for the next.
[[nodiscard]] Recovery run_mutex_recovery(const Stage& stage);

[[nodiscard]] double role_recovery_weight(const Settings& settings) noexcept;

/// The same with writers of a block, each of which is killed with a slot half filled, and one reader that lives: it has to
/// see every whole message, and nothing else.
[[nodiscard]] Recovery run_role_recovery(const Stage& stage);
}  // namespace holdfast::tool
