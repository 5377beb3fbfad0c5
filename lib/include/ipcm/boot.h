#pragma once

#include "ipcm/registry.h"

namespace ipcm {

/// The whole of a boot binary's main(): takes the parameters (docs/boot.md), finds the class in `registry`,
/// joins the bus, says ready, serves, leaves. Returns the exit status: the service's own; 64 bad parameters,
/// 69 the bus is unavailable, 70 the service threw, 71 a system error, 127 an unknown class. Also does
/// --list, --list --json, --help.
[[nodiscard]] int boot(int argc, char** argv, const Registry& registry);

}  // namespace ipcm
