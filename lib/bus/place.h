#pragma once

#include "ipcm/bus.h"

namespace ipcm::bus {

/// Where a bus is made becomes part of its info, which is JSON: a place whose path is not UTF-8 can't be told
/// to anybody. Throws UsageError, naming the variable or the option that has it.
void check_place(const SpawnOptions& options);

}  // namespace ipcm::bus
