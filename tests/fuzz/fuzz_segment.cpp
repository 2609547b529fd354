// A segment's file with anything in it: found by its name and by a descriptor, listed, replaced, removed.
//
// Input: one byte for the image that it begins with, then patches; or, if there is to be no image, the file's size in units of
// 4 bytes and what stands in it.
#include <sys/mman.h>

#include <optional>

#include "segment_image.hpp"

using namespace std::chrono_literals;
using fuzz::attempt;
using fuzz::check;
using fuzz::condition;
using holdfast::errc;
using holdfast::SegmentOptions;
using holdfast::SharedMemory;

namespace {
constexpr std::size_t size_of_segment = 5000;

const std::vector<fuzz::Image>& images() {
  static const std::vector<fuzz::Image> all = [] {
    std::vector<fuzz::Image> made;
    const std::string name = "fuzz-image-" + std::to_string(::getpid());
    for (const auto lifetime : {holdfast::Lifetime::until_removed, holdfast::Lifetime::until_last_detach})
      for (const std::size_t alignment : {std::size_t{4096}, std::size_t{65536}}) {
        auto memory = SharedMemory::create(name, size_of_segment, {.lifetime = lifetime, .alignment = alignment});
        std::fill(memory.bytes().begin(), memory.bytes().end(), std::byte{7});
        const auto image = fuzz::image_of(memory);
        memory.detach();
        SharedMemory::remove(name);
        fuzz::add_with_users(made, image);
      }
    return made;
  }();
  return all;
}

const auto refusals = fuzz::refusals_of_segment({condition(errc::in_use), std::errc::file_exists});

void use(const fuzz::SegmentFileOnDisk& disk, SharedMemory& memory) {
  check(memory.size() != 0 && memory.size() <= disk.size(), "more bytes than the file has");
  fuzz::look_at(memory.bytes());
  memory.bytes().front() = memory.bytes().back();
}

void use_by_name(const fuzz::SegmentFileOnDisk& disk, std::span<const fuzz::Patch> patches) {
  const auto& name = disk.name();
  attempt({}, [&] {
    for (const auto& info : SharedMemory::list()) static_cast<void>(to_string(info));
  });
  attempt(refusals, [&] {
    const auto memory = SharedMemory::attach_read_only(name, 0ms);
    check(memory.size() != 0 && memory.size() <= disk.size(), "more bytes than the file has");
    fuzz::look_at(memory.bytes());
  });
  std::optional<SharedMemory> memory;
  attempt(refusals, [&] { memory.emplace(SharedMemory::attach(name, 0ms)); });
  if (memory) use(disk, *memory);
  if (memory) disk.apply(patches, 1);
  attempt(refusals, [&] {
    auto again = SharedMemory::attach(name, 1ms);
    use(disk, again);
  });
  if (memory) {
    use(disk, *memory);
    attempt(refusals, [&] { check(!SharedMemory::remove(name), "removed under a live user"); });
    disk.apply(patches, 2);
    attempt({}, [&] { memory->detach(); });
  }
  disk.apply(patches, 3);
}

void use_by_descriptor(const fuzz::SegmentFileOnDisk& disk) {
  attempt(refusals, [&] {
    auto memory = SharedMemory::attach(disk.file());
    use(disk, memory);
  });
  const auto bytes = disk.bytes();
  const int nameless = ::memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  check(nameless >= 0 && ::write(nameless, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()) &&
            ::fcntl(nameless, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0,
        "memfd");
  attempt(refusals, [&] {
    auto memory = SharedMemory::attach(nameless);
    use(disk, memory);
  });
  ::close(nameless);
}

/// Whoever creates gets zeros; what was not made by holdfast stays as it is.
void replace(const fuzz::SegmentFileOnDisk& disk) {
  const auto& name = disk.name();
  const auto before = disk.bytes();
  const auto magic = holdfast::detail::segment_magic;
  const bool foreign =
      ::access(disk.path().c_str(), F_OK) == 0 &&  // its last user may have removed it, before it was damaged
      !before.empty() && (before.size() < sizeof magic || std::memcmp(before.data(), &magic, sizeof magic) != 0);
  for (const bool or_attach : {false, true})
    attempt(refusals, [&] {
      auto memory =
          or_attach ? SharedMemory::create_or_attach(name, 100, {}, 1ms) : SharedMemory::create(name, 100, {});
      check(memory.size() == 100, "another size than the one that was asked for");
      if (!or_attach)
        for (const auto byte : memory.bytes()) check(byte == std::byte{0}, "created, and not zero");
      memory.bytes().front() = std::byte{1};
    });
  attempt(refusals, [&] {
    if (!SharedMemory::remove(name)) return;
    check(::access(disk.path().c_str(), F_OK) != 0, "removed, and still there");
  });
  if (foreign) {
    check(::access(disk.path().c_str(), F_OK) == 0, "a stranger's file has been removed");
    check(disk.bytes() == before, "a stranger's file has been written to");
  }
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static_cast<void>(images());
  fuzz::Script script{data, size};
  const auto choice = script.byte() % (images().size() + 1);
  const fuzz::DescriptorWatch watch;
  const fuzz::SegmentFileOnDisk disk{"segment"};
  std::vector<fuzz::Patch> patches;
  if (choice == images().size()) {
    const std::size_t file_size = std::size_t{script.number()} * 4;
    disk.write(std::as_bytes(script.rest()));
    if (file_size != 0) disk.resize(file_size);
  } else {
    disk.write(images()[choice]);
    patches = fuzz::patches_in(script);
    disk.apply(patches, 0);
  }
  use_by_name(disk, patches);
  use_by_descriptor(disk);
  replace(disk);
  return 0;
}
