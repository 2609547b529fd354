// Not holdfast: what check_layers.cmake must object to.
#include <unistd.h>  // a system header

#include <holdfast/error.hpp>  // right
#ifdef __linux__               // an operating system in a header
#endif
