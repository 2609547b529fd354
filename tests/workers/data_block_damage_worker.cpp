// data_block_damage_worker - attaches to blocks whose words are anything, and uses them. It has to come through: with an error
// that fits, or with an answer, in time, and without a look at memory that is not the block's.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>
#include <holdfast/data_block.hpp>
#include <holdfast/testing/worker.hpp>

#include "../data_block/block_words.hpp"

namespace {
using namespace std::chrono_literals;
using holdfast::ConsumerOptions;
using holdfast::DataBlock;
using holdfast::DataBlockConsumer;
using holdfast::DataBlockOptions;
using holdfast::DataBlockProducer;
using holdfast::errc;
using holdfast::Error;
using holdfast::OnFull;
using holdfast::ReadMode;
using holdfast::SharedMemory;
using holdfast::SlotView;
using holdfast::StartAt;
using holdfast::harness::Scenario;
using holdfast::harness::WorkerContext;
using holdfast::test::BlockWords;
using Clock = std::chrono::steady_clock;

constexpr std::size_t slot_size = 100, slot_count = 8;

// ---- the case that is tried, for whoever dies of it ---------------------------------------------------------------------

std::array<char, 200> current_case{};
void say_case(int signal) {
  static_cast<void>(!::write(STDERR_FILENO, current_case.data(), std::strlen(current_case.data())));
  static_cast<void>(!::write(STDERR_FILENO, signal == SIGALRM ? ": it hangs\n" : ": it crashes\n", 14));
  ::signal(signal, SIG_DFL);
  ::raise(signal);
}
void watch() {
  ::signal(SIGALRM, say_case);
#if !defined(__SANITIZE_ADDRESS__)
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGABRT}) ::signal(signal, say_case);
#endif
}
/// At most so many seconds for each.
void begin_case(const std::string& text) {
  std::snprintf(current_case.data(), current_case.size(), "%s", text.c_str());
  ::alarm(15);
}

// ---- use ---------------------------------------------------------------------------------------------------------------

void require(bool condition, const std::string& what) {
  if (!condition) throw std::runtime_error{std::string{current_case.data()} + ": " + what};
}
/// Errors that tell that something is wrong with what stands there, or that somebody else has it.
bool fits(const Error& error) {
  for (const auto code :
       {errc::corrupt, errc::foreign, errc::version_mismatch, errc::layout_mismatch, errc::schema_mismatch,
        errc::in_use, errc::reclaimed, errc::checksum_mismatch, errc::too_many_participants, errc::incomplete})
    if (error.code() == code) return true;
  return error.code() == std::errc::invalid_argument || error.code() == std::errc::not_supported ||
         error.code() == std::errc::no_such_file_or_directory || error.code() == std::errc::file_exists ||
         error.code() == std::errc::no_such_process || error.code() == std::errc::timed_out;
}
/// The call, and every error of it has to fit. False: it threw one.
bool attempt(const std::function<void()>& call) {
  const auto begin = Clock::now();
  bool came_back = true;
  try {
    call();
  } catch (const Error& error) {
    require(fits(error), std::string{"an error that does not fit: "} + error.what());
    came_back = false;
  }
  require(Clock::now() - begin < 5s, "it does not keep its deadline");
  return came_back;
}

class Damaged {
 public:
  explicit Damaged(SharedMemory& memory) : bytes_{memory.bytes()} {}
  /// Reads every byte of it, which has to be the block's.
  void look_at(const SlotView& slot) {
    const auto bytes = slot.bytes();
    if (bytes.empty()) return;
    require(bytes.data() >= bytes_.data() && bytes.data() + bytes.size() <= bytes_.data() + bytes_.size(),
            "bytes outside of the block");
    require(bytes.size() <= slot_size + 64, "more bytes than a slot has: " + std::to_string(bytes.size()));
    for (const auto byte : bytes) sum_ += static_cast<unsigned>(byte);
  }
  void use(DataBlockConsumer& consumer) {
    for (int i = 0; i < 3; ++i)
      attempt([&] {
        const auto slot = consumer.acquire_consume_slot(1ms);
        if (slot) {
          look_at(slot);
          static_cast<void>(slot.verify());
        }
      });
    attempt([&] {
      const auto slots = consumer.acquire_consume_slots(4, holdfast::Deadline{0ms});
      std::size_t count = 0;
      for (const auto& slot : slots) {
        require(++count <= slot_count, "more slots than there are");
        look_at(slot);
      }
    });
    attempt([&] { static_cast<void>(to_string(consumer.books())); });
    for (const auto byte : consumer.zone()) sum_ += static_cast<unsigned>(byte);
  }
  void use(DataBlockProducer& producer) {
    for (int i = 0; i < 3; ++i)
      attempt([&] {
        auto slot = producer.acquire_write_slot(1ms);
        if (!slot) return;
        const auto bytes = slot.bytes();
        require(bytes.size() <= slot_size + 64, "another size");
        require(bytes.data() >= bytes_.data() && bytes.data() + bytes.size() <= bytes_.data() + bytes_.size(),
                "bytes outside of the block");
        std::fill(bytes.begin(), bytes.end(), std::byte{1});
        slot.commit(bytes.size());
      });
  }
  void look_at(const DataBlock& block) {
    attempt([&] {
      const auto statistics = block.statistics();
      require(statistics.consumers.size() <= 72, "more consumers than there can be");
      for (const auto& consumer : statistics.consumers) {
        require(consumer.label.size() <= 63 && consumer.group.size() <= 63, "a label that cannot be");
        static_cast<void>(to_string(consumer.books));
      }
      static_cast<void>(statistics.slowest());
    });
  }

 private:
  std::span<std::byte> bytes_;
  unsigned sum_ = 0;
};

/// All that can be done with a block by its name.
void use_what_is_there(const std::string& name) {
  const auto with = [&](const std::function<void(Damaged&)>& use) {
    attempt([&] {
      auto memory = SharedMemory::attach(name, 0ms);
      Damaged damaged{memory};
      use(damaged);
    });
  };
  with([&](Damaged& damaged) { damaged.look_at(DataBlock::attach(name, 0ms)); });
  std::vector<ConsumerOptions> all(4);
  all[0].start = StartAt::oldest();
  all[1].mode = ReadMode::latest_only;
  all[2].group = "team";
  all[2].start = StartAt::oldest();
  all[3].start = StartAt::id(3);
  for (const auto& options : all)
    with([&](Damaged& damaged) {
      auto consumer = DataBlockConsumer::attach(name, options, 0ms);
      damaged.use(consumer);
    });
  with([&](Damaged& damaged) {
    auto producer = DataBlockProducer::attach(name, 0ms);
    damaged.use(producer);
    damaged.look_at(DataBlock::attach(name, 0ms));
  });
  attempt([&] { static_cast<void>(DataBlock::force_reclaim(name)); });
  attempt([&] { static_cast<void>(DataBlock::break_producer(name)); });
  attempt([&] { static_cast<void>(DataBlock::break_consumer(name, 1)); });
}

std::vector<std::uint64_t> values_for(std::uint64_t word, std::minstd_rand& random) {
  const auto any = (std::uint64_t{random()} << 32U) ^ random();
  return {0,
          1,
          ~std::uint64_t{0},
          word + 1,
          word - 1,
          word ^ (1U << 16U),
          word ^ (1ULL << 31U),
          word << 32U,
          word ^ 8,
          word * 2,
          word + slot_count,
          word | (1ULL << 63U),
          any,
          0x5555'5555'5555'5555U};
}
DataBlockOptions options_of(const WorkerContext& context) {
  DataBlockOptions options{.slot_size = slot_size, .slot_count = slot_count, .zone_size = 64};
  options.on_full = context.argument(1) == "overwrite" ? OnFull::overwrite_oldest : OnFull::wait;
  options.checksum = context.argument(1) == "overwrite" ? holdfast::Checksum::every_read : holdfast::Checksum::none;
  options.segment.lifetime = holdfast::Lifetime::until_removed;
  return options;
}
void write_some(DataBlockProducer& producer, int count) {
  for (; count > 0; --count) {
    auto slot = producer.acquire_write_slot(0ms);
    if (!slot) return;
    std::fill(slot.bytes().begin(), slot.bytes().end(), std::byte{7});
    slot.commit(slot_size - static_cast<std::size_t>(count) % 10);
  }
}
/// Which of them are tried: all if there are not more than so many, else others in each run.
std::vector<std::size_t> some_of(std::size_t all, std::size_t most, std::minstd_rand& random) {
  std::vector<std::size_t> chosen(all);
  for (std::size_t i = 0; i < all; ++i) chosen[i] = i;
  std::shuffle(chosen.begin(), chosen.end(), random);
  if (chosen.size() > most) chosen.resize(most);
  return chosen;
}

/// The words that are worth a try: of the header, the shared words, two groups, four entries, all slot headers.
std::vector<std::uint64_t*> words_in(const BlockWords& block) {
  std::vector<std::uint64_t*> words;
  const auto add = [&](auto& object, std::size_t bytes) {
    for (std::size_t i = 0; i < bytes / sizeof(std::uint64_t); ++i)
      words.push_back(reinterpret_cast<std::uint64_t*>(&object) + i);
  };
  auto& shared = block.shared();
  add(shared, offsetof(holdfast::detail::Shared, groups));
  for (std::size_t i = 0; i < 2; ++i) add(shared.groups[i], 384);
  for (std::size_t i = 0; i < 5; ++i) add(shared.entries[i], sizeof shared.entries[i]);
  for (std::size_t i = 0; i < slot_count; ++i) add(block.slot(i), sizeof(holdfast::detail::ChecksummedSlotHeader));
  return words;
}

/// NAME POLICY SEED MOST: damages the header of a block that nobody is attached to, each word in many ways.
int damage_header(WorkerContext& context) {
  watch();
  const auto name = context.argument(0);
  std::minstd_rand random{static_cast<std::minstd_rand::result_type>(context.number(2))};
  {
    auto producer = DataBlockProducer::create(name, options_of(context));
    write_some(producer, 5);
  }
  auto memory = SharedMemory::attach(name);
  auto* const words = reinterpret_cast<std::uint32_t*>(memory.bytes().data());
  constexpr std::size_t count = sizeof(holdfast::detail::BlockHeader) / sizeof(std::uint32_t), ways = 14;
  std::size_t refused = 0;
  for (const auto which : some_of(count * ways, static_cast<std::size_t>(context.number(3)), random)) {
    const auto sound = words[which / ways];
    words[which / ways] = static_cast<std::uint32_t>(values_for(sound, random)[which % ways]);
    begin_case("header word " + std::to_string(which / ways) + ": " + std::to_string(sound) + " became " +
               std::to_string(words[which / ways]));
    use_what_is_there(name);
    if (!attempt([&] { static_cast<void>(DataBlock::attach(name, 0ms)); })) ++refused;
    words[which / ways] = sound;
  }
  require(refused > 0, "nothing was refused");
  std::printf("%zu refused\n", refused);
  memory.detach();
  SharedMemory::remove(name);
  return 0;
}

/// NAME POLICY SEED MOST: damages words of a block that a dead producer and others have left.
int damage_left_words(WorkerContext& context) {
  watch();
  const auto name = context.argument(0);
  std::minstd_rand random{static_cast<std::minstd_rand::result_type>(context.number(2))};
  constexpr std::size_t ways = 14;
  for (int left = static_cast<int>(context.number(3)); left > 0; --left) {
    auto producer = std::optional{DataBlockProducer::create(name, options_of(context))};
    auto memory = SharedMemory::attach(name);
    {
      auto consumer = DataBlockConsumer::attach(name);
      auto member = DataBlockConsumer::attach(name, {.start = StartAt::oldest(), .group = "team"});
      write_some(*producer, 6);
      static_cast<void>(consumer.acquire_consume_slot(0ms));
    }
    producer.reset();
    const auto words = words_in(BlockWords{memory});
    const auto which = std::uniform_int_distribution<std::size_t>{0, words.size() * ways - 1}(random);
    auto& word = *words[which / ways];
    const auto value = values_for(word, random)[which % ways];
    begin_case("word " + std::to_string(which / ways) + ": " + std::to_string(word) + " became " +
               std::to_string(value));
    word = value;
    use_what_is_there(name);
    memory.detach();
    SharedMemory::remove(name);
  }
  return 0;
}

/// NAME POLICY SEED MOST: damages words under those who are attached.
int damage_used_words(WorkerContext& context) {
  watch();
  const auto name = context.argument(0);
  std::minstd_rand random{static_cast<std::minstd_rand::result_type>(context.number(2))};
  constexpr std::size_t ways = 14;
  for (int left = static_cast<int>(context.number(3)); left > 0; --left) {
    auto producer = std::optional{DataBlockProducer::create(name, options_of(context))};
    auto memory = SharedMemory::attach(name);
    Damaged damaged{memory};
    std::vector<DataBlockConsumer> consumers;
    consumers.push_back(DataBlockConsumer::attach(name));
    consumers.push_back(DataBlockConsumer::attach(name, {.mode = ReadMode::latest_only}));
    for (int i = 0; i < 2; ++i) consumers.push_back(DataBlockConsumer::attach(name, {.group = "team"}));
    std::optional<DataBlock> observer{DataBlock::attach(name)};
    write_some(*producer, 5);
    std::optional<holdfast::ConsumeSlot> held;
    if (left % 3 == 0) held.emplace(consumers[0].acquire_consume_slot(0ms));
    if (left % 3 == 1) held.emplace(consumers[2].acquire_consume_slot(0ms));
    const auto words = words_in(BlockWords{memory});
    const auto which = std::uniform_int_distribution<std::size_t>{0, words.size() * ways - 1}(random);
    auto& word = *words[which / ways];
    const auto value = values_for(word, random)[which % ways];
    begin_case("used word " + std::to_string(which / ways) + ": " + std::to_string(word) + " became " +
               std::to_string(value));
    word = value;
    if (held) damaged.look_at(*held);
    damaged.use(*producer);
    held.reset();
    for (auto& consumer : consumers) damaged.use(consumer);
    damaged.use(*producer);
    damaged.look_at(*observer);
    for (auto& consumer : consumers) damaged.use(consumer);
    attempt([&] { static_cast<void>(DataBlock::force_reclaim(name)); });
    consumers.clear();
    producer.reset();
    observer.reset();
    use_what_is_there(name);
    memory.detach();
    SharedMemory::remove(name);
  }
  return 0;
}

constexpr Scenario scenarios[] = {{"damage_header", damage_header},
                                  {"damage_left_words", damage_left_words},
                                  {"damage_used_words", damage_used_words}};
}  // namespace

int main(int argc, char** argv) { return holdfast::harness::run_worker(scenarios, argc, argv); }
