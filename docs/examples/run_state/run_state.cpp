// run_state.cpp - hands out run numbers to any number of processes. One that is killed half-way leaves the news to the next.
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <string_view>

#include <holdfast/holdfast.hpp>

using namespace holdfast;

struct RunState {
  std::uint64_t run;
  std::uint64_t check;  // always run * 3, but for a moment
};

std::uint64_t next_run(SharedMemory& segment, bool die_half_way) {
  auto mutex = DataBlockMutex::in(segment, 0);
  auto& state = segment.as<RunState>(DataBlockMutex::footprint);
  DataBlockLockGuard guard{mutex};
  if (guard.outcome() == LockOutcome::owner_died) {
    std::clog << "repaired: " << mutex.news() << '\n';
    state.check = state.run * 3;  // a real program reads back what it has on disk
    guard.declare_repaired();
  }
  ++state.run;
  if (die_half_way) std::_Exit(1);  // as a kill would
  state.check = state.run * 3;
  return state.run;
}

int main(int argc, char** argv) try {
  const std::string_view command = argc > 2 ? argv[2] : "";
  if (argc < 2 || argc > 3 || (argc == 3 && command != "die" && command != "remove")) {
    std::cerr << "run_state SEGMENT [die|remove]\n";
    return 2;
  }
  if (command == "remove") return SharedMemory::remove(argv[1]) ? 0 : 1;
  auto segment = SharedMemory::create_or_attach(argv[1], DataBlockMutex::footprint + sizeof(RunState),
                                                {.lifetime = Lifetime::until_removed});
  std::cout << "run " << next_run(segment, command == "die") << '\n';
  return 0;
} catch (const Error& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
