// A user's program: two threads, each with a lock of its own, add to one number in a file. Usage: counter DIRECTORY
#include <chrono>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <mutex>
#include <string>
#include <thread>

#include <holdfast/file_lock.hpp>

namespace fs = std::filesystem;
using namespace std::chrono_literals;

namespace {
int read_number(const fs::path& file) {
  int number = 0;
  std::ifstream{file} >> number;
  return number;
}

void add(const fs::path& file, int times) {
  holdfast::FileLock lock{file};
  for (int i = 0; i < times; ++i) {
    const std::lock_guard guard{lock};
    const int number = read_number(file);
    std::ofstream{file} << number + 1;
  }
}

int run(const fs::path& directory) {
  const fs::path work = directory / "counter.work";
  fs::remove_all(work);
  fs::create_directory(work);
  const fs::path file = work / "number";
  {
    std::jthread other{[&] { add(file, 100); }};
    add(file, 100);
  }
  if (const int number = read_number(file); number != 200) {
    std::cerr << "expected 200, counted " << number << '\n';
    return 1;
  }

  {
    holdfast::FileLock lock{file};
    const std::unique_lock guard{lock, 5s};
    if (!guard) {
      std::cerr << "nobody has it, and yet it was not to be had\n";
      return 1;
    }
    const std::string holder = to_string(holdfast::FileLock::holder(file));
    if (holder.find("counter") == std::string::npos) {
      std::cerr << "the holder should be this program: " << holder << '\n';
      return 1;
    }
  }

  for (const auto& entry : fs::directory_iterator{work}) {
    if (entry.path() != file) {
      std::cerr << "left behind: " << entry.path() << '\n';
      return 1;
    }
  }
  fs::remove_all(work);
  return 0;
}
}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc == 2) return run(argv[1]);
    std::cerr << "usage: counter DIRECTORY\n";
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
  }
  return 1;
}
