#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <csignal>

int main(int argc, char** argv) {
  // nohup and a shell with background jobs make a program ignore these signals. Tests send them, and check
  // which signals children ignore.
  for (const int signal : {SIGHUP, SIGINT, SIGQUIT}) std::signal(signal, SIG_DFL);
  return doctest::Context(argc, argv).run();
}
