// Not holdfast: a platform that includes layer 3, which check_layers.cmake must object to.
#include <holdfast/file_lock.hpp>
#ifdef __linux__  // right here
#endif
