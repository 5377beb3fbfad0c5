#pragma once

#include <string_view>

#include "wire/json_scan.h"

namespace ipcm::wire {

/// Whether `text` is one JSON value, with or without white space around it, and pure ASCII. This is
/// scan_json() with an empty visitor, for messages that are not parsed as a whole.
[[nodiscard]] bool is_ascii_json(std::string_view text, std::size_t deepest = kDeepest) noexcept;

}  // namespace ipcm::wire
