// The generic boot binary: it becomes the built-in service that its parameters name. A program with services
// of its own has a main() like this one, and adds their classes to the registry.

#include "ipcm/boot.h"

int main(int argc, char** argv) { return ipcm::boot(argc, argv, ipcm::builtin_services()); }
