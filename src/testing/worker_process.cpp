#include <holdfast/testing/worker_process.hpp>

namespace holdfast::harness {
std::string_view to_string(Ready ready) noexcept {
  switch (ready) {
    case Ready::yes:
      return "ready";
    case Ready::died:
      return "died before it was ready";
    case Ready::timed_out:
      return "not ready at the deadline";
  }
  return "?";
}

void ReleaseTogether(std::span<WorkerProcess> workers) {
  for (auto& worker : workers) worker.release();
}
}  // namespace holdfast::harness
