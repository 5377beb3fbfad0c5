// UnixSocket: the bytes of the reference in both directions, large messages, readers that are replaced.

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>

#include "os/pipe.h"
#include "os/process.h"
#include "unix_socket_peers.h"

using namespace ipcm;
using namespace ipcm::test;

TEST_CASE_FIXTURE(Tidy, "wire: a message as the reference sends it is understood") {
  const Guard guard = spawn_bus();
  Client target = ipcm_connect("service_parent_15745", guard.info());
  Raw raw(guard.info(), "service_parent_15745");
  raw.send(
      R"({"content":{"response":{"got":"hello","list":[1,"2",null]},"ipcm_response_id":"01A2050B-EF33-7C54-B7BE-570FED48A938"},"from":"svc","stamp_ord":0,"to":"service_parent_15745","id":"01A2050B-EF36-740F-A83D-00A7E4F30A23","stamp":1795380997.94263})");
  raw.send("");  // ends a round of the reference's reader; no message
  raw.send(R"( {"from":"svc","content":"\u20ac","stamp":"1795380998"} )");
  const auto got = collect(target, 2);
  CHECK(got[0].from == "svc");
  CHECK(got[0].id == "01A2050B-EF36-740F-A83D-00A7E4F30A23");
  CHECK(contains(got[0].content.json(), R"("list":[1,"2",null])"));
  CHECK(got[1].content.as<std::string>() == "\xe2\x82\xac");
  CHECK(target.dropped() == 0);
}

TEST_CASE_FIXTURE(Tidy,
                  "wire: a message to a foreign peer is one datagram of one JSON object, and nothing else") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  ForeignPeer perl(guard.info(), "perl");
  CHECK(a.peers() == std::vector<std::string>{"perl"});
  CHECK(a.peer_active("perl"));
  a.send_message("perl", "gr\xc3\xbc\xc3\x9f e");
  a.broadcast(Content::json("[1]")).expect_sent();
  const std::string first = perl.hear();
  CHECK(first.front() == '{');
  CHECK(first.back() == '}');
  CHECK(contains(first, R"("from":"a")"));
  CHECK(contains(first, R"("content":"gr\u00fc\u00df e")"));
  CHECK(contains(perl.hear(), R"("broadcast":1)"));
  CHECK(perl.heard_nothing());
}

TEST_CASE_FIXTURE(Tidy,
                  "wire: a foreign peer gets up to 65536 bytes; more is refused, with size, limit and name") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  ForeignPeer perl(guard.info(), "perl");
  a.send_message("perl", "");
  const std::size_t room = kLargest - perl.hear().size();
  // The numbers in a message may be a digit longer or shorter.
  a.send_message("perl", std::string(room - 10, 'x'));
  const std::string got = perl.hear();
  CHECK(got.size() > kLargest - 20);
  CHECK(contains(got, std::string(room - 10, 'x') + "\""));
  const std::string text =
      thrown_by<ProtocolError>([&] { a.send_message("perl", std::string(room + 10, 'x')); }).what();
  CHECK(contains(text, "'perl'"));
  CHECK(contains(text, "65536"));
  CHECK(contains(text, "6554"));
  std::string why;
  CHECK_FALSE(a.try_message("perl", std::string(10 * kMiB, 'x'), &why));
  CHECK(contains(why, "65536"));
  CHECK(a.statistics().sent.at("perl") == 2);
  // After a failed attempt of this library to get its name, it still counts as a peer of the reference.
  Forked thief([&](Lines& test) {
    try {
      (void)ipcm_connect("perl", guard.info());
      test.say("has it");
    } catch (const NameTaken&) {
      test.say("taken");
    }
    return 0;
  });
  CHECK(thief.hear() == "taken");
  CHECK(thief.wait() == ExitStatus::exited(0));
  CHECK_FALSE(a.try_message("perl", std::string(kMiB, 'x')));
  a.send_message("perl", 2);
  CHECK(contains(perl.hear(), R"("content":2)"));
  CHECK(perl.heard_nothing());
}

TEST_CASE_FIXTURE(Tidy,
                  "wire: a datagram of 65536 bytes is read; one of 65537 is dropped, and its size told") {
  const Guard guard = spawn_bus();
  Client target = ipcm_connect("target", guard.info());
  std::vector<std::string> told;
  target.on_diagnostic([&](const std::string& sentence) { told.push_back(sentence); });
  Raw raw(guard.info(), "target");
  raw.send(wire_message_of(kLargest));
  CHECK(collect(target, 1)[0].content.as<std::string>().size() > 65000);
  raw.send(wire_message_of(kLargest + 1));
  serve_until_silent(target);
  CHECK(target.get_messages().empty());
  REQUIRE(told.size() == 1);
  CHECK(contains(told[0], "65537"));
  CHECK(contains(told[0], std::to_string(::getpid())));
}

TEST_CASE_FIXTURE(Tidy, "large: beyond 64 MiB is refused") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  const Client b = ipcm_connect("b", guard.info());
  CHECK(contains(thrown_by<ProtocolError>([&] { a.send_message("b", std::string(64 * kMiB, 'x')); }).what(),
                 "67108864"));
}

TEST_CASE_FIXTURE(Tidy,
                  "large: without descriptors left that message fails, and the next is not mistaken for it") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  Forked b([&](Lines& test) {
    Client client = ipcm_connect("b", guard.info());
    client.send_message("a", 1);  // opens the channel
    rlimit before{};
    if (::getrlimit(RLIMIT_NOFILE, &before) != 0) return 1;
    // Descriptors for the memory file and one end of a pipe.
    const int next = os::duplicate(0).get();
    rlimit tight = before;
    tight.rlim_cur = static_cast<rlim_t>(next) + 2;
    if (::setrlimit(RLIMIT_NOFILE, &tight) != 0) return 2;
    std::string why;
    const bool sent = client.try_message("a", std::string(kMiB, 'x'), &why);
    if (::setrlimit(RLIMIT_NOFILE, &before) != 0) return 3;
    client.send_message("a", std::string(kMiB, 'y'));
    test.say(sent ? "sent" : why);
    test.hear();
    return 0;
  });
  const auto got = collect(a, 2);
  REQUIRE(got.size() == 2);
  CHECK(got[1].content.as<std::string>() == std::string(kMiB, 'y'));
  CHECK(contains(b.hear(), "Too many open files"));
  b.say("end");
  CHECK(b.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "large: a reader without descriptors left drops that message, and says why") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  Forked b([&](Lines& test) {
    Client client = ipcm_connect("b", guard.info());
    std::string told;
    client.on_diagnostic([&](const std::string& sentence) { told = sentence; });
    test.say("joined");
    test.hear();
    rlimit before{};
    if (::getrlimit(RLIMIT_NOFILE, &before) != 0) return 1;
    const int next = os::duplicate(0).get();
    rlimit tight = before;
    tight.rlim_cur = static_cast<rlim_t>(next) + 1;
    if (::setrlimit(RLIMIT_NOFILE, &tight) != 0) return 2;
    const auto few = client.get_messages();
    if (::setrlimit(RLIMIT_NOFILE, &before) != 0) return 3;
    test.say(std::to_string(few.size()) + " " + told);
    test.hear();
    test.say(collect_contents(client, 1)[0].substr(0, 3));
    return 0;
  });
  CHECK(b.hear() == "joined");
  a.send_message("b", std::string(kMiB, 'x'));
  b.say("sent");
  const std::string told = b.hear();
  CHECK(contains(told, "0 a large message"));
  CHECK(contains(told, "ulimit -n"));
  a.send_message("b", std::string(kMiB, 'y'));  // the receipt of the first one has come back
  b.say("sent");
  CHECK(b.hear() == "\"yy");
  CHECK(b.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "large: messages of a killed sender are whole, and nothing else is left of it") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  const auto files = names_in(guard.info().route);
  Forked b([&](Lines& test) {
    Client client = ipcm_connect("b", guard.info());
    client.send_message("a", 1);
    client.send_message("a", std::string(10 * kMiB, 'x'));
    test.say("sent");
    client.send_message("a", std::string(10 * kMiB, 'y'));  // waits for the first to be read
    test.say("never");
    return 0;
  });
  CHECK(b.hear() == "sent");
  const auto descriptors = lasting_descriptors();
  await_idle(b.pid());
  b.kill(SIGKILL);
  CHECK(b.wait() == ExitStatus::signalled(SIGKILL));
  const auto got = collect(a, 2);
  REQUIRE(got.size() == 2);
  CHECK(got[1].content.as<std::string>() == std::string(10 * kMiB, 'x'));
  serve_until_silent(a);
  CHECK(take_all(a).empty());
  CHECK(a.peers().empty());
  CHECK(names_in(guard.info().route) == files);
  CHECK(lasting_descriptors() == descriptors);
}

TEST_CASE_FIXTURE(
    Tidy,
    "replaced: a successor is reached at once, also if its predecessor's socket is still open somewhere") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  ForeignPeer first(guard.info(), "perl");  // stays open, as in a worker of the reference
  a.send_message("perl", 1);
  remove_foreign(guard.info(), "perl");
  CHECK_THROWS_AS(a.send_message("perl", 2), PeerGone);
  ForeignPeer second(guard.info(), "perl");
  a.send_message("perl", 3);
  CHECK(contains(second.hear(), R"("content":3)"));
  CHECK(contains(first.hear(), R"("content":1)"));
  CHECK(first.heard_nothing());
}

TEST_CASE_FIXTURE(Tidy, "A3: many senders at once: each one's messages in order, none lost") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  constexpr int kSenders = 4, kEach = 500;
  std::vector<std::unique_ptr<Forked>> senders;
  for (int i = 0; i < kSenders; ++i)
    senders.push_back(std::make_unique<Forked>([&, i](Lines&) {
      Client one = ipcm_connect("one" + std::to_string(i), guard.info());
      Client two = ipcm_connect("two" + std::to_string(i), guard.info());
      for (int n = 0; n < kEach; ++n) {
        one.send_message("a", n);
        two.send_message("a", n);
      }
      return 0;
    }));
  std::map<std::string, int> next;
  for (const Message& message : collect(a, kSenders * 2 * kEach))
    REQUIRE(message.content.as<int>() == next[message.from]++);
  CHECK(next.size() == kSenders * 2);
  for (auto& sender : senders) CHECK(sender->wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "D4: a foreign peer that leaves, or dies, before it answers is PeerGone") {
  Handle handle = start("e", echoing());
  for (const bool politely : {true, false}) {
    CAPTURE(politely);
    Forked perl([&](Lines& test) {
      ForeignPeer peer(handle.info(), "perl");
      test.say("joined");
      const auto request = peer.hear();
      test.say(contains(request, "ipcm_request_id") ? "asked" : request);
      test.hear();
      if (politely) remove_foreign(handle.info(), "perl");
      test.say("left");
      test.hear();
      return 0;
    });
    CHECK(perl.hear() == "joined");
    const std::string id = handle.send_request("perl", 1);
    CHECK(perl.hear() == "asked");
    CHECK_THROWS_AS((void)handle.await_response(id, 1ms), Timeout);
    perl.say("leave");
    CHECK(perl.hear() == "left");
    if (!politely) perl.kill(SIGKILL);
    CHECK_THROWS_AS((void)handle.await_response(id).content(), PeerGone);
    CHECK(handle.sync_request("still", kHang).as<std::string>() == "still");
    if (politely) perl.say("end");
    (void)perl.wait();
  }
}

TEST_CASE_FIXTURE(Tidy, "D4: requests to a successor are not confused with open ones to its predecessor") {
  Handle handle = start("e", echoing());
  ServiceOptions mute;
  mute.handle_request = [](Service&, const Request&) -> Answer { return later; };
  Handle first = start_on(handle.info(), "s", mute);
  const std::string lost = handle.send_request("s", 1);
  const Pid pid = first.service_pid().value();
  ::kill(pid, SIGKILL);
  await_end(pid);
  Handle second = start_on(handle.info(), "s", echoing());
  // The loop of the handle has not run since, so that the handle learns of the death with its next request.
  const std::string answered = handle.send_request("s", 2);
  CHECK(handle.await_response(answered, kHang).as<int>() == 2);
  CHECK_THROWS_AS((void)handle.await_response(lost, kHang).content(), PeerGone);
}
