// The generic boot binary: it becomes the built-in service that its parameters name, `command`, the service of any
// program, `supervisor` or `balancer`. A program with services of its own has a main() like this one, and adds their classes to the registry.

#include "balancer/register.h"
#include "command/register.h"
#include "ipcm/boot.h"
#include "supervisor/register.h"

int main(int argc, char** argv) {
  ipcm::Registry registry = ipcm::builtin_services();
  ipcm::command::add_class(registry);
  ipcm::supervisor::add_class(registry);
  ipcm::balancer::add_class(registry);
  return ipcm::boot(argc, argv, registry);
}
