#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ipcm/bus.h"

namespace ipcm::bus {

// Finds buses in the directories where this library and the reference make them ($XDG_RUNTIME_DIR, $TMPDIR,
// /tmp). Considers only entries that belong to this user and have a name as this library or the reference
// chooses it; follows no link.

struct Place {
  std::string directory;
  std::string name;  ///< as one that makes buses has named it
  std::string path;  ///< of the bus
};
/// Throws SystemError where a directory can't be listed for want of memory or descriptors.
[[nodiscard]] std::vector<Place> find_places();
/// Returns the bus at a place; nullopt: it is no bus, or is being removed.
[[nodiscard]] std::optional<BusInfo> bus_at(const Place& place);
/// Returns whether the removal of a bus has begun: no member can join it any more.
[[nodiscard]] bool is_being_removed(const Place& place);
/// Removes the files of a process that was killed while it made or removed a bus. false: there are none.
[[nodiscard]] bool remove_leftovers_at(const Place& place);

}  // namespace ipcm::bus
