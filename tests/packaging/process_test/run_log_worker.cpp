// Writes records of eight bytes, seven and a line feed; scenarios for run_log_test.cpp.
#include <filesystem>
#include <fstream>
#include <iostream>
#include <mutex>
#include <string>

#include <holdfast/file_lock.hpp>
#include <holdfast/testing/worker.hpp>

namespace {
using namespace holdfast::harness;

void append(const std::filesystem::path& log, std::string_view bytes) { std::ofstream{log, std::ios::app} << bytes; }

int stop_half_way(WorkerContext& context) {
  const std::filesystem::path log = context.argument(0);
  holdfast::FileLock lock{log};
  lock.lock();
  append(log, "half");
  signal_test_ready();
  return context.wait_for_release();
}

int append_and_verify(WorkerContext& context) {
  const std::filesystem::path log = context.argument(0);
  const int records = std::stoi(context.argument(1));
  holdfast::FileLock lock{log};
  int repairs = 0;
  for (int i = 0; i < records; ++i) {
    const std::lock_guard guard{lock};
    if (lock.outcome() == holdfast::LockOutcome::owner_died) {
      const auto size = std::filesystem::file_size(log);
      std::filesystem::resize_file(log, size - size % 8);
      ++repairs;
    }
    append(log, "record.\n");
  }
  if (repairs == 1) return 0;
  std::cerr << "repaired " << repairs << " times\n";
  return 1;
}

constexpr Scenario scenarios[] = {{"stop_half_way", stop_half_way}, {"append_and_verify", append_and_verify}};
}  // namespace

int main(int argc, char** argv) { return run_worker(scenarios, argc, argv); }
