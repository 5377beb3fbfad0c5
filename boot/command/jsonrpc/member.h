#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "wire/top_level.h"

namespace ipcm::command::jsonrpc {

inline constexpr std::size_t kLongestMethod = 1000;  ///< bytes of a name

/// One member of an object, whose text it is a slice of.
struct Member {
  bool is_there = false;
  wire::MemberKind kind = wire::MemberKind::null;
  std::string_view raw;
  std::string decoded;

  /// Returns false if it is there already.
  bool set(wire::MemberKind with_kind, std::string_view text, std::string_view characters) {
    if (std::exchange(is_there, true)) return false;
    kind = with_kind;
    raw = text;
    if (kind == wire::MemberKind::string) decoded = characters;
    return true;
  }
  [[nodiscard]] bool is_text() const { return is_there && kind == wire::MemberKind::string; }
  [[nodiscard]] bool is_null() const { return is_there && kind == wire::MemberKind::null; }
};

}  // namespace ipcm::command::jsonrpc
