// timeline.hpp - a picture of the run: who held the lock when, and who waited.
#pragma once
#include <filesystem>
#include <string>

#include "tool/results.hpp"
#include "tool/settings.hpp"

namespace holdfast::tool {
/// An SVG document. One row per process, in one panel per scenario: contention, race, and the last round of kill.
[[nodiscard]] std::string draw_timeline(const Results& results, const Settings& settings);

/// Opened before the run, written after it: nobody waits for a run and then learns that its picture cannot be kept.
class TimelineFile {
 public:
  explicit TimelineFile(std::filesystem::path file);  ///< Throws Error. What is in the file stays until write().
  TimelineFile(const TimelineFile&) = delete;
  TimelineFile& operator=(const TimelineFile&) = delete;
  ~TimelineFile();                          ///< Not written: removed, if it was not there before.
  void write(const std::string& document);  ///< Throws Error.

 private:
  std::filesystem::path file_;
  bool is_new_;
  bool written_ = false;
};
}  // namespace holdfast::tool
