#pragma once

#include <string>
#include <string_view>

#include "ipcm/client.h"
#include "wire/serializer.h"

namespace ipcm::transport {

/// `{"sent":{"PEER":n},"read":{"PEER":n}}`, as the reference keeps it. What can't be read counts as nothing.
[[nodiscard]] std::string write_statistics(const Statistics& statistics);
[[nodiscard]] Statistics read_statistics(std::string_view text);
/// The same in a file of a directory, which the reference writes with the serializer of the bus (a zstd
/// frame, say); plain JSON is read, too.
[[nodiscard]] std::string write_statistics(const Statistics& statistics, const wire::Serializer& serializer);
[[nodiscard]] Statistics read_statistics(std::string_view bytes, const wire::Serializer& serializer);

}  // namespace ipcm::transport
