#pragma once

#include "ipcm/bus.h"

namespace ipcm::bus {

/// Returns the directory in which new buses are made. Its path becomes part of the bus's info, which is JSON:
/// throws UsageError for a path that is not UTF-8, and names the variable or the option that has it.
void check_place(const SpawnOptions& options);

}  // namespace ipcm::bus
