#pragma once

#include <string>
#include <vector>

#include "handoff/handoff.h"
#include "ready/ready.h"

namespace ipcm::dynamic_fallback {

// A boot binary is linked statically, for a fast start, and so can't load a database driver. Where a bus
// needs one, it becomes its dynamic fallback: the same program, linked dynamically, under its name with `-dynamic` at the
// end, beside it or in ../libexec/ipcm. The fallback gets the same command line, environment and descriptors.

/// The environment as it was, where a fallback may be needed; to be called before anything is taken out of it.
/// Borrowed: what is taken out stays where it is.
[[nodiscard]] std::vector<const char*> keep_environment();
/// Whether this program can't join that bus, and another build of it could.
[[nodiscard]] bool is_needed(const BusInfo& info);
/// Becomes the fallback. Returns only if that fails, with the reason; the announcer is as it was then.
[[nodiscard]] std::string become(const handoff::CommandLine& line, const std::string& parameters,
                                 const BusInfo& info, ready::Announcer& announcer,
                                 const handoff::Inherited& inherited,
                                 const std::vector<const char*>& environment, const char* called_as);

}  // namespace ipcm::dynamic_fallback
