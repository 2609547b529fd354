// meeting.hpp - a point at which processes wait for each other, to go on from there as closely together as can be, and a few
// numbers that they count together. A mapped file of its own: nothing of what is tested is used for the test.
#pragma once
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <system_error>
#include <holdfast/deadline.hpp>

namespace holdfast::test {
class Meeting {
 public:
  /// Makes the file if there is none. All who meet name the same number of participants.
  Meeting(const std::filesystem::path& file, std::uint64_t participants) : participants_{participants} {
    const int descriptor = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (descriptor < 0 || ::ftruncate(descriptor, sizeof(Shared)) != 0)
      throw std::system_error{errno, std::generic_category(), "meeting " + file.string()};
    void* const place = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    ::close(descriptor);
    if (place == MAP_FAILED) throw std::system_error{errno, std::generic_category(), "mmap"};
    shared_ = static_cast<Shared*>(place);
  }
  Meeting(const Meeting&) = delete;
  Meeting& operator=(const Meeting&) = delete;
  ~Meeting() { ::munmap(shared_, sizeof(Shared)); }

  /// Comes back when all have come. They stay awake for it: who had to be woken would be late.
  void meet() const {
    const std::uint64_t mine = shared_->arrived.fetch_add(1);
    const std::uint64_t all = (mine / participants_ + 1) * participants_;
    const Deadline deadline = std::chrono::seconds{20};
    while (shared_->arrived.load() < all) {
      if (deadline.passed()) throw std::runtime_error{"the others did not come"};
      ::sched_yield();
    }
  }

  [[nodiscard]] std::atomic<std::uint64_t>& count(std::size_t which = 0) const { return shared_->counts.at(which); }

 private:
  struct Shared {
    std::atomic<std::uint64_t> arrived;
    std::array<std::atomic<std::uint64_t>, 8> counts;
  };
  std::uint64_t participants_;
  Shared* shared_ = nullptr;
};
}  // namespace holdfast::test
