#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ipcm/bus_info.h"

namespace ipcm {

// The log of a service: its stdout and stderr, if `ipcm` has started it or ServiceOptions::log is set. It is removed
// with the bus. The older part of a long log stands beside it, with ".1" at the end of its name.

/// Returns the path of the log of a service. A service without a log has no file there.
[[nodiscard]] std::string service_log_path(const BusInfo& info, std::string_view service);
/// Returns the directory of the logs of a bus, for a watch, and makes it if it is missing. It may hold other files
/// too. Throws SystemError, and BusError for a route that is no bus.
[[nodiscard]] std::string service_log_directory(const BusInfo& info);
/// Returns the paths of the logs in such a directory, sorted, without the older parts. Empty if the directory is
/// gone. Throws SystemError.
[[nodiscard]] std::vector<std::string> service_logs_in(const std::string& directory);
/// Returns the last lines that a service wrote to its log, joined to one line of at most 300 characters without
/// control characters, for an error about its end. Empty: there are none, or the log can't be read. Waits at most
/// one second for the end of the writers.
[[nodiscard]] std::string service_last_words(const BusInfo& info, std::string_view service) noexcept;

}  // namespace ipcm
