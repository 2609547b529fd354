// spool.hpp - the code under test: files appear in a directory whole or not at all, and a name is given once.
#pragma once
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <string>
#include <system_error>

/// False: somebody else has delivered under that name.
inline bool deliver(
    const std::filesystem::path& box, const std::string& name, const std::string& text,
    const std::function<void()>& before_commit = [] {}) {
  const auto draft = box / (name + "." + std::to_string(std::random_device{}()) + ".draft");
  std::ofstream{draft} << text;
  before_commit();
  std::error_code taken;
  std::filesystem::create_hard_link(draft, box / name, taken);  // atomic, and fails if the name exists
  std::filesystem::remove(draft);
  return !taken;
}
