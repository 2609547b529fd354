// A segment with mutexes in it, of which every word may be anything.
//
// Input: one byte for the image that it begins with, one for what is done with the mutexes, then patches. What the C library
// keeps in a mutex may be anything before somebody attaches. Afterwards it is spared: a robust mutex that is held is followed by
// address, and against a peer that changes it then nobody can do anything.
#include <optional>
#include <thread>

#include <holdfast/data_block_mutex.hpp>

#include "segment_image.hpp"

using namespace std::chrono_literals;
using fuzz::attempt;
using fuzz::check;
using fuzz::condition;
using holdfast::DataBlockMutex;
using holdfast::errc;
using holdfast::SharedMemory;

namespace {
constexpr std::size_t size_of_segment = 1024;
constexpr std::size_t places[] = {0, 256, 512};  // the last one is not made yet

const std::vector<fuzz::Image>& images() {
  static const std::vector<fuzz::Image> all = [] {
    std::vector<fuzz::Image> made;
    const std::string name = "fuzz-image-" + std::to_string(::getpid());
    auto memory = SharedMemory::create(name, size_of_segment, {.lifetime = holdfast::Lifetime::until_removed});
    {
      auto first = DataBlockMutex::in(memory, places[0]), second = DataBlockMutex::in(memory, places[1]);
      const auto add = [&] { fuzz::add_with_users(made, fuzz::image_of(memory)); };
      add();
      first.lock();
      second.lock();
      add();
      second.unlock();
      first.unlock();
      std::thread{[&] { first.lock(); }}.join();  // its end is its owner's death
      add();
      first.lock();
      first.unlock();
      add();
    }
    memory.detach();
    SharedMemory::remove(name);
    return made;
  }();
  return all;
}

const auto refusals = fuzz::refusals_of_segment({condition(errc::other_pid_namespace), std::errc::invalid_argument});
const std::vector<std::error_condition> cannot_work = {std::errc::state_not_recoverable,
                                                       std::errc::resource_deadlock_would_occur};

void look_at(const DataBlockMutex& mutex) {
  if (const auto holder = mutex.holder()) static_cast<void>(to_string(holder->owner));
}

void lock_and_unlock(const fuzz::SegmentFileOnDisk& disk, std::span<const fuzz::Patch> patches,
                     std::span<const std::pair<std::size_t, std::size_t>> spared, DataBlockMutex& mutex,
                     unsigned choice) {
  bool locked = false;
  attempt(cannot_work, [&] { locked = mutex.try_lock(); });
  if (!locked) attempt(cannot_work, [&] { locked = mutex.try_lock_for(2ms); });
  check(locked == mutex.owns_lock(), "it does not know whether it is locked");
  if (!locked) return;
  disk.apply(patches, 2, spared);
  look_at(mutex);
  static_cast<void>(mutex.outcome());
  static_cast<void>(to_string(mutex.previous_owner()));
  static_cast<void>(to_string(mutex.first_lost_owner()));
  static_cast<void>(mutex.news());
  if ((choice & 1U) != 0) mutex.declare_repaired();
  disk.apply(patches, 3, spared);
  mutex.unlock();
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static_cast<void>(images());
  fuzz::Script script{data, size};
  const auto& image = images()[script.byte() % images().size()];
  const unsigned choice = script.byte();
  const fuzz::DescriptorWatch watch;
  const fuzz::SegmentFileOnDisk disk{"mutex"};
  disk.write(image);
  const auto patches = fuzz::patches_in(script);
  disk.apply(patches, 0);
  std::vector<std::pair<std::size_t, std::size_t>> spared;
  for (const auto place : places)
    spared.emplace_back(holdfast::detail::data_offset + place,
                        holdfast::detail::data_offset + place + sizeof(holdfast::detail::SharedMutex::robust));

  attempt(refusals, [&] { static_cast<void>(DataBlockMutex::holder(disk.name())); });
  std::optional<SharedMemory> memory;
  if (!attempt(refusals, [&] { memory.emplace(SharedMemory::attach(disk.name(), 0ms)); })) return 0;
  std::vector<std::optional<DataBlockMutex>> mutexes(std::size(places));
  for (std::size_t i = 0; i < std::size(places); ++i)
    attempt(refusals, [&] { mutexes[i].emplace(DataBlockMutex::in(*memory, places[i], 2ms)); });
  attempt(refusals, [&] { static_cast<void>(DataBlockMutex::in(*memory, std::size_t{choice} * 8, 0ms)); });
  disk.apply(patches, 1, spared);
  for (auto& mutex : mutexes) {
    if (!mutex) continue;
    look_at(*mutex);
    lock_and_unlock(disk, patches, spared, *mutex, choice);
  }
  if ((choice & 2U) != 0) {  // all at once
    std::vector<DataBlockMutex*> held;
    for (auto& mutex : mutexes)
      if (mutex)
        attempt(cannot_work, [&, one = &*mutex] {
          if (one->try_lock()) held.push_back(one);
        });
    for (auto* mutex : held) mutex->unlock();
  }
  mutexes.clear();
  attempt({condition(errc::in_use)}, [&] { memory->detach(); });
  return 0;
}
