#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ipcm/bus.h"

namespace ipcm::bus {

// Buses in the directories where ours and the reference's are made ($XDG_RUNTIME_DIR, $TMPDIR, /tmp). Only
// what belongs to us and is named as we or the reference name it; no link is followed.

struct Place {
  std::string directory;
  std::string name;  ///< as one that makes buses has named it
  std::string path;  ///< of the bus
};
/// Throws SystemError where a directory can't be listed for want of memory or descriptors.
[[nodiscard]] std::vector<Place> find_places();
/// The bus there; nullopt: it is none, or just going.
[[nodiscard]] std::optional<BusInfo> bus_at(const Place& place);
/// Whether its removal has begun: nobody can join it any more.
[[nodiscard]] bool is_being_removed(const Place& place);
/// Removes what a process has left there that was killed while it made or removed a bus. false: nothing.
[[nodiscard]] bool remove_leftovers_at(const Place& place);

}  // namespace ipcm::bus
