#pragma once

#include <string>
#include <vector>

#include "ipcm/content.h"

namespace ipcm::launcher {

/// Returns the contents that words of the command line stand for: JSON text, `@FILE` for the JSON text in a file, `-` for the one on
/// stdin. Throws UsageError, which begins with `what` or names the file; a text is refused if it is longer than a message can be. The wait
/// for stdin, and for a FILE that is a FIFO or a terminal, ends with the time limit (os::TimeLimit), as a Timeout.
[[nodiscard]] std::vector<Content> contents_of(const std::vector<std::string>& words,
                                               const std::string& what);

}  // namespace ipcm::launcher
