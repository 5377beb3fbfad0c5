#pragma once

#include "transport/transport.h"

namespace ipcm::transport {

/// Stream sockets in a directory; one connection for each pair that talks. The default protocol.
[[nodiscard]] const Protocol& connection_unix_protocol();

}  // namespace ipcm::transport
