#include <holdfast/process_identity.hpp>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <limits>
#include <memory>
#include <utility>

#include <holdfast/platform/process.hpp>
#include <holdfast/steps.hpp>

#include "text.hpp"

namespace holdfast {
namespace {
bool is_plain(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

constexpr std::string_view no_other{};
constexpr std::string_view dots{"."};  // the host is the last field, so its dots separate nothing

void append_percent_encoded(std::string& to, std::string_view bytes, std::string_view plain_too) {
  constexpr char digits[] = "0123456789ABCDEF";
  for (const char c : bytes) {
    if (is_plain(c) || plain_too.find(c) != std::string_view::npos) {
      to += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      to += {'%', digits[byte >> 4], digits[byte & 15]};
    }
  }
}

/// Takes what append_percent_encoded() writes, and nothing else.
bool percent_decode(std::string_view text, std::string_view plain_too, std::string& bytes) {
  const auto digit = [](char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; };
  const auto needs_no_encoding = [&](char c) { return is_plain(c) || plain_too.find(c) != std::string_view::npos; };
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      if (text.size() - i < 3) return false;
      const int high = digit(text[i + 1]), low = digit(text[i + 2]);
      if (high < 0 || low < 0) return false;
      c = static_cast<char>(high * 16 + low);
      if (needs_no_encoding(c)) return false;
      i += 2;
    } else if (!needs_no_encoding(c)) {
      return false;
    }
    bytes += c;
  }
  return true;
}

template <class Number>
void append_known(std::string& to, Number number, int base) {
  char digits[24];
  if (number != 0) to.append(digits, std::to_chars(std::begin(digits), std::end(digits), number, base).ptr);
  to += '.';
}

/// Takes what append_known() writes, and nothing else: empty for 0, no leading zeros, no capitals, nothing out of range.
template <class Number>
bool read_known(std::string_view text, Number& number, int base) noexcept {
  number = 0;
  if (text.empty()) return true;
  if (text.front() == '0' || text.front() == '-') return false;
  if (std::any_of(text.begin(), text.end(), [](char c) { return c >= 'A' && c <= 'Z'; })) return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  return error == std::errc{} && end == text.data() + text.size();
}

/// What has been made for self(), never freed: references to it stay good, in forked children too. The list is there so
/// that leak detectors find it.
struct Signature {
  ProcessIdentity identity;
  const Signature* older = nullptr;
};
constinit std::atomic<const Signature*> signatures{nullptr};

const ProcessIdentity* self_if_known() noexcept {
  try {
    return &ProcessIdentity::self();
  } catch (...) {
    return nullptr;
  }
}
}  // namespace

const ProcessIdentity& ProcessIdentity::self() {
  auto& slot = platform::pointer_of_this_process();
  const void* signed_already = slot.load(std::memory_order_acquire);
  if (signed_already == nullptr) {
    auto mine = std::make_unique<Signature>(Signature{from(platform::facts_of_self())});
    if (slot.compare_exchange_strong(signed_already, &mine->identity, std::memory_order_acq_rel)) {
      signed_already = &mine->identity;
      mine->older = signatures.load(std::memory_order_relaxed);
      while (!signatures.compare_exchange_weak(mine->older, mine.get(), std::memory_order_release,
                                               std::memory_order_relaxed)) {
      }
      static_cast<void>(mine.release());
    }
  }
  return *static_cast<const ProcessIdentity*>(signed_already);
}

ProcessIdentity ProcessIdentity::of(std::int64_t pid) {
  if (auto facts = platform::facts_of(pid)) return from(std::move(*facts));
  throw Error{std::make_error_code(std::errc::no_such_process), "identify process", std::to_string(pid)};
}

ProcessIdentity ProcessIdentity::from(platform::ProcessFacts&& facts) {
  ProcessIdentity result;
  result.boot_ = std::move(facts.boot);
  result.pid_namespace_ = facts.pid_namespace;
  result.time_namespace_ = facts.time_namespace;
  result.pid_ = facts.pid;
  result.start_ = facts.start;
  result.nonce_ = facts.image;
  result.program_ = facts.program.substr(0, max_program);
  std::string encoded_host;
  for (const char c : facts.host) {
    append_percent_encoded(encoded_host, {&c, 1}, dots);
    if (encoded_host.size() > max_host_encoded) break;
    result.host_ += c;
  }
  return result;
}

std::string ProcessIdentity::encode() const {
  std::string text;
  text.reserve(max_encoded);
  text.append(boot_) += '.';
  append_known(text, pid_namespace_, 16);
  append_known(text, time_namespace_, 16);
  append_known(text, pid_, 10);
  append_known(text, start_, 10);
  append_known(text, nonce_, 16);
  append_percent_encoded(text, program_, no_other);
  text += '.';
  append_percent_encoded(text, host_, dots);
  return text;
}

/// Gives the reason why the text is none of ours, or null.
const char* ProcessIdentity::parse(std::string_view text, ProcessIdentity& result) {
  if (text.size() > max_encoded) return "it is longer than any identity";
  std::string_view fields[8];
  for (auto& field : fields) {
    const bool last = &field == &fields[7];
    const auto size = last ? text.size() : text.find('.');
    if (size == std::string_view::npos) return "it has less than eight fields";
    field = text.substr(0, size);
    text.remove_prefix(last ? size : size + 1);
  }
  const auto [boot, pid_namespace, time_namespace, pid, start, nonce, program, host] = fields;
  if (!boot.empty() && (boot.size() != 32 || boot.find_first_not_of("0123456789abcdef") != std::string_view::npos))
    return "its boot id is not 32 hexadecimal digits";
  result.boot_ = boot;
  if (!read_known(pid_namespace, result.pid_namespace_, 16)) return "its PID namespace is no hexadecimal number";
  if (!read_known(time_namespace, result.time_namespace_, 16)) return "its time namespace is no hexadecimal number";
  if (!read_known(pid, result.pid_, 10) || result.pid_ < 1 || result.pid_ > std::numeric_limits<std::int32_t>::max())
    return "its pid is not a number from 1 to 2147483647";
  if (!read_known(start, result.start_, 10)) return "its start time is no number";
  if (!read_known(nonce, result.nonce_, 16)) return "its nonce is no hexadecimal number";
  if (!percent_decode(program, no_other, result.program_)) return "its program name is not encoded as it should be";
  if (result.program_.size() > max_program) return "its program name is too long";
  if (host.size() > max_host_encoded) return "its host name is too long";
  if (!percent_decode(host, dots, result.host_)) return "its host name is not encoded as it should be";
  return nullptr;
}

ProcessIdentity ProcessIdentity::decode(std::string_view text) {
  ProcessIdentity result;
  if (const char* reason = parse(text, result))
    throw Error{errc::corrupt, "read process identity", text.substr(0, max_encoded), reason};
  return result;
}

std::optional<ProcessIdentity> ProcessIdentity::try_decode(std::string_view text) {
  ProcessIdentity result;
  if (parse(text, result) != nullptr) return std::nullopt;
  return result;
}

bool ProcessIdentity::same_boot() const noexcept {
  const auto* const me = self_if_known();
  return me != nullptr && !boot_.empty() && boot_ == me->boot_;
}

Liveness ProcessIdentity::liveness() const noexcept {
  const auto* const me = self_if_known();
  const bool complete = !boot_.empty() && pid_namespace_ != 0 && time_namespace_ != 0 && start_ != 0;
  if (me == nullptr || !complete) return Liveness::unknown;
  if (boot_ != me->boot_ && !HOLDFAST_MUTANT(identity, boot_not_compared)) return Liveness::unknown;
  if ((pid_namespace_ != me->pid_namespace_ || time_namespace_ != me->time_namespace_) &&
      !HOLDFAST_MUTANT(identity, namespace_not_compared))
    return Liveness::unknown;
  if (pid_ == me->pid_ && start_ == me->start_) {
    const bool before_exec =
        nonce_ != 0 && me->nonce_ != 0 && nonce_ != me->nonce_ && !HOLDFAST_MUTANT(identity, image_not_compared);
    return before_exec ? Liveness::dead : Liveness::alive;
  }
  switch (platform::state_of(pid_, start_)) {
    case platform::ProcessState::running:
      return Liveness::alive;
    case platform::ProcessState::gone:
      return Liveness::dead;
    case platform::ProcessState::replaced:  // setns() may have moved this process to where start times are others
      return platform::time_namespace_of_self() == time_namespace_ ? Liveness::dead : Liveness::unknown;
    case platform::ProcessState::unknown:
      break;
  }
  return Liveness::unknown;
}

std::chrono::system_clock::time_point ProcessIdentity::started() const noexcept {
  const bool comparable = same_boot() && start_ != 0 && platform::time_namespace_of_self() == time_namespace_;
  return comparable ? platform::wall_time_of(start_) : std::chrono::system_clock::time_point{};
}

std::string to_string(const ProcessIdentity& identity) {
  const auto* const me = self_if_known();
  std::string details;
  const auto add = [&](std::string_view detail) { details.append(details.empty() ? "" : ", ").append(detail); };
  if (!identity.program_.empty()) add(text::escaped(identity.program_));
  if (me != nullptr && !identity.boot_.empty() && !me->boot_.empty()) {
    if (identity.boot_ != me->boot_)
      add("under another kernel or before a restart");
    else if (identity.pid_namespace_ != 0 && me->pid_namespace_ != 0 && identity.pid_namespace_ != me->pid_namespace_)
      add("in another PID namespace");
  }
  if (const auto started = identity.started(); started != std::chrono::system_clock::time_point{})
    add("started " + text::clock_time(started, std::chrono::system_clock::now()));
  auto result = "process " + std::to_string(identity.pid_);
  if (!details.empty()) result += " (" + details + ")";
  if (!identity.host_.empty() && (me == nullptr || identity.host_ != me->host_))
    result += " on " + text::escaped(identity.host_);
  return result;
}

std::string to_string(const std::optional<ProcessIdentity>& identity) {
  return identity ? to_string(*identity) : "an unknown process";
}

std::string_view to_string(Liveness liveness) noexcept {
  switch (liveness) {
    case Liveness::alive:
      return "alive";
    case Liveness::dead:
      return "dead";
    case Liveness::unknown:
      break;
  }
  return "unknown";
}
}  // namespace holdfast
