#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <csignal>

int main(int argc, char** argv) {
  // nohup, and a shell that starts a program in the background, let it ignore these; tests send them, and
  // look at what children ignore.
  for (const int signal : {SIGHUP, SIGINT, SIGQUIT}) std::signal(signal, SIG_DFL);
  return doctest::Context(argc, argv).run();
}
