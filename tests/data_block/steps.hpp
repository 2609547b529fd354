// steps.hpp - kills workers after each instruction between their "begin" and "end", or after so many, evenly spread.
#pragma once
#include <algorithm>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <random>

#include "blocks.hpp"
#include "instruction_tracer.hpp"

namespace blocks {
using holdfast::test::InstructionTracer;

/// As HOLDFAST_TEST_SEED says, else another one in each run.
inline std::uint64_t seed_of_this_run() {
  static const std::uint64_t seed = [] {
    const char* const given = std::getenv("HOLDFAST_TEST_SEED");
    return given != nullptr ? std::strtoull(given, nullptr, 10) : std::uint64_t{std::random_device{}()};
  }();
  return seed;
}

/// As HOLDFAST_TEST_STEPS says: so many times as many steps are looked at.
inline long thoroughness() {
  const char* const given = std::getenv("HOLDFAST_TEST_STEPS");
  return given != nullptr ? std::max(1L, std::atol(given)) : 1;
}

class BlockSteps : public Blocks {
 protected:
  struct Work {
    long instructions = 20'000;  ///< to be made, about, by all victims together
    long kills = 40;             ///< at most
  };
  /// `prepare` starts a worker that is about to wait and then to "begin". `look` is called while it stands still, `judge` when
  /// it is dead. The first victim comes to its end, and tells how many instructions there are.
  void kill_at_every_step(const Work& work, const std::function<WorkerProcess()>& prepare,
                          const std::function<void(WorkerProcess&)>& judge) {
    constexpr long never = 2'000'000;
    long length = 0;
    {
      auto victim = prepare();
      const InstructionTracer tracer{victim};
      if (!tracer.may_trace()) GTEST_SKIP() << "NOT TESTED: this machine does not permit to trace a process";
      ASSERT_TRUE(tracer.run_to_begin()) << victim.report();
      length = tracer.step(never);
      ASSERT_LT(length, never);
      ASSERT_TRUE(victim.is_running()) << victim.report();
      victim.kill();
      ASSERT_NO_FATAL_FAILURE(judge(victim)) << victim.report();
    }
    const long kills = std::clamp(2 * work.instructions / (length + 1), 3L, work.kills) * thoroughness();
    const long stride = std::max(1L, length / kills);
    const long first = static_cast<long>(seed_of_this_run() % static_cast<std::uint64_t>(stride));
    for (long instructions = first; instructions <= length; instructions += stride) {
      SCOPED_TRACE("killed after instruction " + std::to_string(instructions) + " of " + std::to_string(length) +
                   ", seed " + std::to_string(seed_of_this_run()));
      auto victim = prepare();
      const InstructionTracer tracer{victim};
      ASSERT_TRUE(tracer.run_to_begin()) << victim.report();
      tracer.step(instructions);
      victim.kill();
      ASSERT_NO_FATAL_FAILURE(judge(victim)) << victim.report();
      if (HasFailure()) return;
    }
    std::cout << "killed after each " << stride << ". of " << length << " instructions\n";
  }
};
}  // namespace blocks
