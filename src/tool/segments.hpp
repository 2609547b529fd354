// segments.hpp - the segments of a run, and that nothing of them stays in shared memory.
#pragma once
#include <string>
#include <vector>

namespace holdfast::tool {
/// All segments that a run makes have a name that begins with one mark, which nothing else has.
class TestedSegments {
 public:
  TestedSegments();
  TestedSegments(const TestedSegments&) = delete;
  TestedSegments& operator=(const TestedSegments&) = delete;
  ~TestedSegments();  ///< Removes what is left.

  [[nodiscard]] std::string name(const std::string& what) const;  ///< Marked.
  [[nodiscard]] std::vector<std::string> leftovers() const;       ///< Names, sorted. Throws Error.
  void clear() const noexcept;                                    ///< Removes all leftovers that can be removed.

 private:
  std::string mark_;
};
}  // namespace holdfast::tool
