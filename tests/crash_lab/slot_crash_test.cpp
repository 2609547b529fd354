// The slot protocol in the crash lab: producers, consumers, members and breakers killed at every step, by every engine; whoever
// comes next gets through, no message is torn, lost or out of order, and the books are closed.
#include <algorithm>
#include <cstdlib>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "../data_block/blocks.hpp"
#include "lab.hpp"

using namespace blocks;
using namespace holdfast::harness;

namespace {
using Steps = std::vector<std::string>;

class SlotCrash : public Blocks, public testing::WithParamInterface<OnFull> {
 protected:
  static constexpr std::size_t slots = 64;  // more than anybody writes: nobody waits for the recorder

  void TearDown() override {
    recorder_.reset();
    keeper_member_.reset();
    others_.clear();
    if (listed()) SharedMemory::remove(name_);
  }

  /// A new block with four messages, and a recorder that has read nothing yet.
  void begin(std::size_t count = slots) {
    recorder_.reset();
    keeper_member_.reset();
    others_.clear();
    if (listed()) SharedMemory::remove(name_);
    DataBlockOptions options{.slot_size = default_size, .slot_count = count};
    options.on_full = GetParam();
    options.segment.lifetime = holdfast::Lifetime::until_removed;
    auto producer = DataBlockProducer::create(name_, options);
    send(producer, std::size_t{4});
  }
  void record() { recorder_.emplace(attach_oldest()); }

  /// Starts a worker that takes these steps, in its region all behind the word "region".
  [[nodiscard]] CrashScenario::Start worker(Steps steps) const {
    return [this, steps = std::move(steps)](const WorkerOptions& options) {
      std::vector<Argument> arguments{name_};
      arguments.insert(arguments.end(), steps.begin(), steps.end());
      return SpawnWorkerWithReadySignal(DATA_BLOCK_WORKER, "do", arguments, options);
    };
  }
  /// Becomes the producer as soon as nobody else is, and writes.
  [[nodiscard]] CrashScenario::Start next_producer(int messages = 2) const {
    return worker({"strict", "attach sequential next", "ready", "wait", "region", "produce 15000",
                   "write " + std::to_string(messages), "leave", "region_end"});
  }

  /// What is wrong with what is there: everybody reads whole messages in order, nothing is missing, the next producer goes on,
  /// and the books are closed.
  std::string what_is_wrong() {
    std::string wrong;
    const auto blame = [&](const std::string& what) { wrong += what + "; "; };
    const auto read_all = [&](DataBlockConsumer& consumer, std::vector<SlotId>& ids, const char* who) {
      for (;;) {
        const auto slot = consumer.acquire_consume_slot(0ms);
        if (!slot) return;
        if (const auto problem = problem_with(slot.bytes(), slot.id(), default_size); !problem.empty())
          blame(std::string{who} + " read " + problem);
        if (!ids.empty() && slot.id() <= ids.back()) blame(std::string{who} + " read out of order");
        ids.push_back(slot.id());
      }
    };
    std::vector<SlotId> late, recorded;
    {
      auto producer = DataBlockProducer::attach(name_, 5s);
      const auto before = producer.statistics().next;
      auto oldest = attach_oldest();
      read_all(oldest, late, "a late joiner");
      for (int i = 0; i < 3; ++i) send(producer);
      read_all(oldest, late, "a late joiner");
      if (producer.statistics().next < before + 3) blame("the next producer did not go on");
    }
    if (recorder_) read_all(*recorder_, recorded, "the recorder");
    const auto block = statistics();
    if (recorder_ && recorded.size() != block.committed)
      blame(std::to_string(block.committed) + " committed, " + std::to_string(recorded.size()) + " recorded");
    if (recorder_ && (recorded.empty() || recorded.front() != 0 || recorded.back() != block.next - 1))
      blame("the recorder missed the first or the last");
    if (late.empty() || late.back() != block.next - 1) blame("a late joiner missed the last one");
    for (const auto& consumer : block.consumers)
      if (!consumer.in_motion &&
          consumer.books.committed != consumer.books.delivered + consumer.books.skipped + consumer.books.in_flight)
        blame("open books: " + to_string(consumer.books));
    return wrong;
  }

  /// Through all engines, with all kinds of rescue at named steps and system calls.
  void put_through_the_lab(CrashScenario scenario) {
    complete(scenario);
    const std::uint64_t each = 0;
    crash_lab::expect_rescued(scenario, CrashEngine::steps, each, {Rescue::after});
    crash_lab::expect_rescued(scenario, CrashEngine::instructions, 10, {Rescue::after});
    if (!scenario.rescuer) {
      crash_lab::expect_rescued(scenario, CrashEngine::system_calls, each, {Rescue::after});
      return;
    }
    const auto rescues = crash_lab::all_rescues();
    crash_lab::expect_rescued(scenario, CrashEngine::steps, 5, {rescues.begin() + 1, rescues.end()});
    crash_lab::expect_rescued(scenario, CrashEngine::system_calls, 3, rescues);
  }
  /// Where the victim's segment is all that is left of it: nobody else holds anything in it.
  void put_images_through_the_lab(CrashScenario scenario) {
    complete(scenario);
    crash_lab::expect_rescued(scenario, CrashEngine::images, 60, {Rescue::after});
  }
  void complete(CrashScenario& scenario) {
    scenario.name += GetParam() == OnFull::wait ? ".wait" : ".overwrite";
    if (!scenario.judge) scenario.judge = [this] { return what_is_wrong(); };
    scenario.images = [this] { return std::vector{path()}; };
  }

  std::optional<DataBlockConsumer> recorder_;
  std::optional<DataBlockConsumer> keeper_member_;
  std::vector<WorkerProcess> others_;
};
INSTANTIATE_TEST_SUITE_P(, SlotCrash, testing::Values(OnFull::wait, OnFull::overwrite_oldest),
                         [](const testing::TestParamInfo<OnFull>& policy) {
                           return policy.param == OnFull::wait ? "wait" : "overwrite";
                         });
}  // namespace

TEST_P(SlotCrash, OfAWriterAtWork) {
  CrashScenario scenario{.name = "slot.write",
                         .prepare =
                             [this] {
                               begin();
                               record();
                             },
                         .victim = worker({"strict", "produce", "write 4", "ready", "wait", "region", "write 2",
                                           "acquire", "drop", "write 1", "region_end"}),
                         .rescuer = next_producer(),
                         .judge = {},
                         .steps = {"slot.P1", "slot.P2_none", "slot.P2_totals", "slot.P2", "slot.P3", "slot.P5",
                                   "slot.P6", "slot.P7", "slot.P8", "slot.P9", "slot.P10", "slot.drop"}};
  put_through_the_lab(scenario);
  scenario.prepare = [this] { begin(); };
  put_images_through_the_lab(scenario);
}

// Somebody holds a slot, and its turn comes.
TEST_P(SlotCrash, OfAWriterThatLeavesAHeldSlotOut) {
  CrashScenario scenario{.name = "slot.void",
                         .prepare =
                             [this] {
                               begin(8);
                               others_.push_back(spawn({"attach latest oldest", "take", "ready", "wait"}));
                               auto producer = DataBlockProducer::attach(name_, 5s);
                               send(producer, std::size_t{6});
                             },
                         .victim = worker({"strict", "produce", "ready", "wait", "region", "write 3", "region_end"}),
                         .rescuer = next_producer(3),
                         .judge = {},
                         .steps = {"slot.P4"}};
  put_through_the_lab(scenario);
}

TEST_P(SlotCrash, OfAWriterThatTakesOver) {
  CrashScenario scenario{.name = "slot.take_over",
                         .prepare =
                             [this] {
                               begin();
                               record();
                               auto before = spawn({"produce", "write 1", "acquire", "fill", "ready", "wait"});
                               before.kill();
                             },
                         .victim = worker({"strict", "attach latest next", "ready", "wait", "region", "produce",
                                           "acquire", "drop", "region_end"}),
                         .rescuer = next_producer(),
                         .judge = {},
                         .steps = {"slot.T1", "slot.T2", "slot.T3", "slot.P3", "slot.P5"}};
  put_through_the_lab(scenario);
  scenario.prepare = [this] {
    begin();
    auto before = spawn({"produce", "write 1", "acquire", "fill", "ready", "wait"});
    before.kill();
  };
  put_images_through_the_lab(scenario);
}

TEST_P(SlotCrash, OfAWriterThatLeaves) {
  CrashScenario scenario{
      .name = "slot.leave",
      .prepare =
          [this] {
            begin();
            record();
          },
      .victim = worker({"strict", "produce", "write 1", "ready", "wait", "region", "leave", "region_end"}),
      .rescuer = next_producer(),
      .judge = {},
      .steps = {"slot.vacant", "slot.leave"}};
  put_through_the_lab(scenario);
}

// The ring is small: without the rescue of what the dead one holds nobody could write so much.
TEST_P(SlotCrash, OfAReader) {
  for (const std::string how : {"sequential oldest", "latest oldest"}) {
    const bool holds = how.starts_with("latest") || GetParam() == OnFull::overwrite_oldest;
    CrashScenario scenario{
        .name = "slot.read." + how.substr(0, how.find(' ')),
        .prepare = [this] { begin(8); },
        .victim =
            worker({"strict", "attach " + how, "ready", "wait", "region", "take 0", "release", "take 0", "region_end"}),
        .rescuer = worker({"strict", "attach latest next", "ready", "wait", "region", "produce 15000", "write 20",
                           "leave", "region_end"}),
        .judge = {},
        .steps = holds ? Steps{"slot.H1", "slot.H2", "slot.read", "slot.release"} : Steps{"slot.read", "slot.release"}};
    put_through_the_lab(scenario);
    put_images_through_the_lab(scenario);
  }
}

TEST_P(SlotCrash, OfAReaderThatJoinsAndLeaves) {
  for (const std::string how : {"sequential oldest", "latest next"}) {
    CrashScenario scenario{.name = "slot.join." + how.substr(0, how.find(' ')),
                           .prepare = [this] { begin(8); },
                           .victim = worker({"strict", "attach latest next", "ready", "wait", "region", "attach " + how,
                                             "leave", "region_end"}),
                           .rescuer = worker({"strict", "attach latest next", "ready", "wait", "region",
                                              "produce 15000", "write 20", "leave", "region_end"}),
                           .judge = {},
                           .steps = {"slot.J1", "slot.J2", "slot.J3", "slot.J4", "slot.leave"}};
    put_through_the_lab(scenario);
  }
}

// A full ring, and a reader that sleeps: the victim parks, or wakes the other.
TEST_P(SlotCrash, OfWhoWaitsOrWakes) {
  CrashScenario reader{
      .name = "slot.park_reader",
      .prepare = [this] { begin(8); },
      .victim = worker({"strict", "attach sequential next", "ready", "wait", "region", "take 40", "region_end"}),
      .rescuer = next_producer(),
      .judge = {},
      .steps = {"slot.R_park"}};
  put_through_the_lab(reader);
  if (GetParam() != OnFull::wait) return;
  CrashScenario writer{
      .name = "slot.park_writer",
      .prepare =
          [this] {
            begin(8);
            others_.push_back(spawn({"attach sequential oldest", "ready", "wait"}));
          },
      .victim = worker({"strict", "produce", "write 4", "ready", "wait", "region", "acquire 40", "region_end"}),
      .rescuer = {},
      .judge =
          [this] {
            others_.clear();
            return what_is_wrong();
          },
      .steps = {"slot.P_park"}};
  put_through_the_lab(writer);
}

TEST_P(SlotCrash, OfAMember) {
  const auto team = [this](Steps steps, const char* name, Steps reached, const std::function<void()>& more) {
    CrashScenario scenario{.name = std::string{"slot."} + name,
                           .prepare =
                               [this, more] {
                                 begin();
                                 keeper_member_.emplace(join("team"));
                                 more();
                               },
                           .victim = worker(std::move(steps)),
                           .rescuer = {},
                           .judge =
                               [this] {
                                 // All that is there comes to the member that is left, what it takes from the dead marked as such.
                                 std::set<SlotId> fresh;
                                 std::string wrong;
                                 const Deadline deadline{patience};
                                 do {
                                   const auto slot = keeper_member_->acquire_consume_slot(0ms);
                                   if (!slot) continue;
                                   if (const auto problem = problem_with(slot.bytes(), slot.id(), default_size);
                                       !problem.empty())
                                     wrong += "a member read " + problem;
                                   if (!slot.redelivered() && !fresh.insert(slot.id()).second)
                                     wrong += "the same slot twice, not marked; ";
                                 } while (keeper_member_->books().in_flight != 0 && !deadline.passed());
                                 const auto books = keeper_member_->books();
                                 if (books.delivered != books.committed || books.in_flight != 0)
                                   wrong += "open: " + to_string(books);
                                 keeper_member_.reset();
                                 others_.clear();
                                 return wrong + what_is_wrong();
                               },
                           .steps = std::move(reached)};
    put_through_the_lab(scenario);
  };
  team({"strict", "attach sequential oldest team", "ready", "wait", "region", "take 0", "release", "batch 3 0",
        "release", "region_end"},
       "member", {"slot.G1", "slot.G2", "slot.G3", "slot.G4", "slot.G5_counts", "slot.G5"}, [] {});
  team({"strict", "attach sequential oldest team", "ready", "wait", "region", "batch 8", "release", "region_end"},
       "adopter", {"slot.A1", "slot.A2", "slot.A3", "slot.A4", "slot.A5", "slot.A6"}, [this] {
         auto first = spawn({"attach sequential oldest team", "ready", "batch 3", "wait"});
         expect_says(first, "got");
         first.kill();
       });
}

TEST_P(SlotCrash, OfWhoBreaksALiveProducer) {
  CrashScenario scenario{
      .name = "slot.break",
      .prepare =
          [this] {
            begin();
            record();
            others_.push_back(spawn({"produce", "write 1", "acquire", "half", "ready", "wait", "commit"}));
          },
      .victim = worker({"strict", "attach latest next", "ready", "wait", "region", "break_producer", "region_end"}),
      .rescuer = {},
      .judge =
          [this] {
            // The role is vacant, the breaker's, or still the live one's.
            std::string wrong;
            try {
              if (const auto now = DataBlock::attach(name_).statistics();
                  now.producer && now.producer->pid() == others_[0].pid())
                DataBlock::break_producer(name_);
            } catch (const Error& error) {
              wrong = error.what();
            }
            // The broken one goes on, into its quarantine, and learns what has become of it.
            others_[0].release();
            others_[0].wait_for_exit(patience);
            if (says(others_[0], "\ncommitted\n")) wrong += "the broken producer committed";
            return wrong + what_is_wrong();
          },
      .steps = {"slot.K1", "slot.K2", "slot.K3", "slot.K4", "slot.K5", "slot.K6", "slot.K7", "slot.K8"}};
  put_through_the_lab(scenario);
}

// ---- orders ------------------------------------------------------------------------------------------------------------

TEST_P(SlotCrash, InNoOrderOfAWriterAndAReader) {
  crash_lab::expect_no_order_goes_wrong(
      {.name = "slot.write_and_read",
       .prepare = [this] { begin(8); },
       .actors = {worker({"strict", "produce", "ready", "wait", "region", "write 2", "region_end"}),
                  worker({"strict", "attach sequential oldest", "ready", "wait", "region", "take", "release", "take",
                          "release", "leave", "region_end"})},
       .judge = [this] { return what_is_wrong(); }},
      8, 30);
}

TEST_P(SlotCrash, InNoOrderOfTwoProducersAndAJoinerOneOfThemKilled) {
  crash_lab::expect_no_order_goes_wrong({.name = "slot.two_producers_and_a_joiner",
                                         .prepare = [this] { begin(8); },
                                         .actors = {next_producer(1), next_producer(1),
                                                    worker({"strict", "attach latest next", "ready", "wait", "region",
                                                            "attach sequential oldest", "leave", "region_end"})},
                                         .judge = [this] { return what_is_wrong(); }},
                                        4, 60, 1);
}
