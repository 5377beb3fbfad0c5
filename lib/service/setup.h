#pragma once

#include "handoff/handoff.h"
#include "ipcm/launch.h"
#include "ipcm/registry.h"
#include "os/descriptor.h"

namespace ipcm::service {

/// Everything that a service process has before its service object is made. `parameters` are built once, by
/// the starter (start.cc): a forked service has its copy, and an executed one reads them again.
struct Setup {
  handoff::Parameters parameters;      ///< class_name is empty for a service that is made of callbacks
  os::UniqueFd leash;                  ///< a pidfd of the launcher; may be empty
  handoff::OriginalStreams original;   ///< where the standard streams led before they were redirected
  const Registry* registry = nullptr;  ///< must outlive the service
  ServiceOptions callbacks;            ///< only its callbacks are used
};

}  // namespace ipcm::service
