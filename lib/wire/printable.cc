#include "wire/printable.h"

#include <array>
#include <cstdio>

#include "wire/utf8.h"

namespace ipcm::wire {
namespace {

struct Range {
  std::uint32_t first, last;
};

constexpr Range kNotShown[] = {
    {0x00, 0x1F},        // control characters
    {0x7F, 0x9F},        // delete, and the additional control characters of ISO 6429
    {0xAD, 0xAD},        // a hyphen that is visible only at the end of a line
    {0x61C, 0x61C},      // direction
    {0x180E, 0x180E},    // invisible
    {0x200B, 0x200B},    // invisible
    {0x200E, 0x200F},    // direction
    {0x2028, 0x202E},    // line separators; direction
    {0x2060, 0x206F},    // invisible; direction
    {0xFEFF, 0xFEFF},    // byte order mark
    {0xFFF9, 0xFFFB},    // annotations
    {0xE0000, 0xE0FFF},  // tags: invisible
};

template <class Number>
void append_formatted(std::string& into, const char* format, Number number) {
  std::array<char, 16> text{};
  std::snprintf(text.data(), text.size(), format, number);
  into.append(text.data());
}

void append_shown(std::string& into, std::string_view text, std::size_t& at, Newlines newlines) {
  const std::size_t begin = at;
  const std::uint32_t point = decode_utf8(text, at);
  if (point == kNoCharacter) {
    append_formatted(into, "\\x%02x", static_cast<unsigned>(static_cast<unsigned char>(text[at++])));
  } else if (is_shown(point) || (point == '\n' && newlines == Newlines::kept)) {
    into.append(text.substr(begin, at - begin));
  } else if (point == '\n' || point == '\t' || point == '\r') {
    into.append(point == '\n' ? "\\n" : point == '\t' ? "\\t" : "\\r");
  } else if (point < 0x80) {
    append_formatted(into, "\\x%02x", static_cast<unsigned>(point));
  } else {
    append_formatted(into, "\\u{%x}", static_cast<unsigned>(point));
  }
}

}  // namespace

bool is_shown(std::uint32_t point) noexcept {
  for (const Range& range : kNotShown)
    if (point >= range.first && point <= range.last) return false;
  return true;
}

std::string printable(std::string_view text, std::size_t most, Newlines newlines) {
  std::string shown;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t before = shown.size();
    append_shown(shown, text, at, newlines);
    if (shown.size() <= most) continue;
    shown.resize(before);
    return shown.append("… (").append(std::to_string(text.size())).append(" bytes)");
  }
  return shown;
}

std::string printable_name(std::string_view name) { return printable(name, kLongestShownName); }

}  // namespace ipcm::wire
