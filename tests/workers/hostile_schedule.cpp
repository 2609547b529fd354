// Stands in front of the C library: each function below has the name of a library function, stops now and then, and calls
// it. No header that declares those functions is included, so they are declared here as the linker knows them.
#include "hostile_schedule.hpp"

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <time.h>

extern "C" char* getenv(const char*) noexcept;
extern "C" unsigned long long strtoull(const char*, char**, int) noexcept;

namespace {
// Relaxed everywhere: each of them is looked at on its own.
std::uint64_t seed = 0;
unsigned per_mille = 0;
unsigned longest_us = 0;
std::uint64_t threads_seen = 0;
std::uint64_t stops = 0;
__attribute__((tls_model("initial-exec"))) thread_local std::uint64_t random_state = 0;

template <class T>
T get(const T& value) noexcept {
  return __atomic_load_n(&value, __ATOMIC_RELAXED);
}

std::uint64_t random_number() noexcept {  // splitmix64
  if (random_state == 0) random_state = get(seed) + (__atomic_fetch_add(&threads_seen, 1, __ATOMIC_RELAXED) << 32) + 1;
  std::uint64_t z = (random_state += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

// This sleep is no waiting for something to happen: it is the scheduler that takes the processor away at a bad moment.
void stop_at_random() noexcept {
  if (get(per_mille) == 0 || random_number() % 1000 >= get(per_mille)) return;
  __atomic_fetch_add(&stops, 1, __ATOMIC_RELAXED);
  const int saved = errno;
  const auto us = static_cast<long>(random_number() % (get(longest_us) + 1));
  const timespec time{us / 1'000'000, us % 1'000'000 * 1000};
  nanosleep(&time, nullptr);
  errno = saved;
}

template <class Function>
Function* next(void*& cache, const char* name) noexcept {
  void* found = __atomic_load_n(&cache, __ATOMIC_ACQUIRE);
  if (found == nullptr) {
    found = dlsym(RTLD_NEXT, name);
    __atomic_store_n(&cache, found, __ATOMIC_RELEASE);
  }
  return reinterpret_cast<Function*>(found);
}

__attribute__((constructor)) void read_environment() {
  const char* const text = getenv("HOSTILE_SCHEDULE");
  if (text == nullptr) return;
  char* rest = nullptr;
  const auto environment_seed = strtoull(text, &rest, 10);
  const auto environment_per_mille = static_cast<unsigned>(strtoull(rest, &rest, 10));
  hostile_schedule(environment_seed, environment_per_mille, static_cast<unsigned>(strtoull(rest, &rest, 10)));
}
}  // namespace

void hostile_schedule(std::uint64_t new_seed, unsigned new_per_mille, unsigned new_longest_us) noexcept {
  __atomic_store_n(&seed, new_seed, __ATOMIC_RELAXED);
  __atomic_store_n(&longest_us, new_longest_us, __ATOMIC_RELAXED);
  __atomic_store_n(&per_mille, new_per_mille, __ATOMIC_RELAXED);
}

std::uint64_t hostile_schedule_stops() noexcept { return get(stops); }

#define HOSTILE(result, name, parameters, arguments)        \
  extern "C" result name parameters {                       \
    static void* cache = nullptr;                           \
    stop_at_random();                                       \
    return next<result parameters>(cache, #name) arguments; \
  }
// The mode is there only with O_CREAT and O_TMPFILE; reading it anyway costs nothing, and the library ignores it.
#define HOSTILE_OPEN(name, parameters, last, ...)                 \
  extern "C" int name parameters {                                \
    static void* cache = nullptr;                                 \
    stop_at_random();                                             \
    va_list list;                                                 \
    va_start(list, last);                                         \
    const unsigned mode = va_arg(list, unsigned);                 \
    va_end(list);                                                 \
    return next<int parameters>(cache, #name)(__VA_ARGS__, mode); \
  }

HOSTILE(int, rename, (const char* from, const char* to), (from, to))
HOSTILE(int, renameat, (int d, const char* from, int e, const char* to), (d, from, e, to))
HOSTILE(int, renameat2, (int d, const char* from, int e, const char* to, unsigned flags), (d, from, e, to, flags))
HOSTILE(int, mkdir, (const char* path, unsigned mode), (path, mode))
HOSTILE(int, mkdirat, (int d, const char* path, unsigned mode), (d, path, mode))
HOSTILE(int, mkfifo, (const char* path, unsigned mode), (path, mode))
HOSTILE(int, mkfifoat, (int d, const char* path, unsigned mode), (d, path, mode))
HOSTILE(int, rmdir, (const char* path), (path))
HOSTILE(int, unlink, (const char* path), (path))
HOSTILE(int, unlinkat, (int d, const char* path, int flags), (d, path, flags))
HOSTILE(int, flock, (int d, int operation), (d, operation))
HOSTILE(int, close, (int d), (d))
HOSTILE(int, access, (const char* path, int mode), (path, mode))
HOSTILE(int, faccessat, (int d, const char* path, int mode, int flags), (d, path, mode, flags))
HOSTILE(int, stat, (const char* path, void* status), (path, status))
HOSTILE(int, stat64, (const char* path, void* status), (path, status))
HOSTILE(int, fstat, (int d, void* status), (d, status))
HOSTILE(int, fstat64, (int d, void* status), (d, status))
HOSTILE(int, fstatat, (int d, const char* path, void* status, int flags), (d, path, status, flags))
HOSTILE(int, fstatat64, (int d, const char* path, void* status, int flags), (d, path, status, flags))
HOSTILE(int, fchmod, (int d, unsigned mode), (d, mode))
HOSTILE(int, poll, (void* descriptors, unsigned long count, int timeout), (descriptors, count, timeout))
HOSTILE(int, ppoll, (void* descriptors, unsigned long count, const void* timeout, const void* mask),
        (descriptors, count, timeout, mask))
HOSTILE(void*, opendir, (const char* path), (path))
HOSTILE(void*, fdopendir, (int d), (d))
HOSTILE(void*, readdir, (void* stream), (stream))
HOSTILE(void*, readdir64, (void* stream), (stream))
HOSTILE(long, getdents64, (int d, void* buffer, unsigned long size), (d, buffer, size))
HOSTILE(int, pidfd_open, (int pid, unsigned flags), (pid, flags))
HOSTILE(int, __open_2, (const char* path, int flags), (path, flags))
HOSTILE(int, __open64_2, (const char* path, int flags), (path, flags))
HOSTILE(int, __openat_2, (int d, const char* path, int flags), (d, path, flags))
HOSTILE(int, __openat64_2, (int d, const char* path, int flags), (d, path, flags))
HOSTILE_OPEN(open, (const char* path, int flags, ...), flags, path, flags)
HOSTILE_OPEN(open64, (const char* path, int flags, ...), flags, path, flags)
HOSTILE_OPEN(openat, (int d, const char* path, int flags, ...), flags, d, path, flags)
HOSTILE_OPEN(openat64, (int d, const char* path, int flags, ...), flags, d, path, flags)

// What a program calls by number, because its C library has no name for it.
extern "C" long syscall(long number, ...) {
  static void* cache = nullptr;
  long arguments[6];
  va_list list;
  va_start(list, number);
  for (long& argument : arguments) argument = va_arg(list, long);
  va_end(list);
  switch (number) {
    case SYS_renameat2:
    case SYS_openat:
    case SYS_mkdirat:
    case SYS_unlinkat:
    case SYS_flock:
    case SYS_getdents64:
    case SYS_pidfd_open:
      stop_at_random();
      break;
    default:
      break;
  }
  return next<long(long, ...)>(cache, "syscall")(number, arguments[0], arguments[1], arguments[2], arguments[3],
                                                 arguments[4], arguments[5]);
}
