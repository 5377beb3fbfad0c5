#pragma once

#include "ipcm/bus.h"

namespace ipcm::service {

/// Returns whether the bus is on a server that needs credentials.
[[nodiscard]] bool needs_credentials(const BusInfo& info);
/// Moves $IPCM_DB_USER and $IPCM_DB_PASSWORD out of the environment of this process, which is that of a
/// service, before its own code runs: into the credentials of its bus, if that one needs them.
void take_credentials(BusInfo& info);

}  // namespace ipcm::service
