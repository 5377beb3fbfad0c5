#pragma once

#include <string>
#include <string_view>

#include "ipcm/client.h"

namespace ipcm::transport {

/// `{"sent":{"PEER":n},"read":{"PEER":n}}`, as the reference keeps it. What can't be read counts as nothing.
[[nodiscard]] std::string write_statistics(const Statistics& statistics);
[[nodiscard]] Statistics read_statistics(std::string_view text);

}  // namespace ipcm::transport
