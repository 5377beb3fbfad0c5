// Joining a bus, and its messages: A1 to A6.

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <utility>

#include "contract.h"

using namespace ipcm;
using namespace ipcm::test;

namespace {

const std::string kTerminate = R"({"terminate":1})";

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

TEST_CASE_FIXTURE(Tidy, "A1: joining a route that is no bus fails with an error that names the route") {
  // The error does not repeat a wrong route of a server: any part of it may be a password.
  const bool is_server = !bus_options().route.empty();
  const BusInfo nowhere{protocol(), serializer(),
                        is_server ? "dbname=x host=" + directory() : directory() + "/nowhere"};
  CHECK(contains(thrown_by<BusError>([&] { (void)ipcm_connect("c", nowhere); }).what(), nowhere.route));
  CHECK_THROWS_AS((void)ipcm_connect("c", "[1,2]"), ProtocolError);
  CHECK_THROWS_AS((void)ipcm_connect("c", "nonsense"), ProtocolError);
}

TEST_CASE_FIXTURE(Tidy,
                  "A2: messages go both ways, and carry sender, receiver and time" * needs_processes()) {
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
  CHECK_THROWS_AS((void)a.broadcast(nullptr), UsageError);  // even if there is no other peer
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
  a.broadcast("all").expect_sent();
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
    REQUIRE(last < stamp);  // the sort key of readers
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

TEST_CASE_FIXTURE(Tidy,
                  "A4: a client counts the messages sent to and read from each peer" * needs_processes()) {
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
  a.broadcast(3).expect_sent();
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

TEST_CASE_FIXTURE(Tidy, "A5: disconnect without a handler reports waiting messages, and leaves" *
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
