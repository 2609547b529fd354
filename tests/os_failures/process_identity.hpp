// process_identity.hpp - workers of the tests of ProcessIdentity: started somewhere, identified, judged from somewhere.
#pragma once
#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <holdfast/process_identity.hpp>
#include <holdfast/testing/gtest.hpp>

namespace identities {
using holdfast::Liveness;
using holdfast::ProcessIdentity;
using holdfast::harness::Argument;
using holdfast::harness::Exit;
using holdfast::harness::ExpectWorkerOk;
using holdfast::harness::Ready;
using holdfast::harness::SpawnWorker;
using holdfast::harness::SpawnWorkerWithReadySignal;
using holdfast::harness::WorkerProcess;
using namespace std::chrono_literals;

/// Steps into a worker's surroundings, as tests/workers/identity_worker.cpp knows them. Empty: those of this process.
using Steps = std::vector<std::string>;

inline std::vector<Argument> arguments_for(const Steps& steps, std::string_view scenario, std::vector<Argument> more) {
  std::vector<Argument> all(steps.begin(), steps.end());
  all.emplace_back("--");
  all.emplace_back(scenario);
  all.insert(all.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  return all;
}

/// Why this machine does not let a worker go there; empty if it does.
inline std::string why_not(const Steps& steps) {
  auto worker = SpawnWorker(IDENTITY_WORKER, "under", arguments_for(steps, "nothing", {}));
  constexpr int not_permitted = 77;
  if (const auto exit = worker.wait_for_exit(); exit.by == Exit::By::code && exit.value == not_permitted)
    return worker.errors();
  ExpectWorkerOk(worker);
  return {};
}
#define SKIP_WHERE_FORBIDDEN(...)                                                        \
  if (const auto why = identities::why_not(identities::Steps __VA_ARGS__); !why.empty()) \
  GTEST_SKIP() << "NOT TESTED: " << why

/// What a scenario writes, without the last newline. It has to succeed.
inline std::string output_of(const Steps& steps, std::string_view scenario, std::vector<Argument> more = {}) {
  auto worker = SpawnWorker(IDENTITY_WORKER, "under", arguments_for(steps, scenario, std::move(more)));
  ExpectWorkerOk(worker);
  auto output = worker.output();
  if (output.ends_with('\n')) output.pop_back();
  return output;
}

/// "alive", "dead" or "unknown", as judged from there.
inline std::string verdict(const Steps& steps, const ProcessIdentity& identity) {
  return output_of(steps, "judge", {identity.encode()});
}

inline std::vector<std::string> lines_of(const WorkerProcess& worker) {
  std::istringstream output{worker.output()};
  std::vector<std::string> lines;
  for (std::string line; std::getline(output, line);) lines.push_back(line);
  return lines;
}

/// A worker that lives until it is killed, and says who it is.
struct Live {
  explicit Live(const Steps& steps = {}, std::string_view scenario = "live")
      : worker{SpawnWorkerWithReadySignal(IDENTITY_WORKER, "under", arguments_for(steps, scenario, {}))} {}
  explicit Live(WorkerProcess&& started) : worker{std::move(started)} {}

  WorkerProcess worker;
  ProcessIdentity identity = [this] {
    EXPECT_EQ(worker.wait_for_ready(), Ready::yes) << worker.report();
    const auto lines = lines_of(worker);
    return lines.empty() ? ProcessIdentity::decode("...1....") : ProcessIdentity::decode(lines.front());
  }();
};

/// Field of an encoded identity, from 0.
inline std::string field(const ProcessIdentity& identity, int index) {
  std::istringstream text{identity.encode()};
  std::string result;
  for (int i = 0; i <= index; ++i) std::getline(text, result, '.');
  return result;
}
enum Field { boot, pid_namespace, time_namespace, pid, start, nonce, program, host };
}  // namespace identities
