// The peers of a bus, and the names that a peer can have: A7 to A9.

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <optional>
#include <utility>

#include "contract.h"

using namespace ipcm;
using namespace ipcm::test;

namespace {

void leaves_when_told(Lines& test, Client& client) {
  test.hear();
  client.disconnect([](const Message&) {});
  test.say("left");
}

}  // namespace

TEST_CASE_FIXTURE(Tidy, "A7: peer_active answers now, or waits for the peer" * needs_processes()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  CHECK_FALSE(a.peer_active("b"));
  CHECK_FALSE(a.peer_active("b", 1ms));
  CHECK_FALSE(a.peer_active("b", -1s));
  const auto joins_when_told = [&](Lines& test) {
    test.hear();
    Client client = ipcm_connect("b", guard.info());
    test.hear();
    return 0;
  };
  for (const Duration limit : {Duration(kHang), kNoLimit}) {
    Forked b(joins_when_told);
    CHECK_FALSE(a.peer_active("b"));
    b.say("join");
    CHECK(a.peer_active("b", limit));
    CHECK(a.peer_active("b"));
    CHECK(a.peer_pid("b") == b.pid());
    b.say("leave");
    CHECK(b.wait() == ExitStatus::exited(0));
    CHECK_FALSE(a.peer_active("b"));
    CHECK_FALSE(a.peer_pid("b"));
  }
}

TEST_CASE_FIXTURE(Tidy, "A8: peers lists the others, sorted, and not the dead" * needs_processes()) {
  const Guard guard = spawn_bus();
  Client m = ipcm_connect("m", guard.info());
  CHECK(m.peers().empty());
  const std::string info = guard.info().text();
  Forked z(member("z", info, stays)), b(member("b", info, leaves_when_told)), a(member("a/b", info, stays));
  CHECK(z.hear() == "joined");
  CHECK(b.hear() == "joined");
  CHECK(a.hear() == "joined");
  CHECK(m.peers() == std::vector<std::string>{"a/b", "b", "z"});
  CHECK(m.peer_exists("b"));
  CHECK_FALSE(m.peer_exists("x"));

  z.kill(SIGKILL);
  z.await_end();  // and not yet reaped: a zombie is dead
  CHECK(m.peers() == std::vector<std::string>{"a/b", "b"});
  CHECK_FALSE(m.peer_active("z"));
  (void)z.wait();
  CHECK(m.peers() == std::vector<std::string>{"a/b", "b"});

  b.say("leave");
  CHECK(b.hear() == "left");
  CHECK(m.peers() == std::vector<std::string>{"a/b"});
  a.say("end");
  CHECK(a.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy,
                  "A9: a name of a live process is refused, and the error has its pid" * needs_processes()) {
  const Guard guard = spawn_bus();
  Forked b(member("b", guard.info().text(), [](Lines& test, Client& client) {
    test.say(collect_contents(client, 1)[0]);
    test.hear();
  }));
  CHECK(b.hear() == "joined");
  const auto error = thrown_by<NameTaken>([&] { (void)ipcm_connect("b", guard.info()); });
  CHECK(error.holder() == b.pid());
  CHECK(contains(error.what(), std::to_string(b.pid())));
  // The refusal changes nothing for others.
  Client a = ipcm_connect("a", guard.info());
  a.send_message("b", "still there?");
  CHECK(b.hear() == "\"still there?\"");
  // One process can't have a name twice either.
  CHECK(thrown_by<NameTaken>([&] { (void)ipcm_connect("a", guard.info()); }).holder() == ::getpid());
  CHECK(a.peer_active("b"));
  b.say("end");
  CHECK(b.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "A9: a dead process's name is had, and its leftovers are cleared away" *
                            needs_processes()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  const auto before = names_in(guard.info().route);
  for (const bool reaped : {false, true}) {
    Forked dead(member("b", guard.info().text(), stays));
    CHECK(dead.hear() == "joined");
    a.send_message("b", "never read");
    dead.kill(SIGKILL);
    dead.await_end();
    if (reaped) (void)dead.wait();
    Forked b(member("b", guard.info().text(), [](Lines& test, Client& client) {
      test.say(collect_contents(client, 1)[0]);
      test.hear();
    }));
    CHECK(b.hear() == "joined");
    CHECK(a.peer_pid("b") == b.pid());
    a.send_message("b", "for the new one");
    CHECK(b.hear() == "\"for the new one\"");
    b.say("end");
    CHECK(b.wait() == ExitStatus::exited(0));
  }
  CHECK(a.peers().empty());
}

TEST_CASE_FIXTURE(Tidy, "A9: a failed join leaves nothing behind, at whichever step it failed" *
                            needs_processes()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  if (keeps_messages()) {
    ipcm_connect("b", guard.info()).suspend();
    a.send_message("b", 1);
  }
  Forked b([&](Lines& test) {
    rlimit enough{};
    if (::getrlimit(RLIMIT_NOFILE, &enough) != 0) return 1;
    // Each round allows one descriptor more, so that each step fails once for lack of a descriptor.
    for (rlimit tight{0, enough.rlim_max};; ++tight.rlim_cur) {
      if (tight.rlim_cur > enough.rlim_cur || ::setrlimit(RLIMIT_NOFILE, &tight) != 0) return 2;
      std::optional<Client> client;
      try {
        client.emplace(ipcm_reconnect("b", guard.info()));
      } catch (const Error&) {
        // Reported below, when descriptors are available again.
      }
      if (::setrlimit(RLIMIT_NOFILE, &enough) != 0) return 3;
      test.say(client ? "joined" : "failed");
      test.hear();
      if (!client) continue;
      test.say(keeps_messages() ? collect_contents(*client, 1).at(0) : "");
      test.hear();
      break;
    }
    return 0;
  });
  int failures = 0;
  for (; b.hear() == "failed"; ++failures) {
    CHECK(a.peer_exists("b") == keeps_messages());
    CHECK_FALSE(a.peer_active("b"));
    CHECK_FALSE(a.peer_pid("b"));
    b.say("again");
  }
  CHECK(failures > 3);
  CHECK(a.peer_pid("b") == b.pid());
  b.say("read");
  CHECK(b.hear() == (keeps_messages() ? "1" : ""));
  b.say("leave");
  CHECK(b.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "A9: which names can't be") {
  const Guard guard = spawn_bus();
  for (const std::string& name :
       {std::string("_hidden"), std::string("_"), std::string(), std::string("a\0b", 3),
        std::string("0")})  // to a Perl peer, "0" is no name
    CHECK_THROWS_AS((void)ipcm_connect(name, guard.info()), UsageError);
  const Client a = ipcm_connect("a", guard.info());
}

TEST_CASE_FIXTURE(Tidy, "A9: names of any length and any characters work" * needs_processes()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  const std::vector<std::string> names = {"x/y",
                                          "..",
                                          ".",
                                          "/",
                                          "h-abc",
                                          "b.pid",
                                          "b.name",
                                          " ",
                                          "\n\t\x01",
                                          "back\\slash",
                                          "gr\xc3\xbc\xc3\x9f e\xe2\x82\xac",
                                          ".b.lock",
                                          "00",
                                          "b",
                                          "\"quoted\"",
                                          "-rf",
                                          "*",
                                          std::string(104, 'n'),
                                          std::string(255, 'n'),
                                          std::string(5000, 'n')};
  Forked other([&](Lines& test) {
    std::vector<Client> clients;
    for (const std::string& name : names) clients.push_back(ipcm_connect(name, guard.info()));
    test.say("joined");
    for (Client& client : clients) {
      const auto got = collect(client, 1);
      client.send_message("a", Content(got[0].to));
    }
    test.hear();
    return 0;
  });
  CHECK(other.hear() == "joined");
  auto sorted = names;
  std::sort(sorted.begin(), sorted.end());
  CHECK(a.peers() == sorted);
  for (const std::string& name : names) {
    CAPTURE(name);
    CHECK(a.peer_active(name));
    CHECK(a.peer_pid(name) == other.pid());
    a.send_message(name, 1);
    const auto got = collect(a, 1);
    CHECK(got[0].from == name);
    CHECK(got[0].content.as<std::string>() == name);
  }
  other.say("end");
  CHECK(other.wait() == ExitStatus::exited(0));
  CHECK(a.peers().empty());
}

TEST_CASE_FIXTURE(Tidy, "A9: a name of bytes that are no UTF-8 works, or is refused at once") {
  const Guard guard = spawn_bus();
  const std::string name = "\xff\xfe\x80";
  Client a = ipcm_connect("a", guard.info());
  std::optional<Client> odd;
  try {
    odd = ipcm_connect(name, guard.info());
  } catch (const UsageError& error) {
    MESSAGE("refused: " << std::string(error.what()));
  }
  if (odd) {
    CHECK(a.peers() == std::vector<std::string>{name});
    a.send_message(name, 1);
    CHECK(collect(*odd, 1)[0].to == name);
    odd->send_message("a", 2);
    CHECK(collect(a, 1)[0].from == name);
  }
}
