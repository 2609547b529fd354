#include <filesystem>

#include <holdfast/holdfast.hpp>

bool is_free(const std::filesystem::path& resource);

bool is_free(const std::filesystem::path& resource) {
  holdfast::FileLock lock{resource};
  return lock.try_lock();
}
