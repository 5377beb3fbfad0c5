#pragma once

#include <string>
#include <string_view>

#include "ipcm/error.h"
#include "wire/rapidjson.h"

namespace ipcm::wire {

/// The deepest nesting of content. Around it come an envelope and, for requests, one level more; the whole
/// has to stay below the 512 levels that Perl's JSON modules accept.
inline constexpr std::size_t kDeepestContent = 500;
inline constexpr std::size_t kDeepest = kDeepestContent + 4;

/// One pass over a JSON text without building a tree. `Visitor` is told of each value where it begins and
/// ends in the text, so that it can keep slices:
///   bool scalar(ScalarKind, begin, end, decoded)   decoded: for strings, without quotes and escapes
///   bool open(is_object, begin)   bool close(end)   bool key(decoded)
/// false from one of them ends the pass with failure() as the reason.
enum class ScalarKind { null, boolean, number, string };

namespace detail {

template <class Visitor>
class Handler {
 public:
  using Size = rapidjson::SizeType;
  Handler(std::string_view text, Visitor& visitor, std::size_t deepest)
      : text_(text), visitor_(visitor), deepest_(deepest) {}

  bool Null() { return fixed(ScalarKind::null, 4); }
  bool Bool(bool is_true) { return fixed(ScalarKind::boolean, is_true ? 4 : 5); }
  bool RawNumber(const char*, Size length, bool) { return fixed(ScalarKind::number, length); }
  bool String(const char* text, Size length, bool) {
    const std::size_t begin = skip_to_token();
    at_ = end_of_string(begin);
    return is_whole(text, length) &&
           visitor_.scalar(ScalarKind::string, begin, at_, std::string_view(text, length));
  }
  bool Key(const char* text, Size length, bool) {
    at_ = end_of_string(skip_to_token());
    return is_whole(text, length) && visitor_.key(std::string_view(text, length));
  }
  bool StartObject() { return open(true); }
  bool StartArray() { return open(false); }
  bool EndObject(Size) { return close(); }
  bool EndArray(Size) { return close(); }

  // Numbers come as text, so these are not called.
  bool Int(int) { return false; }
  bool Uint(unsigned) { return false; }
  bool Int64(std::int64_t) { return false; }
  bool Uint64(std::uint64_t) { return false; }
  bool Double(double) { return false; }

  [[nodiscard]] bool too_deep() const { return depth_ > deepest_; }
  [[nodiscard]] bool half_a_pair() const { return half_a_pair_; }

 private:
  // The parser tells values, not places. What lies between the end of one token and the start of the next is
  // known, though: white space, and at most one of `:` and `,`.
  std::size_t skip_to_token() {
    while (at_ < text_.size() && is_between(text_[at_])) ++at_;
    return at_;
  }
  /// The parser takes an escape of the second half of a pair for a character, which UTF-8 does not have.
  bool is_whole(const char* text, Size length) {
    const std::string_view decoded(text, length);
    for (auto at = decoded.find('\xED'); at != decoded.npos; at = decoded.find('\xED', at + 1))
      if (at + 1 < decoded.size() && static_cast<unsigned char>(decoded[at + 1]) >= 0xA0) half_a_pair_ = true;
    return !half_a_pair_;
  }
  static bool is_between(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == ':' || c == ',';
  }
  [[nodiscard]] std::size_t end_of_string(std::size_t begin) const {
    std::size_t at = begin + 1;
    while (text_[at] != '"') at += text_[at] == '\\' ? 2 : 1;
    return at + 1;
  }
  bool fixed(ScalarKind kind, std::size_t length) {
    const std::size_t begin = skip_to_token();
    at_ = begin + length;
    return visitor_.scalar(kind, begin, at_, {});
  }
  bool open(bool is_object) {
    const std::size_t begin = skip_to_token();
    at_ = begin + 1;
    return ++depth_ <= deepest_ && visitor_.open(is_object, begin);
  }
  bool close() {
    at_ = skip_to_token() + 1;
    --depth_;
    return visitor_.close(at_);
  }

  std::string_view text_;
  Visitor& visitor_;
  std::size_t at_ = 0;
  std::size_t depth_ = 0;
  std::size_t deepest_;
  bool half_a_pair_ = false;
};

}  // namespace detail

/// Throws ProtocolError: "WHAT is not JSON: Missing a comma or } after an object member, at byte 12".
template <class Visitor>
void scan_json(std::string_view text, std::string_view what, Visitor& visitor,
               std::size_t deepest = kDeepest) {
  constexpr unsigned kFlags = rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag |
                              rapidjson::kParseNumbersAsStringsFlag;
  detail::Handler<Visitor> handler(text, visitor, deepest);
  rapidjson::MemoryStream stream(text.data(), text.size());
  rapidjson::Reader reader;
  const rapidjson::ParseResult result = reader.Parse<kFlags>(stream, handler);
  std::string why;
  std::size_t place = result.Offset();
  if (result.IsError()) {
    if (result.Code() != rapidjson::kParseErrorTermination)
      why = rapidjson::GetParseError_En(result.Code());
    else if (handler.too_deep())
      why = "nested deeper than " + std::to_string(deepest) + " levels";
    else if (handler.half_a_pair())
      why = "half of a surrogate pair";
    else
      why = visitor.failure();
    if (why.ends_with('.')) why.pop_back();
  } else if (stream.Tell() != text.size()) {  // a NUL byte, which the parser takes for the end
    why = "a NUL byte";
    place = stream.Tell();
  } else {
    return;
  }
  throw ProtocolError(std::string(what) + " is not JSON: " + why + ", at byte " + std::to_string(place));
}

}  // namespace ipcm::wire
