#pragma once

#include "transport/transport.h"

namespace ipcm::database {

/// A database file; woken by inotify.
[[nodiscard]] const transport::Protocol& sqlite_protocol();

}  // namespace ipcm::database
