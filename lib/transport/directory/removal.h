#pragma once

#include <string>

#include "transport/presence/entries.h"
#include "transport/transport.h"

namespace ipcm::transport {

// Removing a bus without harm. The steps have this order so that an interrupted removal can be repeated:
// 1. Close the mark: no peer joins any more. A peer that joins at this moment takes its lock before it
//    looks at the mark a second time, so that either it sees the closed mark, or the removal sees its lock.
// 2. If a living peer must be spared and holds its lock, open the mark again, and stop.
// 3. Remove the files that the protocol knows, the marks last, then the directory, unless it existed before
//    the bus. Unknown files stay.

/// Removes a bus that is a directory.
[[nodiscard]] Removal remove_bus_directory(const BusInfo& info, const EndpointKinds& endpoints,
                                           Living living) noexcept;

/// Removes a bus directory whose maker was killed before it was finished. Returns false if it is none, or
/// if its maker may live.
[[nodiscard]] bool remove_unfinished_bus(const os::Directory& parent, const std::string& name);

}  // namespace ipcm::transport
