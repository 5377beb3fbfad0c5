#pragma once

#include <string>
#include <vector>

#include "transport/transport.h"

namespace ipcm::transport {

/// All protocols. To add one, add a folder beside this file and a line to protocols.cc.
[[nodiscard]] const std::vector<const Protocol*>& protocols();
/// Returns a protocol by name. Throws BusError that lists the known ones.
[[nodiscard]] const Protocol& find_protocol(const std::string& name);
/// Throws BusError for a URL, without repeating it: it may hold a password.
void expect_no_url(const std::string& route);

}  // namespace ipcm::transport
