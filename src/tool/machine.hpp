// machine.hpp - what the tool asks of the operating system: where it runs, who sleeps, how much CPU was used.
// Source: src/tool/<os>/machine.cpp.
#pragma once
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>

namespace holdfast::tool {
struct Surroundings {
  std::string file_system;    ///< As the kernel names it: "ext4", "overlay", "fuse.sshfs".
  bool of_one_kernel = true;  ///< False: other machines may use the same file system.
  std::string kernel;         ///< "Linux 6.1.0 x86_64"
  unsigned processors = 0;    ///< This process may use.
  std::string container;      ///< What hints at a container, in words; empty: nothing.
};
[[nodiscard]] Surroundings look_around(const std::filesystem::path& directory);

[[nodiscard]] std::chrono::nanoseconds thread_cpu_time() noexcept;  ///< Used by the calling thread so far.
[[nodiscard]] bool is_asleep(std::int64_t pid);                     ///< Its main thread waits in the kernel.
[[nodiscard]] bool is_terminal(std::FILE* stream) noexcept;
[[nodiscard]] unsigned terminal_columns(std::FILE* stream) noexcept;  ///< 80 if it cannot be told.
[[nodiscard]] std::filesystem::path
this_program();  ///< Can be executed, also when its file has been moved or replaced.
}  // namespace holdfast::tool
