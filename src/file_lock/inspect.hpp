// inspect.hpp - who holds a lock and who waits for it, found out by reading only.
#pragma once
#include <optional>

#include <holdfast/ownership.hpp>

#include "file_lock/lock_path.hpp"

namespace holdfast::detail {
[[nodiscard]] std::optional<Holder> inspect(const LockPath& path);
}  // namespace holdfast::detail
