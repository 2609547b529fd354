// descriptor_limit.hpp - a process that may open only so many more descriptors.
#pragma once
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

namespace holdfast::test {
/// Leaves a number of free descriptors. The kernel's limit is on their numbers, so the gaps below it are filled.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(int free) {
    if (::getrlimit(RLIMIT_NOFILE, &before_) != 0) throw std::system_error{errno, std::generic_category(), "getrlimit"};
    int highest = 2;
    for (const auto& entry : std::filesystem::directory_iterator{"/proc/self/fd"})
      highest = std::max(highest, std::stoi(entry.path().filename().string()));
    int number = ::dup(2);
    for (; number <= highest; number = ::dup(2)) filling_.push_back(number);
    ::close(number);
    set(static_cast<rlim_t>(number + free));
  }
  DescriptorLimit(const DescriptorLimit&) = delete;
  DescriptorLimit& operator=(const DescriptorLimit&) = delete;
  ~DescriptorLimit() {
    lift();
    for (const int number : filling_) ::close(number);
  }
  void lift() const { set(before_.rlim_cur); }

 private:
  void set(rlim_t value) const {
    const rlimit limit{value, before_.rlim_max};
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) throw std::system_error{errno, std::generic_category(), "setrlimit"};
  }
  rlimit before_{};
  std::vector<int> filling_;
};

inline std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator{"/proc/self/fd"}) ++count;
  return count;
}
}  // namespace holdfast::test
