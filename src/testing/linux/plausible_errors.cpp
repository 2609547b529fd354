#include "testing/plausible_errors.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>

namespace holdfast::harness {
namespace {
using Errors = std::vector<int>;

constexpr std::pair<int, const char*> names[] = {
    {EPERM, "EPERM"},   {ENOENT, "ENOENT"}, {EINTR, "EINTR"},           {EIO, "EIO"},
    {EAGAIN, "EAGAIN"}, {ENOMEM, "ENOMEM"}, {EACCES, "EACCES"},         {EBUSY, "EBUSY"},
    {EEXIST, "EEXIST"}, {EXDEV, "EXDEV"},   {EINVAL, "EINVAL"},         {ENFILE, "ENFILE"},
    {EMFILE, "EMFILE"}, {ENOSPC, "ENOSPC"}, {EROFS, "EROFS"},           {EMLINK, "EMLINK"},
    {ENOLCK, "ENOLCK"}, {ENOSYS, "ENOSYS"}, {EOPNOTSUPP, "EOPNOTSUPP"}, {EDQUOT, "EDQUOT"},
    {ESRCH, "ESRCH"},
};

/// Of a call that makes, moves or removes a name.
Errors changing(Errors more) {
  Errors errors{EACCES, EIO, EROFS, EINTR};
  errors.insert(errors.end(), more.begin(), more.end());
  return errors;
}

Errors of_fcntl(std::uint64_t command) {
  switch (static_cast<int>(command)) {
    case F_SETLK:
    case F_OFD_SETLK:
      return {EAGAIN, ENOLCK, EINTR};
    case F_SETLKW:
    case F_OFD_SETLKW:
      return {ENOLCK, EINTR};
    case F_GETLK:
    case F_OFD_GETLK:
      return {ENOLCK, EINTR};
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
      return {EMFILE};
    case F_ADD_SEALS:
    case F_GET_SEALS:
      return {EINVAL};
    default:
      return {};
  }
}

Errors of_open(std::uint64_t flags) {
  Errors errors{EACCES, EMFILE, ENFILE, ENOMEM, EINTR, EIO};
  if ((flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE) errors.insert(errors.end(), {ENOSPC, EDQUOT, EROFS});
  return errors;
}

Errors errors_of(const Tracer::Call& call) {
  const auto& of = call.arguments;
  switch (call.number) {
    case SYS_openat:
      return of_open(of[2]);
    case SYS_fcntl:
      return of_fcntl(of[1]);
    case SYS_flock:
      return {EAGAIN, ENOLCK, EINTR};
    case SYS_newfstatat:
      return {EACCES, EIO, ENOMEM, EINTR};
    case SYS_fstat:
      return {EIO, ENOMEM};
    case SYS_faccessat:
    case SYS_faccessat2:
      return {EACCES, EIO, ENOMEM, ENOSYS};
    case SYS_readlinkat:
      return {EACCES, EIO, ENOMEM};
    case SYS_fstatfs:
    case SYS_statfs:
      return {EIO, ENOSYS, EINTR};
    case SYS_getdents64:
      return {EIO, EINTR};
    case SYS_mkdirat:
    case SYS_mknodat:
      return changing({ENOSPC, EDQUOT, ENOMEM, EMLINK});
    case SYS_linkat:
      return changing({ENOSPC, EDQUOT, EPERM, ENOENT, EMLINK});
    case SYS_renameat:
      return changing({ENOSPC, EXDEV, EBUSY, ENOMEM});
    case SYS_renameat2:
      return changing({ENOSPC, EXDEV, EBUSY, ENOMEM, EINVAL, ENOSYS});
    case SYS_unlinkat:
      return changing({EBUSY, EPERM, ENOSPC});
    case SYS_fchmod:
    case SYS_fchmodat:
      return {EPERM, EIO, EROFS};
    case SYS_ftruncate:
      return {ENOSPC, EINTR, EIO, EPERM};
    case SYS_fallocate:
      return {ENOSPC, EINTR, EOPNOTSUPP, EIO};
    case SYS_memfd_create:
      return {EMFILE, ENFILE, ENOMEM, ENOSYS};
    case SYS_eventfd2:
    case SYS_inotify_init1:
      return {EMFILE, ENFILE, ENOMEM};
    case SYS_inotify_add_watch:
      return {ENOSPC, ENOMEM, ENOENT};
    case SYS_mmap:
    case SYS_mprotect:
    case SYS_mremap:
      return {ENOMEM};
    case SYS_madvise:
      return {EINVAL, ENOMEM, EAGAIN};
    case SYS_read:
    case SYS_pread64:
      return {EINTR, EIO};
    case SYS_write:
    case SYS_pwrite64:
      return {EINTR, EIO, ENOSPC};
    case SYS_ppoll:
      return {EINTR, ENOMEM};
    case SYS_futex: {
      const auto command = static_cast<int>(of[1]) & FUTEX_CMD_MASK;
      return command == FUTEX_WAIT || command == FUTEX_WAIT_BITSET ? Errors{EINTR, EAGAIN} : Errors{};
    }
    case 449:  // futex_waitv, which older headers do not name
      return {ENOSYS, EINTR, EAGAIN};
    case SYS_getrandom:
      return {ENOSYS, EINTR, EPERM};
    case SYS_pidfd_open:
      return {ENOSYS, EPERM, EMFILE, ENOMEM};
    case SYS_membarrier:
      return {ENOSYS, EPERM};
    case SYS_clone3:
      return {ENOSYS, EAGAIN, EPERM};
    case SYS_dup3:
      return {EMFILE, EINTR};
    case SYS_kill:
      return {EPERM};
#if defined(SYS_poll)
    case SYS_clone:
      return {EAGAIN};
    case SYS_open:
      return of_open(of[1]);
    case SYS_poll:
      return {EINTR, ENOMEM};
    case SYS_access:
    case SYS_readlink:
      return {EACCES, EIO, ENOMEM};
    case SYS_rename:
      return changing({ENOSPC, EXDEV, EBUSY, ENOMEM});
    case SYS_mkdir:
      return changing({ENOSPC, EDQUOT, ENOMEM});
    case SYS_rmdir:
    case SYS_unlink:
      return changing({EBUSY, EPERM});
#endif
    default:
      return {};
  }
}

/// A reply that was lost, and the question asked again; or a disk that failed too late.
Errors errors_when_done(const Tracer::Call& call) {
  switch (call.number) {
    case SYS_renameat:
    case SYS_renameat2:
      return {ENOENT, EIO};
    case SYS_unlinkat:
      return {ENOENT, EIO};
    case SYS_mkdirat:
    case SYS_mknodat:
    case SYS_linkat:
      return {EEXIST, EIO};
    default:
      return {};
  }
}
}  // namespace

/// That a name is not there, or is a link, would be a false answer rather than a failure: it is given only of what may well be
/// missing on another machine, such as /proc.
std::vector<PlausibleError> plausible_errors(const Tracer::Call& call, bool done_as_well) {
  std::vector<PlausibleError> errors;
  if (call.number == SYS_close) return {{EIO, true}, {EINTR, true}};  // whatever it says, the descriptor is gone
  for (const int error : errors_of(call)) errors.push_back({error, false});
  if (call.path.starts_with("/proc/")) errors.push_back({ENOENT, false});
  if (done_as_well)
    for (const int error : errors_when_done(call)) errors.push_back({error, true});
  return errors;
}

std::string error_name(int error) {
  const auto* const known =
      std::find_if(std::begin(names), std::end(names), [&](auto& one) { return one.first == error; });
  return known != std::end(names) ? known->second : std::to_string(error);
}
}  // namespace holdfast::harness
