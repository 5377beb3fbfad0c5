#pragma once

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

#include "wire/json_text.h"
#include "wire/utf8.h"

namespace ipcm::wire {

/// Appends to a string, into memory that is mostly reserved once: std::string::append() checks the capacity
/// for each piece, by a function call. The string is borrowed; it has its final length after the destructor.
class Appender {
 public:
  /// Reserves about `expected` bytes, and more when needed.
  Appender(std::string& into, std::size_t expected) : into_(into), at_(into.size()) {
    into_.resize(at_ + expected);
  }
  ~Appender() { into_.resize(at_); }
  Appender(const Appender&) = delete;
  Appender& operator=(const Appender&) = delete;

  static constexpr std::size_t kLongestNumber = 20;

  void text(std::string_view text) {
    // not memcpy(): the data() of an empty view may be null
    at_ += text.copy(room(text.size()), text.size());
  }
  void number(std::uint64_t number) {
    char* const begin = room(kLongestNumber);
    at_ += static_cast<std::size_t>(std::to_chars(begin, begin + kLongestNumber, number).ptr - begin);
  }
  /// Appends a JSON string as append_json_string() does.
  void json_string(std::string_view utf8) {
    const char* const end = utf8.data() + utf8.size();
    if (skip_plain(utf8.data(), end) != end) {
      into_.resize(at_);
      append_json_string(into_, utf8);
      at_ = into_.size();
      return;
    }
    char* const begin = room(utf8.size() + 2);
    begin[0] = '"';
    (void)utf8.copy(begin + 1, utf8.size());
    begin[utf8.size() + 1] = '"';
    at_ += utf8.size() + 2;
  }

 private:
  char* room(std::size_t size) {
    constexpr std::size_t kMore = 128;  // for the text that follows
    if (into_.size() - at_ < size) into_.resize(at_ + size + kMore);
    return into_.data() + at_;
  }

  std::string& into_;
  std::size_t at_;
};

}  // namespace ipcm::wire
