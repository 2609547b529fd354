// plausible_errors.hpp - which errors a system call may have that is made as it should be. No public interface.
// src/testing/<os>/plausible_errors.cpp provides it.
#pragma once
#include <string>
#include <vector>

#include "testing/tracer.hpp"

namespace holdfast::harness {
struct PlausibleError {
  int error = 0;
  bool done = false;  ///< The call has done its work, and says that it has not.
};
[[nodiscard]] std::vector<PlausibleError> plausible_errors(const Tracer::Call& call, bool done_as_well);
[[nodiscard]] std::string error_name(int error);  ///< "ENOSPC"
}  // namespace holdfast::harness
