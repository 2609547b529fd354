#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>
#include <holdfast/testing/journal.hpp>

namespace holdfast::harness {
namespace {
struct Contender {
  enum class State { outside, waiting, inside } state = State::outside;
  bool doomed = false;
  std::uint64_t arrived_at = 0;
};

/// The state of all contenders after some entries.
class Checker {
 public:
  void step(const Entry& entry) {
    // The clock is read before the place is taken, so times may be out of order by what passed between the two.
    last_time_ = std::max(last_time_, entry.nanoseconds);
    Contender& contender = contenders_[entry.who];
    switch (entry.event) {
      case Event::arrived:
        if (contender.state != Contender::State::outside) return misordered();
        contender.state = Contender::State::waiting;
        contender.arrived_at = entry.nanoseconds;
        if (!contender.doomed) begin_wait(entry.who);
        return;
      case Event::entered:
      case Event::recovered:
        if (contender.state != Contender::State::waiting) return misordered();
        enter(entry, contender);
        return;
      case Event::left:
        if (contender.state != Contender::State::inside) return misordered();
        contender.state = Contender::State::outside;
        std::erase(inside_, entry.who);
        progress();
        return;
      case Event::gave_up:
        if (contender.state != Contender::State::waiting) return misordered();
        contender.state = Contender::State::outside;
        end_wait(entry.who);
        return;
      case Event::doomed:
        if (contender.doomed) return misordered();
        contender.doomed = true;
        end_wait(entry.who);
        std::erase(inside_, entry.who);
        if (inside_.empty() && !recovering_) {
          recovering_ = true;
          recovery_began_ = last_time_;
        }
        return;
      default:  // a message's, or a number that is no event
        return misordered();
    }
  }

  [[nodiscard]] History finish() {
    if (!waiting_.empty()) {
      end_gap();
      measure_recovery();
    }
    history_.unfinished = waiting_.size() + inside_.size();
    return std::move(history_);
  }

 private:
  void misordered() { ++history_.misordered; }

  void enter(const Entry& entry, Contender& contender) {
    if (!inside_.empty()) ++history_.overlaps;
    ++history_.acquisitions;
    if (entry.event == Event::recovered) ++history_.recoveries;
    history_.order.push_back(entry.who);
    history_.waits_ns.push_back(entry.nanoseconds - std::min(entry.nanoseconds, contender.arrived_at));
    progress();
    if (!contender.doomed) {
      measure_recovery();
      recovering_ = false;
    }
    history_.overtakes += static_cast<std::uint64_t>(end_wait(entry.who));
    contender.state = Contender::State::inside;
    if (!contender.doomed) inside_.push_back(entry.who);
  }

  void begin_wait(std::uint32_t who) {
    if (waiting_.empty()) gap_began_ = recovery_began_ = last_time_;
    waiting_.push_back(who);
  }
  /// Returns how many waited before it and still do.
  std::ptrdiff_t end_wait(std::uint32_t who) {
    const auto found = std::find(waiting_.begin(), waiting_.end(), who);
    if (found == waiting_.end()) return 0;
    const auto earlier = found - waiting_.begin();
    waiting_.erase(found);
    if (waiting_.empty()) {
      end_gap();
      measure_recovery();
    }
    return earlier;
  }
  void progress() {
    if (!waiting_.empty()) end_gap();
    gap_began_ = last_time_;
  }
  void measure_recovery() {
    if (recovering_)
      history_.longest_recovery_ns = std::max(history_.longest_recovery_ns, last_time_ - recovery_began_);
  }
  void end_gap() { history_.longest_gap_ns = std::max(history_.longest_gap_ns, last_time_ - gap_began_); }

  History history_;
  std::unordered_map<std::uint32_t, Contender> contenders_;
  std::vector<std::uint32_t> waiting_;  // live ones, in order of arrival
  std::vector<std::uint32_t> inside_;   // live ones
  std::uint64_t last_time_ = 0;
  std::uint64_t gap_began_ = 0;       // of meaning while somebody waits
  bool recovering_ = false;           // somebody was doomed, nobody else was inside, and no live one has been since
  std::uint64_t recovery_began_ = 0;  // of meaning while somebody waits, too
};
}  // namespace

History check_history(std::span<const Entry> entries) {
  Checker checker;
  for (const Entry& entry : entries) checker.step(entry);
  return checker.finish();
}
}  // namespace holdfast::harness
