// Not holdfast: what check_layers.cmake must object to.
#include <system_error>
#include <fmt/core.h>  // a library in a header

#include <holdfast/file_lock.hpp>  // layer 0 includes layer 3
