#pragma once

#include <string>

#include "options.h"

namespace ipcm::launcher {

// `ipcm ps --all`: the services of a bus that have died (ipcm/obituary.h).

/// Returns `living`, a JSON array, with the dead services at its end.
[[nodiscard]] std::string with_the_dead(const Options& options, std::string living);
/// Prints a table of the dead services; nothing if there are none. Throws OutputLost.
void print_the_dead(const Options& options);

}  // namespace ipcm::launcher
