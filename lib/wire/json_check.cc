#include "wire/json_check.h"

#include <algorithm>
#include <bitset>
#include <cstdint>
#include <cstring>

namespace ipcm::wire {
namespace {

constexpr std::size_t kStack = 512;
static_assert(kDeepest < kStack);

class Checker {
 public:
  Checker(std::string_view text, std::size_t deepest)
      : at_(text.data()), end_(text.data() + text.size()), deepest_(std::min(deepest, kStack - 1)) {}

  bool is_valid() {
    for (;;) {  // at a value
      skip_space();
      if (at_ == end_) return false;
      bool whole = true;  // it has been read up to its end; otherwise its first child or key comes next
      switch (*at_) {
        case '{':
        case '[':
          if (!open(*at_ == '{', whole)) return false;
          break;
        case '"':
          if (!string()) return false;
          break;
        case 't':
          if (!word("true")) return false;
          break;
        case 'f':
          if (!word("false")) return false;
          break;
        case 'n':
          if (!word("null")) return false;
          break;
        default:
          if (!number()) return false;
      }
      if (whole && !next_or_close()) return false;
      if (done_) return true;
      if (is_object_[depth_] && !key()) return false;
    }
  }

 private:
  bool open(bool is_object, bool& whole) {
    ++at_;
    if (++depth_ > deepest_) return false;
    is_object_[depth_] = is_object;
    skip_space();
    whole = at_ < end_ && *at_ == (is_object ? '}' : ']');
    if (whole) ++at_, --depth_;
    return true;
  }

  /// After a value: the comma before the next, or the ends of what it was in.
  bool next_or_close() {
    for (;;) {
      skip_space();
      if (depth_ == 0) return done_ = at_ == end_;
      if (at_ == end_) return false;
      const char c = *at_++;
      if (c == ',') return true;
      if (c != (is_object_[depth_] ? '}' : ']')) return false;
      --depth_;
    }
  }

  bool key() {
    skip_space();
    if (at_ == end_ || *at_ != '"' || !string()) return false;
    skip_space();
    return at_ < end_ && *at_++ == ':';
  }

  void skip_space() {
    while (at_ < end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\t' || *at_ == '\r')) ++at_;
  }

  bool word(std::string_view text) {
    if (!std::string_view(at_, static_cast<std::size_t>(end_ - at_)).starts_with(text)) return false;
    at_ += text.size();
    return true;
  }

  static bool is_digit(char c) { return c >= '0' && c <= '9'; }
  bool digits() {
    const char* const begin = at_;
    while (at_ < end_ && is_digit(*at_)) ++at_;
    return at_ > begin;
  }
  bool number() {
    if (*at_ == '-') ++at_;
    if (at_ < end_ && *at_ == '0')
      ++at_;
    else if (!digits())
      return false;
    if (at_ < end_ && *at_ == '.' && (++at_, !digits())) return false;
    if (at_ < end_ && (*at_ == 'e' || *at_ == 'E')) {
      ++at_;
      if (at_ < end_ && (*at_ == '+' || *at_ == '-')) ++at_;
      return digits();
    }
    return true;
  }

  /// Goes on to the next quote, backslash, control character or non-ASCII byte.
  void skip_plain() {
    constexpr std::uint64_t kOnes = 0x0101010101010101, kHigh = 0x8080808080808080;
    for (std::uint64_t eight = 0; end_ - at_ >= 8; at_ += 8) {
      std::memcpy(&eight, at_, 8);
      // The high bit of a byte: it is below 0x20, a quote, a backslash, or not ASCII.
      if ((((eight - kOnes * 0x20) | ((eight ^ kOnes * '"') - kOnes) | ((eight ^ kOnes * '\\') - kOnes) |
            eight) &
           kHigh) != 0)
        break;
    }
    while (at_ < end_ && *at_ >= 0x20 && *at_ != '"' && *at_ != '\\') ++at_;
  }
  bool string() {
    for (++at_;;) {
      skip_plain();
      if (at_ == end_) return false;
      const char c = *at_++;
      if (c == '"') return true;
      if (c != '\\' || !escape()) return false;
    }
  }
  bool escape() {
    if (at_ == end_) return false;
    const char c = *at_++;
    if (c != 'u') return c != '\0' && std::strchr("\"\\/bfnrt", c) != nullptr;
    unsigned unit = 0;
    if (!hex(unit) || (unit >= 0xDC00 && unit < 0xE000)) return false;
    if (unit < 0xD800 || unit >= 0xE000) return true;
    // The first half of a pair: the second has to follow.
    return word("\\u") && hex(unit) && unit >= 0xDC00 && unit < 0xE000;
  }
  bool hex(unsigned& unit) {
    if (end_ - at_ < 4) return false;
    unit = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = *at_++;
      const char lower = static_cast<char>(c | 0x20);
      if (is_digit(c))
        unit = unit * 16 + static_cast<unsigned>(c - '0');
      else if (lower >= 'a' && lower <= 'f')
        unit = unit * 16 + static_cast<unsigned>(lower - 'a' + 10);
      else
        return false;
    }
    return true;
  }

  const char* at_;
  const char* end_;
  std::size_t deepest_;
  std::size_t depth_ = 0;
  bool done_ = false;
  std::bitset<kStack> is_object_;  // by depth
};

}  // namespace

bool is_ascii_json(std::string_view text, std::size_t deepest) noexcept {
  return Checker(text, deepest).is_valid();
}

}  // namespace ipcm::wire
