// spool_worker.cpp - what the processes of spool_test.cpp do.
#include <iostream>

#include <holdfast/testing/worker.hpp>

#include "spool.hpp"

using namespace holdfast::harness;

int stop_half_way(WorkerContext& context) {
  deliver(context.argument(0), "run", "complete", [&] {
    signal_test_ready();
    context.wait_for_release();
  });
  return 0;
}

int race(WorkerContext& context) {
  signal_test_ready();
  if (const int abandoned = context.wait_for_release()) return abandoned;
  std::cout << (deliver(context.argument(0), "run", context.argument(1)) ? "won" : "lost");
  return 0;
}

constexpr Scenario scenarios[] = {{"stop_half_way", stop_half_way}, {"race", race}};

int main(int argc, char** argv) { return run_worker(scenarios, argc, argv); }
