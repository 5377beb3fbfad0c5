#pragma once

#include <string>
#include <vector>

#include "ipcm/bus.h"
#include "os/child.h"

namespace ipcm::bus {

/// A peer that was asked to end, and did not leave in time.
struct Stayed {
  std::string name;
  /// false: no signal was sent, since nothing proves here which process it is.
  bool is_proven = true;
};
/// A peer that did not leave when it was asked to.
struct Forced {
  std::string name;
  int signal = 0;  ///< the last signal that it got
};
/// "'a', 'b' (its process can't be proven from here)"
[[nodiscard]] std::string describe(const std::vector<Stayed>& stayed);
[[nodiscard]] bool all_proven(const std::vector<Stayed>& stayed);

/// Ends all members of a bus: sends each the message to terminate, and waits until they have left. Services of
/// this library and children of this process that stay get SIGTERM, then SIGKILL; other peers get only time.
/// So do peers whose process can't be proven from here: a number in a file is no reason to signal a process.
/// Reaps `children`. Treats all peers at the same time, so that a slow one delays no other. Returns the peers
/// that did not leave. Uses patience, signal, polite_time and term_time of the options.
std::vector<Stayed> take_down(const BusInfo& info, const SpawnOptions& options,
                              const std::vector<os::Child*>& children);
/// Ends some members only, and also waits for the end of their processes. Ignores names that are not on the
/// bus. `forced`: the peers that ended after a signal.
std::vector<Stayed> stop_peers(const BusInfo& info, const std::vector<std::string>& names, Duration patience,
                               std::vector<Forced>* forced = nullptr);

}  // namespace ipcm::bus
