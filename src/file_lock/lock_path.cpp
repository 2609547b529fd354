#include "file_lock/lock_path.hpp"

#include <map>
#include <mutex>
#include <tuple>

#include "file_lock/names_on_disk.hpp"
#include "process_wide.hpp"

namespace holdfast::detail {
namespace {
constexpr std::size_t name_max = 255;
/// `.<lock>.<16 digits>.<identity>.private` has to be a name, too; a longer lock name is replaced by its hash.
constexpr std::size_t side_name_rest = 1 + 1 + 16 + 1 + ProcessIdentity::max_encoded + private_suffix.size();
constexpr std::size_t longest_readable = name_max - side_name_rest;

[[noreturn]] void refuse(std::errc code, const std::filesystem::path& resource, std::string_view reason,
                         std::string_view remedy) {
  if (code == std::errc::too_many_files_open) remedy = "raise the limit (ulimit -n) or close some";
  throw Error{std::make_error_code(code), "make a lock for", resource.native(), reason, remedy};
}

/// FNV-1a: it only has to tell apart the long names in one directory.
std::uint64_t hash_of(std::string_view text) noexcept {
  std::uint64_t hash = 14695981039346656037U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211U;
  return hash;
}

std::string readable_part(std::string_view lock) {
  if (lock.size() <= longest_readable) return std::string{lock};
  const auto digits = hex(hash_of(lock));
  std::size_t cut = longest_readable - digits.size() - 1;
  while (cut > 0 && (static_cast<unsigned char>(lock[cut]) & 0xC0U) == 0x80U) --cut;  // not inside a UTF-8 character
  return std::string{lock.substr(0, cut)} + '~' + std::string{digits.data(), digits.size()};
}

struct Split {
  std::string parent, name;
};
/// "a/b/" -> "a", "b". An empty parent is where the path begins.
Split split(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  const auto slash = path.rfind('/');
  if (slash == std::string_view::npos) return {"", std::string{path}};
  return {std::string{path.substr(0, slash + 1)}, std::string{path.substr(slash + 1)}};
}

/// Which directory `.` or `a/..` is.
std::string canonical(int from, const std::string& path, const std::filesystem::path& resource) {
  const platform::Opened directory = platform::open_path(from, path);
  if (directory.why != platform::done) refuse(directory.why, resource, "", "");
  const auto link = "/proc/thread-self/fd/" + std::to_string(directory.descriptor.number());
  std::string target;
  auto why = platform::read_link(-1, link.c_str(), target);
  if (why == platform::done) {  // a text for people: of a directory that is removed or out of sight it is no path
    const platform::Opened again = platform::open_path(-1, target);
    platform::Node there, here;
    why = again.why;
    if (why == platform::done) why = platform::look(again.descriptor.number(), there);
    if (why == platform::done) why = platform::look(directory.descriptor.number(), here);
    if (why == platform::done && there.is(here)) return target;
  }
  refuse(why == platform::done ? std::errc::no_such_file_or_directory : why, resource,
         "the name of that directory cannot be found out", "name it in the path, instead of . or ..");
}

struct Resolved {
  platform::Descriptor parent;
  std::string name;
};
Resolved follow(const std::filesystem::path& resource) {
  std::string path = resource.native();
  platform::Descriptor from;  // where a relative path begins; none: here
  for (int links = 0; links < 40; ++links) {
    Split parts = split(path);
    if (parts.name.empty())
      refuse(std::errc::invalid_argument, resource, "the path has no last name", "name a file or a directory in it");
    platform::Opened parent = platform::open_path(from.number(), parts.parent);
    if (parent.why == std::errc::no_such_file_or_directory)
      refuse(parent.why, resource, "its directory does not exist", "create the directory first");
    if (parent.why != platform::done) refuse(parent.why, resource, "", "");
    if (parts.name == "." || parts.name == "..") {
      path = canonical(from.number(), path, resource);
      from.close();
      continue;
    }
    std::string target;
    const auto why = platform::read_link(parent.descriptor.number(), parts.name.c_str(), target);
    if (why == std::errc::invalid_argument || why == std::errc::no_such_file_or_directory ||
        why == std::errc::filename_too_long)  // no link
      return {std::move(parent.descriptor), std::move(parts.name)};
    // Or one resource would have two locks.
    if (why == std::errc::permission_denied)
      refuse(why, resource, "no permission to see whether it is a link",
             "the user of this process needs write and search permission in its directory");
    if (why != platform::done) refuse(why, resource, "", "");
    path = std::move(target);
    from = std::move(parent.descriptor);
  }
  refuse(std::errc::too_many_symbolic_link_levels, resource, "", "");
}
}  // namespace

std::shared_ptr<LockPath> LockPath::resolve(const std::filesystem::path& resource) {
  if (resource.empty() || resource.native().find('\0') != std::string::npos)
    refuse(std::errc::invalid_argument, resource, "a path has at least one byte and no zero byte", "");
  Resolved resolved = follow(resource);
  if (resolved.name.size() + lock_suffix.size() > name_max)
    refuse(std::errc::filename_too_long, resource, "the lock's name would be too long",
           "a resource's last name may have " + std::to_string(name_max - lock_suffix.size()) + " bytes");
  platform::Node where;
  if (const auto why = platform::look(resolved.parent.number(), where); why != platform::done)
    refuse(why, resource, "", "");

  using Key = std::tuple<std::uint64_t, std::uint64_t, std::string>;
  static auto& paths = *new std::map<Key, std::weak_ptr<LockPath>>;  // never destroyed, as table()
  Key key{where.device, where.inode, resolved.name};
  const std::lock_guard guard{table()};
  static std::size_t tidy_at = 64;
  if (paths.size() >= tidy_at) {
    std::erase_if(paths, [](const auto& entry) { return entry.second.expired(); });
    tidy_at = 2 * paths.size() + 64;
  }
  auto& known = paths[std::move(key)];
  if (auto path = known.lock()) return path;

  auto path = std::make_shared<LockPath>();
  path->parent_ = std::move(resolved.parent);
  path->lock_ = resolved.name + std::string{lock_suffix};
  path->side_prefix_.append(".").append(readable_part(path->lock_)).append(".");
  path->queue_ = path->side_prefix_ + "queue";
  std::string_view shown = resource.native();
  while (shown.size() > 1 && shown.back() == '/') shown.remove_suffix(1);
  path->shown_ = std::string{shown} + std::string{lock_suffix};
  path->one_kernel_ = platform::belongs_to_one_kernel(path->parent());
  constexpr std::uint32_t sticky = 01000;
  path->sticky_ = (where.mode & sticky) != 0;
  known = path;
  return path;
}

Verdict LockPath::judge(const ProcessIdentity& identity) const {
  switch (identity.liveness()) {
    case Liveness::alive:
      return Verdict::alive;
    case Liveness::dead:
      return Verdict::dead;
    case Liveness::unknown:
      break;
  }
  // Elsewhere it may have its descriptors open where this kernel cannot see them: on another machine, or through another
  // mount of the same server.
  return one_kernel_ ? Verdict::unprovable : Verdict::other_kernel;
}

bool is_channel(int at, const char* name) {
  platform::Node node;
  return platform::look(at, name, node) == platform::done &&
         (node.kind == platform::Kind::channel || node.kind == platform::Kind::file);
}
}  // namespace holdfast::detail
