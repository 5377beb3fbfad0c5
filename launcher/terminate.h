#pragma once

#include "ipcm/content.h"

namespace ipcm::launcher {

/// Returns whether a message is the one by which the owner of a bus, or `ipcm stop`, asks a member to end (docs/bus.md). For members
/// that are clients: a service obeys it by itself.
[[nodiscard]] bool asks_to_terminate(const Content& content);

}  // namespace ipcm::launcher
