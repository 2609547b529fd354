#include <holdfast/error.hpp>

#include <type_traits>
#include <utility>

#include "text.hpp"

namespace holdfast {
static_assert(std::is_nothrow_copy_constructible_v<Error> && std::is_nothrow_copy_assignable_v<Error>);

namespace {
class Category final : public std::error_category {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "holdfast"; }
  [[nodiscard]] std::string message(int value) const override {
    switch (static_cast<errc>(value)) {
      case errc::foreign:
        return "what bears this name was not made by holdfast";
      case errc::corrupt:
        return "it contradicts itself";
      case errc::other_host:
        return "its owner runs under another kernel and cannot be judged from here";
      case errc::broken:
        return "it was broken while it was held";
      case errc::version_mismatch:
        return "it was made by another version of holdfast";
      case errc::layout_mismatch:
        return "its layout is not the one asked for";
      case errc::incomplete:
        return "it is not finished";
      case errc::other_pid_namespace:
        return "it belongs to another PID namespace";
      case errc::in_use:
        return "it is in use";
      case errc::too_many_participants:
        return "it has no room for another user";
      case errc::deaths_unseen:
        return "the death of this thread would go unnoticed";
      case errc::schema_mismatch:
        return "its schema is not the one asked for";
      case errc::concurrent_use:
        return "it belongs to another thread";
      case errc::reclaimed:
        return "an operator took it from this process";
      case errc::checksum_mismatch:
        return "its bytes are not those that were committed";
    }
    return "unknown error " + std::to_string(value);
  }
};

[[gnu::cold]] std::string compose(const std::error_code& code, std::string_view operation, std::string_view subject,
                                  std::string_view reason, std::string_view remedy) {
  std::string what{"cannot "};
  what += operation;
  if (!subject.empty()) what.append(" '").append(text::escaped(subject)).append("'");
  what += ": ";
  if (reason.empty())
    what += code.message();
  else
    what += reason;
  if (!remedy.empty()) what.append(" (").append(remedy).append(")");
  return what;
}
}  // namespace

const std::error_category& category() noexcept {
  static const Category the_category;
  return the_category;
}

std::error_code make_error_code(errc code) noexcept { return {static_cast<int>(code), category()}; }

[[gnu::cold]] Error::Error(std::error_code code, std::string_view operation, std::string_view subject,
                           std::string_view reason, std::string_view remedy,
                           std::shared_ptr<const ProcessIdentity> holder)
    : std::system_error{code},
      text_{std::make_shared<const Text>(
          Text{compose(code, operation, subject, reason, remedy), std::string{subject}, std::move(holder)})} {}

const char* Error::what() const noexcept { return text_->what.c_str(); }
std::string_view Error::subject() const noexcept { return text_->subject; }
const ProcessIdentity* Error::holder() const noexcept { return text_->holder.get(); }
}  // namespace holdfast
