// files.hpp - where the tool works, and that nothing of it stays there.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace holdfast::tool {
/// A new directory for this user in the first of `bases` that allows it, removed with all that is in it by the destructor.
class ScratchDirectory {
 public:
  explicit ScratchDirectory(const std::vector<std::filesystem::path>& bases);  ///< Throws Error: of the last base.
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  ~ScratchDirectory();
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
};

/// The tested directory. Everything that a run makes in it has a name that begins with one mark, or with a dot and the
/// mark, which nothing else has; so others may work there meanwhile, and what is left can be told, and removed.
class TestedDirectory {
 public:
  explicit TestedDirectory(std::filesystem::path path);  ///< Throws Error.
  TestedDirectory(const TestedDirectory&) = delete;
  TestedDirectory& operator=(const TestedDirectory&) = delete;
  ~TestedDirectory();  ///< Removes what is left.

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  [[nodiscard]] std::filesystem::path resource(const std::string& name) const;  ///< A path in it, marked.
  [[nodiscard]] std::vector<std::string> leftovers() const;                     ///< Names, sorted. Throws Error.
  void clear() const noexcept;  ///< Removes all leftovers that can be removed.

 private:
  std::filesystem::path path_;
  std::string mark_;
};
}  // namespace holdfast::tool
