#pragma once

#include <vector>

#include "ipcm/bus.h"
#include "ipcm/stop.h"
#include "os/child.h"
#include "os/clock.h"

namespace ipcm::bus {

/// Ends all members of a bus: sends each the message to terminate, and waits until they have left. Services of
/// this library and children of this process that stay get SIGTERM, then SIGKILL; other peers get only time.
/// So do peers whose process can't be proven from here: a number in a file is no reason to signal a process.
/// Reaps `children`. Treats all peers at the same time, so that a slow one delays no other. Returns the peers
/// that did not leave. Uses patience, signal, polite_time and term_time of the options.
std::vector<StayedPeer> take_down(const BusInfo& info, const SpawnOptions& options,
                                  const std::vector<os::Child*>& children);
/// The first step alone: sends the signal of the options, and the message to terminate.
void ask_to_end(const BusInfo& info, const SpawnOptions& options);
/// The second step alone: waits until the peers that are on the bus now have left. Returns those that stay.
[[nodiscard]] std::vector<StayedPeer> await_leaving(const BusInfo& info, os::Deadline deadline);

}  // namespace ipcm::bus
