#pragma once

#include "transport/transport.h"

namespace ipcm::transport {

/// One file for each message, in a directory for each peer. Messages outlive their reader.
[[nodiscard]] const Protocol& message_files_protocol();

}  // namespace ipcm::transport
