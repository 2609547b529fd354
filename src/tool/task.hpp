// task.hpp - what the tool tells a worker process, and what the worker tells it back.
#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>
#include <holdfast/testing/worker.hpp>
#include <holdfast/testing/worker_process.hpp>

namespace holdfast::tool {
/// Scenarios of a worker. The prefix makes the program a worker instead of the tool.
constexpr std::string_view worker_prefix = "worker:";
constexpr const char* scenario_contend = "worker:contend";  ///< Increments by one process.
constexpr const char* scenario_threads = "worker:threads";  ///< Increments by threads of one process.
constexpr const char* scenario_own = "worker:own";  ///< Takes the lock at one release, gives it back at the next.
/// So many times: attaches to a mutex at one release, and increments; detaches at the next.
constexpr const char* scenario_attach = "worker:attach";
constexpr const char* scenario_write_all = "worker:write-all";      ///< Writes so many messages to a block of its own.
constexpr const char* scenario_read_all = "worker:read-all";        ///< Reads so many, each of them.
constexpr const char* scenario_read_latest = "worker:read-latest";  ///< Reads until the last of so many, those it can.
/// Takes the writer's role, writes a few messages, and holds a slot, half filled, until it is killed or released.
constexpr const char* scenario_own_role = "worker:own-role";
/// At each of so many releases: fills the ring, and waits for room for one more.
constexpr const char* scenario_fill_up = "worker:fill-up";
constexpr const char* scenario_hold_slot = "worker:hold-slot";  ///< Holds the next message until it is killed.

struct Task {
  std::string resource;  ///< The file of the counter, which is what the lock is for; of a mutex or block its segment.
  std::filesystem::path journal;
  std::uint32_t who = 0;         ///< Its number in the journal; threads count on from it.
  std::uint32_t threads = 1;     ///< Only for scenario_threads.
  std::uint32_t increments = 1;  ///< Or messages.
  std::chrono::nanoseconds hold{0};
  std::chrono::nanoseconds patience{0};  ///< For one wait.
  bool fair = true;
  bool mutex = false;  ///< A mutex in a segment, not a lock on a file.
  bool warm = false;   ///< Has had the lock once before it is ready: what the first use costs is over.
};
[[nodiscard]] std::vector<harness::Argument> to_arguments(const Task& task);
[[nodiscard]] Task to_task(const harness::WorkerContext& context);

/// One line on the worker's standard output.
struct Tally {
  std::uint64_t successful = 0;  ///< Increments, or messages as they have to be.
  std::uint64_t failed = 0;      ///< Of those that were tried; after a failure to get the lock no more are. Or torn.
  std::chrono::nanoseconds lock_cpu{};        ///< CPU time inside lock().
  std::optional<std::int64_t> died_before{};  ///< Of owners: what it was told, as in LockUnderTest.
  std::string error{};                        ///< The first one.
};
[[nodiscard]] std::string to_line(const Tally& tally);
[[nodiscard]] std::optional<Tally> to_tally(
    std::string_view output);  ///< Empty: not a whole line, or not one of these.
}  // namespace holdfast::tool
