#pragma once

#include <string>

#include "os/spawn.h"

namespace ipcm::test {

/// Returns the request that starts a shell script in a child.
[[nodiscard]] inline os::SpawnRequest shell(const std::string& script) {
  os::SpawnRequest request;
  request.program = "/bin/sh";
  request.args = {"sh", "-c", script};
  request.env = {"PATH=/usr/bin:/bin"};
  return request;
}

}  // namespace ipcm::test
