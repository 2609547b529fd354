// Gives every file of the folders and files that it is called with to a fuzz target, once: the corpus as an ordinary test, with
// any compiler. The options of libFuzzer are ignored.
#include <signal.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "fuzzing.hpp"

namespace fs = std::filesystem;

namespace {
std::array<char, 4096> current{};

extern "C" void say_which(int signal) {
  static_cast<void>(!::write(STDERR_FILENO, current.data(), std::strlen(current.data())));
  static_cast<void>(!::write(STDERR_FILENO, signal == SIGALRM ? ": it hangs\n" : ": it crashes\n", 14));
  ::signal(signal, SIG_DFL);
  ::raise(signal);
}

void run(const fs::path& file) {
  std::snprintf(current.data(), current.size(), "%s", file.c_str());
  std::ifstream stream{file, std::ios::binary};
  fuzz::check(stream.good(), "cannot read " + file.string());
  const std::vector<char> bytes{std::istreambuf_iterator<char>{stream}, {}};
  ::alarm(30);
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  ::alarm(0);
}
}  // namespace

int main(int argc, char** argv) {
  ::signal(SIGALRM, say_which);
  ::signal(SIGABRT, say_which);
  std::vector<fs::path> files;
  for (int i = 1; i < argc; ++i) {
    if (argv[i][0] == '-') continue;
    if (fs::is_directory(argv[i]))
      for (const auto& entry : fs::directory_iterator{argv[i]}) files.push_back(entry.path());
    else
      files.emplace_back(argv[i]);
  }
  std::sort(files.begin(), files.end());
  for (const auto& file : files) run(file);
  std::printf("%zu inputs\n", files.size());
  return files.empty() ? 1 : 0;
}
