#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ipcm/bus.h"

namespace ipcm::bus {

// Finds buses in the directories where this library and the reference make them ($XDG_RUNTIME_DIR, $TMPDIR,
// /tmp). Considers only entries that belong to this user and have a name as this library or the reference
// chooses it; follows no link.

/// An entry whose name is that of a bus.
struct FoundBus {
  std::string directory;
  std::string name;
  std::string path;  ///< directory/name
};
/// Returns them sorted by path. Throws SystemError where a directory can't be listed for want of memory or descriptors.
[[nodiscard]] std::vector<FoundBus> find_buses();
/// Reads the info of a bus that was found; nullopt: it is no bus, or is being removed.
[[nodiscard]] std::optional<BusInfo> bus_at(const FoundBus& found);
/// Returns whether the removal of a bus has begun: no member can join it any more.
[[nodiscard]] bool is_being_removed(const FoundBus& found);
/// Removes the files of a process that was killed while it made or removed a bus. false: there are none.
[[nodiscard]] bool remove_remains(const FoundBus& found);

}  // namespace ipcm::bus
