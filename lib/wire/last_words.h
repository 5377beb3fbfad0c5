#pragma once

#include <string>
#include <string_view>

namespace ipcm::wire {

/// Returns the end of the output of a service, at most 300 characters, on one line and without control characters:
/// for the error about its end.
[[nodiscard]] std::string last_words(std::string_view tail);

}  // namespace ipcm::wire
