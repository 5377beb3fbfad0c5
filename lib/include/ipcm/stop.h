#pragma once

#include <string>
#include <vector>

#include "ipcm/basics.h"
#include "ipcm/bus_info.h"

namespace ipcm {

/// A peer that was asked to end, and did not leave in time.
struct StayedPeer {
  std::string name;
  /// false: it got no signal, because nothing proves from here which process it is.
  bool is_proven = true;
};
/// Returns a text such as "'a', 'b' (its process can't be proven from here)".
[[nodiscard]] std::string describe(const std::vector<StayedPeer>& stayed);
[[nodiscard]] bool all_proven(const std::vector<StayedPeer>& stayed);

/// A peer that ended only after a signal, and may not have cleaned up.
struct ForcedPeer {
  std::string name;
  int signal = 0;  ///< The last signal that it got.
};

/// The result of stop_peers(). A peer that is in neither list has ended as it was asked to.
struct StopResult {
  std::vector<StayedPeer> stayed;
  std::vector<ForcedPeer> forced;
};

/// Ends some peers of a bus, all at the same time, and waits for the end of their processes: asks them, sends
/// SIGTERM after half of the limit (at most 5 s), and SIGKILL after another quarter (at most 5 s). Sends signals only
/// to processes that the kernel proves; a peer whose process can't be proven from here is asked to end, and has to
/// leave the bus. Ignores names that are not on the bus, and peers of this process. Blocks at most for `limit`.
/// Throws BusError if there is no such bus.
[[nodiscard]] StopResult stop_peers(const BusInfo& info, const std::vector<std::string>& names,
                                    Duration limit = kNoLimit);

}  // namespace ipcm
