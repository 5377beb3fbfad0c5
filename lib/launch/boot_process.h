#pragma once

#include <string>
#include <variant>

#include "ipcm/error.h"
#include "launch/launch_fds.h"
#include "os/child.h"

namespace ipcm::launch {

/// A process that runs a boot binary, and the launcher's ends of its pipes. The destructor kills and reaps
/// it.
struct BootProcess {
  os::Child child;
  LauncherFds ends;
  double began = 0;  ///< Unix seconds.
};

struct NotStarted {
  LaunchError::Phase phase;
  int error;
  std::string what;
};

/// Executes the boot binary that the plan names. Returns the process, or the reason why there is none.
[[nodiscard]] std::variant<BootProcess, NotStarted> start_boot(const LaunchPlan& plan, LaunchFds fds);

/// Describes a failed spawn.
[[nodiscard]] NotStarted not_started(const os::SpawnFailure& failure, const LaunchPlan& plan);

}  // namespace ipcm::launch
