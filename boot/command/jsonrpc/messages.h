#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "ipcm/content.h"

namespace ipcm::command::jsonrpc {

// The messages of JSON-RPC 2.0 to the program, as text. Parts of other messages are slices of their text: the reader checks
// them, and nothing changes them.

/// id: none for a notification. `quoted` and `params` are JSON.
[[nodiscard]] std::string call_text(std::optional<std::uint64_t> id, std::string_view quoted,
                                    std::string_view params);
/// id and result are JSON.
[[nodiscard]] std::string result_text(std::string_view id, std::string_view result);
/// id and error are JSON.
[[nodiscard]] std::string error_text(std::string_view id, std::string_view error);
/// Returns {"code":…,"message":…}.
[[nodiscard]] std::string error_object(int code, std::string_view message);

inline constexpr int kInvalidRequest = -32600, kMethodNotFound = -32601, kServerError = -32000;

/// Returns a slice of checked JSON as content.
[[nodiscard]] Content content_of(std::string_view json);
/// Returns the error object for the program if a peer has refused its request: the text itself if it is one.
[[nodiscard]] std::string error_from_peer(const std::string& text);

}  // namespace ipcm::command::jsonrpc
