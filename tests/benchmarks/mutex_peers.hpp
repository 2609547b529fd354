// mutex_peers.hpp - what DataBlockMutex is measured against. All in one form, without virtual functions: a call through a
// table would be a tenth of what is measured.
#pragma once
#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>

#include <cerrno>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <vector>
#include <holdfast/data_block_mutex.hpp>
#include <holdfast/platform/descriptor.hpp>

#ifdef HOLDFAST_BENCHMARK_BOOST
#include <boost/interprocess/sync/interprocess_mutex.hpp>
#include <boost/interprocess/sync/named_mutex.hpp>
#endif

#include "place.hpp"
#include "shared_page.hpp"

namespace holdfast::benchmarks {
/// Who makes it is there before the others come, and until they have gone.
enum class Part { makes_it, joins };

class DataBlockMutexPeer {
 public:
  DataBlockMutexPeer(const Place& place, Part part)
      : mutex_{part == Part::makes_it ? DataBlockMutex::create(place.name) : DataBlockMutex::attach(place.name)} {}
  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }
  [[nodiscard]] bool owner_died() const { return mutex_.outcome() == LockOutcome::owner_died; }

 private:
  DataBlockMutex mutex_;
};

/// The limit for a mutex whose next owner is told of a death.
class PthreadRobustPeer {
 public:
  PthreadRobustPeer(const Place& place, Part part) : page_{place.file()} {
    if (part != Part::makes_it) return;
    pthread_mutexattr_t attributes;
    checked(::pthread_mutexattr_init(&attributes));
    checked(::pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED));
    checked(::pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST));
    checked(::pthread_mutex_init(&page_->mutex, &attributes));
    ::pthread_mutexattr_destroy(&attributes);
  }
  void lock() {
    if (const int result = ::pthread_mutex_lock(&page_->mutex); result != 0) [[unlikely]]
      recover(result);
  }
  void unlock() { checked(::pthread_mutex_unlock(&page_->mutex)); }
  [[nodiscard]] bool owner_died() const { return owner_died_; }

 private:
  static void checked(int result) {
    if (result != 0) throw std::system_error{result, std::generic_category(), "pthread_mutex"};
  }
  [[gnu::cold, gnu::noinline]] void recover(int result) {
    owner_died_ = result == EOWNERDEAD;
    checked(owner_died_ ? ::pthread_mutex_consistent(&page_->mutex) : result);
  }
  struct alignas(64) Page {
    pthread_mutex_t mutex;
  };
  SharedPage<Page> page_;
  bool owner_died_ = false;
};

#ifdef HOLDFAST_BENCHMARK_BOOST
class BoostInterprocessMutexPeer {
 public:
  BoostInterprocessMutexPeer(const Place& place, Part part)
      : page_{place.file()}, mutex_{*reinterpret_cast<Mutex*>(page_->bytes)} {
    if (part == Part::makes_it) ::new (static_cast<void*>(page_->bytes)) Mutex;
  }
  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }
  [[nodiscard]] static bool owner_died() { return false; }

 private:
  using Mutex = boost::interprocess::interprocess_mutex;
  struct alignas(64) Page {
    std::byte bytes[sizeof(Mutex)];
  };
  SharedPage<Page> page_;
  Mutex& mutex_;
};

class BoostNamedMutexPeer {
 public:
  BoostNamedMutexPeer(const Place& place, Part part)
      : removes_{part == Part::makes_it ? place.name : ""},
        mutex_{boost::interprocess::open_or_create, place.name.c_str()} {}
  BoostNamedMutexPeer(const BoostNamedMutexPeer&) = delete;
  BoostNamedMutexPeer& operator=(const BoostNamedMutexPeer&) = delete;
  ~BoostNamedMutexPeer() {
    if (!removes_.empty()) Mutex::remove(removes_.c_str());
  }
  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }
  [[nodiscard]] static bool owner_died() { return false; }

 private:
  using Mutex = boost::interprocess::named_mutex;
  std::string removes_;
  Mutex mutex_;
};
#endif

/// A system call for each step: to see that those are noticed.
class FlockPeer {
 public:
  FlockPeer(const Place& place, Part) : file_{::open(place.file().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)} {
    if (!file_) throw std::system_error{errno, std::generic_category(), "open"};
  }
  void lock() { ::flock(file_.number(), LOCK_EX); }
  void unlock() { ::flock(file_.number(), LOCK_UN); }
  [[nodiscard]] static bool owner_died() { return false; }

 private:
  platform::Descriptor file_;
};

/// Lets everybody in: to see that this is noticed, too.
class NothingPeer {
 public:
  NothingPeer(const Place&, Part) {}
  void lock() {}
  void unlock() {}
  [[nodiscard]] static bool owner_died() { return false; }
};

[[nodiscard]] inline std::vector<std::string> usual_mutexes() {
  return {
      "data_block_mutex",
      "pthread_robust",
#ifdef HOLDFAST_BENCHMARK_BOOST
      "boost_interprocess_mutex",
      "boost_named_mutex",
#endif
  };
}

/// Calls run(std::type_identity<Peer>{}).
template <class Run>
auto with_mutex_type(std::string_view kind, Run run) {
  if (kind == "data_block_mutex") return run(std::type_identity<DataBlockMutexPeer>{});
  if (kind == "pthread_robust") return run(std::type_identity<PthreadRobustPeer>{});
#ifdef HOLDFAST_BENCHMARK_BOOST
  if (kind == "boost_interprocess_mutex") return run(std::type_identity<BoostInterprocessMutexPeer>{});
  if (kind == "boost_named_mutex") return run(std::type_identity<BoostNamedMutexPeer>{});
#endif
  if (kind == "flock") return run(std::type_identity<FlockPeer>{});
  if (kind == "nothing") return run(std::type_identity<NothingPeer>{});
  throw std::invalid_argument{"no such kind of mutex in this build: " + std::string{kind}};
}
}  // namespace holdfast::benchmarks
