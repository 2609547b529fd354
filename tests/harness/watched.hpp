// watched.hpp - a process that is not ours: does it live, and when does it end? Immune to reuse of its number.
#pragma once
#include <cstdint>
#include <stdexcept>
#include <string>

#include <holdfast/deadline.hpp>
#include <holdfast/platform/process.hpp>
#include <holdfast/platform/wait.hpp>

class Watched {
 public:
  explicit Watched(std::int64_t pid) : death_{holdfast::platform::watch_death(pid)} {
    if (!death_) throw std::runtime_error{"cannot watch process " + std::to_string(pid)};
  }
  [[nodiscard]] bool ends_within(holdfast::Deadline deadline) const {
    return holdfast::platform::wait_for(death_.number(), -1, deadline) == holdfast::platform::Woken::event;
  }
  [[nodiscard]] bool lives() const { return !ends_within(std::chrono::seconds{0}); }

 private:
  holdfast::platform::Descriptor death_;
};
