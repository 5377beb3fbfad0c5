#pragma once

#include <optional>
#include <string>

#include "ipcm/bus.h"

namespace ipcm::transport {

// A bus that lies in the file system keeps its info string beside it, in a hidden file `.info`: in the
// directory, or in the sidecar of a route that is one file (sidecar.h). So that who knows the path alone
// can join, whatever the protocol.

/// Notes it; where there is no such place (a server's bus), nothing is done.
void note_route_info(const BusInfo& info);
/// Removes the mark of a route and nothing else: the caller could not finish making the bus.
void forget_route_info(const std::string& path) noexcept;
/// What was noted for the bus at that path, with the path as route; for a bus of the reference, which has no
/// note, what the files in it tell. nullopt: there is nothing. Throws BusError for a directory that is no
/// bus.
[[nodiscard]] std::optional<BusInfo> read_route_info(const std::string& path);
/// The same, of a bus that we have made only.
[[nodiscard]] std::optional<BusInfo> read_mark_of(const std::string& path);
/// Whether it was noted there: by us, when we made the bus.
[[nodiscard]] bool has_route_info(const std::string& path);

}  // namespace ipcm::transport
