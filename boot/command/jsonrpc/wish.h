#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "ipcm/content.h"

namespace ipcm::command::jsonrpc {

/// What a peer of the bus asks for. The slices refer to its content: the reader checks them, and nothing changes them.
struct Wish {
  enum class Kind : std::uint8_t { call, subscribe, unsubscribe };
  Kind kind = Kind::call;
  std::string method;       ///< its name
  std::string_view quoted;  ///< call: the method as JSON
  std::string_view params;  ///< call: JSON; empty: none
  bool answers = false;     ///< subscribe: the peer also answers requests of the program
};
/// Reads {"method":…,"params":…}, {"subscribe":…,"answers":…} or {"unsubscribe":…}. The slices refer to `content`, which
/// must outlive them. Throws UsageError for anything else.
[[nodiscard]] Wish read_wish(const Content& content);

}  // namespace ipcm::command::jsonrpc
