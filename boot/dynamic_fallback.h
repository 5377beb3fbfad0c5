#pragma once

#include <string>
#include <vector>

#include "handoff/handoff.h"
#include "ready/ready.h"

namespace ipcm::dynamic_fallback {

// A boot binary is linked statically, for a fast start, and so can't load a database driver. If its bus needs
// one, it executes its dynamic fallback: the same program, linked dynamically. The fallback has the same name
// with `-dynamic` at the end, and is beside the binary or in ../libexec/ipcm. It gets the same command line,
// environment and descriptors.

/// Returns the environment for a fallback; empty if none can be needed. Call it before variables are removed.
/// Borrowed: removed variables keep their memory.
[[nodiscard]] std::vector<const char*> keep_environment();
/// Returns whether the bus needs a driver that this program can't load.
[[nodiscard]] bool is_needed(const BusInfo& info);
/// Executes the fallback. Returns only if that fails, with the reason; then the announcer is unchanged.
[[nodiscard]] std::string become(const handoff::CommandLine& line, const std::string& parameters,
                                 const BusInfo& info, ready::Announcer& announcer,
                                 const handoff::Inherited& inherited,
                                 const std::vector<const char*>& environment, const char* called_as);

}  // namespace ipcm::dynamic_fallback
