// block_worker.hpp - what writers and readers of a block do, each in a process of its own.
#pragma once
#include <cstddef>
#include <holdfast/testing/worker.hpp>

namespace holdfast::tool {
constexpr std::size_t slots_of_transfer = 64, slots_of_kills = 8;
constexpr std::uint32_t messages_of_a_writer = 3;  ///< Before it begins the one in which it is killed.

int write_all(harness::WorkerContext& context);
int read_all(harness::WorkerContext& context);
int read_latest(harness::WorkerContext& context);
int own_role(harness::WorkerContext& context);
int fill_up(harness::WorkerContext& context);
int hold_slot(harness::WorkerContext& context);
}  // namespace holdfast::tool
