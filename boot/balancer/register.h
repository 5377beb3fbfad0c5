#pragma once

#include "ipcm/registry.h"

namespace ipcm::balancer {

/// Adds the class `balancer`.
void add_class(Registry& registry);

}  // namespace ipcm::balancer
