#pragma once

#include "ipcm/registry.h"

namespace ipcm::command {

/// Adds the class `command`.
void add_class(Registry& registry);

}  // namespace ipcm::command
