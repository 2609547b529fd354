#include "tool/progress.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "tool/machine.hpp"

namespace holdfast::tool {
using namespace std::chrono_literals;

struct Progress::Phase::Drawing {
  std::mutex mutex;
  std::condition_variable_any never;  // notified by the stop request only
  std::jthread thread;
};

Progress::Progress(std::FILE* stream, double total)
    : stream_{stream != nullptr && is_terminal(stream) ? stream : nullptr}, total_{total} {}

Progress::~Progress() {
  if (stream_ != nullptr) fmt::print(stream_, "\r\x1b[K");
}

void Progress::draw(double done, const std::string& name) const {
  const double fraction = std::clamp(done / total_, 0.0, 1.0);
  const auto columns = terminal_columns(stream_);
  const auto width = static_cast<std::size_t>(std::clamp(static_cast<int>(columns) - 50, 0, 40));
  const auto filled = static_cast<std::size_t>(fraction * static_cast<double>(width));
  auto line = fmt::format("[{}{}] {:3.0f} %  {}", std::string(filled, '#'), std::string(width - filled, '.'),
                          100 * fraction, name);
  line.resize(std::min<std::size_t>(line.size(), columns - 1));  // one that wraps could not be taken back
  fmt::print(stream_, "\r{}\x1b[K", line);
  std::fflush(stream_);
}

Progress::Phase::Phase(Progress& progress, std::string name, double weight, std::function<double()> fraction)
    : progress_{progress}, weight_{weight} {
  if (progress_.stream_ == nullptr) return;
  drawing_ = std::make_unique<Drawing>();
  auto draw = [this, &drawing = *drawing_, name = std::move(name),
               fraction = std::move(fraction)](const std::stop_token& stop) {
    std::unique_lock lock{drawing.mutex};
    do {
      progress_.draw(progress_.done_ + weight_ * std::clamp(fraction(), 0.0, 1.0), name);
    } while (!drawing.never.wait_for(lock, stop, 100ms, [&stop] { return stop.stop_requested(); }));
  };
  drawing_->thread = std::jthread{std::move(draw)};
}

Progress::Phase::~Phase() {
  drawing_.reset();
  progress_.done_ += weight_;
}
}  // namespace holdfast::tool
