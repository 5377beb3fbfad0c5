#include "wire/json_text.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "ipcm/error.h"
#include "wire/json_index.h"
#include "wire/json_scan.h"
#include "wire/printable.h"

namespace ipcm::wire {
namespace {

void append_escape(std::string& into, std::uint32_t unit) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  into.append("\\u");
  for (unsigned shift = 16; shift > 0; shift -= 4) into.push_back(kDigits[(unit >> (shift - 4)) & 0xFU]);
}

void append_escaped_point(std::string& into, std::uint32_t point) {
  if (point < 0x10000) {
    append_escape(into, point);
  } else {
    append_escape(into, 0xD800U + ((point - 0x10000U) >> 10U));
    append_escape(into, 0xDC00U + ((point - 0x10000U) & 0x3FFU));
  }
}

/// Returns the short escape of JSON; 0: there is none.
char short_escape(char c) {
  switch (c) {
    case '"':
      return '"';
    case '\\':
      return '\\';
    case '\b':
      return 'b';
    case '\f':
      return 'f';
    case '\n':
      return 'n';
    case '\r':
      return 'r';
    case '\t':
      return 't';
    default:
      return 0;
  }
}

/// Copies the characters that `skip` passes over; moves `at` after them.
void append_run(std::string& into, std::string_view text, std::size_t& at,
                const char* (*skip)(const char*, const char*)) {
  const char* const begin = text.data() + at;
  const auto size = static_cast<std::size_t>(skip(begin, text.data() + text.size()) - begin);
  into.append(begin, size);
  at += size;
}

/// Returns the number of the \uXXXX escape at `at`; the text is valid JSON.
std::optional<std::uint32_t> escape_at(std::string_view text, std::size_t at) {
  if (text.size() - at < 6 || text[at] != '\\' || text[at + 1] != 'u') return std::nullopt;
  std::uint32_t unit = 0;
  for (std::size_t i = at + 2; i < at + 6; ++i) {
    const char c = text[i];
    const int digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
    unit = unit * 16 + static_cast<std::uint32_t>(digit);
  }
  return unit;
}

}  // namespace

void append_json_string(std::string& into, std::string_view utf8, BrokenUtf8 broken) {
  into.push_back('"');
  for (std::size_t at = 0;;) {
    append_run(into, utf8, at, &skip_plain);
    if (at == utf8.size()) break;
    const char c = utf8[at];
    if (const char escape = short_escape(c); escape != 0) {
      into.push_back('\\');
      into.push_back(escape);
      ++at;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      append_escape(into, static_cast<std::uint32_t>(c));
      ++at;
    } else {
      const std::size_t place = at;
      std::uint32_t point = decode_utf8(utf8, at);
      if (point == kNoCharacter && broken == BrokenUtf8::replaced) {
        constexpr std::uint32_t kReplacement = 0xFFFD;
        point = kReplacement;
        ++at;
      }
      if (point == kNoCharacter)
        throw ProtocolError("a string that is not UTF-8 can't be written as JSON: wrong byte at " +
                            std::to_string(place));
      append_escaped_point(into, point);
    }
  }
  into.push_back('"');
}

std::string json_string(std::string_view utf8, BrokenUtf8 broken) {
  std::string text;
  text.reserve(utf8.size() + 2);
  append_json_string(text, utf8, broken);
  return text;
}

std::string to_ascii(std::string_view valid_json) {
  std::string text;
  text.reserve(valid_json.size() + valid_json.size() / 4);
  for (std::size_t at = 0;;) {
    append_run(text, valid_json, at, &skip_ascii);
    if (at == valid_json.size()) return text;
    append_escaped_point(text, decode_utf8(valid_json, at));  // non-ASCII is valid inside a string only
  }
}

std::string to_readable(std::string_view valid_json) {
  std::string text;
  text.reserve(valid_json.size());
  bool in_string = false;
  for (std::size_t at = 0; at < valid_json.size();) {
    const char c = valid_json[at];
    if (!in_string) {
      if (c == '"') in_string = true;
      if (c != ' ' && c != '\t' && c != '\n' && c != '\r') text.push_back(c);
      ++at;
      continue;
    }
    if (c == '"') in_string = false;
    if (c == '\x7f') {  // the one control character that JSON allows in a string
      append_escape(text, 0x7F);
      ++at;
      continue;
    }
    if (c != '\\') {
      text.push_back(c);
      ++at;
      continue;
    }
    const auto unit = escape_at(valid_json, at);
    if (unit && *unit >= 0xA0 && (*unit < 0xD800 || *unit >= 0xE000) && is_shown(*unit)) {
      append_utf8(text, *unit);
      at += 6;
      continue;
    }
    if (unit && *unit >= 0xD800 && *unit < 0xDC00) {
      const auto low = escape_at(valid_json, at + 6);
      const std::uint32_t point = low && *low >= 0xDC00 && *low < 0xE000
                                      ? 0x10000U + ((*unit - 0xD800U) << 10U) + (*low - 0xDC00U)
                                      : 0;
      if (point != 0 && is_shown(point)) {
        append_utf8(text, point);
        at += 12;
        continue;
      }
    }
    const std::size_t length = unit ? 6 : 2;
    text.append(valid_json.substr(at, length));
    at += length;
  }
  return text;
}

void check_json(std::string_view text, std::string_view what) {
  const JsonIndex checked(text, what, kDeepestContent);
}

}  // namespace ipcm::wire
