// xml.hpp - is this document well-formed? As much of XML 1.0 as the tool writes; what goes beyond it is refused.
#pragma once
#include <algorithm>
#include <array>
#include <cctype>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::test {
/// Empty: well-formed. Otherwise what is wrong, and where.
class XmlCheck {
 public:
  static std::string problem(std::string_view document) { return XmlCheck{document}.run(); }

 private:
  explicit XmlCheck(std::string_view document) : rest_{document}, size_{document.size()} {}

  std::string run() {
    if (!take("<?xml version=\"1.0\" encoding=\"UTF-8\"?>")) return wrong("no declaration");
    bool had_root = false;
    while (!rest_.empty()) {
      if (rest_.front() != '<') {
        if (auto bad = text(rest_.substr(0, rest_.find('<'))); !bad.empty()) return bad;
        continue;
      }
      if (open_.empty() && had_root && !rest_.starts_with("</")) return wrong("a second root");
      had_root = true;
      if (auto bad = tag(); !bad.empty()) return bad;
    }
    if (!open_.empty()) return "<" + open_.back() + "> is not closed";
    return had_root ? "" : "no root";
  }

  std::string text(std::string_view characters) {
    if (open_.empty() && characters.find_first_not_of(" \n") != std::string_view::npos) return wrong("text outside");
    if (!sound(characters)) return wrong("a bad character or reference in text");
    rest_.remove_prefix(characters.size());
    return "";
  }

  std::string tag() {
    if (take("</")) {
      const auto ended = name();
      if (open_.empty() || ended != open_.back()) return wrong("</" + ended + "> closes nothing");
      open_.pop_back();
      return take(">") ? "" : wrong("an end tag that does not end");
    }
    rest_.remove_prefix(1);
    const auto started = name();
    if (started.empty()) return wrong("a tag without name");
    std::vector<std::string> attributes;
    while (take_space()) {
      const auto attribute = name();
      if (attribute.empty()) break;
      if (std::count(attributes.begin(), attributes.end(), attribute) > 0) return wrong("twice: " + attribute);
      attributes.push_back(attribute);
      if (!take("=\"")) return wrong("an attribute without value");
      const auto value = rest_.substr(0, rest_.find('"'));
      if (value.find('<') != std::string_view::npos || !sound(value)) return wrong("a bad value");
      rest_.remove_prefix(value.size());
      if (!take("\"")) return wrong("a value without end");
    }
    if (take("/>")) return "";
    if (!take(">")) return wrong("a tag that does not end");
    open_.push_back(started);
    return "";
  }

  std::string name() {
    const auto* const end = std::find_if_not(rest_.begin(), rest_.end(), [](unsigned char c) {
      return std::isalnum(c) != 0 || c == '-' || c == '_' || c == ':' || c == '.';
    });
    std::string result{rest_.begin(), end};
    rest_.remove_prefix(result.size());
    return result;
  }

  bool take(std::string_view expected) {
    if (!rest_.starts_with(expected)) return false;
    rest_.remove_prefix(expected.size());
    return true;
  }
  bool take_space() {
    const auto length = std::min(rest_.find_first_not_of(" \n"), rest_.size());
    rest_.remove_prefix(length);
    return length > 0;
  }

  static bool sound(std::string_view characters) {
    constexpr std::array<std::string_view, 5> references{"&amp;", "&lt;", "&gt;", "&quot;", "&apos;"};
    for (std::size_t i = 0; i < characters.size(); ++i) {
      const auto c = static_cast<unsigned char>(characters[i]);
      if (c < 0x20 && c != '\n' && c != '\t') return false;
      if (c == '&' && std::none_of(references.begin(), references.end(),
                                   [&](auto reference) { return characters.substr(i).starts_with(reference); }))
        return false;
    }
    return true;
  }

  [[nodiscard]] std::string wrong(const std::string& what) const {
    return what + " at byte " + std::to_string(size_ - rest_.size());
  }

  std::string_view rest_;
  std::size_t size_;
  std::vector<std::string> open_;
};

[[nodiscard]] inline std::size_t occurrences(std::string_view text, std::string_view part) {
  std::size_t count = 0;
  for (auto at = text.find(part); at != std::string_view::npos; at = text.find(part, at + part.size())) ++count;
  return count;
}
}  // namespace holdfast::test
