#pragma once

#include <string>
#include <string_view>

#include "ipcm/bus.h"

namespace ipcm::bus {

/// What a command that is on a bus for a moment is called there: "ipcm-PID-XXXXXX".
[[nodiscard]] std::string visitor_name();

[[nodiscard]] bool is_visitor(std::string_view name);

/// Whether visitors leave what they have counted. On a bus of the reference's, whose sanity check wants it
/// from everybody. Not on one of ours, whose check does not, and which may see millions of them before it
/// ends.
[[nodiscard]] bool visitors_count(const BusInfo& info);

}  // namespace ipcm::bus
