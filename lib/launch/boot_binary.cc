#include "launch/boot_binary.h"

#include <cerrno>

#include "ipcm/boot_binary.h"
#include "ipcm/error.h"
#include "launch/explain.h"
#include "os/clock.h"
#include "os/directory.h"
#include "os/sys.h"

namespace ipcm {
namespace launch {

std::string find_boot_binary(const std::string& service, const std::string& wanted) {
  const auto began = os::Clock::now();
  std::string path = wanted;
  if (path.empty()) path = os::environment("IPCM_BOOT").value_or("");
  if (path.empty()) {
    // If the installation has been moved, $PATH may have its binary.
    path = IPCM_INSTALLED_BOOT;
    if (os::why_not_executable(path) != 0) path = os::find_on_path("ipcm-boot").value_or(path);
  }
  const auto refuse = [&](int error) {
    LaunchError::Facts facts;
    facts.name = service;
    facts.error = error;
    facts.elapsed = os::Clock::now() - began;
    throw LaunchError((service.empty() ? "" : started_as(service)) + "boot binary '" + path +
                          "': " + os::errno_text(error) + hint_for(error, path),
                      facts);
  };
  if (path.find('/') == std::string::npos) {
    if (auto found = os::find_on_path(path)) return *found;
    refuse(ENOENT);
  }
  if (const int error = os::why_not_executable(path); error != 0) refuse(error);
  return path;
}

}  // namespace launch

std::string find_boot_binary(const std::string& wanted) { return launch::find_boot_binary({}, wanted); }

}  // namespace ipcm
