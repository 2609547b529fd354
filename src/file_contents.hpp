// file_contents.hpp - the text of a small file, read also while what it tells of ends.
// Layer 0. No public interface.
#pragma once
#include <fstream>
#include <sstream>
#include <string>

namespace holdfast {
/// As far as it can be read: a file in /proc can be opened, and yet read(2) fails with ESRCH once its process has ended and
/// been reaped. (That is why not std::istreambuf_iterator: with libstdc++ it throws then.)
[[nodiscard]] inline std::string contents_of_file(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream{path}.rdbuf();
  return text.str();
}
}  // namespace holdfast
