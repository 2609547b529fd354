// progress.hpp - how far the run is, on a terminal.
#pragma once
#include <cstdio>
#include <functional>
#include <memory>
#include <string>

namespace holdfast::tool {
/// A bar in the last line of a terminal. Nothing at all where there is no terminal.
class Progress {
 public:
  /// total: the sum of the weights of all phases. stream: nullptr, or not a terminal: silent.
  Progress(std::FILE* stream, double total);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress();  ///< Clears the line.

  /// Draws until it is destroyed, ten times a second.
  class Phase {
   public:
    /// fraction: how much of it is done, 0 to 1; called by another thread.
    Phase(Progress& progress, std::string name, double weight, std::function<double()> fraction);
    Phase(const Phase&) = delete;
    Phase& operator=(const Phase&) = delete;
    ~Phase();

   private:
    struct Drawing;
    Progress& progress_;
    double weight_;
    std::unique_ptr<Drawing> drawing_;
  };

 private:
  void draw(double done, const std::string& name) const;

  std::FILE* stream_;
  double total_;
  double done_ = 0;
};
}  // namespace holdfast::tool
