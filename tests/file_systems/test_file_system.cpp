// test_file_system.cpp - a FUSE file system over a directory, in which operations fail as they do on a bad file server.
//
//   test_file_system <directory> <control file> <mount point> [FUSE option...]
//
// The control file holds what is to go wrong, a line each, and is read again whenever it has changed:
//   <operation> <fault> <error> <which>
//   operation  getattr mkdir mknod unlink rmdir rename chmod open opendir readdir create truncate, or any
//   fault      refused: nothing is done. lost: it is done, and the reply is an error
//   which      n: the n-th such operation from now on; */n: each n-th; +n: all from the n-th on
// and the word "plain" for a rename that knows no flags (EINVAL), "no_fifos" for a mknod without FIFOs (EPERM).
#define FUSE_USE_VERSION 31
#include <dirent.h>
#include <fcntl.h>
#include <fuse.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace {
struct Rule {
  std::string operation, fault;
  int error = 0;
  char which = ' ';
  unsigned long number = 0, seen = 0;
};

class Faults {
 public:
  void read_from(std::string file) { file_ = std::move(file); }

  /// The error that this operation is to give, and whether it is done all the same. 0: none.
  struct Fault {
    int error = 0;
    bool lost = false;
  };
  Fault next(std::string_view operation) {
    const std::lock_guard guard{mutex_};
    refresh();
    Fault fault;
    for (Rule& rule : rules_) {
      if (rule.operation != operation && rule.operation != "any") continue;
      ++rule.seen;
      const bool hit = rule.which == '*'   ? rule.seen % rule.number == 0
                       : rule.which == '+' ? rule.seen >= rule.number
                                           : rule.seen == rule.number;
      if (hit && fault.error == 0) fault = {rule.error, rule.fault == "lost"};
    }
    return fault;
  }
  bool has(std::string_view word) {
    const std::lock_guard guard{mutex_};
    refresh();
    for (const Rule& rule : rules_)
      if (rule.operation == word) return true;
    return false;
  }

 private:
  void refresh() {
    struct stat status {};
    if (::stat(file_.c_str(), &status) != 0) return rules_.clear();
    if (status.st_ino == inode_) return;  // the file is replaced by rename, never written to
    inode_ = status.st_ino;
    rules_.clear();
    std::ifstream lines{file_};
    for (std::string line; std::getline(lines, line);) {
      std::istringstream words{line};
      std::string which;
      Rule rule;
      words >> rule.operation >> rule.fault >> rule.error >> which;
      if (rule.operation.empty()) continue;
      if (which.starts_with("*/")) rule.which = '*', which.erase(0, 2);
      if (which.starts_with("+")) rule.which = '+', which.erase(0, 1);
      if (!which.empty()) rule.number = std::stoul(which);
      rules_.push_back(rule);
    }
  }

  std::mutex mutex_;
  std::string file_;
  ino_t inode_ = 0;
  std::vector<Rule> rules_;
};

Faults faults;
int root = -1;

/// Paths begin with a slash: "/" is the directory itself.
const char* in_root(const char* path) { return path[1] == '\0' ? "." : path + 1; }

/// A call that returns -1 and errno, with what is to go wrong with it.
template <class Call>
int attempt(std::string_view operation, Call call) {
  const auto fault = faults.next(operation);
  if (fault.error != 0 && !fault.lost) return -fault.error;
  const int result = call() < 0 ? -errno : 0;
  return fault.error != 0 ? -fault.error : result;
}

/// What is made belongs to who asked for it.
int give_away(const char* path) {
  const auto* const context = ::fuse_get_context();
  return ::fchownat(root, in_root(path), context->uid, context->gid, AT_SYMLINK_NOFOLLOW);
}

int get_attributes(const char* path, struct stat* status, fuse_file_info* file) {
  return attempt("getattr", [&] {
    return file != nullptr && file->fh != 0 ? ::fstat(static_cast<int>(file->fh), status)
                                            : ::fstatat(root, in_root(path), status, AT_SYMLINK_NOFOLLOW);
  });
}
int make_directory(const char* path, mode_t mode) {
  return attempt("mkdir", [&] { return ::mkdirat(root, in_root(path), mode) < 0 ? -1 : give_away(path); });
}
int make_node(const char* path, mode_t mode, dev_t device) {
  if (S_ISFIFO(mode) && faults.has("no_fifos")) return -EPERM;
  return attempt("mknod", [&] { return ::mknodat(root, in_root(path), mode, device) < 0 ? -1 : give_away(path); });
}
int make_link(const char* target, const char* path) {
  return attempt("symlink", [&] { return ::symlinkat(target, root, in_root(path)) < 0 ? -1 : give_away(path); });
}
int read_link(const char* path, char* target, size_t size) {
  const auto length = ::readlinkat(root, in_root(path), target, size - 1);
  if (length < 0) return -errno;
  target[length] = '\0';
  return 0;
}
int remove_file(const char* path) {
  return attempt("unlink", [&] { return ::unlinkat(root, in_root(path), 0); });
}
int remove_directory(const char* path) {
  return attempt("rmdir", [&] { return ::unlinkat(root, in_root(path), AT_REMOVEDIR); });
}
int move(const char* from, const char* to, unsigned flags) {
  if (flags != 0 && faults.has("plain")) return -EINVAL;
  return attempt("rename", [&] { return ::renameat2(root, in_root(from), root, in_root(to), flags); });
}
int change_mode(const char* path, mode_t mode, fuse_file_info*) {
  return attempt("chmod", [&] { return ::fchmodat(root, in_root(path), mode, 0); });
}
int change_owner(const char* path, uid_t user, gid_t group, fuse_file_info*) {
  return attempt("chown", [&] { return ::fchownat(root, in_root(path), user, group, AT_SYMLINK_NOFOLLOW); });
}
int set_times(const char* path, const timespec times[2], fuse_file_info*) {
  return attempt("utimens", [&] { return ::utimensat(root, in_root(path), times, AT_SYMLINK_NOFOLLOW); });
}

int open_for(const char* operation, const char* path, int flags, mode_t mode, fuse_file_info* file) {
  int opened = -1;
  const int result = attempt(operation, [&] {
    return opened = ::openat(root, in_root(path), (flags & ~O_APPEND) | O_CLOEXEC | O_NOFOLLOW, mode);
  });
  if (result != 0 && opened >= 0) ::close(opened);
  if (result != 0) return result;
  file->fh = static_cast<std::uint64_t>(opened);
  file->keep_cache = 1;  // what several processes have mapped stays where they see each other's writing
  return 0;
}
int open_file(const char* path, fuse_file_info* file) {
  // The kernel reads a page before it writes a part of it.
  const int flags = (file->flags & O_ACCMODE) == O_WRONLY ? (file->flags & ~O_ACCMODE) | O_RDWR : file->flags;
  return open_for("open", path, flags, 0, file);
}
int create(const char* path, mode_t mode, fuse_file_info* file) {
  const int result = open_for("create", path, O_CREAT | O_RDWR | (file->flags & O_EXCL), mode, file);
  return result != 0 ? result : give_away(path) < 0 ? -errno : 0;
}
int close_file(const char*, fuse_file_info* file) { return ::close(static_cast<int>(file->fh)) < 0 ? -errno : 0; }
int read(const char*, char* data, size_t size, off_t at, fuse_file_info* file) {
  const auto done = ::pread(static_cast<int>(file->fh), data, size, at);
  return done < 0 ? -errno : static_cast<int>(done);
}
int write(const char*, const char* data, size_t size, off_t at, fuse_file_info* file) {
  const auto done = ::pwrite(static_cast<int>(file->fh), data, size, at);
  return done < 0 ? -errno : static_cast<int>(done);
}
int truncate(const char* path, off_t size, fuse_file_info* file) {
  return attempt("truncate", [&] {
    if (file != nullptr) return ::ftruncate(static_cast<int>(file->fh), size);
    const int opened = ::openat(root, in_root(path), O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    const int result = opened < 0 ? -1 : ::ftruncate(opened, size);
    if (opened >= 0) ::close(opened);
    return result;
  });
}
int sync(const char*, int, fuse_file_info* file) { return ::fsync(static_cast<int>(file->fh)) < 0 ? -errno : 0; }

int open_directory(const char*, fuse_file_info*) {
  return attempt("opendir", [] { return 0; });
}
int list(const char* path, void* names, fuse_fill_dir_t add, off_t, fuse_file_info*, fuse_readdir_flags) {
  return attempt("readdir", [&] {
    const int opened = ::openat(root, in_root(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR* const directory = opened < 0 ? nullptr : ::fdopendir(opened);
    if (directory == nullptr) return -1;
    while (const auto* const entry = ::readdir(directory))
      if (add(names, entry->d_name, nullptr, 0, fuse_fill_dir_flags{}) != 0) break;
    return ::closedir(directory);
  });
}
int get_space(const char*, struct statvfs* facts) { return ::fstatvfs(root, facts) < 0 ? -errno : 0; }

void* begin(fuse_conn_info*, fuse_config* config) {
  config->use_ino = 1;
  config->hard_remove = 1;
  // libfuse's default: names and attributes are believed for a second, as by clients of file servers.
  config->entry_timeout = config->attr_timeout = 1;
  config->negative_timeout = 0;
  return nullptr;
}
}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return std::fprintf(stderr, "usage: %s directory control-file mount-point [option...]\n", argv[0]), 2;
  ::umask(0);
  root = ::open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) return std::perror(argv[1]), 2;
  faults.read_from(argv[2]);
  fuse_operations operations{};
  operations.init = begin;
  operations.getattr = get_attributes;
  operations.mkdir = make_directory;
  operations.mknod = make_node;
  operations.symlink = make_link;
  operations.readlink = read_link;
  operations.unlink = remove_file;
  operations.rmdir = remove_directory;
  operations.rename = move;
  operations.chmod = change_mode;
  operations.chown = change_owner;
  operations.utimens = set_times;
  operations.truncate = truncate;
  operations.open = open_file;
  operations.create = create;
  operations.release = close_file;
  operations.read = read;
  operations.write = write;
  operations.fsync = sync;
  operations.opendir = open_directory;
  operations.readdir = list;
  operations.statfs = get_space;
  std::vector<char*> arguments{argv[0]};
  arguments.insert(arguments.end(), argv + 3, argv + argc);
  return ::fuse_main(static_cast<int>(arguments.size()), arguments.data(), &operations, nullptr);
}
