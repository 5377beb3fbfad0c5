#pragma once

#include <string>

#include "launch/launch_plan.h"
#include "os/spawn.h"

namespace ipcm::launch {

// Texts of errors about starts.

/// Returns the beginning of each text: "service 'x' did not start: ".
[[nodiscard]] std::string started_as(const std::string& service);
/// Returns a text such as "1.2 ms" or "10 s".
[[nodiscard]] std::string readable_span(Duration span);
/// Returns "; " and a hint for a program that can't be executed. Empty: there is no hint for this errno.
[[nodiscard]] std::string hint_for(int error, const std::string& program);
[[nodiscard]] std::string describe(const os::SpawnFailure& failure, const LaunchPlan& plan);

}  // namespace ipcm::launch
