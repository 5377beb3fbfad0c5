#pragma once

#include "transport/transport.h"

namespace ipcm::transport {

/// Datagram sockets in a directory; one datagram is one message.
[[nodiscard]] const Protocol& unix_socket_protocol();

}  // namespace ipcm::transport
