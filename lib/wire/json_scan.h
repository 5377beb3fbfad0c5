#pragma once

#include <bitset>
#include <string>
#include <string_view>
#include <type_traits>

#include "ipcm/error.h"

namespace ipcm::wire {

/// The deepest nesting of content. An envelope adds levels around it, and a request one more; the whole must
/// stay below the 512 levels that Perl's JSON modules accept.
inline constexpr std::size_t kDeepestContent = 500;
inline constexpr std::size_t kDeepest = kDeepestContent + 4;

// scan_json() makes one pass over a JSON text (RFC 8259, in UTF-8) without building a tree. It calls
// `Visitor` for each value with the positions where the value begins and ends, so that the visitor can keep
// slices of the text:
//   bool scalar(ScalarKind, begin, end, decoded)   decoded: for strings, without quotes and escapes
//   bool open(is_object, begin)   bool close(end)   bool key(decoded)
//   bool nested(begin, end)   optional. A visitor that has it gets each object and array inside the outermost
//                             value by one call, without its parts. They are checked as strictly.
// If one of them returns false, the pass ends with failure() as the reason. `decoded` is a part of the text,
// or, for a string with escapes, of a buffer of the scanner: it is valid until the visitor returns.
//
// Written by hand: RapidJSON reports no positions and took 9 ns for each byte, and simdjson needs padding
// after each text (docs/adr, "A JSON scanner of our own").

enum class ScalarKind { null, boolean, number, string };

/// Returns "at line 3, column 7" for the byte `at`; columns count characters.
[[nodiscard]] std::string place_in(std::string_view text, std::size_t at);

namespace detail {

/// A visitor that ignores all values: the text is only checked.
struct Nobody {};

/// Reads the tokens of JSON. Each function starts at `at_` and moves it past the token. On an error it calls
/// fail() and returns false; `at_` is then at the error.
class JsonTokens {
 public:
  JsonTokens(std::string_view text, std::size_t deepest);

  /// Whether the text read so far is ASCII.
  [[nodiscard]] bool is_ascii() const { return ascii_; }
  /// `failure`: the reason of the visitor, used if the visitor ended the pass.
  [[noreturn]] void refuse(std::string_view what, std::string_view failure) const;

 protected:
  [[nodiscard]] std::size_t place() const { return static_cast<std::size_t>(at_ - begin_); }
  bool fail(const char* why) noexcept;

  void skip_space() {
    while (at_ < end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\t' || *at_ == '\r')) ++at_;
  }
  bool is_at(char c) const { return at_ < end_ && *at_ == c; }
  bool null_or_boolean();
  bool number();
  /// decoded: null if the caller does not need the text.
  bool string(std::string_view* decoded);

  const char *begin_, *at_, *end_;
  std::size_t deepest_, depth_ = 0;
  static constexpr std::size_t kStack = 512;
  static_assert(kDeepest < kStack);
  static constexpr char kTooDeep[] = "nested too deep";  // refuse() says how deep
  std::bitset<kStack> is_object_;                        // by depth

 private:
  bool word(std::string_view text);
  bool digits();
  bool character();
  bool escape(bool wanted);
  bool hex(std::uint32_t& unit);

  const char* why_ = nullptr;  // null: the visitor ended the pass
  bool ascii_ = true;
  std::string buffer_;  // a string without its escapes
};

/// Reads values: the grammar above the tokens.
class JsonScanner : public JsonTokens {
 public:
  using JsonTokens::JsonTokens;

  template <class Visitor>
  bool document(Visitor& visitor) {
    if (!value(visitor)) return false;
    skip_space();
    return at_ == end_ || fail("text follows the value");
  }

 private:
  template <class Visitor>
  static constexpr bool kVisits = !std::is_same_v<Visitor, Nobody>;
  template <class Visitor>
  static constexpr bool kStaysOutside = requires(Visitor& visitor) {
    visitor.nested(0, 0);
  };

  /// Reads one value with everything inside it. A loop and not a recursion: nesting costs a bit for each
  /// level.
  template <class Visitor>
  bool value(Visitor& visitor) {
    const std::size_t outside = depth_;
    for (;;) {
      skip_space();
      bool whole = true;  // the value is complete; otherwise its first child or key follows
      if (is_at('{') || is_at('[')) {
        if (!object_or_array(visitor, whole)) return false;
      } else if (!scalar(visitor)) {
        return false;
      }
      if (whole && !comma_or_ends(visitor, outside)) return false;
      if (depth_ == outside) return true;
      if (is_object_[depth_] && !key(visitor)) return false;
    }
  }

  template <class Visitor>
  bool object_or_array(Visitor& visitor, bool& whole) {
    const std::size_t begin = place();
    if constexpr (kStaysOutside<Visitor>) {
      if (depth_ > 0) {
        Nobody nobody;
        return value(nobody) && visitor.nested(begin, place());
      }
    }
    const bool is_object = *at_ == '{';
    if (depth_ == deepest_) return fail(kTooDeep);
    ++at_;
    is_object_[++depth_] = is_object;
    if constexpr (kVisits<Visitor>)
      if (!visitor.open(is_object, begin)) return false;
    skip_space();
    whole = is_at(is_object ? '}' : ']');
    return !whole || close(visitor);
  }
  template <class Visitor>
  bool close(Visitor& visitor) {
    ++at_;
    --depth_;
    if constexpr (kVisits<Visitor>) return visitor.close(place());
    return true;
  }

  /// Reads after a value: the comma before the next one, or the ends of the values around it.
  template <class Visitor>
  bool comma_or_ends(Visitor& visitor, std::size_t outside) {
    while (depth_ > outside) {
      skip_space();
      if (is_at(',')) return ++at_, true;
      const bool in_object = is_object_[depth_];
      if (!is_at(in_object ? '}' : ']'))
        return fail(in_object ? "expected a comma or }" : "expected a comma or ]");
      if (!close(visitor)) return false;
    }
    return true;
  }

  template <class Visitor>
  bool key(Visitor& visitor) {
    skip_space();
    if (!is_at('"')) return fail("expected a key in quotes");
    std::string_view decoded;
    if (!string(kVisits<Visitor> ? &decoded : nullptr)) return false;
    if constexpr (kVisits<Visitor>)
      if (!visitor.key(decoded)) return false;
    skip_space();
    if (!is_at(':')) return fail("expected a colon");
    return ++at_, true;
  }

  template <class Visitor>
  bool scalar(Visitor& visitor) {
    const std::size_t begin = place();
    ScalarKind kind = ScalarKind::number;
    std::string_view decoded;
    if (is_at('"')) {
      kind = ScalarKind::string;
      if (!string(kVisits<Visitor> ? &decoded : nullptr)) return false;
    } else if (is_at('t') || is_at('f') || is_at('n')) {
      kind = is_at('n') ? ScalarKind::null : ScalarKind::boolean;
      if (!null_or_boolean()) return false;
    } else if (!number()) {
      return false;
    }
    if constexpr (kVisits<Visitor>) return visitor.scalar(kind, begin, place(), decoded);
    return true;
  }
};

}  // namespace detail

/// Scans a text; see above. Throws ProtocolError: "WHAT is not JSON: expected a comma or }, found 'x', at
/// line 1, column 12". `deepest`: 511 at most.
template <class Visitor>
void scan_json(std::string_view text, std::string_view what, Visitor& visitor,
               std::size_t deepest = kDeepest) {
  detail::JsonScanner scanner(text, deepest);
  if (!scanner.document(visitor)) scanner.refuse(what, visitor.failure());
}

}  // namespace ipcm::wire
