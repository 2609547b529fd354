// bench_file_lock - the uncontended pair of every kind of lock, by Google Benchmark, on each of the directories that
// HOLDFAST_BENCHMARK_DIRECTORIES names (separated by colons; default: the build directory and /dev/shm).
// For medians: --benchmark_repetitions=9 --benchmark_enable_random_interleaving=true --benchmark_report_aggregates_only=true
#include <sys/vfs.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>
#include <holdfast/testing/temp_dir.hpp>

#include "allocations.hpp"
#include "peers.hpp"

namespace {
using namespace holdfast::benchmarks;
using holdfast::Deadline;
using holdfast::harness::TempDir;

void lock_and_unlock(benchmark::State& state, const std::string& kind, const std::string& directory) {
  ::setenv("TMPDIR", directory.c_str(), 1);
  const TempDir dir;
  const auto lock = make_peer(kind, dir / "resource");
  lock->try_lock_until(Deadline::never());  // the first pair makes what the others use
  lock->unlock();
  const auto before = allocations();
  for (auto _ : state) {
    lock->try_lock_until(Deadline::never());
    lock->unlock();
  }
  const auto allocated = allocations() - before;
  state.counters["allocations"] =
      benchmark::Counter(static_cast<double>(allocated), benchmark::Counter::kAvgIterations);
  state.SetItemsProcessed(state.iterations());
  if (kind.starts_with("file_lock") && allocated != 0) state.SkipWithError("an uncontended pair has allocated memory");
}
}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  const char* const chosen = std::getenv("HOLDFAST_BENCHMARK_DIRECTORIES");
  std::istringstream directories{chosen != nullptr ? chosen : HOLDFAST_BENCHMARK_DIRECTORY ":/dev/shm"};
  for (std::string directory; std::getline(directories, directory, ':');) {
    if (!std::filesystem::is_directory(directory)) continue;
    for (const std::string kind :
         {"rename_pair", "rename_pair_reopened", "file_lock", "file_lock_unfair", "flock", "naive"})
      benchmark::RegisterBenchmark((kind + " in " + directory).c_str(), [kind, directory](benchmark::State& state) {
        lock_and_unlock(state, kind, directory);
      })->UseRealTime();
  }
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
