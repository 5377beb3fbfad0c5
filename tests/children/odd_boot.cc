// A boot binary that misbehaves: odd_boot HOW --ready-fd N PARAMS

#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

void say(int fd, std::string_view text) { (void)!::write(fd, text.data(), text.size()); }

[[noreturn]] void stay() {
  for (;;) ::pause();
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view how = argc > 1 ? argv[1] : "";
  int ready_fd = -1;
  for (int i = 2; i + 1 < argc; ++i)
    if (std::string_view(argv[i]) == "--ready-fd") ready_fd = std::atoi(argv[i + 1]);

  if (how == "exit") {
    say(2, "a screw is loose\n");
    return 3;
  }
  if (how == "exit-0") return 0;
  if (how == "segv") {
    const rlimit none{0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
    ::signal(SIGSEGV, SIG_DFL);
    say(2, "oh no\n");
    ::raise(SIGSEGV);
  }
  if (how == "chatty") {
    for (int i = 0; i < 5000; ++i) say(2, "line " + std::to_string(i) + " of very many\n");
    say(2, "the very last words\n");
    return 4;
  }
  if (how == "failed") {
    say(ready_fd, R"({"ready":false,"error":"the moon is full"})");
    return 5;
  }
  if (how == "endless-line") {
    ::signal(SIGPIPE, SIG_DFL);
    for (;;) say(ready_fd, "and so on ");
  }
  if (how == "liar") {  // it never joins the bus
    say(ready_fd, "{\"ready\":true}\n");
    ::close(ready_fd);
    stay();
  }
  if (how == "other-name") {
    say(ready_fd, "{\"ready\":true,\"name\":\"somebody-else\"}\n");
    stay();
  }
  if (how == "no-json") {
    say(ready_fd, "ready\n");
    stay();
  }
  if (how == "flood") {
    const std::string much(65536, 'f');
    for (;;) say(2, much);
  }
  if (how == "family") {  // with a child of its own
    if (::fork() == 0) stay();
    stay();
  }
  if (how == "close") {
    say(2, "I close it\n");
    ::close(ready_fd);
    stay();
  }
  if (how == "mute") {
    say(2, "I am slow\n");
    stay();
  }
  if (how == "stubborn") {
    ::signal(SIGTERM, SIG_IGN);
    stay();
  }
  return 9;
}
