#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "handoff/handoff.h"
#include "ipcm/launch.h"
#include "ipcm/registry.h"
#include "os/descriptor.h"

namespace ipcm::service {

/// What a service process knows before its service object is made.
struct Setup {
  std::string name;
  std::string class_name;  ///< empty: made of callbacks
  BusInfo info;
  std::vector<Pid> watch_pids;
  os::UniqueFd leash;  ///< a pidfd of the launcher; may be empty
  std::optional<Duration> interval;
  Duration spin = Duration::zero();
  bool intercept_errors = false;
  bool expose_error_details = false;
  handoff::OriginalStreams original;   ///< where our streams led before they were redirected
  bool redirect_inherited = true;      ///< what we start has our streams; else the original ones
  const Registry* registry = nullptr;  ///< must outlive the service
  ServiceOptions callbacks;            ///< only its callbacks are looked at
};

}  // namespace ipcm::service
