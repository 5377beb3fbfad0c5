#pragma once

#include <string>

#include "ipcm/launch.h"
#include "launch/launch.h"

namespace ipcm::service {

enum class StartedFrom { outside, service };

/// From what a caller asks for to what the launcher needs: exec or fork, parameters, leash, redirections.
/// Throws UsageError for contradicting options, LaunchError for a boot binary that can't be run, or an
/// unknown class.
[[nodiscard]] launch::Request plan_start(const std::string& name, const ServiceOptions& options,
                                         const BusInfo& info, StartedFrom from);

}  // namespace ipcm::service
