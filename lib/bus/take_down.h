#pragma once

#include <string>
#include <vector>

#include "ipcm/bus.h"
#include "os/process.h"

namespace ipcm::bus {

/// A peer that was told to end, and did not leave in time.
struct Stayed {
  std::string name;
  /// false: no signal was sent, since the kernel does not vouch here for which process it is.
  bool is_proven = true;
};
/// A peer that did not leave when it was asked to.
struct Forced {
  std::string name;
  int signal = 0;  ///< the last one that was sent
};
/// "'a', 'b' (its process can't be proven from here)"
[[nodiscard]] std::string describe(const std::vector<Stayed>& stayed);
[[nodiscard]] bool all_proven(const std::vector<Stayed>& stayed);

/// Ends all that is on a bus: says terminate to every peer, and waits, woken by their going. Services of ours
/// and children of this process that have not gone after a while get SIGTERM, then SIGKILL; others only the
/// time. So do those whose process can't be proven from here: what stands in a file is not enough to signal a
/// process. `children` are reaped. Everybody at once, so that one who is slow costs its own time only.
/// Returns those that did not go. Of the options it looks at patience, signal, polite_time and term_time.
std::vector<Stayed> take_down(const BusInfo& info, const SpawnOptions& options,
                              const std::vector<os::Child*>& children);
/// The same for some of them only; their processes have to end, too. Names that are not on the bus are passed
/// over. `forced`: those that had to be signalled, and have ended.
std::vector<Stayed> stop_peers(const BusInfo& info, const std::vector<std::string>& names, Duration patience,
                               std::vector<Forced>* forced = nullptr);

}  // namespace ipcm::bus
