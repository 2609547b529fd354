// display.cpp - a live display: always the newest frame. It may miss as many as it likes, and is in nobody's way.
#include <iostream>
#include <numeric>

#include "frame.hpp"

using namespace holdfast;

void draw(const Frame& frame) {
  const auto sum = std::accumulate(frame.pixels.begin(), frame.pixels.end(), std::uint64_t{0});
  std::cout << "frame " << frame.number << ", mean " << sum / frame.pixels.size() << std::endl;
}

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::cerr << "display BLOCK\n";
    return 2;
  }
  auto newest = DataBlockConsumer::attach(
      argv[1], {.mode = ReadMode::latest_only, .start = StartAt::oldest(), .label = "display", .schema = frame_schema});
  while (const auto slot = newest.acquire_consume_slot()) {
    if (slot.bytes().empty()) break;  // the run is over
    draw(slot.as<Frame>());
  }
  return 0;
} catch (const Error& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
