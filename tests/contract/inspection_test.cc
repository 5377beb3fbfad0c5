#include <csignal>

#include "contract.h"

using namespace ipcm;
using namespace ipcm::test;

TEST_SUITE_BEGIN("inspection" * needs_processes());  // each service is a process

namespace {

/// Returns a service that does what its requests say, and tells how many messages it was handed.
ServiceOptions obedient() {
  ServiceOptions options;
  auto calls = std::make_shared<int>(0);
  options.on_general_message = [calls](Service&, const Message&) { ++*calls; };
  options.handle_request = [calls](Service& self, const Request& request) -> Answer {
    ++*calls;
    const auto word = request.as<std::string>();
    if (word == "fail") throw std::runtime_error("no paper left");
    if (word == "later") return later;
    if (word == "wait") {
      self.client().send_message(request.from(), "busy");
      return self.client().peer_active("gate", kHang);
    }
    return *calls;
  };
  return options;
}

}  // namespace

TEST_CASE_FIXTURE(
    Tidy, "inspection: a service tells what it has done, and its handler sees nothing of the question") {
  ServiceOptions options = obedient();
  options.interval = 1h;
  Handle handle = start("e", options);
  Client& client = handle.client();
  const Inspection before = inspect(client, "e", kHang);
  CHECK(before.name == "e");
  CHECK(before.pid == handle.service_pid().value_or(0));
  CHECK(before.requests.answered == 0);
  CHECK(before.messages.waiting == 0);
  CHECK_FALSE(before.last_failure.has_value());
  REQUIRE(before.started.has_value());
  REQUIRE(before.ready.has_value());
  CHECK((*before.ready <= std::chrono::system_clock::now()));
  CHECK(contains(before.parameters.json(), R"("interval":3600)"));

  handle.forget_request(handle.send_request("later"));
  const int calls = handle.sync_request<int>("count", kHang);
  CHECK_THROWS_AS((void)handle.sync_request("fail", kHang).content(), RemoteError);
  const Inspection after = inspect(client, "e", kHang);
  CHECK(after.requests.answered == 1);
  CHECK(after.requests.failed == 1);
  CHECK(after.requests.open == 1);
  CHECK(after.messages.received == 5);  // three requests, and two for the facts
  CHECK(after.messages.sent == 3);
  REQUIRE(after.last_failure.has_value());
  CHECK(contains(after.last_failure->text, "no paper left"));
  for (int i = 0; i < 5; ++i) CHECK(inspect(client, "e", kHang).requests.answered == 1);
  // "fail" and this one: none of those questions.
  CHECK(handle.sync_request<int>("count", kHang) == calls + 2);
}

TEST_CASE_FIXTURE(Tidy, "inspection: a member that is no service is never asked") {
  Guard guard = spawn_bus();
  const BusInfo& info = guard.info();
  Client here = ipcm_connect("here", info);
  Forked there([&](Lines& test) {
    Client client = ipcm_connect("there", info);
    test.say("joined");
    test.hear();
    test.say(std::to_string(client.get_messages().size()));
    test.hear();
    return 0;
  });
  there.hear();
  for (const char* name : {"here", "there"}) {
    const auto error = thrown_by<UsageError>([&] { (void)inspect(here, name, kHang); });
    CHECK(contains(std::string(error.what()), std::string("'") + name + "' can't be inspected"));
  }
  CHECK_THROWS_AS((void)inspect(here, "nobody", kHang), PeerGone);
  CHECK(here.get_messages().empty());
  there.say("count");
  CHECK(there.hear() == "0");
  there.say("end");
  there.wait();
}

TEST_CASE_FIXTURE(Tidy, "inspection: a busy service does not answer in time, and works on") {
  Handle handle = start("e", obedient());
  Client& client = handle.client();
  const std::string busy = handle.send_request("wait");
  (void)collect(client, 1);
  const auto error = thrown_by<Timeout>([&] { (void)inspect(client, "e", 50ms); });
  CHECK(contains(std::string(error.what()), "'e' does not answer within 50 ms: it is busy"));
  for (int i = 0; i < 3; ++i) client.send_message("e", i);
  // By hand, so that the question waits behind the messages.
  client.send_message("e", Content::json(R"({"ipcm_request_id":"facts","ipcm_inspect":1,"request":null})"));
  std::optional<std::uint64_t> waiting;
  handle.on_unmatched_response([&](const Response& response) {
    if (response.id() == "facts")
      waiting = response.as<std::map<std::string, Content>>()
                    .at("messages")
                    .as<std::map<std::string, std::uint64_t>>()
                    .at("waiting");
  });
  const Client gate = ipcm_connect("gate", client.info());
  CHECK(handle.await_response(busy, kHang).as<bool>());
  dispatch_until(handle, [&] { return waiting.has_value(); });
  CHECK(*waiting == 3);
  CHECK(inspect(client, "e", kHang).requests.answered == 1);
}

TEST_CASE_FIXTURE(Tidy, "inspection: several services are asked at the same time") {
  Handle one = start("one", obedient());
  ServiceOptions options = obedient();
  options.ipcm_info = one.client().info();
  Handle two = ipcm_service("two", options);
  options.secret = true;
  Handle three = ipcm_service("three", options);
  const std::string busy = two.send_request("wait");
  (void)collect(two.client(), 1);
  Client client = ipcm_connect("me", one.client().info());
  const Client other = ipcm_connect("other", client.info());
  // The busy one comes last, and ends the time of all: the answers of the others are here by then.
  auto all = inspect_all(client, {"one", "three", "other", "nobody"}, kHang);
  using Outcome = Inspected::Outcome;
  CHECK((all.at("one").outcome == Outcome::answered));
  CHECK((all.at("three").outcome == Outcome::answered));
  CHECK_FALSE(all.at("one").facts->parameters.is_null());
  CHECK(all.at("three").facts->parameters.is_null());
  CHECK((all.at("other").outcome == Outcome::refused));
  CHECK((all.at("nobody").outcome == Outcome::gone));
  CHECK_FALSE(all.at("nobody").why.empty());
  all = inspect_all(client, {"two"}, 50ms);
  CHECK((all.at("two").outcome == Outcome::silent));
  const Client gate = ipcm_connect("gate", client.info());
  CHECK(two.await_response(busy, kHang).ok());
}

TEST_CASE_FIXTURE(Tidy, "inspection: a service that dies does not keep the caller waiting") {
  Handle handle = start("e", obedient());
  Client& client = handle.client();
  (void)handle.send_request("wait");
  (void)collect(client, 1);
  const Pid pid = handle.service_pid().value_or(0);
  REQUIRE(pid > 0);
  Forked killer([&](Lines& test) {
    test.hear();
    return ::kill(pid, SIGKILL);
  });
  killer.say("now");
  CHECK_THROWS_AS((void)inspect(client, "e", kHang), PeerGone);
  killer.wait();
}

TEST_CASE_FIXTURE(Tidy, "inspection: workers and services of a service are listed while they run") {
  ServiceOptions options;
  options.handle_request = [](Service& self, const Request& request) -> Answer {
    if (request.as<std::string>() == "stop") self.terminate();
    if (request.as<std::string>() != "start") return nullptr;
    (void)self.ipcm_worker("helper", [] {
      while (true) ::pause();
      return 0;
    });
    (void)self.ipcm_service("child", echoing());
    return nullptr;
  };
  Handle handle = start("e", options);
  CHECK(inspect(handle.client(), "e", kHang).workers.empty());
  CHECK(handle.sync_request("start", kHang).ok());
  const Inspection facts = inspect(handle.client(), "e", kHang);
  REQUIRE(facts.workers.size() == 1);
  CHECK(facts.workers[0].name == "helper");
  REQUIRE(facts.services.size() == 1);
  CHECK(facts.services[0].name == "child");
  CHECK(facts.services[0].pid == handle.client().peer_pid("child").value_or(0));
  CHECK(inspect(handle.client(), "child", kHang).class_name.empty());
}

TEST_SUITE_END();
