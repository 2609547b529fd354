// transfer_options.hpp - what data_block_transfer measures: transports, sizes, how often; and how results are told apart.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "transfer_page.hpp"

namespace holdfast::benchmarks::transfer {
inline const std::string ours = "data_block", limit = "spsc_ring", fan_out_limit = "broadcast_ring",
                         sleeper = "pipe_asleep";
inline const std::vector<std::string> our_ways = {"data_block",         "data_block_refuse", "data_block_overwrite",
                                                  "data_block_display", "data_block_group",  "data_block_group_batches",
                                                  "data_block_batches"};
inline const std::vector<std::string> peers = {
    "pipe",
    "seqpacket",
#ifdef HOLDFAST_BENCHMARK_BOOST
    "boost_message_queue",
#endif
#ifdef HOLDFAST_BENCHMARK_ZEROMQ
    "zeromq",
#endif
#ifdef HOLDFAST_BENCHMARK_ICEORYX
    "iceoryx",
#endif
};
inline const std::vector<std::string> experiment_names = {"system-calls", "transfer",       "round-trips", "sleepers",
                                                          "fan-out",      "more-consumers", "recovery"};

inline std::vector<std::string> usual_transports() {
  std::vector<std::string> all{limit, "labelled_ring", "shared_out_ring"};
  all.insert(all.end(), our_ways.begin(), our_ways.end());
  all.insert(all.end(), peers.begin(), peers.end());
  return all;
}

struct Options {
  std::vector<std::string> transports = usual_transports();
  std::vector<std::string> experiments = experiment_names;
  std::vector<std::size_t> sizes = {8, 64, 512, 4 << 10, 64 << 10, 1 << 20, 4 << 20};
  std::vector<std::size_t> round_trip_sizes = {64, 64 << 10};
  std::vector<std::size_t> fan_out_sizes = {64, 4 << 10, 64 << 10};
  std::vector<std::size_t> fan_out_receivers = {2, 4};
  std::vector<std::size_t> consumers = {1, 2, 4};
  std::size_t slots = Shape{}.slots;  // of messages below 1 MiB
  std::size_t rounds = 10;
  std::size_t windows = 10;  // of each transport at each size, in each round
  std::chrono::nanoseconds window = std::chrono::milliseconds{5};
  std::uint64_t pings_to_sleepers = 20;  // in each window
  std::size_t kills = 50;
  std::int64_t messages_without_system_calls = 1'000'000;
  std::string json_file;
};

inline std::string in_bytes(std::size_t size) {
  if (size >= 1 << 20) return fmt::format("{} MiB", size >> 20U);
  if (size >= 1 << 10) return fmt::format("{} KiB", size >> 10U);
  return fmt::format("{} B", size);
}

/// How far two processors are from each other: the time of a cache line's way there and back. Threads of one core, cores with one
/// L3 cache, and others differ by ten, and the two processors of a virtual machine are now these, now those.
struct Distance {
  std::uint64_t below;  ///< nanoseconds
  std::string name;
};
inline const std::vector<Distance> distances{{90, "less than 90 ns apart"},
                                             {300, "90 to 300 ns apart"},
                                             {std::numeric_limits<std::uint64_t>::max(), "more than 300 ns apart"}};
}  // namespace holdfast::benchmarks::transfer
