// process_identity.hpp - one incarnation of a process, named so exactly that its death can be proved.
// Layer 2: builds on error.hpp. System calls: src/process_identity.cpp and src/platform.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <holdfast/error.hpp>

namespace holdfast {
namespace platform {
struct ProcessFacts;
}

/// `unknown` (another kernel, another PID or time namespace, an unreadable /proc) is to be treated as alive.
enum class Liveness { alive, dead, unknown };

/// Who: pid and start time, in which boot and which PID and time namespace, and which program image of that process.
/// A pid alone names whoever bears it today; this names one incarnation for ever.
///
/// Threads   a value; self() may be called from any thread. fork: the child's self() is a new identity. exec: likewise.
/// Errors    see self(), of() and decode(). liveness() does not throw: what cannot be found out is unknown.
/// Limits    start times tick at 10 ms. A pid that is given away again within the same tick would be taken for alive.
class ProcessIdentity {
 public:
  /// This program image. The object lives as long as the process; after a fork, a raw clone too, the child gets another
  /// one at another address, without a lock that could be stuck. Cost: two loads; the first call in a process reads /proc.
  /// Fields that cannot be read (no /proc) stay empty; such an identity is judged unknown by others. Throws Error
  /// (std::errc::too_many_files_open, not_enough_memory) at a first call that could not even look; it may be called again.
  [[nodiscard]] static const ProcessIdentity& self();

  /// The process that bears this pid now, in the caller's PID namespace. Its nonce is unknown, so that the result never
  /// equals that process's own self(). Throws Error (std::errc::no_such_process), and as self() does.
  [[nodiscard]] static ProcessIdentity of(std::int64_t pid);

  /// The inverse of encode(). Throws Error (errc::corrupt) for any other text; never follows what it reads.
  [[nodiscard]] static ProcessIdentity decode(std::string_view text);
  /// The same without an exception, for names found on disk.
  [[nodiscard]] static std::optional<ProcessIdentity> try_decode(std::string_view text);

  /// `<boot>.<PID namespace>.<time namespace>.<pid>.<start>.<nonce>.<program>.<host>` out of [A-Za-z0-9_.%-], safe as part
  /// of a file name; an unknown field is empty. Equal identities have equal texts, different ones different texts, and
  /// decode() gives an equal identity.
  [[nodiscard]] std::string encode() const;
  static constexpr std::size_t max_program = 15;       ///< bytes, before encoding: what the kernel keeps
  static constexpr std::size_t max_host_encoded = 32;  ///< bytes, after encoding; a longer name is cut when it is read
  static constexpr std::size_t max_encoded = 32 + 16 + 16 + 10 + 20 + 16 + 3 * max_program + max_host_encoded + 7;

  /// alive: that incarnation runs, be it stopped, or with its main thread ended. dead: it is proved to be gone (a zombie
  /// is gone). The same process after exec counts as alive, except to itself. Cost: nine system calls, about 10 us.
  [[nodiscard]] Liveness liveness() const noexcept;

  /// True if the identity was made under this kernel since it started: only then can its death be observed from here.
  [[nodiscard]] bool same_boot() const noexcept;

  [[nodiscard]] std::int64_t pid() const noexcept { return pid_; }              ///< As seen in its own PID namespace.
  [[nodiscard]] std::string_view program() const noexcept { return program_; }  ///< Any bytes; empty if unknown.
  [[nodiscard]] std::string_view host() const noexcept { return host_; }        ///< For messages only.
  /// Inode of the PID namespace that pid() is counted in; 0 if unknown.
  [[nodiscard]] std::uint64_t pid_namespace() const noexcept { return pid_namespace_; }
  /// Epoch if it is of another boot or another time namespace, unknown, or in the future.
  [[nodiscard]] std::chrono::system_clock::time_point started() const noexcept;

  bool operator==(const ProcessIdentity&) const noexcept = default;

 private:
  ProcessIdentity() = default;
  static ProcessIdentity from(platform::ProcessFacts&& facts);
  static const char* parse(std::string_view text, ProcessIdentity& result);
  friend std::string to_string(const ProcessIdentity& identity);

  std::string boot_;                  // 32 hex digits, empty if unknown
  std::uint64_t pid_namespace_ = 0;   // inode of the namespace, 0 if unknown
  std::uint64_t time_namespace_ = 0;  // inode of the namespace, 0 if unknown
  std::int64_t pid_ = 0;
  std::uint64_t start_ =
      0;  // clock ticks since boot as the time namespace sees it (proc(5), stat field 22), 0 if unknown
  std::uint64_t nonce_ = 0;  // one per program image and fork, 0 if unknown
  std::string program_;
  std::string host_;
};

/// "process 4211 (daq_writer, started 12:01:07)", with the host if it is not this one, and with a word of warning where
/// its pid means nothing here (another PID namespace, another boot). Control characters are escaped.
[[nodiscard]] std::string to_string(const ProcessIdentity& identity);
/// "an unknown process" if empty.
[[nodiscard]] std::string to_string(const std::optional<ProcessIdentity>& identity);
[[nodiscard]] std::string_view to_string(Liveness liveness) noexcept;
}  // namespace holdfast
