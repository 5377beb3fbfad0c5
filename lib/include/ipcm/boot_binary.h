#pragma once

#include <string>

namespace ipcm {

/// Returns the path of the boot binary that starts a service by exec: `wanted`, else $IPCM_BOOT, else the installed
/// one, else the one in $PATH. `BINARY --list` prints its classes, and `BINARY --list --json` prints them as JSON.
/// Throws LaunchError (phase prepare) if there is none, or it can't be executed.
[[nodiscard]] std::string find_boot_binary(const std::string& wanted = {});

}  // namespace ipcm
