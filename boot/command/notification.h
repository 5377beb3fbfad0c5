#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "ipcm/basics.h"

namespace ipcm::command {

/// One message of sd_notify(3): lines of NAME=VALUE. Unknown lines are ignored.
struct Notification {
  bool ready = false;
  bool alive = false;      ///< WATCHDOG=1
  bool is_broken = false;  ///< WATCHDOG=trigger
  std::optional<std::string> status = {};
  std::optional<Duration> more_time = {};  ///< EXTEND_TIMEOUT_USEC
  std::optional<Duration> watchdog = {};   ///< WATCHDOG_USEC: the new period
};

[[nodiscard]] Notification parse_notification(std::string_view text);

}  // namespace ipcm::command
