// counter_file.hpp - a number in a file that is read, incremented and written back in two steps. Without exclusion
// increments are lost; that is what it is for.
#pragma once
#include <cstdint>
#include <filesystem>

namespace holdfast::tool {
/// Both open the file anew, as separate programs do (a network file system compares with its server then), and throw
/// Error. A write replaces the number in place, so that it needs no space beyond the first.
[[nodiscard]] std::uint64_t read_counter(const std::filesystem::path& file);
void write_counter(const std::filesystem::path& file, std::uint64_t value);
}  // namespace holdfast::tool
