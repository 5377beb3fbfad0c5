// The generic boot binary: becomes whichever built-in service its parameters name. A program with services of
// its own has a main() like this one, and adds them to the registry.

#include "ipcm/boot.h"

int main(int argc, char** argv) { return ipcm::boot(argc, argv, ipcm::builtin_services()); }
