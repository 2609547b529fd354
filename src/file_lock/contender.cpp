// All steps but those of the queue, which has a file of its own.
#include "file_lock/contender.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

#include <holdfast/steps.hpp>

namespace holdfast::detail {
namespace {
using platform::done;
using std::chrono::nanoseconds;

constexpr nanoseconds last_interval = std::chrono::milliseconds{100}, stranger_interval = std::chrono::milliseconds{50},
                      watched_stranger_interval = std::chrono::seconds{1};

nanoseconds jittered(nanoseconds interval) noexcept {
  const auto spread = static_cast<std::uint64_t>(interval.count());
  const auto now = static_cast<std::uint64_t>(Deadline::Clock::now().time_since_epoch().count());
  return nanoseconds{static_cast<std::int64_t>(spread / 2 + (now * 0x9E3779B97F4A7C15U >> 20U) % (spread / 2 + 1))};
}
}  // namespace

// --- Patience -------------------------------------------------------------------------------------------------------

int Patience::stop_number() {
  if (stop_ == nullptr || !stop_->stop_possible()) return -1;
  if (!signal_) signal_.emplace(*stop_);
  return signal_->number();
}

platform::Woken Patience::sleep(int watched) {
  slept_ = true;
  return platform::wait_for(watched, stop_number(), deadline_);
}

platform::Woken Patience::sleep(int watched, nanoseconds interval) {
  slept_ = true;
  const Deadline until{std::min(deadline_.time(), Deadline{jittered(interval)}.time())};
  const auto woken = platform::wait_for(watched, stop_number(), until);
  return woken == platform::Woken::deadline && !deadline_.passed() ? platform::Woken::event : woken;
}

// --- Errors ---------------------------------------------------------------------------------------------------------

Error Contender::failure(std::errc why, std::string_view what) const {
  std::string reason, remedy;
  switch (why) {
    case std::errc::permission_denied:
    case std::errc::operation_not_permitted:
      reason = "no permission to make or move entries in its directory";
      remedy = "the user of this process needs write and search permission there";
      break;
    case std::errc::read_only_file_system:
      remedy = "a lock needs a directory that can be written to";
      break;
    case std::errc::no_space_on_device:
      if (platform::has_free_inodes(path_.parent())) break;
      reason = "no inodes left on the file system";
      remedy = "remove files there: the number of files is exhausted, not the space";
      break;
    case std::errc::too_many_files_open:
      remedy = "a lock in use needs up to six descriptors: raise the limit (ulimit -n) or close some";
      break;
    case std::errc::no_such_file_or_directory:
      reason = "its directory has been removed";
      remedy = "make a new FileLock once the directory is there again";
      break;
    default:
      break;
  }
  return Error{std::make_error_code(why), what, path_.shown(), reason, remedy};
}

void Contender::fail_foreign() const {
  throw Error{errc::foreign, "lock", path_.shown(), "what bears the lock's name is not a directory",
              "a lock is a directory: move the file or link away if no program needs it there"};
}

void Contender::fail_queue(std::errc why) const {
  if (is_forbidden(why)) fail_unshared(path_.parent(), path_.queue());
  if (why != std::errc::not_a_directory && why != std::errc::too_many_symbolic_link_levels) fail(why, "wait for");
  throw Error{errc::foreign, "lock", path_.shown(),
              "what bears the name of its queue, " + std::string{path_.queue()} + ", is not a directory",
              "move the file or link away if no program needs it there"};
}

void Contender::fail_unshared(int at, const char* name) const {
  platform::Node node;
  const bool known = platform::look(at, name, node) == done;
  throw Error{std::make_error_code(std::errc::permission_denied), "lock", path_.shown(),
              "it belongs to user id " + (known ? std::to_string(node.owner) : std::string{"(unknown)"}) +
                  ", who does not share it with this process's user",
              "all programs that use this lock have to choose Sharing::group or Sharing::everyone"};
}

void Contender::fail_other_kernel(const ProcessIdentity& owner) const {
  throw Error{errc::other_host,
              "lock",
              path_.shown(),
              "its owner, " + to_string(owner) + ", runs " +
                  (owner.same_boot() ? "in another PID namespace, and this file system may have several mounts"
                                     : "under another kernel") +
                  ", so that its death could not be noticed here",
              "wait for it with try_lock_until; if that host or process is gone for good, remove the directory",
              std::make_shared<const ProcessIdentity>(owner)};
}

// --- Names and modes ------------------------------------------------------------------------------------------------

std::uint32_t Contender::directory_mode() const noexcept {
  return options_.sharing == Sharing::user ? 0700U : options_.sharing == Sharing::group ? 0770U : 0777U;
}
std::uint32_t Contender::channel_mode() const noexcept {
  return options_.sharing == Sharing::user ? 0600U : options_.sharing == Sharing::group ? 0660U : 0666U;
}

/// Corrects what the umask took away; a setgid bit that came from the directory stays.
std::errc Contender::set_mode(const char* name, std::uint32_t mode) const {
  platform::Node node;
  if (const auto why = platform::look(path_.parent(), name, node); why != done) return why;
  constexpr std::uint32_t setgid = 02000;
  const std::uint32_t wanted = mode | (node.mode & setgid);
  return node.mode == wanted ? done : platform::set_mode(path_.parent(), name, wanted);
}

void Contender::join_side_name(NameBuffer& name, std::string_view suffix) const noexcept {
  const auto digits = hex(next_name_number());
  name.join({path_.side_prefix(), {digits.data(), digits.size()}, ".", identity_.view(), suffix});
}

// --- P: prepare -----------------------------------------------------------------------------------------------------

void Contender::prepare() {
  if (prepared_) return;
  prepare_home();
  if (!options_.fair || has_ticket_) return;
  try {
    make_ticket();
  } catch (...) {
    clean_up();
    throw;
  }
}

void Contender::prepare_home() {
  identity_.join({ProcessIdentity::self().encode()});
  sweep();
  make_private_directory();
}

/// Until its kernel lock is taken, a sweeper in another PID namespace may take it for a dead one's, and remove it.
void Contender::make_private_directory() {
  for (;;) {
    join_side_name(home_, private_suffix);
    auto why = platform::make_directory(path_.parent(), home_.c_str(), directory_mode());
    if (why == std::errc::file_exists) continue;
    if (why != done) fail(why, "lock");
    why = set_mode(home_.c_str(), directory_mode());
    if (why == done) why = home_life_.open([&] { return platform::open_directory(path_.parent(), home_.c_str()); });
    if (why == done && platform::try_kernel_lock(home_life_.number()) == std::errc::resource_unavailable_try_again)
      continue;
    if (why == done) {
      HOLDFAST_STEP(file, P1);
      why = make_mark();
    }
    if (why == done) {
      HOLDFAST_STEP(file, P2);
      prepared_ = true;
      return;
    }
    const Error error = failure(why, "lock");  // before the inodes of what is removed are free again
    home_life_.close();
    platform::remove_directory(path_.parent(), home_.c_str());
    if (!is_missing(why)) throw error;
  }
}

std::errc Contender::make_mark() noexcept {
  const auto digits = hex(next_name_number());
  mark_.join({owned_prefix, {digits.data(), digits.size()}, ".", identity_.view()});
  lock_mark_.join({path_.lock(), "/", mark_.view()});
  NameBuffer home_mark;
  home_mark.join({home_.view(), "/", mark_.view()});
  auto why = platform::make_channel(path_.parent(), home_mark.c_str(), channel_mode());
  if (why == std::errc::file_exists) why = done;  // nobody else makes this name: a file server got the request twice
  if (why == done) why = set_mode(home_mark.c_str(), channel_mode());
  if (why != done) platform::remove_file(path_.parent(), home_mark.c_str());
  return why;
}

/// R1: a name belongs to one inode for ever, so what somebody may still look at is never used again.
void Contender::renew_mark() {
  proof_.close();
  HOLDFAST_STEP(file, A2_close);
  platform::remove_file(home_life_.number(), mark_.c_str());
  HOLDFAST_STEP(file, A2_unlink);
  const auto why = make_mark();
  HOLDFAST_STEP(file, A2_fresh);
  if (why == done || is_missing(why)) return;  // missing: somebody removed the directory, as A1 will find
  const Error error = failure(why, "lock");
  clean_up();
  throw error;
}

/// Until it is open, a sweeper in another PID namespace may take it for a dead one's, and remove it.
void Contender::make_ticket() {
  for (;;) {
    join_side_name(ticket_, idle_ticket_suffix);
    auto why = platform::make_channel(path_.parent(), ticket_.c_str(), channel_mode());
    if (why == std::errc::file_exists) continue;
    if (why != done) fail(why, "wait for");
    why = set_mode(ticket_.c_str(), channel_mode());
    if (why == done) why = ticket_life_.open([&] { return platform::open_to_own(path_.parent(), ticket_.c_str()); });
    has_ticket_ = why == done;
    if (has_ticket_) {
      std::ignore = platform::try_kernel_lock(ticket_life_.number());  // where a file stands for a channel, what tells
      HOLDFAST_STEP(file, P2);
      return;
    }
    platform::remove_file(path_.parent(), ticket_.c_str());
    if (!is_missing(why)) fail(why, "wait for");
  }
}

// --- S: sweep what the dead left ------------------------------------------------------------------------------------

void Contender::sweep() noexcept try {
  if (HOLDFAST_MUTANT(file, nothing_swept)) return;
  std::vector<std::string> names;
  if (platform::list(path_.parent(), names) != done) return;  // a directory that cannot be read can still be locked in
  for (const std::string& name : names)
    if (name.starts_with(path_.side_prefix())) sweep_one(name);
  // With fairness each acquisition looks at the queue itself.
  if (!options_.fair && std::find(names.begin(), names.end(), path_.queue()) != names.end())
    std::ignore = somebody_waits();
} catch (const std::exception&) {  // the next one sweeps
}

/// Of a side name, by its maker's identity or else by the kernel's lock that its maker took.
bool Contender::is_proved_dead(Verdict verdict, const platform::Descriptor& side) noexcept {
  if (HOLDFAST_MUTANT(file, unprovable_swept) && verdict == Verdict::unprovable) return true;
  return verdict == Verdict::dead ||
         (verdict == Verdict::unprovable && platform::try_kernel_lock(side.number()) == done);
}

void Contender::sweep_one(const std::string& name) noexcept {
  const bool is_ticket = name.ends_with(idle_ticket_suffix);
  const auto identity = whose_name(name, path_.side_prefix(), is_ticket ? idle_ticket_suffix : private_suffix);
  if (!identity) return;
  const Verdict verdict = path_.judge(*identity);
  if (verdict == Verdict::alive || verdict == Verdict::other_kernel) return;
  if (is_ticket) {
    const auto ticket = platform::open_to_watch(path_.parent(), name.c_str());
    if (ticket.why != done || platform::writer_of(ticket.descriptor.number()) != platform::Writer::none) return;
    if (!is_proved_dead(verdict, ticket.descriptor)) return;
    platform::remove_file(path_.parent(), name.c_str());
    HOLDFAST_STEP(file, S1);
    return;
  }
  const auto left = platform::open_directory(path_.parent(), name.c_str());
  if (left.why != done || !is_proved_dead(verdict, left.descriptor)) return;
  NameBuffer mine;  // whoever moves it away has it alone
  join_side_name(mine, private_suffix);
  if (platform::rename(path_.parent(), name.c_str(), path_.parent(), mine.c_str()) != done &&
      platform::look(path_.parent(), mine.c_str()) != done)  // as at A3
    return;
  HOLDFAST_STEP(file, S1);
  std::vector<std::string> inside;
  if (platform::list(left.descriptor.number(), inside) != done) return;
  for (const std::string& entry : inside) platform::remove_file(left.descriptor.number(), entry.c_str());
  HOLDFAST_STEP(file, S2);
  platform::remove_directory(path_.parent(), mine.c_str());
  HOLDFAST_STEP(file, S3);
}

// --- A: acquire what is free ----------------------------------------------------------------------------------------

bool Contender::acquire(Patience& patience) try {
  previous_.reset();
  recovered_ = false;
  prepare();
  const bool queue = options_.fair && platform::look(path_.parent(), path_.queue()) == done &&
                     !HOLDFAST_MUTANT(file, queue_not_looked_at);
  HOLDFAST_STEP(file, Q1);
  if (queue && patience.waits()) return acquire_in_turn(patience);
  if (queue && somebody_waits()) return false;
  if (seize()) return alone_ = true;
  return options_.fair && patience.waits() ? acquire_in_turn(patience) : acquire_without_queue(patience);
} catch (...) {
  proof_.close();
  throw;
}

bool Contender::acquire_without_queue(Patience& patience) {
  for (;;) {
    switch (take_over(patience)) {
      case Seen::acquired:
        return true;
      case Seen::stopped:
        return false;
      case Seen::busy:
        if (!patience.waits()) return false;
        HOLDFAST_STEP(file, W);
        return seize();  // after a deadline, what is free just now
      case Seen::absent:
        break;
    }
    if (seize()) return true;
    if (!patience.waits()) return false;
  }
}

bool Contender::seize() {
  for (int attempt = 0;; ++attempt) {
    auto why = done;
    // Kept open from the last time: if somebody has removed its name, the lock would appear without an owner.
    if (proof_.is_open() && !platform::has_name(proof_.number())) proof_.close();
    if (!proof_.is_open()) {
      why = proof_.open([&] {
        return alone_ ? platform::open_to_own_and_see(home_life_.number(), mark_.c_str())
                      : platform::open_to_own(home_life_.number(), mark_.c_str());
      });
      HOLDFAST_STEP(file, A1);
      if (why == done && !HOLDFAST_MUTANT(file, owned_without_kernel_lock))
        why = platform::try_kernel_lock(proof_.number());
      HOLDFAST_STEP(file, A2);
      if (why == std::errc::resource_unavailable_try_again) {
        renew_mark();
        continue;
      }
    }
    if (why == done) why = platform::rename_no_replace(path_.parent(), home_.c_str(), path_.lock());
    // A file server may have done what it reports as failed, or as done by a first request that was repeated.
    if (why == done || (why != std::errc::file_exists && platform::look(path_.parent(), lock_mark_.c_str()) == done)) {
      HOLDFAST_STEP(file, A3);
      return true;
    }
    proof_.close();  // R4: nothing that others may wait for stays open in a wait
    HOLDFAST_STEP(file, A4);
    if (why == std::errc::file_exists) return false;
    if (!is_missing(why) || attempt == most_attempts) fail(why, "lock");
    clean_up();  // somebody removed the private directory
    prepare_home();
  }
}

// --- H: the owner in the way ----------------------------------------------------------------------------------------

Contender::Seen Contender::take_over(Patience& patience) {
  std::vector<std::string> names;
  std::string waited_for;
  nanoseconds interval = first_interval;
  int refusals = 0;
  for (;;) {
    if (patience.stopped()) return Seen::stopped;
    auto lock = platform::open_directory(path_.parent(), path_.lock());
    HOLDFAST_STEP(file, H1);
    if (is_missing(lock.why)) return Seen::absent;
    if (lock.why == std::errc::not_a_directory || lock.why == std::errc::too_many_symbolic_link_levels) fail_foreign();
    if (is_forbidden(lock.why)) fail_unshared(path_.parent(), path_.lock());
    if (lock.why != done) fail(lock.why, "lock");
    const int directory = lock.descriptor.number();
    platform::Node node;
    auto why = platform::look(directory, node);
    if (why == done) why = platform::list(directory, names);
    HOLDFAST_STEP(file, H1_list);
    if (is_missing(why)) continue;  // removed since
    if (why != done) fail(why, "lock");
    const auto is_still_the_lock = [&] {
      platform::Node now;
      return platform::look(path_.parent(), path_.lock(), now) == done && now.is(node);
    };
    const auto mark = find_mark(names);
    if (!mark && HOLDFAST_MUTANT(file, stranger_broken)) {
      platform::remove_directory(path_.parent(), path_.lock());
      continue;
    }
    if (!mark || !is_channel(directory, mark->name.c_str())) {
      const bool unchanged =
          is_still_the_lock() && !(mark && is_missing(platform::look(directory, mark->name.c_str())));
      HOLDFAST_STEP(file, H1_look);
      if (!unchanged) continue;
      if (!patience.waits()) return Seen::busy;
      const Seen seen = wait_for_stranger(std::move(lock.descriptor), node, patience);
      HOLDFAST_STEP(file, H1_stranger);
      if (seen != Seen::absent) return seen;
      continue;
    }
    if (mark->name != waited_for) {
      interval = first_interval;
      refusals = 0;
    }
    waited_for = mark->name;

    const auto watched = HOLDFAST_MUTANT(file, watched_as_a_writer)
                             ? platform::open_to_own(directory, mark->name.c_str())
                             : platform::open_to_watch(directory, mark->name.c_str());
    HOLDFAST_STEP(file, H2);
    if (is_missing(watched.why)) continue;
    if (is_forbidden(watched.why)) fail_unshared(directory, mark->name.c_str());
    if (watched.why != done) fail(watched.why, "lock");
    // Looked at after opening: either its owner sees a reader when it has moved the directory home, and closes, or this
    // sees that it was moved. Else one could sleep on a channel that its idle process keeps open.
    const bool still_there = is_still_the_lock();
    HOLDFAST_STEP(file, H2_look);
    if (!still_there) continue;
    const auto writer = HOLDFAST_MUTANT(file, polled_before_read) ? platform::Writer::quiet
                                                                  : platform::writer_of(watched.descriptor.number());
    HOLDFAST_STEP(file, H2_read);
    if (writer != platform::Writer::none) {
      if (!patience.waits()) return Seen::busy;
      const auto woken = sleep_on(watched.descriptor, writer, interval, patience);
      HOLDFAST_STEP(file, H3);
      if (const Seen seen = seen_after(woken); seen != Seen::absent) return seen;
      const auto writer_now = platform::writer_of(watched.descriptor.number());
      HOLDFAST_STEP(file, H3_read);
      if (writer_now != platform::Writer::none) continue;
    }
    // Released? Then its channel is not to be touched: its owner may be using it again.
    platform::Node now;
    why = platform::look(path_.parent(), path_.lock(), now);
    HOLDFAST_STEP(file, H4_look);
    if (is_missing(why)) return Seen::absent;
    if (why != done || !now.is(node)) continue;

    why = proof_.open([&] { return platform::open_to_own(directory, mark->name.c_str()); });
    HOLDFAST_STEP(file, H4);
    if (is_missing(why)) continue;
    if (is_forbidden(why)) fail_unshared(directory, mark->name.c_str());
    if (why != done) fail(why, "lock");
    if (!HOLDFAST_MUTANT(file, reclaimed_without_kernel_lock)) why = platform::try_kernel_lock(proof_.number());
    HOLDFAST_STEP(file, H4_lock);
    if (why != done) {
      proof_.close();
      HOLDFAST_STEP(file, H4_close);
      if (why != std::errc::resource_unavailable_try_again) fail(why, "lock");
      if (!patience.waits()) return Seen::busy;
      // A channel shows its new writer at H2. A plain file shows nothing, nor does a channel that a stranger has locked
      // without having it open for writing.
      platform::Node kind;
      constexpr int most_refusals = 2;
      if (platform::look(watched.descriptor.number(), kind) == done && kind.kind == platform::Kind::channel &&
          ++refusals <= most_refusals)
        continue;
      const auto woken = patience.sleep(-1, std::exchange(interval, std::min(2 * interval, stranger_interval)));
      if (const Seen seen = seen_after(woken); seen != Seen::absent) return seen;
      continue;
    }
    platform::Node held, named;
    bool same = platform::look(proof_.number(), held) == done &&
                platform::look(directory, mark->name.c_str(), named) == done && named.is(held);
    HOLDFAST_STEP(file, H5);
    same = same && is_still_the_lock();
    HOLDFAST_STEP(file, H5_look);
    if (!same) {
      proof_.close();
      continue;
    }
    if (mark->owned && !HOLDFAST_MUTANT(file, identity_not_asked)) {
      const Verdict verdict = path_.judge(mark->identity);
      HOLDFAST_STEP(file, H6);
      if (verdict == Verdict::alive || verdict == Verdict::other_kernel) {
        proof_.close();
        HOLDFAST_STEP(file, H6_close);
        if (!patience.waits()) return Seen::busy;
        if (verdict == Verdict::other_kernel && patience.is_endless()) fail_other_kernel(mark->identity);
        const Seen seen = wait_for_end_of(mark->identity, interval, patience);
        HOLDFAST_STEP(file, H6_sleep);
        if (seen != Seen::absent) return seen;
        continue;
      }
      // Once more, now that it is known to be dead: an owner that had closed its descriptors could release until then.
      const bool not_released = is_still_the_lock();
      HOLDFAST_STEP(file, H6_look);
      if (!not_released) {
        proof_.close();
        continue;
      }
    }
    recovered_ = mark->owned || HOLDFAST_MUTANT(file, news_of_a_release);
    if (recovered_ && !HOLDFAST_MUTANT(file, death_not_told))
      previous_ = mark->identity;  // before H7: nothing may fail between becoming the owner and returning
    if (inherit(lock.descriptor, mark->name)) return Seen::acquired;
    previous_.reset();
    recovered_ = false;
    proof_.close();
  }
}

/// H7: compare-and-swap on one incarnation. False: another one did it.
bool Contender::inherit(platform::Descriptor& lock, const std::string& mark) {
  NameBuffer mine;
  const auto digits = hex(next_name_number());
  mine.join({owned_prefix, {digits.data(), digits.size()}, ".", identity_.view()});
  if (HOLDFAST_MUTANT(file, reclaimed_by_path)) {
    join_side_name(mine, private_suffix);
    std::ignore = platform::rename(path_.parent(), path_.lock(), path_.parent(), mine.c_str());
    proof_.close();
    return seize();
  }
  auto why = platform::rename(lock.number(), mark.c_str(), lock.number(), mine.c_str());
  if (why != done && platform::look(lock.number(), mine.c_str()) == done) why = done;  // as at A3
  if (is_missing(why)) return false;
  if (is_forbidden(why)) fail_unshared(path_.parent(), path_.lock());
  if (why != done) fail(why, "lock");

  HOLDFAST_STEP(file, H7);

  // The owner from here on. The inherited directory takes the place of the private one.
  platform::remove_file(home_life_.number(), mark_.c_str());
  HOLDFAST_STEP(file, H7_unlink);
  platform::remove_directory(path_.parent(), home_.c_str());
  HOLDFAST_STEP(file, H7_rmdir);
  mark_ = mine;
  lock_mark_.join({path_.lock(), "/", mark_.view()});
  auto opened = home_life_.open([&] { return platform::open_directory(path_.parent(), path_.lock()); });
  if (opened != done)  // no descriptor left: this one has it open, though not in a way that a fork would know of
    opened = home_life_.open([&] { return platform::Opened{std::move(lock), done}; });
  std::ignore = platform::try_kernel_lock(home_life_.number());  // without it sweepers elsewhere do not see it in use
  return true;
}

/// Until the last writer of a channel has closed it. Who writes into it could wake this one as often as he likes: after
/// that it sleeps without watching for a while.
platform::Woken Contender::sleep_on(const platform::Descriptor& channel, platform::Writer writer, nanoseconds& interval,
                                    Patience& patience) {
  if (writer == platform::Writer::quiet) return patience.sleep(channel.number());
  return patience.sleep(-1, std::exchange(interval, std::min(2 * interval, last_interval)));
}

/// The owner or waiter lives, or cannot be judged, and has no channel open. Seen::absent: look again.
Contender::Seen Contender::wait_for_end_of(const ProcessIdentity& owner, nanoseconds& interval, Patience& patience) {
  const platform::Descriptor death = platform::watch_death(owner.pid());
  const Liveness now = owner.liveness();  // asked after opening: so it is this incarnation that is watched
  if (now == Liveness::dead) return Seen::absent;
  const auto woken = patience.sleep(now == Liveness::alive ? death.number() : -1, interval);
  interval = std::min(2 * interval, last_interval);
  return seen_after(woken);
}

/// A directory that holdfast did not make stands in the lock's place. Seen::absent: look again.
Contender::Seen Contender::wait_for_stranger(platform::Descriptor lock, const platform::Node& node,
                                             Patience& patience) {
  const platform::Descriptor changes = platform::watch_changes(lock.number());
  lock.close();  // while it is open, its removal is not told
  platform::Node now;
  if (platform::look(path_.parent(), path_.lock(), now) != done || !now.is(node)) return Seen::absent;
  return seen_after(patience.sleep(changes.number(), changes ? watched_stranger_interval : stranger_interval));
}

// --- R: release -----------------------------------------------------------------------------------------------------

std::error_code Contender::release() noexcept {
  auto why = HOLDFAST_MUTANT(file, released_without_a_look) ? done : platform::look(path_.parent(), lock_mark_.c_str());
  HOLDFAST_STEP(file, R1);
  if (why == std::errc::not_a_directory) why = std::errc::no_such_file_or_directory;  // a file stands there now
  for (int attempt = 0; why == done && attempt < 3; ++attempt) {
    why = platform::rename(path_.parent(), path_.lock(), path_.parent(), home_.c_str());
    if (why != done) {  // as at A3
      NameBuffer moved;
      moved.join({home_.view(), "/", mark_.view()});
      if (platform::look(path_.parent(), moved.c_str()) == done) why = done;
    }
    if (why == done) {
      HOLDFAST_STEP(file, R2);
      const bool watched = platform::has_reader(proof_.number());
      HOLDFAST_STEP(file, R3_look);
      if (!watched) return {};  // it may stay open for the next time
      proof_.close();
      HOLDFAST_STEP(file, R3);
      return {};
    }
    if (why != std::errc::file_exists && why != std::errc::directory_not_empty && why != std::errc::not_a_directory)
      break;
    join_side_name(home_, private_suffix);
    why = done;
  }
  if (why == std::errc::read_only_file_system || why == std::errc::io_error) return std::make_error_code(why);
  if (!is_missing(why)) why = release_in_place();
  if (why != done && !is_missing(why)) return std::make_error_code(why);
  platform::Node own, now;
  if (is_missing(why) && platform::look(home_life_.number(), own) == done &&
      platform::look(path_.parent(), path_.lock(), now) == done && now.is(own))
    platform::remove_directory(path_.parent(), path_.lock());  // empty, it would look like a stranger's for ever
  abandon();
  HOLDFAST_STEP(file, R3);
  return is_missing(why) ? make_error_code(errc::broken) : std::error_code{};
}

/// The directory cannot be moved (sticky parent, lower layer of an overlay, full disk), so its name inside says so.
std::errc Contender::release_in_place() noexcept {
  NameBuffer freed;
  freed.join({path_.lock(), "/", freed_prefix, mark_.view().substr(owned_prefix.size())});
  auto why = platform::rename(path_.parent(), lock_mark_.c_str(), path_.parent(), freed.c_str());
  if (why != done && platform::look(path_.parent(), freed.c_str()) == done) why = done;  // as at A3
  if (why == done) {
    HOLDFAST_STEP(file, R2b);
    return why;
  }
  // The disk is full even for that: a name less is always possible.
  why = platform::remove_file(path_.parent(), lock_mark_.c_str());
  HOLDFAST_STEP(file, R2c);
  if (why == done) why = platform::remove_directory(path_.parent(), path_.lock());
  HOLDFAST_STEP(file, R2c_rmdir);
  return why;
}

void Contender::abandon() noexcept {
  prepared_ = false;
  home_life_.close();
  proof_.close();
}

void Contender::prepare_next() noexcept try {
  if (recovered_) sweep();
  if (!prepared_) make_private_directory();
  if (options_.fair && !has_ticket_) make_ticket();
} catch (const std::exception&) {  // the next acquisition tries again, and says why not
}

void Contender::clean_up() noexcept {
  if (std::exchange(queue_is_left_, false)) {
    remove_queue();
    HOLDFAST_STEP(file, X_queue);
  }
  if (prepared_) {
    proof_.close();
    HOLDFAST_STEP(file, X);
    platform::remove_file(home_life_.number(), mark_.c_str());
    HOLDFAST_STEP(file, X_unlink);
    platform::remove_directory(path_.parent(), home_.c_str());
    HOLDFAST_STEP(file, X_rmdir);
    abandon();
  }
  if (has_ticket_) {
    platform::remove_file(path_.parent(), ticket_.c_str());
    HOLDFAST_STEP(file, X_ticket);
    ticket_life_.close();
    has_ticket_ = false;
  }
}

void Contender::forget_in_forked_child() noexcept {
  home_life_.close_in_forked_child();
  proof_.close_in_forked_child();
  ticket_life_.close_in_forked_child();
  prepared_ = has_ticket_ = queue_is_left_ = false;
}
}  // namespace holdfast::detail
