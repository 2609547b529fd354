// place.hpp - where the processes of a benchmark find what they share.
#pragma once
#include <filesystem>
#include <string>

namespace holdfast::benchmarks {
/// Files in a directory in memory, and names of the same text.
struct Place {
  std::filesystem::path directory;
  std::string name;

  [[nodiscard]] std::filesystem::path file() const { return directory / name; }
};
}  // namespace holdfast::benchmarks
