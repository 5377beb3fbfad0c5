// The boot binary of this example: all that a program needs to have services of its own started by exec.

#include "greeter.h"

int main(int argc, char** argv) {
  auto registry = ipcm::builtin_services();
  registry.add<Greeter>("greeter", "greets whoever is named");
  return ipcm::boot(argc, argv, registry);
}
