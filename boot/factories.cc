// The services that every boot binary has. To add one: write its class beside this file, and a line here.

#include "echo.h"
#include "ipcm/boot.h"

namespace ipcm {

Registry builtin_services() {
  Registry registry;
  registry.add<boot_services::Echo>("echo", "answers each request with the request itself");
  return registry;
}

}  // namespace ipcm
