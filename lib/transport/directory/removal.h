#pragma once

#include <string>

#include "transport/presence/entries.h"
#include "transport/transport.h"

namespace ipcm::transport {

// Removing a bus without harm. In this order, so that a removal that is interrupted can be repeated:
//   1. The mark is closed: nobody joins any more. Somebody who joins at this moment has taken its lock before
//      it looks at the mark a second time, so that either it sees the closed mark, or we see its lock.
//   2. If a living peer is to be spared and holds its lock, the mark is opened again, and that is all.
//   3. What the protocol knows is removed, the marks last, then the directory, unless it was there before the
//      bus. What nobody knows stays.

/// Of a bus that is a directory.
[[nodiscard]] Removal remove_bus_directory(const BusInfo& info, const EndpointKinds& endpoints,
                                           Living living) noexcept;

/// Removes what a killed process has left of a bus directory that it was making. false: it is none, or its
/// maker may live.
[[nodiscard]] bool remove_unfinished_bus(const os::Directory& parent, const std::string& name);

}  // namespace ipcm::transport
