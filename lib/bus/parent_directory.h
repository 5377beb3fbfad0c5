#pragma once

#include "ipcm/bus.h"

namespace ipcm::bus {

/// Checks the path where a new bus will be made: it becomes part of the bus's info, which is JSON. Throws
/// UsageError for a path that is not UTF-8, and names the variable or the option that has it.
void check_parent_directory(const SpawnOptions& options);

}  // namespace ipcm::bus
