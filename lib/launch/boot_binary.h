#pragma once

#include <string>

namespace ipcm::launch {

/// Returns the path of the boot binary: `wanted`, else $IPCM_BOOT, else the installed one, else the one in
/// $PATH. `service` is the name of the service, for the error; empty: there is none. Throws LaunchError (phase prepare).
[[nodiscard]] std::string find_boot_binary(const std::string& service, const std::string& wanted);

}  // namespace ipcm::launch
