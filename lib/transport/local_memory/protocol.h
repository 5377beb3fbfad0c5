#pragma once

#include "transport/transport.h"

namespace ipcm::transport {

/// Queues in memory, for clients of one process, on any of its threads. No service can be on such a bus.
[[nodiscard]] const Protocol& local_memory_protocol();

}  // namespace ipcm::transport
