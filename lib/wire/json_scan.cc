#include "wire/json_scan.h"

#include <algorithm>

#include "wire/printable.h"
#include "wire/utf8.h"

namespace ipcm::wire {

std::string place_in(std::string_view text, std::size_t at) {
  const std::string_view before = text.substr(0, at);
  const auto line = std::count(before.begin(), before.end(), '\n') + 1;
  const std::string_view same_line = before.substr(before.rfind('\n') + 1);  // npos + 1 is 0
  const auto column = std::count_if(same_line.begin(), same_line.end(),
                                    [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }) +
                      1;
  return "at line " + std::to_string(line) + ", column " + std::to_string(column);
}

namespace detail {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_first_half(std::uint32_t unit) { return unit >= 0xD800 && unit < 0xDC00; }
bool is_second_half(std::uint32_t unit) { return unit >= 0xDC00 && unit < 0xE000; }

/// Describes the unexpected word or character at a position.
std::string found_at(std::string_view text, std::size_t place) {
  constexpr std::size_t kLongest = 20;
  if (text.substr(place).starts_with("\xEF\xBB\xBF")) return "a byte order mark";
  constexpr std::string_view kBrackets = ",:[]{}", kEndsWord = " \t\r\n,:[]{}\"";
  if (kBrackets.find(text[place]) != std::string_view::npos) return {'\'', text[place], '\''};
  std::size_t end = place;
  while (end < text.size() && end - place < kLongest && text[end] != '\0') {
    // Broken UTF-8 is shown byte by byte.
    if (decode_utf8(text, end) == kNoCharacter) ++end;
    if (end < text.size() && kEndsWord.find(text[end]) != std::string_view::npos) break;
  }
  return "'" + printable(text.substr(place, end - place)) + "'";
}

}  // namespace

JsonTokens::JsonTokens(std::string_view text, std::size_t deepest)
    : begin_(text.data()), at_(begin_), end_(begin_ + text.size()), deepest_(std::min(deepest, kStack - 1)) {}

bool JsonTokens::fail(const char* why) noexcept {
  why_ = at_ == end_ ? "it ends too early" : *at_ == '\0' ? "a NUL byte" : why;
  return false;
}

void JsonTokens::refuse(std::string_view what, std::string_view failure) const {
  std::string text(what);
  text.append(" is not JSON: ");
  if (why_ == kTooDeep)
    text.append("nested deeper than ").append(std::to_string(deepest_)).append(" levels");
  else
    text.append(why_ != nullptr ? std::string_view(why_) : failure);
  const std::string_view all(begin_, static_cast<std::size_t>(end_ - begin_));
  if (at_ != end_ && *at_ != '\0') text.append(", found ").append(found_at(all, place()));
  throw ProtocolError(text + ", " + place_in(all, place()));
}

bool JsonTokens::word(std::string_view text) {
  if (!std::string_view(at_, static_cast<std::size_t>(end_ - at_)).starts_with(text)) return false;
  at_ += text.size();
  return true;
}

bool JsonTokens::null_or_boolean() {
  return word("true") || word("false") || word("null") || fail("expected a value");
}

bool JsonTokens::digits() {
  if (at_ == end_ || !is_digit(*at_)) return fail("expected a digit");
  while (at_ < end_ && is_digit(*at_)) ++at_;
  return true;
}

bool JsonTokens::number() {
  if (at_ == end_ || (*at_ != '-' && !is_digit(*at_))) return fail("expected a value");
  if (*at_ == '-') ++at_;
  if (is_at('0'))
    ++at_;  // no digit may follow
  else if (!digits())
    return false;
  if (is_at('.') && (++at_, !digits())) return false;
  if (!is_at('e') && !is_at('E')) return true;
  ++at_;
  if (is_at('+') || is_at('-')) ++at_;
  return digits();
}

bool JsonTokens::string(std::string_view* decoded) {
  bool escaped = false;
  for (const char* run = ++at_;;) {  // the part that is not yet in the buffer begins at `run`
    at_ = skip_plain(at_, end_);
    if (is_at('"')) {
      if (decoded != nullptr) {
        *decoded = {run, static_cast<std::size_t>(at_ - run)};
        if (escaped) *decoded = buffer_.append(*decoded);
      }
      return ++at_, true;
    }
    if (is_at('\\')) {
      if (decoded != nullptr) {
        if (!escaped) buffer_.clear();
        buffer_.append(run, at_);
        escaped = true;
      }
      if (!escape(decoded != nullptr)) return false;
      run = at_;
    } else if (!character()) {
      return false;
    }
  }
}

/// Reads a character that is not ASCII.
bool JsonTokens::character() {
  if (at_ == end_ || static_cast<unsigned char>(*at_) < 0x20) return fail("a control character in a string");
  std::size_t length = 0;
  if (decode_utf8({at_, static_cast<std::size_t>(end_ - at_)}, length) == kNoCharacter)
    return fail("broken UTF-8");
  at_ += length;
  ascii_ = false;
  return true;
}

bool JsonTokens::escape(bool wanted) {
  const char* const begin = at_++;
  if (at_ == end_) return fail("");
  const char c = *at_++;
  if (c != 'u') {
    constexpr std::string_view kWritten = "\"\\/bfnrt", kMeant = "\"\\/\b\f\n\r\t";
    const auto which = kWritten.find(c);
    if (which == kWritten.npos) return at_ = begin, fail("an unknown escape");
    if (wanted) buffer_.push_back(kMeant[which]);
    return true;
  }
  std::uint32_t point = 0, second = 0;
  if (!hex(point)) return false;
  const bool is_pair = is_first_half(point) && word("\\u");
  if (is_pair && !hex(second)) return false;
  if (is_pair ? !is_second_half(second) : is_first_half(point) || is_second_half(point))
    return at_ = begin, fail("half of a surrogate pair");
  if (is_pair) point = 0x10000U + ((point - 0xD800U) << 10U) + (second - 0xDC00U);
  if (wanted) append_utf8(buffer_, point);
  return true;
}

bool JsonTokens::hex(std::uint32_t& unit) {
  unit = 0;
  for (int i = 0; i < 4; ++i, ++at_) {
    if (at_ == end_) return fail("");
    const char c = *at_, lower = static_cast<char>(c | 0x20);
    if (is_digit(c))
      unit = unit * 16 + static_cast<std::uint32_t>(c - '0');
    else if (lower >= 'a' && lower <= 'f')
      unit = unit * 16 + static_cast<std::uint32_t>(lower - 'a' + 10);
    else
      return fail("expected four hexadecimal digits");
  }
  return true;
}

}  // namespace detail
}  // namespace ipcm::wire
