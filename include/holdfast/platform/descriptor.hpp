// platform/descriptor.hpp - owns one descriptor of the operating system. No public interface: it may change any time.
// Layer 1.
#pragma once
#include <utility>

namespace holdfast::platform {
void close_descriptor(int descriptor) noexcept;

class Descriptor {
 public:
  Descriptor() noexcept = default;
  explicit Descriptor(int number) noexcept : number_{number} {}
  Descriptor(Descriptor&& other) noexcept : number_{std::exchange(other.number_, -1)} {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) {
      close();
      number_ = std::exchange(other.number_, -1);
    }
    return *this;
  }
  ~Descriptor() { close(); }

  [[nodiscard]] explicit operator bool() const noexcept { return number_ >= 0; }
  [[nodiscard]] int number() const noexcept { return number_; }
  [[nodiscard]] int release() noexcept { return std::exchange(number_, -1); }  ///< Somebody else closes it.
  void close() noexcept {
    if (number_ >= 0) close_descriptor(std::exchange(number_, -1));
  }

 private:
  int number_ = -1;
};
}  // namespace holdfast::platform
