#include <holdfast/platform/descriptor.hpp>

#include <cerrno>

#include <unistd.h>

namespace holdfast::platform {
void close_descriptor(int descriptor) noexcept {
  const int kept = errno;  // a destructor runs between a failed call and the look at its errno
  ::close(descriptor);  // EINTR is no reason to try again: Linux has closed it by then, and the number may be another's
  errno = kept;
}
}  // namespace holdfast::platform
