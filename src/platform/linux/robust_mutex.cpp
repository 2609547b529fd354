#include "platform/posix/robust_mutex.hpp"

#include <cstdint>
#include <thread>

#include <sys/syscall.h>
#include <unistd.h>

namespace holdfast::platform {
namespace {
/// Where the kernel looks for this thread's locks, from where the C library keeps what it knows of the thread; 0: nowhere.
std::intptr_t list_from_thread() noexcept {
  void* list = nullptr;
  std::size_t size = 0;
  if (::syscall(SYS_get_robust_list, 0, &list, &size) != 0 || list == nullptr) return 0;
  return reinterpret_cast<std::intptr_t>(list) - static_cast<std::intptr_t>(::pthread_self());
}
}  // namespace

bool is_robust([[maybe_unused]] const RobustMutex& mutex) noexcept {
#if defined(__GLIBC__)
  // By its type the C library chooses what to do with it. One of another type is not robust, or ends the program.
  static const int usual = [] {
    alignas(RobustMutex) std::byte place[sizeof(RobustMutex)];
    return make_robust(place) == 0 ? std::launder(reinterpret_cast<RobustMutex*>(place))->__data.__kind : 0;
  }();
  return mutex.__data.__kind == usual;
#else
  return true;
#endif
}

bool deaths_of_this_thread_are_seen() noexcept {
  // The C library keeps the list at one place for all its threads. A new one has not run any other code yet.
  static const std::intptr_t usual = [] {
    std::intptr_t seen = 0;
    try {
      std::thread{[&seen] { seen = list_from_thread(); }}.join();
    } catch (const std::system_error&) {
      // No thread to be had: nothing can be compared with.
    }
    return seen;
  }();
  return usual == 0 || list_from_thread() == usual;
}
}  // namespace holdfast::platform
