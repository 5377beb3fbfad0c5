#pragma once

#include <string>
#include <variant>

#include "ipcm/error.h"
#include "launch/lines.h"
#include "os/process.h"

namespace ipcm::launch {

/// A process that runs a boot binary, and our ends of what leads to it. Destroying it kills and reaps it.
struct BootProcess {
  os::Child child;
  Ends ends;
};

struct NotStarted {
  LaunchError::Phase phase;
  int error;
  std::string what;
};

/// Executes the boot binary that the request names.
[[nodiscard]] std::variant<BootProcess, NotStarted> start_boot(const Request& request, BothEnds lines);

[[nodiscard]] NotStarted not_started(const os::SpawnFailure& failure, const Request& request);

}  // namespace ipcm::launch
