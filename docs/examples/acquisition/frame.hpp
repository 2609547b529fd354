// frame.hpp - what detector, display and recorder have in common.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

#include <holdfast/holdfast.hpp>

struct Frame {
  std::uint64_t run;     // a block that is made anew is another run: its slots are numbered from 0 again
  std::uint64_t number;  // of all frames in this block, from 0
  std::array<std::uint16_t, 64 * 64> pixels;
};
inline const auto frame_schema = holdfast::Schema::of<Frame>("frame", 2);

/// What the recorder keeps of each frame.
struct Record {
  holdfast::SlotId id;
  Frame frame;
};

/// What is to be seen at a place of that frame: a front that moves over a plain.
constexpr std::uint16_t pixel(std::uint64_t number, std::size_t place) {
  return static_cast<std::uint16_t>(number + 7 * place);
}
