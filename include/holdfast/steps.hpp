// steps.hpp - the named steps of the protocols, at which the crash lab counts, stops, delays or kills a process, and known
// mistakes that it can put back in. Layer 0. In an ordinary build both macros are nothing.
// What the steps mean: docs/slot-protocol.md, docs/shared-memory-protocol.md, docs/file-lock-protocol.md.
#pragma once

#if defined(HOLDFAST_CRASH_LAB)
#include <atomic>
#include <cstdlib>
#include <string_view>

namespace holdfast::detail {
/// Called at each step; run_worker (testing/worker.hpp) sets it in workers of the harness.
inline std::atomic<void (*)(const char* step)> step_handler = nullptr;

inline void reach_step(const char* step) {
  if (const auto handler = step_handler.load(std::memory_order_acquire)) handler(step);
}
/// HOLDFAST_MUTANT names it.
inline bool has_mutant(std::string_view mutant) {
  static const char* const chosen = std::getenv("HOLDFAST_MUTANT");
  return chosen != nullptr && mutant == chosen;
}
}  // namespace holdfast::detail

/// HOLDFAST_STEP(slot, P7): what the page calls P7 has just been done.
#define HOLDFAST_STEP(protocol, step) ::holdfast::detail::reach_step(#protocol "." #step)
/// if (HOLDFAST_MUTANT(slot, lower_claim)) the mistake of that name is made on purpose: docs/mutants.md.
#define HOLDFAST_MUTANT(protocol, mistake) ::holdfast::detail::has_mutant(#protocol "." #mistake)
#else
#define HOLDFAST_STEP(protocol, step) static_cast<void>(0)
#define HOLDFAST_MUTANT(protocol, mistake) false
#endif
