#pragma once

#include <string>

#include "launch/launch_plan.h"
#include "os/spawn.h"

namespace ipcm::launch {

// Why a start failed, in words.

/// "service 'x' did not start: "
[[nodiscard]] std::string started_as(const std::string& service);
/// "1.2 ms", "10 s"
[[nodiscard]] std::string readable_span(Duration span);
/// The last of what it wrote to stderr, on one line: for what(), where all of it would be too much.
[[nodiscard]] std::string last_words(const std::string& tail);
/// What to do about a program that can't be executed; empty: nothing comes to mind.
[[nodiscard]] std::string hint_for(int error, const std::string& program);
[[nodiscard]] std::string describe(const os::SpawnFailure& failure, const LaunchPlan& request);

}  // namespace ipcm::launch
