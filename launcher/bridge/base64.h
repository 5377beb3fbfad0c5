#pragma once

#include <string>
#include <string_view>

namespace ipcm::launcher {

/// Returns the bytes in base64 (RFC 4648), with padding.
[[nodiscard]] std::string to_base64(std::string_view bytes);
/// Returns the bytes of a base64 text. Throws UsageError if it is none; the padding may be absent.
[[nodiscard]] std::string from_base64(std::string_view text);

}  // namespace ipcm::launcher
