// AtomicPipe: the bytes of the reference in both directions, several writers in one process, large messages,
// readers that are replaced.

#include <unistd.h>

#include <csignal>
#include <set>

#include "atomic_pipe_peers.h"
#include "loop/loop.h"
#include "os/process.h"
#include "transport/protocols.h"

using namespace ipcm;
using namespace ipcm::test;

TEST_CASE_FIXTURE(Tidy, "wire: a message as the reference sends it is understood, in one part and in three") {
  const Guard guard = spawn_bus();
  Client target = ipcm_connect("service_parent_15745", guard.info());
  const std::string place = guard.info().route + "/service_parent_15745";
  struct stat facts {};
  REQUIRE(::stat(place.c_str(), &facts) == 0);
  CHECK(S_ISFIFO(facts.st_mode));
  CHECK((facts.st_mode & 07777U) == 0700);
  Raw raw(guard.info(), "service_parent_15745");
  raw.write_message(
      R"({"content":{"response":{"got":"hello","list":[1,"2",null]},"ipcm_response_id":"01A2050B-EF33-7C54-B7BE-570FED48A938"},"from":"svc","stamp_ord":0,"to":"service_parent_15745","id":"01A2050B-EF36-740F-A83D-00A7E4F30A23","stamp":1795380997.94263})");
  const auto got = collect(target, 1);
  CHECK(got[0].from == "svc");
  CHECK(got[0].id == "01A2050B-EF36-740F-A83D-00A7E4F30A23");
  CHECK(contains(got[0].content.json(), R"("list":[1,"2",null])"));
  raw.write_message(wire_message_of(9000));
  CHECK(collect(target, 1)[0].content.as<std::string>().size() > 8500);
  CHECK(target.dropped() == 0);
}

TEST_CASE_FIXTURE(Tidy, "wire: a foreign peer gets parts with our pid and one thread number, numbered down") {
  const Guard guard = spawn_bus();
  ForeignPeer perl(guard.info(), "perl");
  Forked ours([&](Lines& test) {
    Client a = ipcm_connect("a", guard.info());
    test.say(a.peer_active("perl") ? "active" : "not active");
    a.send_message("perl", "gr\xc3\xbc\xc3\x9f e");
    a.send_message("perl", std::string(9000, 'x'));
    test.hear();
    return 0;
  });
  CHECK(ours.hear() == "active");
  const Part first = perl.hear();
  CHECK(first.pid == static_cast<std::uint32_t>(ours.pid()));
  CHECK(first.thread < 1U << 24U);
  CHECK(first.number == 0);
  CHECK(first.data.front() == '{');
  CHECK(first.data.back() == '}');
  CHECK(contains(first.data, R"("content":"gr\u00fc\u00df e")"));
  std::string whole;
  for (std::uint32_t number = 3; number-- > 0;) {
    const Part one = perl.hear();
    CHECK(one.number == number);
    CHECK(one.pid == first.pid);
    CHECK(one.thread == first.thread);
    CHECK((one.data.size() == kData || number == 0));
    whole += one.data;
  }
  CHECK(contains(whole, std::string(9000, 'x')));
  CHECK(perl.heard_nothing());
  ours.say("end");
  CHECK(ours.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "wire: two members of one process write under different thread numbers") {
  const Guard guard = spawn_bus();
  ForeignPeer perl(guard.info(), "perl");
  Forked ours([&](Lines& test) {
    Client a = ipcm_connect("a", guard.info()), b = ipcm_connect("b", guard.info());
    for (int i = 0; i < 3; ++i) {
      a.send_message("perl", "of a");
      b.send_message("perl", "of b");
    }
    test.hear();
    return 0;
  });
  std::set<std::uint32_t> of_a, of_b;
  for (int i = 0; i < 3; ++i) {
    const Part one = perl.hear(), two = perl.hear();
    CHECK(contains(one.data, "of a"));
    CHECK(contains(two.data, "of b"));
    of_a.insert(one.thread);
    of_b.insert(two.thread);
  }
  CHECK(of_a.size() == 1);
  CHECK(of_b.size() == 1);
  CHECK(of_a != of_b);
  ours.say("end");
  CHECK(ours.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "wire: large messages that two members of one process send at once do not mix") {
  Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  constexpr std::size_t kSize = 4 * kMiB;  // more than the pipe holds, so that both wait
  Forked both([&](Lines& test) {
    ServiceOptions options;
    options.handle_request = [&](Service& self, const Request& request) -> Answer {
      // A second member of the process sends while a message of the service is half sent.
      for (int i = 0; i < 3; ++i) self.client().send_message("a", std::string(kSize, 's'));
      Client second = ipcm_connect("second", guard.info());
      for (int i = 0; i < 3; ++i) second.send_message("a", std::string(kSize, 'c'));
      return request.raw();
    };
    Handle service = start_on(guard.info(), "s", options);
    test.say("started");
    CHECK(service.sync_request(1, kHang).ok());
    return 0;
  });
  CHECK(both.hear() == "started");
  int of_service = 0, of_client = 0;
  while (of_service + of_client < 6)
    for (const Message& message : collect(a, 1)) {
      const auto text = message.content.as<std::string>();
      CHECK(text.size() == kSize);
      CHECK(text.find_first_not_of(text[0]) == std::string::npos);
      ++(text[0] == 's' ? of_service : of_client);
    }
  CHECK(of_service == 3);
  CHECK(of_client == 3);
  CHECK(a.dropped() == 0);
  CHECK(both.wait() == ExitStatus::exited(0));
  guard.shutdown();
}

TEST_CASE_FIXTURE(Tidy, "large: sender and reader refuse a message beyond 64 MiB") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  Client b = ipcm_connect("b", guard.info());
  CHECK(contains(thrown_by<ProtocolError>([&] { a.send_message("b", std::string(64 * kMiB, 'x')); }).what(),
                 "67108864"));
  std::vector<std::string> told;
  b.on_diagnostic([&](const std::string& sentence) { told.push_back(sentence); });
  Raw raw(guard.info(), "b");
  constexpr std::uint32_t kParts = 17000;
  for (std::uint32_t number = kParts; number-- > 0;) {
    raw.write(part(number, std::string(kData, 'x')));
    if (number % 100 == 0) b.dispatch();
  }
  raw.write(single("\"after it\""));
  CHECK(collect(b, 1)[0].content.as<std::string>() == "after it");
  REQUIRE(told.size() == 1);
  CHECK(contains(told[0], "67108864"));
}

TEST_CASE_FIXTURE(Tidy, "replaced: a pipe without a reader raises no SIGPIPE, and leaves none behind") {
  const Guard guard = spawn_bus();
  ::signal(SIGPIPE, SIG_DFL);
  for (const bool blocked : {false, true}) {
    CAPTURE(blocked);
    Forked sender([&](Lines& test) {
      sigset_t set{};
      sigemptyset(&set);
      sigaddset(&set, SIGPIPE);
      if (blocked) ::sigprocmask(SIG_BLOCK, &set, nullptr);
      Client a = ipcm_connect("a", guard.info());
      test.say("joined");
      test.hear();
      a.send_message("b", 1);
      test.say("sent");
      test.hear();
      std::string why;
      const bool gone = !a.try_message("b", 2, &why);
      sigset_t pending{}, mask{};
      ::sigpending(&pending);
      ::sigprocmask(SIG_BLOCK, nullptr, &mask);
      const bool clean = sigismember(&pending, SIGPIPE) == 0 && (sigismember(&mask, SIGPIPE) == 1) == blocked;
      test.say(gone && clean ? "gone" : "not clean: " + why);
      return 0;
    });
    CHECK(sender.hear() == "joined");
    Forked b([&](Lines& test) {
      const Client client = ipcm_connect("b", guard.info());
      test.say("joined");
      test.hear();
      return 0;
    });
    CHECK(b.hear() == "joined");
    sender.say("send");
    CHECK(sender.hear() == "sent");
    b.kill(SIGKILL);  // its pipe stays, without a reader
    CHECK(b.wait() == ExitStatus::signalled(SIGKILL));
    sender.say("send");
    CHECK(sender.hear() == "gone");
    CHECK(sender.wait() == ExitStatus::exited(0));
  }
}

TEST_CASE_FIXTURE(
    Tidy,
    "replaced: a successor is reached at once, also if its predecessor's pipe is still open somewhere") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  ForeignPeer first(guard.info(), "perl");  // stays open, as in a worker of the reference
  a.send_message("perl", 1);
  remove_foreign(guard.info(), "perl");
  CHECK_THROWS_AS(a.send_message("perl", 2), PeerGone);
  ForeignPeer second(guard.info(), "perl");
  a.send_message("perl", 3);
  CHECK(contains(second.hear().data, R"("content":3)"));
  CHECK(contains(first.hear().data, R"("content":1)"));
  CHECK(first.heard_nothing());
}

TEST_CASE_FIXTURE(
    Tidy,
    "replaced: after a message that was given up in its middle, the next is written under another number") {
  const Guard guard = spawn_bus();
  ForeignPeer perl(guard.info(), "perl");
  Forked ours([&](Lines& test) {
    struct Deaf final : transport::Receiver {
      void incoming(wire::IncomingMessage) override {}
      void link_lost(const std::string&) override {}
      void peers_changed() override {}
      void dropped(const std::string& sentence) override { told = sentence; }
      std::string told;
    } deaf;
    Loop loop;
    transport::JoinRequest request;
    request.info = guard.info();
    request.name = "a";
    request.serializer = wire::make_serializer(request.info);
    const auto member = transport::find_protocol(protocol()).join(request, loop, deaf);
    Message message{"id", "a", "perl", 1, 0, false, Content(std::string(3 * kMiB, 'x'))};
    auto result = member->send(message);
    test.say(result.sent == transport::Transport::Sent::queued ? "queued" : result.why);
    test.hear();
    member->abandon("perl");
    test.say(deaf.told);
    message.content = Content("after it");
    test.hear();
    result = member->send(message);
    test.say(result.sent == transport::Transport::Sent::done ? "done" : result.why);
    member->leave({});
    return 0;
  });
  CHECK(ours.hear() == "queued");
  ours.say("give it up");
  CHECK(contains(ours.hear(), "1 messages to 'perl' were not delivered"));
  Part last;
  std::set<std::uint32_t> threads;
  while (!perl.heard_nothing()) {
    last = perl.hear();
    threads.insert(last.thread);
  }
  CHECK(last.number > 0);
  CHECK(threads.size() == 1);
  ours.say("the next");
  CHECK(ours.hear() == "done");
  const Part next = perl.hear();
  CHECK(next.thread != last.thread);
  CHECK(next.number == 0);
  CHECK(contains(next.data, "after it"));
  CHECK(ours.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(
    Tidy, "A3: many senders at once, with messages of many parts: each one's in order, none lost or mixed") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  constexpr int kSenders = 4, kEach = 200;
  std::vector<std::unique_ptr<Forked>> senders;
  for (int i = 0; i < kSenders; ++i)
    senders.push_back(std::make_unique<Forked>([&, i](Lines&) {
      Client one = ipcm_connect("one" + std::to_string(i), guard.info());
      Client two = ipcm_connect("two" + std::to_string(i), guard.info());
      for (int n = 0; n < kEach; ++n) {
        one.send_message("a", std::to_string(1000 + n) + std::string(static_cast<std::size_t>(n) * 100, '1'));
        two.send_message("a", std::to_string(1000 + n) + std::string(static_cast<std::size_t>(n) * 100, '2'));
      }
      return 0;
    }));
  std::map<std::string, int> next;
  for (const Message& message : collect(a, kSenders * 2 * kEach)) {
    const auto text = message.content.as<std::string>();
    const int number = next[message.from]++;
    REQUIRE(text.substr(0, 4) == std::to_string(1000 + number));
    REQUIRE(text.size() == 4 + static_cast<std::size_t>(number) * 100);
    REQUIRE(text.find_first_not_of(message.from[0] == 'o' ? '1' : '2', 4) == std::string::npos);
  }
  CHECK(next.size() == kSenders * 2);
  CHECK(a.dropped() == 0);
  for (auto& sender : senders) CHECK(sender->wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "D4: a foreign peer that leaves, or dies, before it answers is PeerGone") {
  Handle handle = start("e", echoing());
  for (const bool politely : {true, false}) {
    CAPTURE(politely);
    Forked perl([&](Lines& test) {
      ForeignPeer peer(handle.info(), "perl");
      test.say("joined");
      const auto request = peer.hear().data;
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
