#pragma once

#include <string>

namespace ipcm::launch {

/// A boot binary's path: `wanted`, or $IPCM_BOOT, or the installed one. Throws LaunchError (phase prepare).
[[nodiscard]] std::string find_boot_binary(const std::string& service, const std::string& wanted);

}  // namespace ipcm::launch
