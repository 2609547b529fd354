// Workers that behave, and workers that do everything a worker should not: scenarios for tests/harness.
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include <holdfast/testing/temp_dir.hpp>
#include <holdfast/testing/worker.hpp>
#include <holdfast/testing/worker_process.hpp>

namespace {
using namespace holdfast::harness;
using namespace std::chrono_literals;

[[noreturn]] void wait_for_the_end() {
  for (;;) ::pause();
}

int pass(WorkerContext&) { return 0; }
int fail(WorkerContext& context) { return static_cast<int>(context.number(0)); }
int ready_and_released(WorkerContext& context) {
  signal_test_ready();
  return context.wait_for_release();
}

constexpr Scenario scenarios[] = {
    {"pass", pass},
    {"fail", fail},
    {"ready_and_released", ready_and_released},
};
}  // namespace

int main(int argc, char** argv) { return run_worker(scenarios, argc, argv); }
