#pragma once

#include <string>

#include "ipcm/bus.h"

namespace ipcm::bus {

// The log of a service: what it writes to stdout and stderr, where `ipcm` started it or ServiceOptions::log
// says so.
//
// It stands beside the other files of ours on a bus, and goes with them: `.NAME.log` and `.NAME.log.1` (what
// was written before; os/rolling_log.h) in the bus's directory, or in the sidecar directory of a bus that
// is one file; NAME as on disk (disk_name.h). A bus on a server has no directory; nor has a file of the
// reference's while nobody of ours is there. Their logs are in $XDG_STATE_HOME/ipcm (~/.local/state/ipcm), in
// a directory for each bus.

inline constexpr const char* kLogSuffix = ".log";

/// Where the logs of a bus are; need not be there yet.
[[nodiscard]] std::string log_directory(const BusInfo& info);
/// The same; makes the one in $XDG_STATE_HOME if need be. Throws SystemError.
[[nodiscard]] std::string make_log_directory(const BusInfo& info);
/// The path of a service's log, in a directory that is there. Throws SystemError.
[[nodiscard]] std::string make_log_path(const BusInfo& info, const std::string& name);
[[nodiscard]] std::string log_path(const BusInfo& info, const std::string& name);
/// Removes logs that do not stand on the bus itself. After the bus was removed.
void remove_logs_elsewhere(const BusInfo& info) noexcept;

}  // namespace ipcm::bus
