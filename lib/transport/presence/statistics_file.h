#pragma once

#include <string>
#include <string_view>

#include "ipcm/statistics.h"
#include "wire/serializer.h"

namespace ipcm::transport {

/// Statistics as `{"sent":{"PEER":n},"read":{"PEER":n}}`, the format of the reference. Unreadable text
/// counts as empty.
[[nodiscard]] std::string write_statistics(const Statistics& statistics);
[[nodiscard]] Statistics read_statistics(std::string_view text);
/// The contents of a statistics file, which the reference writes with the serializer of the bus (a zstd
/// frame, say); plain JSON is accepted too.
[[nodiscard]] std::string write_statistics(const Statistics& statistics, const wire::Serializer& serializer);
[[nodiscard]] Statistics read_statistics(std::string_view bytes, const wire::Serializer& serializer);

}  // namespace ipcm::transport
