// data_block_worker - a process that produces into a DataBlock, or consumes from it, or breaks it, as it is told.
//
// The scenario "do" takes the name of the block, and then what to do, one argument for each step, in order:
//
//   create SIZE COUNT POLICY [WORD...]  POLICY: wait, overwrite, refuse; WORDs: stays, checks (checksums), times, zone
//   produce [MS]                        becomes its producer
//   acquire [MS], half, fill, commit, drop   a slot; half of it full of nonsense; all of it of its message. MS: or never
//   write N, write_in_time N            N messages, with a pause now and then
//   write_on [RATE]                     until released, at most so many in a millisecond
//   attach MODE START [GROUP]           MODE: sequential, latest; START: next, oldest, an id
//   take [MS], batch N [MS], check, release  a slot, or several; what is in it is checked when it is taken, and again
//   read N, read_on [print]             takes and releases N of them, or until released
//   leave                               destroys what it attached as
//   break_producer, break_consumer PLACE, force_reclaim
//   ready, wait                         signals to the parent, and from it
//   journal FILE WHO                    from here on what it sends, takes and reads stands in that journal (group: 1)
//   die_at_step N                       kills itself at the N-th named step from here on, having written so into the journal
//   strict                              from here on an Error, and anything WRONG, ends it with code 1
//   region, region_end                  its CrashRegion
//   begin, end, begin_calls, end_calls  marks for a tracer of instructions, and of system calls
//   exit WAY                            _exit or SIGKILL
//   books [marked]                      its books; marked: read between a "begin" and an "end"
//   lock_zone, unlock_zone, write_zone BYTE, use_in_child
//
// Each prints a line about what came of it. An Error is printed, too, and the next step follows.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>
#include <holdfast/data_block.hpp>
#include <holdfast/steps.hpp>
#include <holdfast/testing/journal.hpp>
#include <holdfast/testing/worker.hpp>

#include "../data_block/message.hpp"
#include "../shared_memory/step_marks.hpp"

namespace {
using namespace std::chrono_literals;
using holdfast::AcquireStatus;
using holdfast::ConsumerOptions;
using holdfast::ConsumeSlot;
using holdfast::ConsumeSlots;
using holdfast::DataBlock;
using holdfast::DataBlockConsumer;
using holdfast::DataBlockOptions;
using holdfast::DataBlockProducer;
using holdfast::Deadline;
using holdfast::LockOutcome;
using holdfast::OnFull;
using holdfast::SlotId;
using holdfast::SlotView;
using holdfast::StartAt;
using holdfast::WriteSlot;
using holdfast::harness::CrashRegion;
using holdfast::harness::Event;
using holdfast::harness::Journal;
using holdfast::harness::Scenario;
using holdfast::harness::signal_test_ready;
using holdfast::harness::WorkerContext;
using holdfast::test::fill;
using holdfast::test::length_of;
using holdfast::test::problem_with;

using Words = std::vector<std::string>;
Words words_of(const std::string& text) {
  std::istringstream stream{text};
  Words result;
  for (std::string word; stream >> word;) result.push_back(word);
  return result;
}
bool has(const Words& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}
std::uint64_t number(const Words& words, std::size_t index) { return std::stoull(words.at(index)); }
/// From the word at that index, which may be "never"; without one, 20 s: no step of a test takes so long.
Deadline deadline(const Words& words, std::size_t index) {
  if (words.size() <= index) return 20s;
  if (words[index] == "never") return Deadline::never();
  return std::chrono::milliseconds{number(words, index)};
}

/// Outside the actor, for a named step that kills.
std::optional<Journal> journal;
std::uint32_t who = 0;
void record(Event event, std::uint64_t value = 0, std::uint64_t count = 1) {
  if (journal) journal->append(who, event, value, count);
}
#if defined(HOLDFAST_CRASH_LAB)
std::uint64_t steps_to_live = 0;
void die_at_last_step(const char* step) {
  if (--steps_to_live != 0) return;
  std::printf("died at %s\n", step);
  record(Event::doomed);
  ::raise(SIGKILL);
}
#endif

class Actor {
 public:
  explicit Actor(WorkerContext& context) : context_{context}, name_{context.argument(0)} {}

  int act() {
    for (std::size_t i = 1; i < context_.argument_count(); ++i) {
      const auto words = words_of(context_.argument(i));
      const auto step = steps.find(words.at(0));
      if (step == steps.end()) throw std::invalid_argument{"no such step: " + words.at(0)};
      try {
        (this->*step->second)(words);
      } catch (const holdfast::Error& error) {
        std::printf("error %s:%d: %s", error.code().category().name(), error.code().value(), error.what());
        if (error.holder() != nullptr) std::printf(" (holder %lld)", static_cast<long long>(error.holder()->pid()));
        std::printf("\n");
        wrong_ = true;
      }
      if (code_ == 0 && strict_ && wrong_) code_ = 1;
      if (code_ != 0) return code_;
    }
    return 0;
  }

 private:
  static std::uint32_t me() { return static_cast<std::uint32_t>(::getpid()) & 0xff'ffffU; }
  static void say_news(const DataBlockProducer& producer) {
    if (producer.outcome() == LockOutcome::clean)
      std::printf("producing\n");
    else
      std::printf("producing after the death of %lld\n",
                  producer.previous_owner() ? static_cast<long long>(producer.previous_owner()->pid()) : 0LL);
  }

  // ---- producer ----
  void create(const Words& words) {
    static const std::map<std::string, OnFull> policies{
        {"wait", OnFull::wait}, {"overwrite", OnFull::overwrite_oldest}, {"refuse", OnFull::refuse}};
    DataBlockOptions options{.slot_size = number(words, 1), .slot_count = number(words, 2)};
    options.on_full = policies.at(words.at(3));
    options.time_stamps = has(words, "times");
    if (has(words, "checks")) options.checksum = holdfast::Checksum::every_read;
    if (has(words, "zone")) options.zone_size = 64;
    if (has(words, "stays")) options.segment.lifetime = holdfast::Lifetime::until_removed;
    producer_ = DataBlockProducer::create(name_, options);
    slot_size_ = options.slot_size;
    std::printf("created\n");
  }
  void produce(const Words& words) {
    producer_ = DataBlockProducer::attach(name_, deadline(words, 1));
    slot_size_ = producer_->options().slot_size;
    say_news(*producer_);
  }
  void acquire(const Words& words) {
    slot_ = producer_.value().acquire_write_slot(deadline(words, 1));
    if (*slot_)
      std::printf("acquired %llu\n", static_cast<unsigned long long>(slot_->id()));
    else
      std::printf("%s\n", std::string{to_string(slot_->status())}.c_str());
  }
  void half(const Words&) {
    for (auto& byte : slot_.value().bytes().first(slot_size_ / 2)) byte = std::byte{0xee};
    std::printf("half full\n");
  }
  void fill_slot(const Words&) {
    fill(slot_.value().bytes().first(length_of(slot_->id(), slot_size_)), slot_->id(), me());
    std::printf("full\n");
  }
  void commit(const Words&) {
    commit_message(*slot_, length_of(slot_->id(), slot_size_));
    std::printf("committed\n");
  }
  void drop(const Words&) { slot_.reset(); }
  SlotId write_one(Deadline until) {
    auto slot = producer_.value().acquire_write_slot(until);
    if (!slot) throw std::runtime_error{"no slot: " + std::string{to_string(slot.status())}};
    return write_into(slot);
  }
  SlotId write_into(WriteSlot& slot) const {
    const auto id = slot.id();
    const auto length = length_of(id, slot_size_);
    fill(slot.bytes().first(length), id, me());
    commit_message(slot, length);
    return id;
  }
  static void commit_message(WriteSlot& slot, std::size_t length) {
    const auto id = slot.id();
    record(Event::committing, id);
    try {
      slot.commit(length);
    } catch (const holdfast::Error&) {
      record(Event::gave_up);
      throw;
    }
    record(Event::committed, id);
  }
  void write(const Words& words) {
    SlotId last = 0;
    for (auto left = number(words, 1); left > 0; --left) last = write_one(20s);
    std::printf("wrote %llu\n", static_cast<unsigned long long>(last));
  }
  /// At a pace at which readers keep up now and then. A ring that is full and refuses is asked again.
  void write_in_time(const Words& words) {
    SlotId last = 0;
    for (auto left = number(words, 1); left > 0;) {
      auto slot = producer_.value().acquire_write_slot(20s);
      if (!slot) {
        std::this_thread::yield();
        continue;
      }
      last = write_into(slot);
      if (--left % 8 == 0) std::this_thread::yield();
    }
    std::printf("wrote %llu\n", static_cast<unsigned long long>(last));
  }
  void write_on(const Words& words) {
    const auto rate = words.size() > 1 ? number(words, 1) : 0;
    std::uint64_t count = 0;
    while (!context_.released()) {
      auto slot = producer_.value().acquire_write_slot(5ms);
      if (!slot) continue;
      write_into(slot);
      ++count;
      if (rate != 0 && count % rate == 0) std::this_thread::sleep_for(1ms);  // its pace; nothing is waited for
    }
    std::printf("wrote %llu messages\n", static_cast<unsigned long long>(count));
  }

  // ---- consumer ----
  void attach(const Words& words) {
    ConsumerOptions options;
    if (words.at(1) == "latest") options.mode = holdfast::ReadMode::latest_only;
    options.start = words.at(2) == "next"     ? StartAt::next()
                    : words.at(2) == "oldest" ? StartAt::oldest()
                                              : StartAt::id(number(words, 2));
    if (words.size() > 3) options.group = words[3];
    options.label = "worker";
    consumer_ = DataBlockConsumer::attach(name_, options);
    slot_size_ = consumer_->options().slot_size;
    record(Event::began, options.group.empty() ? 0 : 1);
    std::printf("attached\n");
  }
  void check(const SlotView& slot) {
    const auto problem = problem_with(slot.bytes(), slot.id(), slot_size_);
    record(!problem.empty() ? Event::torn : redelivered_ ? Event::delivered_again : Event::delivered, slot.id());
    if (!problem.empty()) std::printf("WRONG: %s\n", problem.c_str());
    const bool late = last_ && slot.id() <= *last_ && !redelivered_;
    if (late)
      std::printf("WRONG: %llu came after %llu\n", static_cast<unsigned long long>(slot.id()),
                  static_cast<unsigned long long>(*last_));
    wrong_ = wrong_ || late || !problem.empty();
    last_ = slot.id();
  }
  template <class Slot>
  void tell(const Slot& slot) {
    if (const auto gap = slot.gap())
      std::printf(" after a gap of %llu from %llu", static_cast<unsigned long long>(gap.count),
                  static_cast<unsigned long long>(gap.first));
    if (slot.redelivered()) std::printf(" again");
    std::printf("\n");
  }
  /// What was told with what it got.
  template <class Slot>
  void record_news(const Slot& slot) {
    redelivered_ = slot.redelivered();
    if (const auto gap = slot.gap()) record(Event::missed, gap.first, gap.count);
  }
  void take(const Words& words) {
    record(Event::arrived);
    taken_ = consumer_.value().acquire_consume_slot(deadline(words, 1));
    if (!*taken_) {
      record(Event::gave_up);
      std::printf("%s\n", std::string{to_string(taken_->status())}.c_str());
      return;
    }
    record_news(*taken_);
    std::printf("got %llu", static_cast<unsigned long long>(taken_->id()));
    tell(*taken_);
    check(*taken_);
  }
  void batch(const Words& words) {
    record(Event::arrived);
    batch_ = consumer_.value().acquire_consume_slots(number(words, 1), deadline(words, 2));
    if (!*batch_) {
      record(Event::gave_up);
      std::printf("%s\n", std::string{to_string(batch_->status())}.c_str());
      return;
    }
    record_news(*batch_);
    std::printf("got");
    for (const auto slot : *batch_) std::printf(" %llu", static_cast<unsigned long long>(slot.id()));
    tell(*batch_);
    for (const auto slot : *batch_) check(slot);
  }
  void check_again(const Words&) {
    const auto problem = problem_with(taken_.value().bytes(), taken_->id(), slot_size_);
    std::printf("%s\n", problem.empty() ? "intact" : ("WRONG: " + problem).c_str());
  }
  void release(const Words&) {
    const bool whole = taken_ ? taken_->release() : batch_.value().release();
    taken_.reset();
    batch_.reset();
    std::printf(whole ? "released\n" : "broken\n");
  }
  /// Of one: false if there was none before the deadline.
  bool read_one(Deadline until, bool print) {
    record(Event::arrived);
    auto slot = consumer_.value().acquire_consume_slot(until);
    if (!slot) {
      record(Event::gave_up);
      return false;
    }
    record_news(slot);
    missed_ += slot.gap().count;
    ++delivered_;
    check(slot);
    if (print) {  // before it is released: from then on nobody else tells of it
      std::printf("got %llu", static_cast<unsigned long long>(slot.id()));
      tell(slot);
    }
    if (!slot.release()) std::printf("broken\n");
    return true;
  }
  void say_what_was_read() {
    std::printf("read %llu, missed %llu, last %llu\n", static_cast<unsigned long long>(delivered_),
                static_cast<unsigned long long>(missed_), static_cast<unsigned long long>(last_.value_or(0)));
  }
  void read(const Words& words) {
    for (auto left = number(words, 1); left > 0; --left)
      if (!read_one(20s, false)) throw std::runtime_error{"nothing came"};
    say_what_was_read();
  }
  void read_on(const Words& words) {
    while (!context_.released()) static_cast<void>(read_one(5ms, has(words, "print")));
    if (journal)
      while (read_one(30ms, has(words, "print"))) continue;  // its books are closed only when nothing is left
    say_what_was_read();
  }

  // ---- operators, and the rest ----
  void leave(const Words&) {
    if (consumer_) record(Event::ended);
    slot_.reset();
    taken_.reset();
    batch_.reset();
    producer_.reset();
    consumer_.reset();
    std::printf("left\n");
  }
  void break_producer(const Words&) { std::printf("broke %s\n", DataBlock::break_producer(name_).what.c_str()); }
  void break_consumer(const Words& words) {
    std::printf("broke %s\n", DataBlock::break_consumer(name_, number(words, 1)).what.c_str());
  }
  void force_reclaim(const Words&) {
    for (const auto& done : DataBlock::force_reclaim(name_)) std::printf("reclaimed %s\n", done.what.c_str());
  }
  void ready(const Words&) { signal_test_ready(); }
  void wait(const Words&) { code_ = context_.wait_for_release(); }
  void open_journal(const Words& words) {
    journal = Journal::open(words.at(1));
    who = static_cast<std::uint32_t>(number(words, 2));
  }
  void die_at_step([[maybe_unused]] const Words& words) {
#if defined(HOLDFAST_CRASH_LAB)
    steps_to_live = number(words, 1);
    holdfast::detail::step_handler = die_at_last_step;
#else
    throw std::logic_error{"steps have names in a build for the crash lab only"};
#endif
  }
  void strict(const Words&) { strict_ = true; }
  void enter_region(const Words&) { region_.emplace(); }
  void leave_region(const Words&) { region_.reset(); }
  void begin(const Words&) { ::raise(SIGUSR2); }
  void end(const Words&) { ::raise(SIGUSR1); }
  void begin_calls(const Words&) { holdfast::test::mark_begin_of_steps(); }
  void end_calls(const Words&) { holdfast::test::mark_end_of_steps(); }
  void exit(const Words& words) {
    if (words.at(1) == "SIGKILL") ::raise(SIGKILL);
    std::_Exit(0);
  }
  void books(const Words& words) {
    const bool marked = has(words, "marked");
    if (marked) begin(words);
    const auto now = consumer_.value().books();
    if (marked) end(words);
    std::printf("%s\n", to_string(now).c_str());
  }
  void lock_zone(const Words&) {
    auto& mutex = producer_ ? producer_->zone_mutex() : consumer_.value().zone_mutex();
    const auto outcome = mutex.lock();
    const auto first = producer_ ? producer_->zone()[0] : consumer_->zone()[0];
    std::printf("zone locked%s, begins with %d\n", outcome == LockOutcome::clean ? "" : " after a death",
                static_cast<int>(first));
  }
  void unlock_zone(const Words&) { (producer_ ? producer_->zone_mutex() : consumer_.value().zone_mutex()).unlock(); }
  void write_zone(const Words& words) {
    producer_.value().zone()[0] = static_cast<std::byte>(number(words, 1));
    std::printf("zone written\n");
  }
  /// A forked child tries all that its parent could do, and destroys its copies.
  void use_in_child(const Words&) {
    std::fflush(nullptr);
    const auto child = ::fork();
    if (child == 0) {
      const auto refused = [](const std::function<void()>& call) {
        try {
          call();
        } catch (const holdfast::Error& error) {
          if (error.code() == holdfast::errc::concurrent_use) return;
          std::fprintf(stderr, "%s\n", error.what());
        }
        std::_Exit(1);
      };
      if (producer_ && !slot_) refused([&] { static_cast<void>(producer_->acquire_write_slot(0ms)); });
      if (slot_ && *slot_) refused([&] { slot_->commit(0); });
      if (consumer_ && !taken_) refused([&] { static_cast<void>(consumer_->acquire_consume_slot(0ms)); });
      slot_.reset();
      taken_.reset();
      producer_.reset();
      consumer_.reset();
      std::_Exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    std::printf(WIFEXITED(status) && WEXITSTATUS(status) == 0 ? "the child did nothing\n" : "WRONG: in the child\n");
  }

  using Step = void (Actor::*)(const Words&);
  static const std::map<std::string, Step> steps;

  WorkerContext& context_;
  std::string name_;
  std::optional<DataBlockProducer> producer_;
  std::optional<DataBlockConsumer> consumer_;
  std::optional<WriteSlot> slot_;
  std::optional<ConsumeSlot> taken_;
  std::optional<ConsumeSlots> batch_;
  std::size_t slot_size_ = 0;
  std::optional<SlotId> last_;
  bool redelivered_ = false;
  std::uint64_t delivered_ = 0, missed_ = 0;
  std::optional<CrashRegion> region_;
  bool strict_ = false, wrong_ = false;
  int code_ = 0;
};

const std::map<std::string, Actor::Step> Actor::steps{
    {"create", &Actor::create},
    {"produce", &Actor::produce},
    {"acquire", &Actor::acquire},
    {"half", &Actor::half},
    {"fill", &Actor::fill_slot},
    {"commit", &Actor::commit},
    {"drop", &Actor::drop},
    {"write", &Actor::write},
    {"write_in_time", &Actor::write_in_time},
    {"write_on", &Actor::write_on},
    {"attach", &Actor::attach},
    {"take", &Actor::take},
    {"batch", &Actor::batch},
    {"check", &Actor::check_again},
    {"release", &Actor::release},
    {"read", &Actor::read},
    {"read_on", &Actor::read_on},
    {"leave", &Actor::leave},
    {"break_producer", &Actor::break_producer},
    {"break_consumer", &Actor::break_consumer},
    {"force_reclaim", &Actor::force_reclaim},
    {"ready", &Actor::ready},
    {"wait", &Actor::wait},
    {"journal", &Actor::open_journal},
    {"die_at_step", &Actor::die_at_step},
    {"strict", &Actor::strict},
    {"region", &Actor::enter_region},
    {"region_end", &Actor::leave_region},
    {"begin", &Actor::begin},
    {"end", &Actor::end},
    {"begin_calls", &Actor::begin_calls},
    {"end_calls", &Actor::end_calls},
    {"exit", &Actor::exit},
    {"books", &Actor::books},
    {"lock_zone", &Actor::lock_zone},
    {"unlock_zone", &Actor::unlock_zone},
    {"write_zone", &Actor::write_zone},
    {"use_in_child", &Actor::use_in_child},
};

int do_steps(WorkerContext& context) {
  for (const int mark : {SIGUSR1, SIGUSR2}) ::signal(mark, SIG_IGN);  // a tracer sees them all the same
  return Actor{context}.act();
}
constexpr Scenario scenarios[] = {{"do", do_steps}};
}  // namespace

int main(int argc, char** argv) { return holdfast::harness::run_worker(scenarios, argc, argv); }
