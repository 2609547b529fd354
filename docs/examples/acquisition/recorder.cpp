// recorder.cpp - writes every frame to a file, and accounts for those that it could not have. Killed and started again, it
// goes on where its file ends; a file has the frames of one run.
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>
#include <stdexcept>

#include "frame.hpp"

using namespace holdfast;
namespace fs = std::filesystem;

/// Records one after the other; of one that was cut off by a kill nothing is kept.
class RunFile {
 public:
  explicit RunFile(const fs::path& path) {
    std::ofstream{path, std::ios::app};  // made, if it is not there
    const auto whole = fs::file_size(path) / sizeof(Record);
    fs::resize_file(path, whole * sizeof(Record));
    file_.exceptions(std::ios::failbit | std::ios::badbit);
    file_.open(path, std::ios::in | std::ios::out | std::ios::binary);
    if (whole == 0) return;
    Record last{};
    file_.seekg(static_cast<std::streamoff>((whole - 1) * sizeof(Record)));
    file_.read(reinterpret_cast<char*>(&last), sizeof last);
    start_ = StartAt::id(last.id + 1);
    run_ = last.frame.run;
    file_.seekp(0, std::ios::end);
  }
  [[nodiscard]] const StartAt& start() const { return start_; }

  void append(const Record& record) {
    if (run_.value_or(record.frame.run) != record.frame.run)
      throw std::runtime_error{"the file has frames of another run: name a new one"};
    run_ = record.frame.run;
    file_.write(reinterpret_cast<const char*>(&record), sizeof record).flush();
  }

 private:
  std::fstream file_;
  StartAt start_ = StartAt::oldest();
  std::optional<std::uint64_t> run_;
};

int main(int argc, char** argv) try {
  if (argc != 3) {
    std::cerr << "recorder BLOCK FILE\n";
    return 2;
  }
  RunFile file{argv[2]};
  auto every = DataBlockConsumer::attach(argv[1], {.start = file.start(), .label = "recorder", .schema = frame_schema});
  while (const auto slot = every.acquire_consume_slot()) {
    if (const SlotRange gap = slot.gap())
      std::cout << "missed " << gap.count << " from slot " << gap.first << std::endl;
    if (slot.bytes().empty()) break;  // the run is over
    const auto& frame = slot.as<Frame>();
    file.append({slot.id(), frame});  // before the slot is released: killed in between, it finds the frame in its file
    if (frame.number % 50 == 0) std::cout << "recorded " << frame.number << std::endl;
  }
  std::cout << to_string(every.books()) << '\n';
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
