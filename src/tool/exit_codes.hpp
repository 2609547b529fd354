// exit_codes.hpp - what scripts branch on.
#pragma once

namespace holdfast::tool {
constexpr int exit_holds = 0;
constexpr int exit_fails = 1;
constexpr int exit_unusable = 2;  ///< It could not be tried; one line on standard error says why.
}  // namespace holdfast::tool
