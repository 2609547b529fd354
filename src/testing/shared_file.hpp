// shared_file.hpp - a file as memory that several processes see at once: the one duty an OS has towards the journal.
// src/testing/<os>/shared_file.cpp provides it.
#pragma once
#include <cstddef>
#include <filesystem>

namespace holdfast::harness {
struct SharedFile {
  void* address = nullptr;
  std::size_t size = 0;
};
/// A new file of that many zero bytes, its space reserved. Throws Error; nothing is left behind then.
[[nodiscard]] SharedFile create_shared_file(const std::filesystem::path& file, std::size_t size);
/// An existing file, whole. Throws Error. An empty one has no address.
[[nodiscard]] SharedFile open_shared_file(const std::filesystem::path& file);
void close_shared_file(SharedFile file) noexcept;
}  // namespace holdfast::harness
