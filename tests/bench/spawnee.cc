// The smallest program to start: it writes one byte to its pipe and ends. With an argument it is a zygote:
// for each byte that it reads it forks a process that does the same.

#include <unistd.h>

#include <csignal>

namespace {

int tell() { return ::write(3, "x", 1) == 1 ? 0 : 1; }

int zygote() {
  (void)std::signal(SIGCHLD, SIG_IGN);  // no zombies
  char byte = 0;
  while (::read(3, &byte, 1) == 1)
    if (::fork() == 0) ::_exit(tell());
  return 0;
}

}  // namespace

int main(int argc, char** /*argv*/) { return argc > 1 ? zygote() : tell(); }
