// Everything is included twice in one program: what is defined in a header is inline, or this does not link.
#include <exception>
#include <iostream>
#include <mutex>
#include <thread>

#include <holdfast/holdfast.hpp>

bool is_free(const std::filesystem::path& resource);  // two.cpp

int main(int argc, char** argv) {
  try {
    if (argc != 2) return 2;
    const auto resource = std::filesystem::path{argv[1]} / "shared";
    bool free_meanwhile = true;
    {
      holdfast::FileLock lock{resource};
      const std::lock_guard guard{lock};
      std::jthread{[&] { free_meanwhile = is_free(resource); }}.join();
    }
    if (!free_meanwhile && is_free(resource)) return 0;
    std::cerr << "held, yet free: " << free_meanwhile << '\n';
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
  }
  return 1;
}
