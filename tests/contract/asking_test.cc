#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <set>

#include "contract.h"

using namespace ipcm;
using namespace ipcm::test;

TEST_SUITE_BEGIN("asking" * needs_processes());  // each service is a process

namespace {

/// Returns a service that keeps its requests until a general message arrives, then answers each with itself.
ServiceOptions putting_off() {
  ServiceOptions options;
  auto kept = std::make_shared<std::vector<Request>>();
  options.handle_request = [kept](Service&, const Request& request) -> Answer {
    kept->push_back(request);
    return later;
  };
  options.on_general_message = [kept](Service& self, const Message&) {
    for (const Request& request : *kept) self.send_response(request, request.raw());
    kept->clear();
  };
  return options;
}

/// Answers the first request with itself, and stays on the bus. For a member that is no service.
void answers_once(Lines& test, Client& client) {
  const auto asked = collect(client, 1)[0];
  const auto content = asked.content.as<std::map<std::string, Content>>();
  client.send_message(asked.from,
                      std::map<std::string, Content>{{"ipcm_response_id", content.at("ipcm_request_id")},
                                                     {"response", content.at("request")}});
  test.hear();
}

/// Joins the bus and sends the messages that the test names, one on each line: TO JSON.
int mouthpiece(Lines& test, const BusInfo& info, const std::string& name) {
  Client client = ipcm_connect(name, info);
  test.say("joined");
  for (std::string line = test.hear(); line != "end"; line = test.hear()) {
    const auto blank = line.find(' ');
    client.send_message(line.substr(0, blank), Content::json(line.substr(blank + 1)));
    test.say("sent");
  }
  return 0;
}

}  // namespace

TEST_CASE_FIXTURE(Tidy, "D1: a request is answered: waiting for it, by id, with a type") {
  Handle handle = start("e", echoing());
  CHECK(handle.sync_request("plain", kHang).content() == Content("plain"));
  CHECK(handle.sync_request<int>(42, kHang) == 42);
  CHECK(handle.sync_request("e", "by name", kHang).as<std::string>() == "by name");
  CHECK(handle.sync_request("without limit").ok());

  const std::string first = handle.send_request("1"), second = handle.send_request("2");
  CHECK(first != second);
  CHECK(handle.have_pending_responses());
  const Response response = handle.await_response(second, kHang);
  CHECK(response.ok());
  CHECK(response.error().empty());
  CHECK(response.id() == second);
  CHECK(response.from() == "e");
  CHECK(response.as<std::string>() == "2");
  CHECK(handle.await_response(first, kHang).as<std::string>() == "1");
  CHECK_FALSE(handle.have_pending_responses());
}

TEST_CASE_FIXTURE(Tidy, "D1: content keeps its type in both directions, null too") {
  Handle handle = start("e", echoing());
  for (const char* value : {"null", "[]", "{}", "0", "false", "\"\"", R"({"a":[1,2,{"b":null}]})"})
    CHECK(handle.sync_request(Content::json(value), kHang).content().json() == value);
}

TEST_CASE_FIXTURE(Tidy, "D1: get_response does not wait") {
  Handle handle = start("slow", putting_off());
  const std::string id = handle.send_request("x");
  CHECK_FALSE(handle.get_response(id));
  handle.client().send_message("slow", "now");
  std::optional<Response> response;
  dispatch_until(handle, [&] { return (response = handle.get_response(id)).has_value(); });
  CHECK(response->as<std::string>() == "x");
}

TEST_CASE_FIXTURE(Tidy, "D1: callbacks are called in the calls that wait, once each") {
  Handle handle = start("e", echoing());
  std::vector<int> answers;
  std::set<std::string> ids;
  for (int i = 0; i < 100; ++i)
    ids.insert(
        handle.send_request(i, [&](const Response& response) { answers.push_back(response.as<int>()); }));
  CHECK(ids.size() == 100);
  handle.await_all_responses(kHang);
  REQUIRE(answers.size() == 100);
  for (int i = 0; i < 100; ++i) CHECK(answers[static_cast<std::size_t>(i)] == i);
  CHECK_FALSE(handle.have_pending_responses());
}

TEST_CASE_FIXTURE(Tidy, "D1: a callback may ask again") {
  Handle handle = start("e", echoing());
  int last = 0;
  std::function<void(const Response&)> next = [&](const Response& response) {
    last = response.as<int>();
    if (last < 10) handle.send_request(last + 1, next);
  };
  handle.send_request(1, next);
  handle.await_all_responses(kHang);
  CHECK(last == 10);
}

TEST_CASE_FIXTURE(Tidy, "D1: when the limit passes the request stays open") {
  Handle handle = start("slow", putting_off());
  const std::string id = handle.send_request("x");
  CHECK_THROWS_AS((void)handle.await_response(id, 1ms), Timeout);
  CHECK_THROWS_AS(handle.await_all_responses(1ms), Timeout);
  CHECK(contains(thrown_by<Timeout>([&] { (void)handle.sync_request("y", 1ms); }).what(), "slow"));
  CHECK(handle.have_pending_responses());
  handle.client().send_message("slow", "now");
  CHECK(handle.await_response(id, kHang).as<std::string>() == "x");
}

TEST_CASE_FIXTURE(Tidy, "D2: each misuse of an id has a message of its own") {
  Handle handle = start("e", echoing());
  const std::string handed_out = handle.send_request(1);
  (void)handle.await_response(handed_out, kHang);
  const std::string with_callback = handle.send_request(1, [](const Response&) {});

  std::set<std::string> texts;
  texts.insert(thrown_by<UsageError>([&] { (void)handle.get_response("no such id"); }).what());
  texts.insert(thrown_by<UsageError>([&] { (void)handle.get_response(with_callback); }).what());
  CHECK(texts.size() == 2);
  CHECK_THROWS_AS((void)handle.get_response(handed_out), UsageError);
  CHECK_THROWS_AS((void)handle.await_response("no such id", kHang), UsageError);
  CHECK_THROWS_AS((void)handle.await_response(with_callback, kHang), UsageError);
  CHECK_THROWS_AS((void)handle.await_response(handed_out, kHang), UsageError);
  CHECK(
      contains(thrown_by<UsageError>([&] { (void)handle.get_response("no such id"); }).what(), "no such id"));
  handle.await_all_responses(kHang);
  CHECK_THROWS_AS((void)handle.get_response(with_callback), UsageError);
}

TEST_CASE_FIXTURE(Tidy,
                  "D2: an unexpected response and a second one are dropped, each with words of its own") {
  Handle handle = start("e", echoing());
  std::vector<std::string> told;
  handle.client().on_diagnostic([&](const std::string& sentence) { told.push_back(sentence); });
  Forked odd([&](Lines& test) {
    Client client = ipcm_connect("odd", handle.info());
    test.say("joined");
    const auto got = collect(client, 1);
    const std::string text = got[0].content.json(), key = R"("ipcm_request_id":")";
    const std::string id = text.substr(text.find(key) + key.size(), 36);
    const auto answer = [&](const std::string& which, const std::string& value) {
      client.send_message(
          got[0].from, Content::json(R"({"ipcm_response_id":")" + which + R"(","response":)" + value + "}"));
    };
    answer("01A2050B-0000-7000-8000-000000000000", "0");
    answer(id, "1");
    answer(id, "2");
    client.send_message(got[0].from, "the end");
    test.hear();
    return 0;
  });
  CHECK(odd.hear() == "joined");
  CHECK(handle.sync_request("odd", "?", kHang).as<int>() == 1);
  std::vector<Message> general;
  dispatch_until(handle, [&] {
    for (Message& message : handle.messages()) general.push_back(std::move(message));
    return !general.empty();
  });
  CHECK(general[0].content == Content("the end"));
  CHECK(general.size() == 1);
  REQUIRE(told.size() == 2);
  CHECK(told[0] != told[1]);
  for (const std::string& sentence : told) CHECK(contains(sentence, "odd"));
  CHECK(handle.sync_request("e", "fine", kHang).as<std::string>() == "fine");
  odd.say("end");
  CHECK(odd.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "D2: an answer that is an error throws the service's words, and names the service") {
  ServiceOptions options;
  options.handle_request = [](Service&, const Request&) -> Answer { throw std::runtime_error("not today"); };
  options.expose_error_details = true;
  Handle handle = start("e", options);
  const auto error = thrown_by<RemoteError>([&] { (void)handle.sync_request(1, kHang); });
  CHECK(contains(error.what(), "not today"));
  CHECK(error.peer() == "e");
  const Response response = handle.await_response(handle.send_request(1), kHang);
  CHECK_FALSE(response.ok());
  CHECK(contains(response.error(), "not today"));
  const auto again = thrown_by<RemoteError>([&] { (void)response.content(); });
  CHECK(contains(again.what(), "not today"));
  CHECK(again.peer() == "e");
  CHECK_THROWS_AS((void)handle.sync_request<int>(1, kHang), RemoteError);
}

TEST_CASE_FIXTURE(
    Tidy, "D3: messages that are no responses are kept in order, also those that arrive during a wait") {
  Handle handle = start("slow", putting_off());
  Forked other([&](Lines& test) { return mouthpiece(test, handle.info(), "other"); });
  CHECK(other.hear() == "joined");
  const std::string me = handle.client().id();
  const std::string id = handle.send_request("x");
  for (const char* content : {"1", "[2]", R"({"three":3})"}) {
    other.say(me + " " + content);
    CHECK(other.hear() == "sent");
  }
  other.say("slow \"now\"");
  CHECK(other.hear() == "sent");
  CHECK(handle.await_response(id, kHang).as<std::string>() == "x");
  std::vector<std::string> kept;
  dispatch_until(handle, [&] {
    for (const Message& message : handle.messages())
      kept.push_back(message.from + " " + message.content.json());
    return kept.size() >= 3;
  });
  CHECK(kept == std::vector<std::string>{"other 1", "other [2]", R"(other {"three":3})"});
  CHECK(handle.messages().empty());
  other.say("end");
  CHECK(other.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "D4: a service that is killed while we wait is PeerGone, with how it ended") {
  ServiceOptions options;
  options.handle_request = [](Service&, const Request&) -> Answer {
    ::kill(::getpid(), SIGKILL);
    return later;
  };
  Handle handle = start("e", options);
  const auto error = thrown_by<PeerGone>([&] { (void)handle.sync_request(1).content(); });
  CHECK(error.peer() == "e");
  CHECK(contains(error.what(), "e"));
  CHECK(error.status() == ExitStatus::signalled(SIGKILL));
  CHECK_THROWS_AS(handle.send_request(1), PeerGone);
  CHECK_FALSE(handle.have_pending_responses());
}

TEST_CASE_FIXTURE(Tidy, "D4: every open request to a peer that dies ends, and those to others go on") {
  Guard guard = spawn_bus();
  Handle echo = start_on(guard.info(), "echo", echoing());
  Forked mute(member("mute", guard.info().text(), stays));
  CHECK(mute.hear() == "joined");
  std::vector<std::string> ended;
  for (int i = 0; i < 3; ++i)
    echo.send_request(
        "mute", i, [&](const Response& response) { ended.emplace_back(response.ok() ? "answer" : "gone"); });
  const std::string id = echo.send_request("mute", 3);
  CHECK_THROWS_AS(echo.await_all_responses(1ms), Timeout);
  mute.kill(SIGKILL);
  CHECK_THROWS_AS((void)echo.await_response(id).content(), PeerGone);
  echo.await_all_responses(kHang);
  CHECK(ended == std::vector<std::string>{"gone", "gone", "gone"});
  CHECK(echo.sync_request("still", kHang).as<std::string>() == "still");
  guard.shutdown();
}

TEST_CASE_FIXTURE(Tidy, "D4: a peer that leaves politely without answering is PeerGone") {
  ServiceOptions options;
  options.handle_request = [](Service& self, const Request&) -> Answer {
    self.terminate();
    return later;
  };
  Handle handle = start("e", options);
  CHECK_THROWS_AS((void)handle.sync_request(1).content(), PeerGone);
}

TEST_CASE_FIXTURE(Tidy, "D4: a peer that leaves while a large request is on its way to it is PeerGone") {
  Guard guard = spawn_bus();
  Handle asker = start_on(guard.info(), "asker", echoing());
  for (int round = 0; round < 3; ++round) {
    Forked deaf([&](Lines& test) {
      const Client client = ipcm_connect("deaf", guard.info());
      test.say("joined");
      // Waits for a request, and does not read it.
      pollfd there{client.fd(), POLLIN, 0};
      return ::poll(&there, 1, static_cast<int>(std::chrono::milliseconds(kHang).count())) == 1 ? 0 : 1;
    });
    CHECK(deaf.hear() == "joined");
    CHECK_THROWS_AS((void)asker.sync_request("deaf", std::string(4'000'000, 'x'), kHang).content(), PeerGone);
    CHECK(deaf.wait() == ExitStatus::exited(0));
  }
  CHECK_FALSE(asker.have_pending_responses());
}

TEST_CASE_FIXTURE(Tidy, "D4: requests to a predecessor fail, and requests to its successor are answered" *
                            kept_messages(false)) {
  Guard guard = spawn_bus();
  Handle asker = start_on(guard.info(), "asker", echoing());
  for (const bool killed : {true, false}) {
    CAPTURE(killed);
    Forked first(member("b", guard.info().text(), stays));
    CHECK(first.hear() == "joined");
    const std::string old = asker.send_request("b", "old");
    if (killed)
      first.kill(SIGKILL);
    else
      first.say("leave");
    (void)first.wait();
    Forked second(member("b", guard.info().text(), answers_once));
    CHECK(second.hear() == "joined");
    // The requester has not noticed the change.
    const std::string latest = asker.send_request("b", "new");
    CHECK(asker.await_response(latest, kHang).as<std::string>() == "new");
    CHECK_THROWS_AS((void)asker.await_response(old, kHang).content(), PeerGone);
    second.say("leave");
    CHECK(second.wait() == ExitStatus::exited(0));
  }
}

namespace {

/// A pipe that makes another process wait. It holds plain numbers, because a fork closes the descriptors of a
/// UniqueFd.
class Gate {
 public:
  Gate() { REQUIRE(::pipe2(ends_.data(), O_CLOEXEC) == 0); }
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  ~Gate() {
    for (const int end : ends_) ::close(end);
  }
  void open() const { CHECK(::write(ends_[1], "x", 1) == 1); }
  /// Returns a function that waits until the gate is opened, for a forked process.
  [[nodiscard]] std::function<void()> wait() const {
    return [end = ends_[0]] {
      char byte = 0;
      (void)!::read(end, &byte, 1);
    };
  }

 private:
  std::array<int, 2> ends_{};
};

std::string outcome(const Response& response) { return response.ok() ? "answered" : "failed"; }
/// Returns the exit status of the asked process, if it is known.
std::string end_of_asked(const Response& response) {
  try {
    (void)response.content();
    return "answered";
  } catch (const PeerGone& gone) {
    return gone.status() ? gone.status()->describe() : "ended";
  } catch (const LaunchError&) {
    return "did not start";
  }
}

/// Returns a service whose requests are names. It asks the peer of that name, starts a successor of the peer,
/// and asks the successor. It reports both results to "ear".
ServiceOptions replacing(const std::function<void()>& before_successor, const std::function<void()>& at_end,
                         const std::function<std::string(const Response&)>& telling_of = outcome,
                         ServiceOptions successor = echoing()) {
  successor.post_fork = before_successor;
  ServiceOptions options;
  options.handle_request = [=](Service& self, const Request& request) -> Answer {
    const auto peer = request.as<std::string>();
    const auto telling = [&self, telling_of](const std::string& what) {
      return [&self, telling_of, what](const Response& response) {
        self.client().send_message("ear", what + " " + telling_of(response));
      };
    };
    self.send_request(peer, "old", telling("old"));
    (void)self.ipcm_service_nowait(peer, successor);
    self.send_request(peer, "new", telling("new"));
    self.client().send_message("ear", "asked");
    at_end();
    return "done";
  };
  return options;
}

}  // namespace

TEST_CASE_FIXTURE(Tidy,
                  "D4: requests held for a starting service do not fail with those to its predecessor") {
  Guard guard = spawn_bus();
  Client ear = ipcm_connect("ear", guard.info());
  const Gate gate;
  Handle asker = start_on(guard.info(), "asker", replacing(gate.wait(), [] {}));
  for (const bool killed : {true, false}) {
    CAPTURE(killed);
    const std::string name = killed ? "killed" : "leaving";
    Forked first(member(name, guard.info().text(), stays));
    CHECK(first.hear() == "joined");
    CHECK(asker.sync_request(name, kHang).ok());
    CHECK(collect_contents(ear, 1) == std::vector<std::string>{R"("asked")"});
    if (killed)
      first.kill(SIGKILL);
    else
      first.say("leave");
    CHECK(collect_contents(ear, 1) == std::vector<std::string>{R"("old failed")"});
    (void)first.wait();  // the kernel releases its lock last
    gate.open();
    CHECK(collect_contents(ear, 1) == std::vector<std::string>{R"("new answered")"});
  }
  ear.disconnect();
  guard.shutdown();
}

TEST_CASE_FIXTURE(Tidy,
                  "D4: the same holds if the end of the predecessor was not noticed" * kept_messages(false)) {
  Guard guard = spawn_bus();
  Client ear = ipcm_connect("ear", guard.info());
  const Gate gate, busy;
  Handle asker = start_on(guard.info(), "asker", replacing(gate.wait(), busy.wait()));
  for (const bool killed : {true, false}) {
    CAPTURE(killed);
    const std::string name = killed ? "killed" : "leaving";
    Forked first(member(name, guard.info().text(), stays));
    CHECK(first.hear() == "joined");
    const std::string id = asker.send_request(name);
    CHECK(collect_contents(ear, 1) == std::vector<std::string>{R"("asked")"});
    if (killed)
      first.kill(SIGKILL);
    else
      first.say("leave");
    (void)first.wait();
    gate.open();
    CHECK(ear.peer_active(name, kHang));
    busy.open();
    auto told = collect_contents(ear, 2);
    std::sort(told.begin(), told.end());
    CHECK(told == std::vector<std::string>{R"("new answered")", R"("old failed")"});
    CHECK(asker.await_response(id, kHang).ok());
  }
  ear.disconnect();
  guard.shutdown();
}

TEST_CASE_FIXTURE(Tidy,
                  "D4: the end of a successor is not reported for its predecessor" * kept_messages(false)) {
  Guard guard = spawn_bus();
  Client ear = ipcm_connect("ear", guard.info());
  const Gate gate, busy;
  ServiceOptions telling_who = echoing();
  telling_who.on_start = [](Service& self) { self.client().send_message("ear", ::getpid()); };
  Handle asker =
      start_on(guard.info(), "asker", replacing(gate.wait(), busy.wait(), end_of_asked, telling_who));
  Forked first(member("b", guard.info().text(), stays));
  CHECK(first.hear() == "joined");
  const std::string id = asker.send_request("b");
  CHECK(collect_contents(ear, 1) == std::vector<std::string>{R"("asked")"});
  first.kill(SIGKILL);
  (void)first.wait();
  gate.open();
  const Pid successor = collect(ear, 1)[0].content.as<Pid>();
  CHECK(::kill(successor, SIGTERM) == 0);
  await_end(successor);
  busy.open();
  auto told = collect_contents(ear, 2);
  std::sort(told.begin(), told.end());
  REQUIRE(told.size() == 2);
  CHECK(contains(told[0], "new "));
  CHECK_FALSE(contains(told[0], "SIGKILL"));
  CHECK(contains(told[1], "old "));
  CHECK_FALSE(contains(told[1], "SIGTERM"));
  CHECK_FALSE(contains(told[1], "exited"));
  CHECK(asker.await_response(id, kHang).ok());
  ear.disconnect();
  guard.shutdown();
}

TEST_CASE_FIXTURE(Tidy, "D4: a failed start does not fail requests to the living peer of that name") {
  Guard guard = spawn_bus();
  Client ear = ipcm_connect("ear", guard.info());
  Forked first([&](Lines& test) {
    Client client = ipcm_connect("b", guard.info());
    test.say("joined");
    test.hear();
    answers_once(test, client);
    return 0;
  });
  CHECK(first.hear() == "joined");
  Handle asker = start_on(guard.info(), "asker", replacing([] {}, [] {}));
  CHECK(asker.sync_request("b", kHang).ok());
  CHECK(collect_contents(ear, 2) == std::vector<std::string>{R"("asked")", R"("new failed")"});
  first.say("answer");
  CHECK(collect_contents(ear, 1) == std::vector<std::string>{R"("old answered")"});
  first.say("leave");
  CHECK(first.wait() == ExitStatus::exited(0));
  ear.disconnect();
  guard.shutdown();
}

TEST_CASE_FIXTURE(Tidy, "D4: a response sent just before the sender was killed is delivered") {
  ServiceOptions options;
  options.handle_request = [](Service& self, const Request& request) -> Answer {
    self.send_response(request, std::string(10000, 'x'));
    ::kill(::getpid(), SIGKILL);
    return later;
  };
  for (int round = 0; round < 20; ++round) {
    Handle handle = start("e", options);
    CHECK(handle.sync_request(1).as<std::string>() == std::string(10000, 'x'));
    CHECK_THROWS_AS((void)handle.sync_request(2).content(), PeerGone);
  }
}

TEST_CASE_FIXTURE(Tidy, "D4: such a response is delivered also to a full inbox" * kept_messages(false)) {
  ServiceOptions options;
  options.handle_request = [](Service& self, const Request& request) -> Answer {
    self.send_request("answerer", "x", [&self, request](const Response& response) {
      self.send_response(request, response.ok() ? response.as<std::string>() : response.error());
    });
    (void)self.client().peer_active("go on", kHang);  // the loop runs, and nothing empties the inbox
    return later;
  };
  Handle handle = start("asker", options);
  const BusInfo info = handle.info();
  Forked answerer([info](Lines& test) {
    Client client = ipcm_connect("answerer", info);
    test.say("joined");
    const auto asked = collect(client, 1)[0];
    const auto content = asked.content.as<std::map<std::string, Content>>();
    test.say("asked");
    test.hear();
    client.send_message(asked.from,
                        std::map<std::string, Content>{{"ipcm_response_id", content.at("ipcm_request_id")},
                                                       {"response", content.at("request")}});
    test.say("answered");
    test.hear();
    return 0;
  });
  CHECK(answerer.hear() == "joined");
  const std::string id = handle.send_request(1);
  CHECK(answerer.hear() == "asked");
  const std::string large(13UL * 1024 * 1024, 'x');
  for (int i = 0; i < 5; ++i) handle.client().send_message("asker", large);  // more than 64 MiB
  answerer.say("answer");
  CHECK(answerer.hear() == "answered");
  answerer.kill(SIGKILL);
  answerer.await_end();
  const Client go_on = ipcm_connect("go on", info);
  CHECK(handle.await_response(id, kHang).as<std::string>() == "x");
}

TEST_CASE_FIXTURE(Tidy, "D4: a request to a missing peer is PeerGone at once") {
  Handle handle = start("e", echoing());
  CHECK(thrown_by<PeerGone>([&] { handle.send_request("nobody", 1); }).peer() == "nobody");
  CHECK_THROWS_AS((void)handle.sync_request("nobody", 1), PeerGone);
  CHECK_FALSE(handle.have_pending_responses());
}

TEST_CASE_FIXTURE(Tidy, "D6: services ask others while they serve, in a chain and in a ring") {
  Guard guard = spawn_bus();
  const auto forwarding_to = [](const std::string& next) {
    ServiceOptions options;
    options.handle_request = [next](Service& self, const Request& request) -> Answer {
      const int left = request.as<int>();
      if (left == 0) return 0;
      self.send_request(next, left - 1, [&self, request](const Response& response) {
        if (response.ok())
          self.send_response(request, response.as<int>() + 1);
        else
          self.send_error(request, response.error());
      });
      return later;
    };
    return options;
  };
  Handle a = start_on(guard.info(), "a", forwarding_to("b"));
  Handle b = start_on(guard.info(), "b", forwarding_to("c"));
  Handle c = start_on(guard.info(), "c", forwarding_to("a"));
  CHECK(a.sync_request<int>(1, kHang) == 1);
  CHECK(a.sync_request<int>(50, kHang) == 50);  // a gets requests while its own answer is open
  guard.shutdown();
}

TEST_CASE_FIXTURE(Tidy, "D6: two services that ask each other, waiting, both answer") {
  Guard guard = spawn_bus();
  const auto asking = [](const std::string& other) {
    ServiceOptions options;
    options.handle_request = [other](Service& self, const Request& request) -> Answer {
      if (request.as<std::string>() != "ask") return request.raw();
      return self.sync_request(other, "leaf", kHang).content();
    };
    return options;
  };
  Handle a = start_on(guard.info(), "a", asking("b"));
  Handle b = start_on(guard.info(), "b", asking("a"));
  for (int i = 0; i < 20; ++i) {
    CHECK(a.sync_request<std::string>("ask", kHang) == "leaf");
    CHECK(b.sync_request<std::string>("ask", kHang) == "leaf");
  }
  guard.shutdown();
}

TEST_SUITE_END();
