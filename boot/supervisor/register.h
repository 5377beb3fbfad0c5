#pragma once

#include "ipcm/registry.h"

namespace ipcm::supervisor {

/// Adds the class `supervisor`.
void add_class(Registry& registry);

}  // namespace ipcm::supervisor
