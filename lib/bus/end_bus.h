#pragma once

#include <functional>
#include <string>
#include <vector>

#include "bus/take_down.h"
#include "ipcm/bus.h"
#include "os/child.h"
#include "transport/transport.h"

namespace ipcm::bus {

/// The result of ending a bus.
struct Ended {
  std::vector<StayedPeer> stayed;  ///< peers that did not leave
  transport::Removal removal;
};

/// If some peers don't leave: the bus is removed all the same; or it stays with them, if one of them can't be proven
/// from here (take_down.h), so that nobody could end it.
enum class IfSomeStay { keep_unproven, remove_bus };

/// Takes a bus down (take_down.h) and removes it. A peer that joins meanwhile is asked to leave too. Calls
/// `between` after the peers have left, before anything is removed. Throws as take_down() does; then the
/// caller can try again.
[[nodiscard]] Ended end_bus(const BusInfo& info, const SpawnOptions& options,
                            const std::vector<os::Child*>& children, IfSomeStay if_some_stay,
                            const std::function<void()>& between = {});

}  // namespace ipcm::bus
