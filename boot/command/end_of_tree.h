#pragma once

#include "loop/loop.h"

namespace ipcm::command {

/// Ends all processes below this one, also those that made themselves daemons: SIGTERM, and when the grace is over
/// SIGKILL, until none is left. The loop must report SIGCHLD, and reap. Returns false if a process outlasts SIGKILL for
/// ten seconds (it waits for a disk, for example).
[[nodiscard]] bool end_tree(Loop& loop, Duration grace);

}  // namespace ipcm::command
