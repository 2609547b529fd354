// error.hpp - one exception class for everything that keeps holdfast from doing its work.
// Layer 0: builds on the standard library only.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <system_error>

namespace holdfast {
class ProcessIdentity;

/// What POSIX has no word for. Everything else keeps its own code: `e.code() == std::errc::permission_denied`.
enum class errc {
  foreign = 1,  ///< what bears this name was not made by holdfast: a file in a lock's place, another program's segment
  corrupt,      ///< an identity or a header contradicts itself; nothing in it was followed
  other_host,   ///< the owner runs under another kernel, or, on a file system of several machines, in another PID
                ///< namespace: whether it lives cannot be found out from here
  broken,       ///< an operator broke this lock while it was held
  version_mismatch,  ///< made by a holdfast whose layout this one does not read
  layout_mismatch,  ///< its size, slot size, slot count or policy is not the one asked for, or its words' size not this process's
  schema_mismatch,        ///< the application's schema tag differs
  incomplete,             ///< at the deadline its creator, not known to be dead, had not finished making it
  other_pid_namespace,    ///< made in another PID namespace: its owners cannot be judged from here
  in_use,                 ///< a live process, see holder(), has it
  too_many_participants,  ///< every place for a user belongs to a live process
  deaths_unseen,          ///< another library replaced this thread's robust list: its death would go unnoticed
  concurrent_use,         ///< a producer or consumer that belongs to another thread, or to the parent of this process
  reclaimed,              ///< an operator took the role, or the hold, from this process
  checksum_mismatch,      ///< the slot's bytes are not those that were committed
};

[[nodiscard]] const std::error_category& category() noexcept;       ///< "holdfast", the category of errc.
[[nodiscard]] std::error_code make_error_code(errc code) noexcept;  ///< Lets an errc be compared with error codes.

/// Thrown when something cannot work. Being busy, timed out or stopped is an answer and never thrown.
/// When it is thrown nothing is held and nothing is left half done, unless the member that throws says otherwise.
/// Copying does not throw: copies share one immutable text.
class Error : public std::system_error {
 public:
  /// Composes "cannot <operation> '<subject>': <reason> (<remedy>)". An empty reason becomes the code's own message.
  /// The subject is escaped where a terminal or a log would be confused by it; reason and remedy are taken as they are.
  Error(std::error_code code, std::string_view operation, std::string_view subject, std::string_view reason = {},
        std::string_view remedy = {}, std::shared_ptr<const ProcessIdentity> holder = nullptr);

  Error(const Error&) noexcept = default;  // none of its own for moving: what is caught always has its text
  Error& operator=(const Error&) noexcept = default;
  ~Error() override = default;

  [[nodiscard]] const char* what() const noexcept override;      ///< Operation, subject, reason, remedy.
  [[nodiscard]] std::string_view subject() const noexcept;       ///< The path, segment or program it was about.
  [[nodiscard]] const ProcessIdentity* holder() const noexcept;  ///< Who is in the way, if known.

 private:
  struct Text {
    std::string what, subject;
    std::shared_ptr<const ProcessIdentity> holder;
  };
  std::shared_ptr<const Text> text_;
};
}  // namespace holdfast

template <>
struct std::is_error_code_enum<holdfast::errc> : std::true_type {};
