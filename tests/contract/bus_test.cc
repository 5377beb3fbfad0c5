#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <utility>

#include "contract.h"

using namespace ipcm;
using namespace ipcm::test;

namespace {

const std::string kTerminate = R"({"terminate":1})";

bool is_terminate(const Message& message) {
  return message.content.json().find("\"terminate\"") != std::string::npos;
}

/// A process that joins the bus, and then does `body`.
std::function<int(Lines&)> member(const std::string& name, const std::string& info,
                                  std::function<void(Lines&, Client&)> body) {
  return [=](Lines& test) {
    Client client = ipcm_connect(name, info);
    test.say("joined");
    body(test, client);
    return 0;
  };
}
void stays(Lines& test, Client&) { test.hear(); }
void leaves_when_told(Lines& test, Client& client) {
  test.hear();
  client.disconnect([](const Message&) {});
  test.say("left");
}

}  // namespace

TEST_CASE_FIXTURE(Tidy, "A1: the info string is a JSON array of three, and all that a process needs to join" *
                            needs_processes()) {
  const Guard guard = spawn_bus();
  const std::string info = guard.info().text();
  CHECK(Content::json(info).as<std::vector<std::string>>() ==
        std::vector<std::string>{protocol(), serializer(), guard.info().route});
  CHECK(BusInfo::parse(info) == guard.info());

  Client here = ipcm_connect("here", info);
  Forked other(member("there", info, [](Lines&, Client& client) { client.send_message("here", "hello"); }));
  const auto messages = collect(here, 1);
  CHECK(messages[0].from == "there");
  CHECK(messages[0].content == Content("hello"));
  CHECK(other.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "A1: the reference's long names are understood") {
  const Guard guard = spawn_bus();
  const std::string text = R"(["IPC::Manager::Client::)" + protocol() + R"(","IPC::Manager::Serializer::)" +
                           serializer() + R"(",")" + guard.info().route + R"("])";
  CHECK(BusInfo::parse(text) == guard.info());
  const Client client = ipcm_connect("c", text);
  CHECK(client.info() == guard.info());
}

TEST_CASE_FIXTURE(Tidy, "A1: joining what is no bus says which route was meant") {
  const BusInfo nowhere{protocol(), serializer(), directory() + "/nowhere"};
  CHECK(contains(thrown_by<BusError>([&] { (void)ipcm_connect("c", nowhere); }).what(), nowhere.route));
  CHECK_THROWS_AS((void)ipcm_connect("c", "[1,2]"), ProtocolError);
  CHECK_THROWS_AS((void)ipcm_connect("c", "nonsense"), ProtocolError);
}

TEST_CASE_FIXTURE(Tidy, "A2: messages go both ways, and carry who, to whom and when" * needs_processes()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  Forked b([&](Lines& test) {
    Client client = ipcm_connect("b", guard.info());
    test.say("joined");
    const auto got = collect(client, 1);
    test.say(got[0].from + " " + got[0].to + " " + got[0].content.json());
    client.send_message("a", "pong");
    return 0;
  });
  CHECK(b.hear() == "joined");
  const std::string id = a.send_message("b", Content::json(R"({"ping":1})"));
  CHECK(id.size() == 36);
  CHECK(b.hear() == R"(a b {"ping":1})");

  const auto got = collect(a, 1);
  CHECK(got[0].from == "b");
  CHECK(got[0].to == "a");
  CHECK(got[0].id.size() == 36);
  CHECK(got[0].id != id);
  CHECK(got[0].stamp > 1.7e9);
  CHECK_FALSE(got[0].broadcast);
  CHECK(got[0].content.as<std::string>() == "pong");
  CHECK(b.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "A2: content is any JSON value but null" * needs_processes()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  Forked b(member("b", guard.info().text(), [](Lines&, Client& client) {
    for (const Message& message : collect(client, 8)) client.send_message("a", message.content);
  }));
  CHECK(b.hear() == "joined");
  const std::vector<std::string> values = {R"({"k":[1,{"n":null}]})",
                                           "[1,\"2\",null]",
                                           "\"text \\u20ac\"",
                                           "\"\"",
                                           "-1.5e3",
                                           "0",
                                           "true",
                                           "false"};
  for (const std::string& value : values) a.send_message("b", Content::json(value));
  CHECK(collect_contents(a, values.size()) == values);
  CHECK_THROWS_AS(a.send_message("b", nullptr), UsageError);
  CHECK_THROWS_AS(a.try_message("b", nullptr), UsageError);
  CHECK(b.wait() == ExitStatus::exited(0));
  CHECK_THROWS_AS(a.broadcast(nullptr), UsageError);  // also if nobody is there to hear it
}

TEST_CASE_FIXTURE(Tidy, "A2: a broadcast reaches all others, and not its sender" * needs_processes()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  const auto reports = [](Lines& test, Client& client) {
    const auto got = collect(client, 1);
    test.say(got[0].from + " " + got[0].to + " " + (got[0].broadcast ? "broadcast " : "single ") +
             got[0].content.json());
    test.hear();
  };
  Forked b(member("b", guard.info().text(), reports)), c(member("c", guard.info().text(), reports));
  CHECK(b.hear() == "joined");
  CHECK(c.hear() == "joined");
  a.broadcast("all");
  CHECK(b.hear() == R"(a b broadcast "all")");
  CHECK(c.hear() == R"(a c broadcast "all")");
  CHECK(a.get_messages().empty());
  b.say("end");
  c.say("end");
  CHECK(b.wait() == ExitStatus::exited(0));
  CHECK(c.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "A3: messages from one sender arrive in the order sent, also within one clock tick" *
                            needs_processes()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  constexpr int kMany = 3000;
  Forked b(member("b", guard.info().text(), [](Lines& test, Client& client) {
    for (int i = 0; i < kMany; ++i) client.send_message("a", i);
    test.say("sent");
  }));
  int next = 0;
  std::pair<double, std::uint64_t> last{0, 0};
  for (const Message& message : collect(a, kMany)) {
    REQUIRE(message.content.as<int>() == next++);
    const std::pair<double, std::uint64_t> stamp{message.stamp, message.stamp_ord};
    REQUIRE(last < stamp);  // what a reader that sorts goes by
    last = stamp;
  }
  CHECK(b.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "A3: a large message arrives whole, between small ones" * needs_processes()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  Forked b(member("b", guard.info().text(), [](Lines&, Client& client) {
    client.send_message("a", 1);
    client.send_message("a", std::string(8U << 20, 'x'));
    client.send_message("a", 3);
  }));
  const auto got = collect(a, 3);
  CHECK(got[0].content.as<int>() == 1);
  CHECK(got[1].content.as<std::string>() == std::string(8U << 20, 'x'));
  CHECK(got[2].content.as<int>() == 3);
  CHECK(b.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "A4: a client counts what it sent to and read from each peer" * needs_processes()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  Forked b(member("b", guard.info().text(), [](Lines& test, Client& client) {
    (void)collect(client, 3);
    client.send_message("a", 1);
    client.send_message("a", 2);
    test.say("sent");
    test.hear();
  }));
  CHECK(b.hear() == "joined");
  CHECK(a.statistics().sent.empty());
  a.send_message("b", 1);
  a.send_message("b", 2);
  a.broadcast(3);
  CHECK(b.hear() == "sent");
  (void)collect(a, 2);
  CHECK(a.statistics().sent == std::map<std::string, std::uint64_t>{{"b", 3}});
  CHECK(a.statistics().read == std::map<std::string, std::uint64_t>{{"b", 2}});
  CHECK_FALSE(a.try_message("nobody", 1));
  CHECK(a.statistics().sent == std::map<std::string, std::uint64_t>{{"b", 3}});
  b.say("end");
  CHECK(b.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "A5: disconnect hands unread messages to the handler, terminate messages left out" *
                            needs_processes()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  Forked b(member("b", guard.info().text(), [](Lines& test, Client& client) {
    client.send_message("a", "one");
    client.send_message("a", Content::json(kTerminate));
    client.send_message("a", "two");
    test.say("sent");
  }));
  CHECK(b.hear() == "joined");
  CHECK(b.hear() == "sent");
  CHECK(b.wait() == ExitStatus::exited(0));
  std::vector<std::string> unread;
  a.disconnect([&](const Message& message) { unread.push_back(message.content.json()); });
  CHECK(unread == std::vector<std::string>{"\"one\"", "\"two\""});
  a.disconnect();  // a second call does nothing
}

TEST_CASE_FIXTURE(Tidy, "A5: disconnect without a handler says that messages were waiting, and has left" *
                            needs_processes()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  Client other = ipcm_connect("other", guard.info());
  Forked b(member("b", guard.info().text(), [](Lines& test, Client& client) {
    client.send_message("a", "one");
    test.say("sent");
  }));
  CHECK(b.hear() == "joined");
  CHECK(b.hear() == "sent");
  CHECK(b.wait() == ExitStatus::exited(0));
  CHECK(contains(thrown_by<Error>([&] { a.disconnect(); }).what(), "messages waiting at disconnect for a"));
  CHECK(a.statistics().read.empty());
  CHECK_FALSE(other.peer_exists("a"));
  const Client again = ipcm_connect("a", guard.info());  // the name is free
}

TEST_CASE_FIXTURE(Tidy, "A5: disconnect with nothing unread is silent, and the name is free at once") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  a.disconnect();
  Client again = ipcm_connect("a", guard.info());
  again.disconnect([](const Message&) { FAIL("there was no message"); });
  CHECK_THROWS_AS(again.send_message("a", 1), Error);
}

TEST_CASE_FIXTURE(Tidy,
                  "A6: try_message reports and send_message throws for an unknown peer, and both name it" *
                      needs_processes()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  std::string why;
  CHECK_FALSE(a.try_message("stranger", 1, &why));
  CHECK(contains(why, "stranger"));
  CHECK_FALSE(a.try_message("stranger", 1));
  const auto error = thrown_by<PeerGone>([&] { a.send_message("stranger", 1); });
  CHECK(error.peer() == "stranger");
  CHECK(contains(error.what(), "stranger"));

  Forked b(member("b", guard.info().text(), stays));
  CHECK(b.hear() == "joined");
  why.clear();
  CHECK(a.try_message("b", 1, &why));
  CHECK(why.empty());
  b.kill(SIGKILL);
  b.await_end();
  CHECK_FALSE(a.try_message("b", 1, &why));
  CHECK(contains(why, "b"));
  CHECK_THROWS_AS(a.send_message("b", 1), PeerGone);
}

TEST_CASE_FIXTURE(Tidy, "A7: peer_active tells now, or waits for the peer" * needs_processes()) {
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

TEST_CASE_FIXTURE(Tidy, "A9: a name that a live process has is refused, and by which pid is said" *
                            needs_processes()) {
  const Guard guard = spawn_bus();
  Forked b(member("b", guard.info().text(), [](Lines& test, Client& client) {
    test.say(collect_contents(client, 1)[0]);
    test.hear();
  }));
  CHECK(b.hear() == "joined");
  const auto error = thrown_by<NameTaken>([&] { (void)ipcm_connect("b", guard.info()); });
  CHECK(error.holder() == b.pid());
  CHECK(contains(error.what(), std::to_string(b.pid())));
  // The refusal harmed nobody.
  Client a = ipcm_connect("a", guard.info());
  a.send_message("b", "still there?");
  CHECK(b.hear() == "\"still there?\"");
  // Nor may one process have a name twice.
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

TEST_CASE_FIXTURE(Tidy, "A9: which names can't be") {
  const Guard guard = spawn_bus();
  for (const std::string& name :
       {std::string("_hidden"), std::string("_"), std::string(), std::string("a\0b", 3),
        std::string("0")})  // a Perl peer takes "0" for no name at all
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
    MESSAGE("refused: " << error.what());
  }
  if (odd) {
    CHECK(a.peers() == std::vector<std::string>{name});
    a.send_message(name, 1);
    CHECK(collect(*odd, 1)[0].to == name);
    odd->send_message("a", 2);
    CHECK(collect(a, 1)[0].from == name);
  }
}

TEST_CASE_FIXTURE(
    Tidy, "A12: a client carried into a forked child can't be used there, and is destroyed in silence") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  Client b = ipcm_connect("b", guard.info());
  b.send_message("a", "for the parent");
  const auto before = names_in(guard.info().route);
  Forked child([&](Lines& test) {
    const auto refused = [](const std::function<void()>& use) {
      try {
        use();
      } catch (const UsageError&) {
        return true;
      }
      return false;
    };
    const bool all = refused([&] { a.send_message("b", 1); }) && refused([&] { a.try_message("b", 1); }) &&
                     refused([&] { a.broadcast(1); }) && refused([&] { (void)a.get_messages(); }) &&
                     refused([&] { (void)a.wait_for_messages(1ms); }) && refused([&] { (void)a.peers(); }) &&
                     refused([&] { a.dispatch(); });
    test.say(all ? "refused" : "not refused");
    { const Client gone = std::move(a); }
    { const Client gone = std::move(b); }
    test.say("destroyed");
    return 0;
  });
  CHECK(child.hear() == "refused");
  CHECK(child.hear() == "destroyed");
  CHECK(child.wait() == ExitStatus::exited(0));
  CHECK(names_in(guard.info().route) == before);
  CHECK(collect_contents(a, 1) == std::vector<std::string>{"\"for the parent\""});
  a.send_message("b", "still works");
  CHECK(collect_contents(b, 1) == std::vector<std::string>{"\"still works\""});
}

TEST_CASE_FIXTURE(Tidy, "A12: a forked child that lives on does not keep its parent's clients alive") {
  const Guard guard = spawn_bus();
  std::optional<Client> a(ipcm_connect("a", guard.info()));
  Client b = ipcm_connect("b", guard.info());
  a->send_message("b", 1);
  Forked child([](Lines& test) {
    test.hear();
    return 0;
  });
  a->disconnect();
  CHECK_FALSE(b.peer_active("a"));
  CHECK_FALSE(b.try_message("a", 1));
  child.say("end");
  CHECK(child.wait() == ExitStatus::exited(0));
  (void)b.get_messages();
}

TEST_CASE_FIXTURE(Tidy, "A12: a forked child can join under a name of its own" * needs_processes()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  Forked b(member("b", guard.info().text(),
                  [](Lines&, Client& client) { client.send_message("a", "from the child"); }));
  CHECK(collect_contents(a, 1) == std::vector<std::string>{"\"from the child\""});
  CHECK(b.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "A13: the guard's end asks peers to leave, waits for that, and removes the route" *
                            needs_processes()) {
  std::optional<Guard> guard(spawn_bus());
  const BusInfo info = guard->info();
  const std::string mark = directory() + "/left";
  const auto leaves_politely = [&](Lines& test, Client& client) {
    const auto got = collect(client, 1);
    test.say(is_terminate(got[0]) ? "terminate" : got[0].content.json());
    write_file(mark, "yes");
    client.disconnect();
  };
  Forked b(member("b", guard->info().text(), leaves_politely));
  CHECK(b.hear() == "joined");
  guard.reset();
  CHECK(std::filesystem::exists(mark));  // it was waited for
  CHECK_FALSE(bus_exists(info));
  CHECK(b.hear() == "terminate");
  (void)b.wait();
  std::filesystem::remove(mark);
}

TEST_CASE_FIXTURE(Tidy,
                  "A13: shutdown does it at once, a second call does nothing, and nobody can join any more") {
  Guard guard = spawn_bus();
  const BusInfo info = guard.info();
  guard.shutdown();
  CHECK_FALSE(bus_exists(info));
  CHECK_THROWS_AS((void)ipcm_connect("a", info), BusError);
  guard.shutdown();
}

TEST_CASE_FIXTURE(Tidy,
                  "A13: a child of the owner that does not leave is ended by signal" * needs_processes()) {
  SpawnOptions options = bus_options();
  options.patience = 50ms;
  for (const bool stubborn : {false, true}) {
    CAPTURE(stubborn);
    options.term_time = stubborn ? 200ms : kHang;
    Guard guard = ipcm_spawn(options);
    Forked b([&](Lines& test) {
      if (stubborn) ::signal(SIGTERM, SIG_IGN);
      const Client client = ipcm_connect("b", guard.info());
      test.say("joined");
      for (;;) ::pause();
      return 0;
    });
    CHECK(b.hear() == "joined");
    try {
      guard.shutdown();
    } catch (const Timeout& error) {
      CHECK(contains(error.what(), "b"));
    }
    CHECK_FALSE(bus_exists(guard.info()));
    CHECK(b.wait() == ExitStatus::signalled(stubborn ? SIGKILL : SIGTERM));
  }
}

TEST_CASE_FIXTURE(
    Tidy, "A13: a peer of somebody else that does not leave is named, and the route is removed all the same" *
              needs_processes()) {
  SpawnOptions options = bus_options();
  options.patience = 50ms;
  Guard guard = ipcm_spawn(options);
  Forked parent([&](Lines& test) {
    Forked stubborn(member("stubborn one", guard.info().text(), [](Lines& up, Client&) { up.hear(); }));
    test.say(stubborn.hear());
    test.hear();
    stubborn.say("end");
    return stubborn.wait().value;
  });
  CHECK(parent.hear() == "joined");
  CHECK(contains(thrown_by<Timeout>([&] { guard.shutdown(); }).what(), "stubborn one"));
  CHECK_FALSE(bus_exists(guard.info()));
  parent.say("end");
  CHECK(parent.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "A13: without guard the bus stays, until unspawn") {
  SpawnOptions options = bus_options();
  options.guard = false;
  std::optional<BusInfo> info;
  {
    const Guard guard = ipcm_spawn(options);
    info = guard.info();
  }
  { const Client a = ipcm_connect("a", *info); }
  CHECK(remove_bus(*info));

  Guard guard = ipcm_spawn(options);
  guard.unspawn();
  CHECK_FALSE(bus_exists(guard.info()));
}

TEST_CASE_FIXTURE(Tidy, "A13: release leaves the bus in place") {
  std::optional<BusInfo> info;
  {
    Guard guard = spawn_bus();
    info = guard.info();
    guard.release();
  }
  { const Client a = ipcm_connect("a", *info); }
  CHECK(remove_bus(*info));
}

TEST_CASE_FIXTURE(Tidy, "A13: a guard in a forked child does nothing") {
  Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  Forked child([&](Lines& test) {
    { const Guard gone = std::move(guard); }
    test.say("destroyed");
    return 0;
  });
  CHECK(child.hear() == "destroyed");
  CHECK(child.wait() == ExitStatus::exited(0));
  CHECK(a.get_messages().empty());
  const Client b = ipcm_connect("b", guard.info());  // the bus is there
}

TEST_CASE_FIXTURE(Tidy, "A15: the protocols are known, with whether each works here") {
  const auto known = known_protocols();
  const auto ours = std::find_if(known.begin(), known.end(),
                                 [](const ProtocolDescription& one) { return one.name == protocol(); });
  REQUIRE(ours != known.end());
  CHECK(ours->viable);
  CHECK(ours->why_not.empty());
  CHECK_FALSE(ours->summary.empty());
}

TEST_CASE_FIXTURE(Tidy, "A15: an unknown protocol or serializer is an error that lists the known ones") {
  SpawnOptions options = bus_options();
  options.protocols = {"CarrierPigeon"};
  const std::string no_protocol = thrown_by<BusError>([&] { (void)ipcm_spawn(options); }).what();
  CHECK(contains(no_protocol, "CarrierPigeon"));
  for (const auto& known : known_protocols()) CHECK(contains(no_protocol, known.name));

  options = bus_options();
  options.serializer = "Runes";
  const std::string no_serializer = thrown_by<BusError>([&] { (void)ipcm_spawn(options); }).what();
  CHECK(contains(no_serializer, "Runes"));
  CHECK(contains(no_serializer, "JSON"));

  const Guard guard = spawn_bus();
  BusInfo info = guard.info();
  info.protocol = "CarrierPigeon";
  CHECK(contains(thrown_by<BusError>([&] { (void)ipcm_connect("a", info); }).what(), protocol()));
  info = guard.info();
  info.serializer = "Runes";
  CHECK(contains(thrown_by<BusError>([&] { (void)ipcm_connect("a", info); }).what(), "JSON"));
}

TEST_CASE_FIXTURE(Tidy, "A15: a bus that can't be made says where" * needs_files()) {
  SpawnOptions options = bus_options();
  options.route.clear();
  options.parent_directory = directory() + "/missing";
  CHECK(contains(thrown_by<BusError>([&] { (void)ipcm_spawn(options); }).what(), options.parent_directory));
}

TEST_CASE_FIXTURE(
    Tidy, "F2: a service that is killed is seen in peer_delta, its leftovers go, and its name is free" *
              needs_processes()) {
  Guard guard = spawn_bus();
  Client ear = ipcm_connect("ear", guard.info());
  ServiceOptions watching = echoing();
  watching.on_peer_delta = [](Service& self, const std::map<std::string, int>& delta) {
    for (const auto& [name, change] : delta)
      if (name == "victim") self.client().send_message("ear", change);
  };
  Handle watcher = start_on(guard.info(), "watcher", watching);
  const auto place = names_in(guard.info().route);
  for (int round = 0; round < 2; ++round) {
    Handle victim = start_on(guard.info(), "victim", echoing());
    CHECK(collect(ear, 1)[0].content.as<int>() == 1);
    const auto pid = victim.service_pid();
    REQUIRE(pid);
    ::kill(*pid, SIGKILL);
    CHECK(collect(ear, 1)[0].content.as<int>() == -1);
    CHECK_FALSE(ear.peer_active("victim"));
    for (const std::string& name : names_in(guard.info().route)) CHECK_FALSE(contains(name, "victim"));
  }
  CHECK(watcher.sync_request("fine?", kHang).as<std::string>() == "fine?");
  guard.shutdown();
}
