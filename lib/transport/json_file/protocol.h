#pragma once

#include "transport/transport.h"

namespace ipcm::transport {

/// One JSON document for everything, rewritten with each message: simple, slow, and easy to inspect.
[[nodiscard]] const Protocol& json_file_protocol();

}  // namespace ipcm::transport
