#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

#include "wire/utf8.h"

namespace ipcm::wire {

// Readers for text in the exact form that this library writes. Each cuts a token from the front of `text`, or
// leaves `text` unchanged.

/// Cuts `word`. Its length is a compile-time constant, which saves a function call.
template <std::size_t kSize>
bool take(std::string_view& text, const char (&word)[kSize]) {
  constexpr std::size_t kLength = kSize - 1;  // without its NUL
  if (text.size() < kLength || std::memcmp(text.data(), word, kLength) != 0) return false;
  text.remove_prefix(kLength);
  return true;
}

/// Cuts the text before the next quote, and the quote. Fails if the text has escapes or characters that JSON
/// would escape.
inline bool take_plain(std::string_view& text, std::string_view& taken) {
  const char* const end = skip_plain(text.data(), text.data() + text.size());
  if (end == text.data() + text.size() || *end != '"') return false;
  taken = text.substr(0, static_cast<std::size_t>(end - text.data()));
  text.remove_prefix(taken.size() + 1);
  return true;
}

/// Cuts digits in JSON's form, without leading zeros. Returns how many there are; 0: none, or more than
/// `number` can hold.
inline std::size_t take_digits(std::string_view& text, std::uint64_t& number) {
  constexpr std::size_t kMost = 19;
  std::size_t count = 0;
  std::uint64_t read = 0;
  for (; count < text.size(); ++count) {
    const auto digit = static_cast<unsigned char>(text[count] - '0');
    if (digit > 9) break;
    if (count == kMost) return 0;
    read = read * 10 + digit;
  }
  if (count > 1 && text.front() == '0') return 0;
  text.remove_prefix(count);
  number = read;
  return count;
}

}  // namespace ipcm::wire
