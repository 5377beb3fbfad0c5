#pragma once

#include <cstdint>
#include <string>

#include "ipcm/content.h"

namespace ipcm {

/// One message as it travels. See docs/bus.md for its form on the wire.
struct Message {
  std::string id;  ///< Upper-case UUID, version 7 when made by us.
  std::string
      from;  ///< Name of the sender: claimed, and only as trustworthy as the bus's directory permissions.
  std::string to;
  double stamp = 0;             ///< Unix seconds at the sender.
  std::uint64_t stamp_ord = 0;  ///< Tells apart messages of one sender with the same stamp.
  bool broadcast = false;
  Content content;  ///< Any JSON value but null, or bytes.
};

}  // namespace ipcm
