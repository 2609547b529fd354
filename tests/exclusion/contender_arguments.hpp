// contender_arguments.hpp - what a suite tells a contender_worker, both ends in one place.
#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>
#include <holdfast/testing/worker.hpp>
#include <holdfast/testing/worker_process.hpp>

namespace holdfast::test {
/// An adversarial scheduler for the workers, see hostile_schedule.hpp. 0 per mille: the machine's own is enough.
struct Hostility {
  unsigned per_mille = 0;
  unsigned longest_us = 4000;
};

struct ContenderArguments {
  std::string kind;                ///< see LockUnderTest
  std::filesystem::path resource;  ///< what the lock protects
  std::filesystem::path counter;   ///< see CounterFile
  std::filesystem::path journal;   ///< see Journal
  std::uint32_t who = 0;  ///< its number there; a worker with several threads uses as many numbers from here on
  std::uint32_t threads = 1;
  std::uint64_t increments = 1;
  std::chrono::microseconds hold{0};   ///< work inside the section, in addition to the increment
  std::chrono::microseconds think{0};  ///< work between two sections
  std::uint32_t children = 0;          ///< to be forked at random moments, as many as that; they live on and do nothing
  std::uint64_t seed = 0;
  Hostility hostility{};
  std::string gates =
      "-";  ///< Where to halt, once each: print "reached <gate>", go on at a release. "a,b,c", "-": nowhere.

  [[nodiscard]] std::vector<harness::Argument> pack() const {
    return {kind,
            resource,
            counter,
            journal,
            who,
            threads,
            increments,
            hold.count(),
            think.count(),
            children,
            seed,
            hostility.per_mille,
            hostility.longest_us,
            gates};
  }
  [[nodiscard]] static ContenderArguments unpack(const harness::WorkerContext& context) {
    return {.kind = context.argument(0),
            .resource = context.argument(1),
            .counter = context.argument(2),
            .journal = context.argument(3),
            .who = static_cast<std::uint32_t>(context.number(4)),
            .threads = static_cast<std::uint32_t>(context.number(5)),
            .increments = static_cast<std::uint64_t>(context.number(6)),
            .hold = std::chrono::microseconds{context.number(7)},
            .think = std::chrono::microseconds{context.number(8)},
            .children = static_cast<std::uint32_t>(context.number(9)),
            .seed = static_cast<std::uint64_t>(context.number(10)),
            .hostility = {.per_mille = static_cast<unsigned>(context.number(11)),
                          .longest_us = static_cast<unsigned>(context.number(12))},
            .gates = context.argument(13)};
  }
};
}  // namespace holdfast::test
