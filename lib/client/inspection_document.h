#pragma once

#include "ipcm/content.h"
#include "ipcm/inspection.h"

namespace ipcm::client {

// The answer of a service to the request for its facts, as JSON (docs/bus.md, "Inspection").

[[nodiscard]] Content write_inspection(const Inspection& facts);
/// Ignores unknown keys. Throws ProtocolError that names the place where the answer is wrong.
[[nodiscard]] Inspection read_inspection(const Content& answer, const std::string& peer);

}  // namespace ipcm::client
