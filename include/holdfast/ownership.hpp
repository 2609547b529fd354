// ownership.hpp - who holds a lock, and what its next owner has to be told.
// Layer 2: builds on process_identity.hpp.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <holdfast/process_identity.hpp>

namespace holdfast {
/// News that comes with a lock: whether the owner before gave it back, or died with it.
enum class LockOutcome { clean, owner_died };

/// A snapshot for people and tools: it may be out of date when it is read.
struct Holder {
  std::optional<ProcessIdentity> owner;   ///< Empty: a lock that holdfast did not make, for example a plain mkdir.
  Liveness liveness = Liveness::unknown;  ///< dead: the next one who asks gets the lock.
  std::chrono::system_clock::time_point since{};  ///< By the file system's clock.
  std::vector<ProcessIdentity> queue{};           ///< Who waits, in order. Without fairness nobody is listed.
  std::uint64_t acquisition = 0;  ///< Another number, another acquisition (it wraps); 0: they are not counted.
};

[[nodiscard]] std::string_view to_string(LockOutcome outcome) noexcept;
/// "held for 3.2 s by process 4211 (daq_writer, started 12:01:07), 2 waiting"
[[nodiscard]] std::string to_string(const Holder& holder);
/// "free" if empty.
[[nodiscard]] std::string to_string(const std::optional<Holder>& holder);
}  // namespace holdfast
