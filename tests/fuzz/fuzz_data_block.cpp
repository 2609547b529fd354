// A data block of which every word may be anything: before somebody attaches, and under those who are attached.
//
// Input: one byte for the image that it begins with, one for who attaches, then patches.
#include <optional>

#include <holdfast/data_block.hpp>

#include "../data_block/block_words.hpp"
#include "segment_image.hpp"

using namespace std::chrono_literals;
using fuzz::attempt;
using fuzz::check;
using fuzz::condition;
using holdfast::Checksum;
using holdfast::ConsumerOptions;
using holdfast::DataBlock;
using holdfast::DataBlockConsumer;
using holdfast::DataBlockOptions;
using holdfast::DataBlockProducer;
using holdfast::errc;
using holdfast::OnFull;
using holdfast::ReadMode;
using holdfast::SharedMemory;
using holdfast::SlotView;
using holdfast::StartAt;

namespace {
constexpr std::size_t slot_size = 100, slot_count = 8;

const auto fitting = fuzz::refusals_of_segment(
    {condition(errc::schema_mismatch), condition(errc::in_use), condition(errc::reclaimed),
     condition(errc::checksum_mismatch), condition(errc::other_pid_namespace), std::errc::invalid_argument,
     std::errc::operation_not_supported, std::errc::no_such_process, std::errc::file_exists,
     std::errc::state_not_recoverable, std::errc::timed_out});

void write_some(DataBlockProducer& producer, int count) {
  for (; count > 0; --count) {
    auto slot = producer.acquire_write_slot(0ms);
    if (!slot) return;
    std::fill(slot.bytes().begin(), slot.bytes().end(), std::byte{7});
    slot.commit(slot_size - static_cast<std::size_t>(count) % 10);
  }
}
DataBlockOptions options_for(OnFull on_full, Checksum checksum) {
  DataBlockOptions options{.slot_size = slot_size,
                           .slot_count = slot_count,
                           .on_full = on_full,
                           .zone_size = 64,
                           .checksum = checksum,
                           .time_stamps = checksum == Checksum::on_demand};
  options.segment.lifetime = holdfast::Lifetime::until_removed;
  return options;
}
std::vector<ConsumerOptions> all_kinds() {
  std::vector<ConsumerOptions> all(5);
  all[0].start = StartAt::oldest();
  all[1].mode = ReadMode::latest_only;
  for (const std::size_t i : {2U, 3U}) {
    all[i].group = "team";
    all[i].start = StartAt::oldest();
  }
  all[4].start = StartAt::id(3);
  return all;
}

/// Of each policy: in the middle of everything, and at rest; with users who live, are dead, or cannot be judged.
const std::vector<fuzz::Image>& images() {
  static const std::vector<fuzz::Image> all = [] {
    std::vector<fuzz::Image> made;
    const std::string name = "fuzz-image-" + std::to_string(::getpid());
    const std::pair<OnFull, Checksum> policies[] = {{OnFull::wait, Checksum::none},
                                                    {OnFull::overwrite_oldest, Checksum::every_read},
                                                    {OnFull::refuse, Checksum::on_demand}};
    for (const auto& [on_full, checksum] : policies) {
      std::optional producer{DataBlockProducer::create(name, options_for(on_full, checksum))};
      auto memory = SharedMemory::attach(name);
      const auto add = [&] { fuzz::add_with_users(made, fuzz::image_of(memory)); };
      static_cast<void>(producer->zone_mutex());
      write_some(*producer, 4);
      {
        std::vector<DataBlockConsumer> consumers;
        for (const auto& options : all_kinds()) consumers.push_back(DataBlockConsumer::attach(name, options));
        std::vector<holdfast::ConsumeSlot> held;
        for (auto& consumer : consumers) held.push_back(consumer.acquire_consume_slot(0ms));
        write_some(*producer, 2);
        const auto slot = producer->acquire_write_slot(0ms);
        add();
      }
      producer.reset();
      add();
      memory.detach();
      SharedMemory::remove(name);
    }
    return made;
  }();
  return all;
}

/// One input.
class Case {
 public:
  Case(const fuzz::SegmentFileOnDisk& disk, std::span<const fuzz::Patch> patches, unsigned choice)
      : disk_{disk}, patches_{patches}, choice_{choice} {}

  void run() {
    std::optional<SharedMemory> memory;
    if (!attempt(fitting, [&] { memory.emplace(SharedMemory::attach(disk_.name(), 0ms)); })) return;
    bytes_ = memory->bytes();
    std::optional<DataBlock> observer;
    if (attempt(fitting, [&] { observer.emplace(DataBlock::attach(disk_.name(), 0ms)); }))
      spare_zone_mutex(observer->options());
    if (observer) look_at(*observer);
    std::optional<DataBlockProducer> producer;
    std::vector<DataBlockConsumer> consumers;
    const auto kinds = all_kinds();
    for (std::size_t i = 0; i < kinds.size(); ++i)
      if ((choice_ >> i & 1U) == 0)
        attempt(fitting, [&] { consumers.push_back(DataBlockConsumer::attach(disk_.name(), kinds[i], 0ms)); });
    if ((choice_ & 0x20U) == 0)
      attempt(fitting, [&] { producer.emplace(DataBlockProducer::attach(disk_.name(), 0ms)); });
    apply(1);
    const auto use_all = [&] {
      if (producer) use(*producer);
      for (auto& consumer : consumers) use(consumer);
      if (observer) look_at(*observer);
    };
    use_all();
    {
      std::vector<holdfast::ConsumeSlot> held;
      for (auto& consumer : consumers) attempt(fitting, [&] { held.push_back(consumer.acquire_consume_slot(0ms)); });
      std::optional<holdfast::WriteSlot> written;
      if (producer) attempt(fitting, [&] { written.emplace(producer->acquire_write_slot(0ms)); });
      apply(2);
      for (const auto& slot : held) look_at(slot);
      if (written && *written) attempt(fitting, [&] { written->commit(1); });
    }
    apply(3);
    use_all();
    if ((choice_ & 0x40U) != 0 && !consumers.empty()) {
      std::vector<DataBlockConsumer*> any;
      for (auto& consumer : consumers) any.push_back(&consumer);
      attempt(fitting, [&] { static_cast<void>(DataBlockConsumer::wait_any(any, 1ms)); });
    }
    if ((choice_ & 0x80U) != 0 && producer) use_zone_mutex(*producer);
    attempt(fitting, [&] {
      for (const auto& reclaimed : DataBlock::force_reclaim(disk_.name())) static_cast<void>(to_string(reclaimed.from));
    });
    attempt(fitting, [&] { static_cast<void>(DataBlock::break_producer(disk_.name())); });
    attempt(fitting, [&] { static_cast<void>(DataBlock::break_consumer(disk_.name(), 1)); });
    use_all();
  }

 private:
  void apply(unsigned phase) const { disk_.apply(patches_, phase, spared_); }

  void spare_zone_mutex(const DataBlockOptions& options) {
    const auto geometry = holdfast::detail::geometry_of(options.slot_size, options.slot_count, options.zone_size,
                                                        options.checksum != Checksum::none);
    const auto at = holdfast::detail::data_offset + geometry->zone_mutex;
    spared_.emplace_back(at, at + sizeof(holdfast::detail::SharedMutex::robust));
  }
  void check_place(std::span<const std::byte> part, const std::string& what) const {
    if (part.empty()) return;
    check(part.data() >= bytes_.data() && part.data() + part.size() <= bytes_.data() + bytes_.size(),
          what + " outside of the block");
  }
  void look_at(const SlotView& slot) const {
    check_place(slot.bytes(), "a message");
    fuzz::look_at(slot.bytes());
  }
  void use(DataBlockConsumer& consumer) const {
    for (int i = 0; i < 3; ++i)
      attempt(fitting, [&] {
        const auto slot = consumer.acquire_consume_slot(0ms);
        if (!slot) return;
        look_at(slot);
        static_cast<void>(slot.verify());
        static_cast<void>(slot.gap());
      });
    attempt(fitting, [&] {
      const auto most = consumer.options().slot_count;
      std::size_t count = 0;
      for (const auto slots = consumer.acquire_consume_slots(4, 0ms); const auto& slot : slots) {
        check(++count <= most, "more slots than there are");
        look_at(slot);
      }
    });
    attempt(fitting, [&] { static_cast<void>(to_string(consumer.books())); });
    check_place(consumer.zone(), "a zone");
    fuzz::look_at(consumer.zone());
  }
  void use(DataBlockProducer& producer) const {
    for (int i = 0; i < 3; ++i)
      attempt(fitting, [&] {
        auto slot = producer.acquire_write_slot(0ms);
        if (!slot) return;
        check_place(slot.bytes(), "a slot");
        std::fill(slot.bytes().begin(), slot.bytes().end(), std::byte{1});
        slot.commit(slot.bytes().size());
      });
  }
  static void look_at(const DataBlock& block) {
    attempt(fitting, [&] {
      const auto statistics = block.statistics();
      check(statistics.consumers.size() <= holdfast::detail::entry_limit + holdfast::detail::group_limit,
            "more consumers than there can be");
      for (const auto& consumer : statistics.consumers) {
        check(consumer.label.size() <= 63 && consumer.group.size() <= 63, "a label that cannot be");
        static_cast<void>(to_string(consumer.books));
      }
      static_cast<void>(statistics.slowest());
    });
  }
  static void use_zone_mutex(DataBlockProducer& producer) {
    attempt(fitting, [&] {
      auto& mutex = producer.zone_mutex();
      if (mutex.try_lock()) mutex.unlock();
    });
  }

  const fuzz::SegmentFileOnDisk& disk_;
  std::span<const fuzz::Patch> patches_;
  unsigned choice_;
  std::span<const std::byte> bytes_;
  std::vector<std::pair<std::size_t, std::size_t>> spared_;
};
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static_cast<void>(images());
  fuzz::Script script{data, size};
  const auto& image = images()[script.byte() % images().size()];
  const unsigned choice = script.byte();
  const fuzz::DescriptorWatch watch;
  const fuzz::SegmentFileOnDisk disk{"block"};
  disk.write(image);
  const auto patches = fuzz::patches_in(script);
  disk.apply(patches, 0);
  Case{disk, patches, choice}.run();
  return 0;
}
