// Only here to be sure that the headers are read as C++23, not as the C++20 that the library asks for.
#include <utility>

#include <holdfast/holdfast.hpp>

static_assert(__cplusplus > 202002L);
static_assert(std::to_underlying(holdfast::LockOutcome::clean) == 0);
