#pragma once

#include "transport/transport.h"

namespace ipcm::transport {

/// Named pipes in a directory, messages cut into parts that the kernel keeps whole.
[[nodiscard]] const Protocol& atomic_pipe_protocol();

}  // namespace ipcm::transport
