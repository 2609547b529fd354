// machine.hpp - on what was measured, and what else it had to do.
#pragma once
#include <sys/utsname.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace holdfast::benchmarks {
[[nodiscard]] inline std::string load() {
  double loads[3] = {};
  return ::getloadavg(loads, 3) == 3 ? fmt::format("{:.1f} {:.1f} {:.1f}", loads[0], loads[1], loads[2]) : "unknown";
}

[[nodiscard]] inline nlohmann::json machine() {
  utsname system{};
  ::uname(&system);
  std::string model;
  std::ifstream info{"/proc/cpuinfo"};
  for (std::string line; model.empty() && std::getline(info, line);)
    if (line.starts_with("model name")) model = line.substr(line.find(':') + 2);
  return {{"kernel", std::string{system.sysname} + " " + system.release},
          {"processors", std::thread::hardware_concurrency()},
          {"model", model},
          {"load_before", load()}};
}

/// Of machine(), when load_after has been added to it.
[[nodiscard]] inline std::string in_words(const nlohmann::json& machine) {
  return fmt::format("{}, {} x {}, load before {}, after {}", machine["kernel"].get<std::string>(),
                     machine["processors"].get<unsigned>(), machine["model"].get<std::string>(),
                     machine["load_before"].get<std::string>(), machine["load_after"].get<std::string>());
}
}  // namespace holdfast::benchmarks
