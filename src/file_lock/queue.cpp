// Q, T: the queue of those who wait, in order of arrival, and the look at it by those who do not wait.
#include <holdfast/steps.hpp>

#include "file_lock/contender.hpp"

namespace holdfast::detail {
using platform::done;
using std::chrono::nanoseconds;

/// Leaves the queue at the end of a scope: on acquiring, and on giving up.
class Contender::Queued {
 public:
  explicit Queued(Contender& contender) : contender_{contender} { contender.take_place(place_); }
  Queued(const Queued&) = delete;
  Queued& operator=(const Queued&) = delete;
  ~Queued() {
    contender_.leave_queue(place_);
    if (keep_queue) return;
    contender_.remove_queue();
    HOLDFAST_STEP(file, Q8_rmdir);
  }
  [[nodiscard]] Place& place() noexcept { return place_; }

  bool keep_queue = false;

 private:
  Contender& contender_;
  Place place_;
};

bool Contender::acquire_in_turn(Patience& patience) {
  alone_ = false;
  proof_.close();  // R4
  HOLDFAST_STEP(file, A4);
  Queued queued{*this};
  switch (wait_for_turn(queued.place(), patience)) {
    case Seen::acquired:
      break;
    case Seen::busy:
    case Seen::absent:
    case Seen::stopped:
      return false;
  }
  const bool acquired = acquire_without_queue(patience);
  // Who had to wait leaves the queue for the next one who has to, and who did not removes it: under contention it would be
  // made and removed at every hand-over. In a sticky directory only its maker may remove it, who may be gone by then.
  queued.keep_queue = acquired && patience.slept() && !path_.is_sticky();
  queue_is_left_ = queue_is_left_ || queued.keep_queue;
  return acquired;
}

void Contender::make_queue() {
  // Made under a private name, so that nobody ever meets a queue with the wrong permissions.
  NameBuffer made;
  join_side_name(made, private_suffix);
  auto why = platform::make_directory(path_.parent(), made.c_str(), directory_mode());
  if (why != done && why != std::errc::file_exists) fail(why, "wait for");
  if (why == done) why = set_mode(made.c_str(), directory_mode());
  if (why == done) why = platform::rename_no_replace(path_.parent(), made.c_str(), path_.queue());
  auto left = done;
  if (why != done)
    left = platform::remove_directory(path_.parent(), made.c_str());
  else
    HOLDFAST_STEP(file, Q2_mkdir);
  // Missing: a sweeper elsewhere has removed it, or it was moved all the same, as at A3.
  const bool again = why == std::errc::file_exists || is_missing(why) || is_missing(left);
  if (why != done && !again) fail(why, "wait for");
}

void Contender::take_place(Place& place) {
  if (!has_ticket_) make_ticket();
  std::vector<std::string> names;
  for (int attempt = 0;;) {
    auto queue = platform::open_directory(path_.parent(), path_.queue());
    HOLDFAST_STEP(file, Q2);
    if (is_missing(queue.why)) {
      make_queue();
      continue;
    }
    if (queue.why != done) fail_queue(queue.why);
    if (const auto why = platform::list(queue.descriptor.number(), names); why != done && !is_missing(why))
      fail(why, "wait for");
    HOLDFAST_STEP(file, Q3);

    std::uint64_t highest = 0;
    for (const Ticket& ticket : tickets_in(names)) {
      if (ticket.number == last_ticket_number || !who_waits(ticket)) continue;
      highest = ticket.number;
      break;
    }
    const std::string number = std::to_string(highest + 1);
    const auto digits = hex(next_name_number());
    place.name.join({ticket_prefix, number, ".", {digits.data(), digits.size()}, ".", identity_.view()});
    auto why = platform::rename(path_.parent(), ticket_.c_str(), queue.descriptor.number(), place.name.c_str());
    if (why != done && platform::look(queue.descriptor.number(), place.name.c_str()) == done) why = done;  // as at A3
    if (why == done) {
      HOLDFAST_STEP(file, Q4);
      has_ticket_ = false;
      place.queue = std::move(queue.descriptor);
      return;
    }
    if (is_forbidden(why)) fail_unshared(path_.parent(), path_.queue());
    if (!is_missing(why)) fail(why, "wait for");
    if (platform::look(path_.parent(), ticket_.c_str()) == done) continue;  // the queue was removed
    if (++attempt > most_attempts) fail(why, "wait for");
    make_ticket();
  }
}

/// Seen::acquired: nobody is before this one.
Contender::Seen Contender::wait_for_turn(Place& place, Patience& patience) {
  std::vector<std::string> names;
  std::string waited_for;
  nanoseconds interval = first_interval;
  for (;;) {
    if (patience.stopped()) return Seen::stopped;
    const int queue = place.queue.number();
    const auto listed = platform::list(queue, names);
    HOLDFAST_STEP(file, Q5);
    if (listed != done && !is_missing(listed)) fail(listed, "wait for");
    const Ticket own = *parse_ticket(place.name.view());
    bool present = false;
    std::optional<ProcessIdentity> waiter;
    std::string before;
    for (const Ticket& ticket : tickets_in(names)) {
      present = present || ticket.name == own.name;
      if (!(ticket < own)) continue;
      waiter = who_waits(ticket);
      if (!waiter) continue;
      before = ticket.name;
      if (is_channel(queue, before.c_str())) break;
      waiter.reset();
    }
    if (!present) {  // an operator removed it, or the queue
      leave_queue(place);
      take_place(place);
      continue;
    }
    if (!waiter) return Seen::acquired;
    if (before != waited_for) interval = first_interval;
    waited_for = before;

    const auto watched = platform::open_to_watch(queue, before.c_str());
    HOLDFAST_STEP(file, Q6);
    if (is_missing(watched.why)) continue;
    if (is_forbidden(watched.why)) fail_unshared(queue, before.c_str());
    if (watched.why != done) fail(watched.why, "wait for");
    const auto writer = platform::writer_of(watched.descriptor.number());
    HOLDFAST_STEP(file, Q6_read);
    if (writer != platform::Writer::none) {
      const auto woken = sleep_on(watched.descriptor, writer, interval, patience);
      HOLDFAST_STEP(file, Q6_sleep);
      if (const Seen seen = seen_after(woken); seen != Seen::absent) return seen;
      if (platform::writer_of(watched.descriptor.number()) != platform::Writer::none) continue;
    }
    const auto named = platform::look(queue, before.c_str());
    HOLDFAST_STEP(file, Q7);
    if (is_missing(named)) continue;
    const Verdict verdict = path_.judge(*waiter);
    HOLDFAST_STEP(file, Q7_identity);
    if (is_proved_dead(verdict, watched.descriptor)) {
      const auto why = platform::remove_file(queue, before.c_str());
      HOLDFAST_STEP(file, Q7_unlink);
      if (is_forbidden(why)) fail_unshared(queue, before.c_str());
      if (why != done && !is_missing(why)) fail(why, "wait for");
      continue;
    }
    if (verdict == Verdict::other_kernel && patience.is_endless()) fail_other_kernel(*waiter);
    const Seen seen = wait_for_end_of(*waiter, interval, patience);
    HOLDFAST_STEP(file, Q7_sleep);
    if (seen != Seen::absent) return seen;
  }
}

/// The name goes before the channel is closed: who wakes up finds it gone.
void Contender::leave_queue(Place& place) noexcept {
  if (!place.queue) return;
  if (HOLDFAST_MUTANT(file, ticket_reused)) {
    has_ticket_ = platform::rename(place.queue.number(), place.name.c_str(), path_.parent(), ticket_.c_str()) == done;
    return place.queue.close();
  }
  if (!HOLDFAST_MUTANT(file, place_left_behind)) platform::remove_file(place.queue.number(), place.name.c_str());
  HOLDFAST_STEP(file, Q8);
  ticket_life_.close();
  HOLDFAST_STEP(file, Q8_close);
  place.queue.close();
}

void Contender::remove_queue() noexcept {
  if (HOLDFAST_MUTANT(file, queue_left_behind)) return;
  platform::remove_directory(path_.parent(), path_.queue());  // refused while others wait
}

/// For a caller who does not wait and must not pass those who do. Removes the places of the dead.
bool Contender::somebody_waits() {
  const auto queue = platform::open_directory(path_.parent(), path_.queue());
  HOLDFAST_STEP(file, T2);
  if (is_missing(queue.why)) return false;
  if (queue.why != done) fail_queue(queue.why);
  std::vector<std::string> names;
  const auto listed = platform::list(queue.descriptor.number(), names);
  HOLDFAST_STEP(file, T3);
  if (listed != done && !is_missing(listed)) fail(listed, "lock");
  for (const Ticket& ticket : tickets_in(names)) {
    const auto waiter = who_waits(ticket);
    if (!waiter) continue;
    const std::string name{ticket.name};
    if (!is_channel(queue.descriptor.number(), name.c_str())) continue;
    const auto watched = platform::open_to_watch(queue.descriptor.number(), name.c_str());
    HOLDFAST_STEP(file, T4);
    if (is_missing(watched.why)) continue;
    if (watched.why != done) return true;
    const auto writer = platform::writer_of(watched.descriptor.number());
    HOLDFAST_STEP(file, T4_read);
    if (writer != platform::Writer::none) return true;
    const auto named = platform::look(queue.descriptor.number(), name.c_str());
    HOLDFAST_STEP(file, T4_look);
    if (is_missing(named)) continue;
    const Verdict verdict = path_.judge(*waiter);
    HOLDFAST_STEP(file, T4_identity);
    if (!is_proved_dead(verdict, watched.descriptor)) return true;
    platform::remove_file(queue.descriptor.number(), name.c_str());
    HOLDFAST_STEP(file, T5);
  }
  platform::remove_directory(path_.parent(), path_.queue());
  HOLDFAST_STEP(file, T6);
  return false;
}
}  // namespace holdfast::detail
