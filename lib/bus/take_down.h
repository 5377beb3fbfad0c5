#pragma once

#include <string>
#include <vector>

#include "ipcm/bus.h"
#include "os/process.h"

namespace ipcm::bus {

/// Ends all that is on a bus: says terminate to every peer, and waits, woken by their going. Services of ours
/// and children of this process that have not gone after a while get SIGTERM, then SIGKILL; others only the
/// time. `children` are reaped. Everybody at once, so that one who is slow costs its own time only. Returns
/// the names that did not go. Of the options it looks at patience, signal, polite_time and term_time.
std::vector<std::string> take_down(const BusInfo& info, const SpawnOptions& options,
                                   const std::vector<os::Child*>& children);
/// The same for some of them only; their processes have to end, too. Names that are not on the bus are passed
/// over.
std::vector<std::string> stop_peers(const BusInfo& info, const std::vector<std::string>& names,
                                    Duration patience);

}  // namespace ipcm::bus
