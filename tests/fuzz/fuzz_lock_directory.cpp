// The directory in which a lock stands, with anything in it: in the place of the lock, of its queue, of other contenders' private
// directories and tickets; inside of these; and held open by strangers.
//
// Input: one byte for how the lock is used, then objects: one byte for where it stands, one for what it is and who has it open,
// one for how its name begins, one for whose identity is in it, one for the length of what is put behind that, and these bytes.
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include <holdfast/file_lock.hpp>
#include <holdfast/testing/temp_dir.hpp>

#include "file_lock/names_on_disk.hpp"
#include "fuzzing.hpp"

using namespace std::chrono_literals;
using fuzz::attempt;
using fuzz::check;
using fuzz::condition;
using holdfast::errc;
using holdfast::FileLock;
namespace fs = std::filesystem;
namespace detail = holdfast::detail;

namespace {
constexpr std::string_view lock_name = "x.lock", side_prefix = ".x.lock.", queue_name = ".x.lock.queue";
constexpr std::size_t object_limit = 40;

const std::vector<std::error_condition> refusals = {condition(errc::foreign),
                                                    condition(errc::broken),
                                                    std::errc::too_many_symbolic_link_levels,
                                                    std::errc::no_such_file_or_directory,
                                                    std::errc::not_a_directory,
                                                    std::errc::filename_too_long,
                                                    std::errc::invalid_argument,
                                                    std::errc::no_such_device_or_address};

/// What one input puts there.
class Place {
 public:
  explicit Place(fuzz::Script& script) : root_{directory() / "d"} {
    fs::create_directory(root_);
    last_ = root_;
    for (std::size_t i = 0; i < object_limit && !script.empty(); ++i) add(script);
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place() {
    for (const int number : held_) ::close(number);
    fs::remove_all(root_);
  }
  [[nodiscard]] fs::path resource() const { return root_ / "x"; }
  [[nodiscard]] const std::vector<fs::path>& of_strangers() const { return of_strangers_; }

  /// Its only mark is one of this process, which lives.
  [[nodiscard]] bool has_live_owner() const {
    bool any = false;
    std::error_code why;
    if (!fs::is_directory(fs::symlink_status(root_ / lock_name, why))) return false;
    for (const auto& entry : fs::directory_iterator{root_ / lock_name}) {
      const auto name = entry.path().filename().native();
      const auto owner = detail::whose_name(name, detail::owned_prefix, "");
      if (detail::whose_name(name, detail::freed_prefix, "")) return false;
      if (!owner) continue;
      const auto status = entry.symlink_status();
      if (owner->encode() != fuzz::identity(fuzz::Who::self)) return false;
      if (!fs::is_fifo(status) && !fs::is_regular_file(status)) return false;
      any = true;
    }
    return any;
  }

 private:
  static const fs::path& directory() {
    static const holdfast::harness::TempDir temporary;
    return temporary.path();
  }

  void add(fuzz::Script& script) {
    const unsigned where = script.byte(), what = script.byte(), begins = script.byte();
    const auto whose = fuzz::identity(fuzz::who(script.byte()));
    const std::string more = script.text(script.byte());
    std::string name;
    switch (begins % 10) {
      case 0:
        break;
      case 1:
        name = "o.0123456789abcdef." + whose;
        break;
      case 2:
        name = "f.0123456789abcdef." + whose;
        break;
      case 3:
        name = "t." + std::to_string(begins / 10) + ".0123456789abcdef." + whose;
        break;
      case 4:
        name = std::string{side_prefix} + "0123456789abcdef." + whose + ".private";
        break;
      case 5:
        name = std::string{side_prefix} + "0123456789abcdef." + whose + ".ticket";
        break;
      case 6:
        name = lock_name;
        break;
      case 7:
        name = queue_name;
        break;
      case 8:
        name = "x";
        break;
      default:
        name = side_prefix;
    }
    edit(name, more, begins >= 128);
    if (name.empty() || name == "." || name == ".." || name.size() > 255 || name.find('/') != name.npos ||
        name.find('\0') != name.npos)
      return;
    const fs::path folder = where % 4 == 0   ? root_
                            : where % 4 == 1 ? root_ / lock_name
                            : where % 4 == 2 ? root_ / queue_name
                                             : last_;
    std::error_code why;
    if (!fs::is_directory(fs::symlink_status(folder, why))) return;
    const fs::path path = folder / name;
    if (!make(path, what)) return;
    if (folder == root_ && is_strangers(name)) of_strangers_.push_back(path);
    hold(path, what >> 4U);
  }
  /// Appended; or, two bytes at a time, which byte of the name becomes which.
  static void edit(std::string& name, const std::string& more, bool in_place) {
    if (!in_place || name.empty()) {
      name += more;
      return;
    }
    for (std::size_t i = 0; i + 1 < more.size(); i += 2)
      name[static_cast<unsigned char>(more[i]) % name.size()] = more[i + 1];
  }
  bool make(const fs::path& path, unsigned what) {
    switch (what % 8) {
      case 0:
      case 1:
      case 2:
        return ::mkfifo(path.c_str(), 0600) == 0;
      case 3: {
        const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (file < 0) return false;
        check(::write(file, "what", 4) == 4, "write");
        ::close(file);
        return true;
      }
      case 4:
      case 5:
        if (::mkdir(path.c_str(), 0700) != 0) return false;
        last_ = path;
        return true;
      case 6:  // to where nothing is, or to itself: never out of here
        return ::symlink(path.filename().native().size() % 2 == 0 ? "nowhere" : path.filename().c_str(),
                         path.c_str()) == 0;
      default:
        return ::mknod(path.c_str(), S_IFSOCK | 0600, 0) == 0;
    }
  }
  void hold(const fs::path& path, unsigned how) {
    if (how == 0 || how > 5) return;
    const bool is_directory = fs::is_directory(fs::symlink_status(path));
    const int access = is_directory || how % 2 == 0 ? O_RDONLY : O_RDWR;
    const int number = ::open(path.c_str(), access | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (number < 0) return;
    if (how >= 3) static_cast<void>(::flock(number, LOCK_EX | LOCK_NB));
    if (how == 5 && !is_directory) check(::write(number, "noise", 5) == 5, "write");
    held_.push_back(number);
  }
  static bool is_strangers(std::string_view name) {
    return name != "x" && name != lock_name && name != queue_name &&
           !detail::whose_name(name, side_prefix, detail::private_suffix) &&
           !detail::whose_name(name, side_prefix, detail::idle_ticket_suffix);
  }

  fs::path root_, last_;
  std::vector<int> held_;
  std::vector<fs::path> of_strangers_;
};

void look(const fs::path& resource) {
  attempt(refusals, [&] {
    const auto holder = FileLock::holder(resource);
    if (!holder) return;
    static_cast<void>(to_string(holder->owner));
    for (const auto& waiter : holder->queue) static_cast<void>(to_string(waiter));
  });
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Script script{data, size};
  const unsigned choice = script.byte();
  const Place place{script};
  const fuzz::DescriptorWatch watch;
  const bool has_live_owner = place.has_live_owner();
  look(place.resource());
  attempt(refusals, [&] {
    FileLock lock{place.resource(), {.fair = (choice & 1U) == 0}};
    bool locked = false;
    for (const bool waiting : {false, true}) {
      attempt(refusals, [&] { locked = waiting ? lock.try_lock_for(2ms) : lock.try_lock(); });
      check(locked == lock.owns_lock(), "it does not know whether it is locked");
      check(!locked || !has_live_owner, "taken from a live owner");
      look(place.resource());
      if (!locked) continue;
      static_cast<void>(to_string(lock.previous_owner()));
      bool second = false;
      attempt({std::errc::resource_deadlock_would_occur}, [&] {
        FileLock another{place.resource()};
        second = another.try_lock();
      });
      check(!second, "two owners");
      check(lock.unlock(), "it cannot be unlocked");
      locked = false;
    }
  });
  for (const auto& path : place.of_strangers())
    check(fs::exists(fs::symlink_status(path)), "a stranger's " + path.filename().native() + " has been removed");
  return 0;
}
