#pragma once

#include <string>

#include "ipcm/bus_info.h"

namespace ipcm::bus {

// The log of a service: its stdout and stderr, if `ipcm` started it or ServiceOptions::log is set.
//
// It stands beside the other files of this library on a bus, and is removed with them: `.NAME.log` and
// `.NAME.log.1` (the older part; os/rolling_log.h) in the directory of the bus, or in the sidecar directory of
// a bus that is one file; NAME as on disk (disk_name.h). A bus on a server has no directory, and neither has a
// file of the reference without members of this library. Their logs are in $XDG_STATE_HOME/ipcm
// (~/.local/state/ipcm), in one directory for each bus. ipcm/service_log.h reads them.

/// Returns the path of the log of a service; its directory exists. Throws SystemError.
[[nodiscard]] std::string make_log_path(const BusInfo& info, const std::string& name);
inline constexpr const char* kParametersSuffix = ".params";
/// Returns the directory of the files that the launchers of services keep: their logs, parameters and obituaries. It may not
/// exist yet; service_log_directory() makes it.
[[nodiscard]] std::string directory_of_launcher(const BusInfo& info);
/// Returns the name there of such a file of a service: `.N` and the suffix.
[[nodiscard]] std::string file_of_launcher(const BusInfo& info, const std::string& service,
                                           const char* suffix);
/// Removes the logs, parameters and obituaries that do not stand on the bus itself. Called after the bus was removed.
void remove_logs_elsewhere(const BusInfo& info) noexcept;

}  // namespace ipcm::bus
