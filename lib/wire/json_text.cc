#include "wire/json_text.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "ipcm/error.h"
#include "wire/json_index.h"
#include "wire/json_scan.h"

namespace ipcm::wire {
namespace {

constexpr std::uint32_t kInvalid = 0xFFFFFFFFU;

/// The code point at `at`, which moves past it; kInvalid for what is no UTF-8 (RFC 3629: no overlong forms,
/// no surrogates).
std::uint32_t decode_utf8(std::string_view text, std::size_t& at) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t lead = byte(at);
  std::size_t length = 0;
  std::uint32_t point = 0, least = 0;
  if (lead < 0x80) {
    ++at;
    return lead;
  }
  if ((lead & 0xE0U) == 0xC0U) {
    length = 2, point = lead & 0x1FU, least = 0x80;
  } else if ((lead & 0xF0U) == 0xE0U) {
    length = 3, point = lead & 0x0FU, least = 0x800;
  } else if ((lead & 0xF8U) == 0xF0U) {
    length = 4, point = lead & 0x07U, least = 0x10000;
  } else {
    return kInvalid;
  }
  if (text.size() - at < length) return kInvalid;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xC0U) != 0x80U) return kInvalid;
    point = (point << 6U) | (byte(at + i) & 0x3FU);
  }
  if (point < least || point > 0x10FFFF || (point >= 0xD800 && point < 0xE000)) return kInvalid;
  at += length;
  return point;
}

void append_utf8(std::string& into, std::uint32_t point) {
  const auto put = [&](std::uint32_t byte) { into.push_back(static_cast<char>(byte)); };
  if (point < 0x80) {
    put(point);
  } else if (point < 0x800) {
    put(0xC0U | (point >> 6U)), put(0x80U | (point & 0x3FU));
  } else if (point < 0x10000) {
    put(0xE0U | (point >> 12U)), put(0x80U | ((point >> 6U) & 0x3FU)), put(0x80U | (point & 0x3FU));
  } else {
    put(0xF0U | (point >> 18U)), put(0x80U | ((point >> 12U) & 0x3FU));
    put(0x80U | ((point >> 6U) & 0x3FU)), put(0x80U | (point & 0x3FU));
  }
}

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

/// Short escapes of JSON; 0: there is none.
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

/// The number of a \uXXXX escape at `at`; the text is valid JSON.
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
  for (std::size_t at = 0; at < utf8.size();) {
    const char c = utf8[at];
    if (const char escape = short_escape(c); escape != 0) {
      into.push_back('\\');
      into.push_back(escape);
      ++at;
    } else if (c >= 0 && c < 0x20) {
      append_escape(into, static_cast<std::uint32_t>(c));
      ++at;
    } else if (c > 0) {
      into.push_back(c);
      ++at;
    } else {
      const std::size_t place = at;
      std::uint32_t point = decode_utf8(utf8, at);
      if (point == kInvalid && broken == BrokenUtf8::replaced) {
        constexpr std::uint32_t kReplacement = 0xFFFD;
        point = kReplacement;
        ++at;
      }
      if (point == kInvalid)
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

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0; });
}

bool is_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();)
    if (decode_utf8(text, at) == kInvalid) return false;
  return true;
}

std::string to_ascii(std::string_view valid_json) {
  std::string text;
  text.reserve(valid_json.size() + valid_json.size() / 4);
  for (std::size_t at = 0; at < valid_json.size();) {
    if (valid_json[at] >= 0)
      text.push_back(valid_json[at++]);
    else
      append_escaped_point(text, decode_utf8(valid_json, at));  // inside a string: nowhere else is it valid
  }
  return text;
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
    if (c != '\\') {
      text.push_back(c);
      ++at;
      continue;
    }
    const auto unit = escape_at(valid_json, at);
    if (unit && *unit >= 0xA0 && (*unit < 0xD800 || *unit >= 0xE000)) {
      append_utf8(text, *unit);
      at += 6;
      continue;
    }
    if (unit && *unit >= 0xD800 && *unit < 0xDC00) {
      const auto low = escape_at(valid_json, at + 6);
      if (low && *low >= 0xDC00 && *low < 0xE000) {
        append_utf8(text, 0x10000U + ((*unit - 0xD800U) << 10U) + (*low - 0xDC00U));
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
