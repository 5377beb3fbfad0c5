#pragma once

#include "ipcm/bus.h"

namespace ipcm::bus {

/// Makes a process that owns the bus from now on, detached from this one (Guard::cleave). Returns its pid
/// when it has taken over. Throws SystemError, UsageError.
[[nodiscard]] Pid cleave(const BusInfo& info, const SpawnOptions& options);

}  // namespace ipcm::bus
