// The services that every boot binary has, and every program that forks. To add one: write its class beside
// this file, and a line here.

#include "ipcm/registry.h"
#include "service/builtin/echo.h"

namespace ipcm {

Registry builtin_services() {
  Registry registry;
  registry.add<builtin::Echo>("echo", "answers each request with the request itself");
  return registry;
}

}  // namespace ipcm
