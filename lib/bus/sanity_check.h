#pragma once

#include <vector>

#include "ipcm/bus.h"

namespace ipcm::bus {

/// Guard::sanity_check(): for every pair of peers that have left, the number of messages that the one has sent
/// less the number that the other has read.
[[nodiscard]] std::vector<Discrepancy> sanity_check(const BusInfo& info);

}  // namespace ipcm::bus
