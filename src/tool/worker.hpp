// worker.hpp - the tool as one of its own worker processes.
#pragma once

namespace holdfast::tool {
[[nodiscard]] bool is_worker(int argc, const char* const* argv) noexcept;
[[nodiscard]] int work(int argc, char** argv);  ///< main() of a worker.
}  // namespace holdfast::tool
