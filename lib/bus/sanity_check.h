#pragma once

#include <vector>

#include "ipcm/bus.h"

namespace ipcm::bus {

/// Guard::sanity_check(): for every pair, what the one sent less what the other read, by the statistics of
/// those who have left.
[[nodiscard]] std::vector<Discrepancy> sanity_check(const BusInfo& info);

}  // namespace ipcm::bus
