#pragma once

#include <memory>
#include <string>

#include "ipcm/launch.h"
#include "launch/launch_plan.h"

namespace ipcm::bus {
class Member;
}

namespace ipcm::service {

struct Setup;

/// Turns the options of a caller into a plan for the launcher: exec or fork, parameters, leash, redirections.
/// `starter`: the service that starts it; null from outside of one. Throws UsageError for contradicting
/// options, LaunchError for a boot binary that can't be run, or an unknown class.
[[nodiscard]] launch::LaunchPlan plan_start(const std::string& name, const ServiceOptions& options,
                                            const BusInfo& info, const Setup* starter);

/// Returns the setup of a service that runs in this process. Throws UsageError for wrong options.
[[nodiscard]] std::unique_ptr<Setup> plan_here(const std::string& name, const ServiceOptions& options,
                                               const BusInfo& info);

/// Returns the class that the bus shows for a service; `class_name` is empty for one that is made of callbacks.
[[nodiscard]] std::string class_name_on_bus(const std::string& class_name);

/// Returns what the bus knows of a service that starts.
[[nodiscard]] launch::LaunchPlan::Presence presence_of(bus::Member& member, const std::string& name);

}  // namespace ipcm::service
