#pragma once

#include <charconv>
#include <string>
#include <string_view>

#include "wire/json_scan.h"

namespace ipcm::wire {

enum class MemberKind { null, string, nested, other };

/// Calls `member(key, kind, raw, decoded)` for each member of the outermost object of `text`, without a tree.
/// `raw` is the text of the value; `decoded` has the characters of a string. If `member` returns false, the
/// key is not allowed there. Throws ProtocolError if the text is no JSON object.
template <class Member>
void for_each_member(std::string_view text, std::string_view what, Member member);

namespace detail {

template <class Member>
class TopLevel {
 public:
  TopLevel(std::string_view text, Member& member) : text_(text), member_(member) {}

  bool scalar(ScalarKind kind, std::size_t begin, std::size_t end, std::string_view decoded) {
    if (!inside_) return refuse("expected an object");
    const MemberKind told = kind == ScalarKind::string ? MemberKind::string
                            : kind == ScalarKind::null ? MemberKind::null
                                                       : MemberKind::other;
    return tell(told, begin, end, decoded);
  }
  bool open(bool is_object, std::size_t) { return (inside_ = is_object) || refuse("expected an object"); }
  static bool close(std::size_t) { return true; }
  bool nested(std::size_t begin, std::size_t end) { return tell(MemberKind::nested, begin, end, {}); }
  bool key(std::string_view decoded) {
    key_ = decoded;
    return true;
  }
  [[nodiscard]] const std::string& failure() const { return failure_; }

 private:
  bool tell(MemberKind kind, std::size_t begin, std::size_t end, std::string_view decoded) {
    if (member_(std::string_view(key_), kind, text_.substr(begin, end - begin), decoded)) return true;
    return refuse("the key '" + key_ + "' twice");
  }
  bool refuse(std::string why) {
    failure_ = std::move(why);
    return false;
  }

  std::string_view text_;
  Member& member_;
  std::string key_, failure_;
  bool inside_ = false;
};

}  // namespace detail

template <class Member>
void for_each_member(std::string_view text, std::string_view what, Member member) {
  detail::TopLevel<Member> visitor(text, member);
  scan_json(text, what, visitor);
}

/// Whether Perl treats the value as true: not null, false, 0, "0" or "".
[[nodiscard]] inline bool is_truthy(MemberKind kind, std::string_view raw, std::string_view decoded) {
  if (kind == MemberKind::null) return false;
  if (kind == MemberKind::string) return !decoded.empty() && decoded != "0";
  if (raw == "false") return false;
  double number = 1;
  (void)std::from_chars(raw.data(), raw.data() + raw.size(), number);
  return number != 0;  // for every spelling of zero
}

}  // namespace ipcm::wire
