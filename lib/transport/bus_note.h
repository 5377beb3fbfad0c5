#pragma once

#include <optional>
#include <string>

#include "ipcm/bus_info.h"

namespace ipcm::transport {

// A bus in the file system keeps its info string beside it, in a hidden file `.info`: in its directory, or
// in the sidecar of its file (sidecar.h). So a process that knows only the path can join, whatever the
// protocol.

/// Writes the note; does nothing for a bus on a server.
void note_route_info(const BusInfo& info);
/// Removes the mark of a route and nothing else, if the bus could not be made completely.
void forget_route_info(const std::string& path) noexcept;
/// Returns the note of the bus at that path, with the path as its route; for a bus of the reference, which
/// has no note, the facts that its files show. nullopt: there is nothing. Throws BusError for a directory
/// that is no bus.
[[nodiscard]] std::optional<BusInfo> read_route_info(const std::string& path);
/// As read_route_info(), but only for a bus that this library made.
[[nodiscard]] std::optional<BusInfo> read_mark_of(const std::string& path);
/// Returns whether this library made the bus at that path.
[[nodiscard]] bool has_route_info(const std::string& path);

}  // namespace ipcm::transport
