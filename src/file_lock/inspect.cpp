#include "file_lock/inspect.hpp"

#include "file_lock/names_on_disk.hpp"

namespace holdfast::detail {
namespace {
using platform::done;

[[noreturn]] void fail(const LockPath& path, std::errc why) {
  throw Error{std::make_error_code(why), "inspect", path.shown()};
}

/// Reads only: the kernel's lock is never tried here, because that would disturb owners and rescuers.
Liveness liveness_of(const LockPath& path, const ProcessIdentity& identity, int directory, const char* name) {
  switch (path.judge(identity)) {
    case Verdict::alive:
      return Liveness::alive;
    case Verdict::dead:
      return Liveness::dead;
    case Verdict::other_kernel:
      return Liveness::unknown;
    case Verdict::unprovable:
      break;
  }
  const auto watched = platform::open_to_watch(directory, name);
  if (watched.why != done) return Liveness::unknown;
  return platform::writer_of(watched.descriptor.number()) == platform::Writer::none ? Liveness::dead : Liveness::alive;
}

std::vector<ProcessIdentity> queue_of(const LockPath& path) {
  const auto queue = platform::open_directory(path.parent(), path.queue());
  std::vector<std::string> names;
  if (queue.why != done || platform::list(queue.descriptor.number(), names) != done) return {};
  std::vector<ProcessIdentity> waiting;
  const auto tickets = tickets_in(names);
  for (auto ticket = tickets.rbegin(); ticket != tickets.rend(); ++ticket)
    if (auto waiter = who_waits(*ticket); waiter && is_channel(queue.descriptor.number(), ticket->name.data()))
      waiting.push_back(std::move(*waiter));
  return waiting;
}
}  // namespace

std::optional<Holder> inspect(const LockPath& path) {
  for (;;) {
    const auto lock = platform::open_directory(path.parent(), path.lock());
    if (lock.why == std::errc::no_such_file_or_directory) return {};
    Holder holder;
    holder.queue = queue_of(path);
    platform::Node node;
    if (lock.why == std::errc::permission_denied) {  // somebody's who does not share it
      const auto why = platform::look(path.parent(), path.lock(), node);
      if (why == std::errc::no_such_file_or_directory) continue;
      if (why != done) fail(path, why);
      holder.since = node.changed;
      return holder;
    }
    if (lock.why == std::errc::not_a_directory || lock.why == std::errc::too_many_symbolic_link_levels)
      throw Error{errc::foreign, "inspect", path.shown(), "what bears the lock's name is not a directory"};
    if (lock.why != done) fail(path, lock.why);
    const int directory = lock.descriptor.number();
    std::vector<std::string> names;
    auto why = platform::look(directory, node);
    if (why == done) why = platform::list(directory, names);
    if (why == std::errc::no_such_file_or_directory) continue;  // removed since
    if (why != done) fail(path, why);
    auto mark = find_mark(names);
    platform::Node now;
    if (platform::look(path.parent(), path.lock(), now) != done || !now.is(node)) continue;  // released meanwhile
    holder.since = node.changed;
    if (!mark || !is_channel(directory, mark->name.c_str())) return holder;
    if (!mark->owned) return {};
    holder.liveness = liveness_of(path, mark->identity, directory, mark->name.c_str());
    holder.owner = std::move(mark->identity);
    return holder;
  }
}
}  // namespace holdfast::detail
