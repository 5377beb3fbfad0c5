// A Client that sends requests to services.

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <memory>
#include <optional>

#include "support/peers.h"

using namespace ipcm;
using namespace ipcm::test;

namespace {

/// Waits until the client has something to read, and reads it, until `done` returns true.
void dispatch_client_until(Client& client, const std::function<bool()>& done) {
  while (!done()) {
    pollfd ready{client.fd(), POLLIN, 0};
    REQUIRE(::poll(&ready, 1, static_cast<int>(std::chrono::milliseconds(kHang).count())) == 1);
    client.dispatch();
  }
}

/// A service that answers a request {"to": NAME} with an answer that it sends to NAME, which has not asked.
ServiceOptions misdirecting() {
  ServiceOptions options;
  options.handle_request = [](Service& self, const Request& request) -> Answer {
    const auto to = request.as<std::map<std::string, std::string>>().at("to");
    self.send_response(Request("no-such-request", to, {}), "surprise");
    return "sent";
  };
  return options;
}

/// A service that keeps its first request, and answers it when it is asked "now".
ServiceOptions answers_the_first_late() {
  ServiceOptions options;
  options.handle_request = [kept = std::optional<Request>()](Service& self,
                                                             const Request& request) mutable -> Answer {
    if (!kept) {
      kept = request;
      return later;
    }
    if (request.as<std::string>() == "now") self.send_response(*kept, "late");
    return "done";
  };
  return options;
}

}  // namespace

TEST_CASE_FIXTURE(Tidy, "client requests: a client asks a service that it has not started") {
  Handle service = ipcm_service("e", echoing());
  Client client = ipcm_connect("c", service.info());
  CHECK(client.sync_request<std::string>("e", "hello", kHang) == "hello");
  const std::string first = client.send_request("e", 1), second = client.send_request("e", 2);
  CHECK(client.have_pending_responses());
  CHECK(client.await_response(second, kHang).as<int>() == 2);
  CHECK(client.await_response(first, kHang).as<int>() == 1);
  CHECK_FALSE(client.have_pending_responses());
  CHECK_THROWS_AS((void)client.get_response(first), UsageError);
  CHECK_THROWS_AS((void)client.send_request("nobody", 1), PeerGone);
  client.disconnect();
}

TEST_CASE_FIXTURE(Tidy, "client requests: callbacks run in dispatch(), when fd() was readable") {
  Handle service = ipcm_service("e", echoing());
  Client client = ipcm_connect("c", service.info());
  int sum = 0;
  for (const int number : {1, 2, 3})
    client.send_request("e", number, [&](const Response& response) { sum += response.as<int>(); });
  dispatch_client_until(client, [&] { return sum == 6; });
  client.disconnect();
}

TEST_CASE_FIXTURE(
    Tidy, "client requests: get_messages() leaves the answers out, and wait_for_messages() runs callbacks") {
  Handle service = ipcm_service("e", echoing());
  Client client = ipcm_connect("c", service.info());
  Client other = ipcm_connect("o", service.info());
  const std::string early = client.send_request("e", 1);
  bool called = false;
  client.send_request("e", 2, [&](const Response&) {
    called = true;
    other.send_message("c", "a message");
  });
  const auto messages = client.wait_for_messages(kHang);
  CHECK(called);
  REQUIRE(messages.size() == 1);
  CHECK(messages.front().content == Content("a message"));
  CHECK(client.await_response(early, kHang).as<int>() == 1);
  CHECK(client.get_messages().empty());
  client.disconnect();
}

TEST_CASE_FIXTURE(
    Tidy, "client requests: an answer that came before the first request is found among the messages") {
  Handle service = ipcm_service("m", misdirecting());
  Client client = ipcm_connect("c", service.info());
  const std::map<std::string, std::string> to_client = {{"to", "c"}};
  SUBCASE("without a callback for it") {
    CHECK(service.sync_request<std::string>(to_client, kHang) == "sent");
    CHECK(client.sync_request<std::string>("m", to_client, kHang) == "sent");
    const auto messages = collect(client, 2);
    for (const Message& message : messages)
      CHECK(message.content ==
            Content::json(R"({"ipcm_response_id":"no-such-request","response":"surprise"})"));
  }
  SUBCASE("with a callback for it") {
    std::vector<std::string> surprises;
    client.on_unmatched_response(
        [&](const Response& response) { surprises.push_back(response.as<std::string>()); });
    CHECK(client.sync_request<std::string>("m", to_client, kHang) == "sent");
    client.await_all_responses(kHang);
    CHECK(surprises == std::vector<std::string>{"surprise"});
    CHECK(client.get_messages().empty());
  }
  CHECK(client.dropped() == 0);
  client.disconnect();
}

TEST_CASE_FIXTURE(Tidy, "client requests: the death of the service ends them") {
  Guard bus = ipcm_spawn();
  ServiceOptions options;
  options.ipcm_info = bus.info();
  options.handle_request = [](Service&, const Request&) -> Answer { return later; };
  Handle service = ipcm_service("e", options);
  Client client = ipcm_connect("c", bus.info());
  const std::string id = client.send_request("e", 1);
  ::kill(service.service_pid().value(), SIGKILL);
  CHECK_THROWS_AS((void)client.await_response(id, kHang).content(), PeerGone);
  CHECK_THROWS_AS((void)client.sync_request("e", 1, kHang), PeerGone);
  client.disconnect();
  service.release();
  bus.shutdown();
}

TEST_CASE_FIXTURE(Tidy, "client requests: a Client may end inside its own response callback") {
  Handle service = ipcm_service("e", echoing());
  auto client = std::make_unique<Client>(ipcm_connect("c", service.info()));
  Client* const raw = client.get();
  std::optional<Client> elsewhere;
  int calls = 0;
  bool moves = false;
  SUBCASE("it is destroyed") {
    raw->send_request("e", 1, [&](const Response&) { client.reset(); });
  }
  SUBCASE("it leaves the bus") {
    raw->send_request("e", 1, [&](const Response&) { client->disconnect(); });
  }
  SUBCASE("it is moved, and goes on") {
    moves = true;
    raw->send_request("e", 1, [&](const Response&) { elsewhere.emplace(std::move(*client)); });
  }
  raw->send_request("e", 2, [&](const Response&) { ++calls; });
  if (moves)
    raw->await_all_responses(kHang);
  else
    CHECK_THROWS_AS((void)raw->wait_for_messages(kHang), UsageError);
  CHECK(calls == (moves ? 1 : 0));
}

TEST_CASE_FIXTURE(
    Tidy, "client requests: Handle::client() and Service::client() share the requests of their owner") {
  ServiceOptions options;
  options.handle_request = [](Service& self, const Request& request) -> Answer {
    const std::string id = self.client().send_request(request.as<std::string>(), "from inside");
    return self.await_response(id, kHang).content();
  };
  Handle service = ipcm_service("outer", options);
  ServiceOptions inner = echoing();
  inner.ipcm_info = service.info();
  Handle echo = ipcm_service("inner", inner);
  const std::string id = service.send_request("inner");
  CHECK(service.client().await_response(id, kHang).as<std::string>() == "from inside");
  CHECK(service.client().sync_request<int>("inner", 7, kHang) == 7);
  CHECK_FALSE(service.have_pending_responses());
}

TEST_CASE_FIXTURE(Tidy,
                  "client requests: a forked child can't use them and leaves those of its parent alone") {
  Handle service = ipcm_service("e", echoing());
  auto client = std::make_unique<Client>(ipcm_connect("c", service.info()));
  const std::string id = client->send_request("e", 5);
  const Pid child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    bool refused = false;
    try {
      (void)client->await_response(id, kHang);
    } catch (const UsageError&) {
      refused = true;
    }
    try {
      (void)client->get_response(id);
      refused = false;
    } catch (const UsageError&) {  // as it should be
    }
    client.reset();
    ::_exit(refused ? 0 : 1);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  CHECK(client->await_response(id, kHang).as<int>() == 5);
}

TEST_CASE_FIXTURE(Tidy, "client requests: an answer that comes after the limit is dropped and counted") {
  Handle service = ipcm_service("e", answers_the_first_late());
  Client client = ipcm_connect("c", service.info());
  CHECK_THROWS_AS((void)client.sync_request("e", "wait", std::chrono::milliseconds(50)), Timeout);
  CHECK(client.sync_request<std::string>("e", "now", kHang) == "done");
  CHECK(client.get_messages().empty());
  CHECK(client.dropped() == 1);
  client.disconnect();
}

TEST_CASE_FIXTURE(Tidy,
                  "client: on_peer_delta gets the peers that have joined and left, in dispatch() and in "
                  "wait_for_messages()") {
  const Guard bus = ipcm_spawn();
  Client client = ipcm_connect("c", bus.info());
  std::map<std::string, int> all;
  int calls = 0;
  client.on_peer_delta([&](const std::map<std::string, int>& delta) {
    ++calls;
    for (const auto& [peer, change] : delta) all[peer] += change;
  });
  {
    const Client other = ipcm_connect("o", bus.info());
    dispatch_client_until(client, [&] { return all["o"] == 1; });
  }
  dispatch_client_until(client, [&] { return all["o"] == 0; });
  CHECK(calls == 2);
  Client third = ipcm_connect("t", bus.info());
  client.on_peer_delta([&](const std::map<std::string, int>& delta) {
    if (delta == std::map<std::string, int>{{"t", 1}}) third.send_message("c", 1);
  });
  CHECK(client.wait_for_messages(kHang).size() == 1);
  client.on_peer_delta({});
  third.disconnect();
  client.disconnect();
}

TEST_CASE_FIXTURE(Tidy, "client: broadcast() returns the result for each peer") {
  const Guard bus = ipcm_spawn();
  Client client = ipcm_connect("c", bus.info());
  CHECK(client.broadcast(1).sent.empty());
  Client a = ipcm_connect("a", bus.info()), b = ipcm_connect("b", bus.info());
  const BroadcastResult result = client.broadcast("hello");
  CHECK(result.sent == std::vector<std::string>{"a", "b"});
  CHECK(result.left.empty());
  CHECK(result.failed.empty());
  CHECK(collect(a, 1).front().broadcast);
  CHECK(collect(b, 1).front().broadcast);
}

TEST_CASE_FIXTURE(Tidy, "ipcm_handle(): a handle on a service that another process has started") {
  Guard bus = ipcm_spawn();
  Handle handle = ipcm_handle("e", bus.info());
  CHECK_FALSE(handle.ready());
  CHECK_FALSE(handle.service_pid().has_value());
  CHECK_THROWS_AS((void)handle.sync_request(1, kHang), PeerGone);
  ServiceOptions options = echoing();
  options.ipcm_info = bus.info();
  Handle starter = ipcm_service_begin("e", options);
  CHECK(handle.ready(kHang));
  CHECK(starter.ready(kHang));
  CHECK(handle.sync_request<int>(5, kHang) == 5);
  CHECK(handle.service_pid() == starter.service_pid());
  CHECK_FALSE(handle.child_pid().has_value());
  SUBCASE("its end leaves the service alone") {
    CHECK_FALSE(handle.shutdown().has_value());
    CHECK_THROWS_AS((void)handle.sync_request(1, kHang), UsageError);
    CHECK(starter.sync_request<int>(6, kHang) == 6);
  }
  SUBCASE("it can ask the service to end") {
    CHECK_FALSE(handle.end_service().has_value());
    CHECK_FALSE(handle.ready());
  }
  starter.release();
  bus.shutdown();
}

TEST_CASE_FIXTURE(Tidy, "ipcm_handle(): a bus that does not exist is an error") {
  BusInfo info = ipcm_spawn().info();  // removed again
  CHECK_THROWS_AS((void)ipcm_handle("e", info), BusError);
}

TEST_CASE_FIXTURE(Tidy,
                  "client requests: an answer that waits in the inbox goes to a callback that is set later") {
  Handle service = ipcm_service("m", misdirecting());
  Client client = ipcm_connect("c", service.info());
  CHECK(service.sync_request<std::string>(std::map<std::string, std::string>{{"to", "c"}}, kHang) == "sent");
  REQUIRE(becomes_readable(client.fd()));
  client.dispatch();  // the answer is in the inbox now
  std::vector<std::string> surprises;
  client.on_unmatched_response(
      [&](const Response& response) { surprises.push_back(response.as<std::string>()); });
  CHECK(client.get_messages().empty());
  CHECK(surprises == std::vector<std::string>{"surprise"});
  client.disconnect();
}

TEST_CASE_FIXTURE(Tidy,
                  "client requests: the first one may be made inside a callback for peers, and is served") {
  const Guard bus = ipcm_spawn();
  Client client = ipcm_connect("c", bus.info());
  Client other = ipcm_connect("o", bus.info());
  bool answered = false;
  client.on_peer_delta([&](const std::map<std::string, int>& delta) {
    if (!delta.contains("e")) return;
    client.send_request("e", 1, [&](const Response&) {
      answered = true;
      other.send_message("c", "done");
    });
  });
  ServiceOptions options = echoing();
  options.ipcm_info = bus.info();
  Handle service = ipcm_service("e", options);
  CHECK(client.wait_for_messages(kHang).size() == 1);
  CHECK(answered);
  client.disconnect();
}

TEST_CASE_FIXTURE(Tidy, "client: fd() is readable after a call that has read an event for a callback") {
  Handle service = ipcm_service("e", echoing());
  Client client = ipcm_connect("c", service.info());
  SUBCASE("a change among the peers, read by a request") {
    bool joined = false;
    client.on_peer_delta(
        [&](const std::map<std::string, int>& delta) { joined = joined || delta.contains("o"); });
    const Client other = ipcm_connect("o", service.info());
    CHECK(client.sync_request<int>("e", 1, kHang) == 1);
    dispatch_client_until(client, [&] { return joined; });
  }
  SUBCASE("an answer, read by a look at a peer") {
    bool answered = false;
    client.send_request("e", 1, [&](const Response&) { answered = true; });
    CHECK(service.sync_request<int>(2, kHang) == 2);  // the answer to 1 is on its way
    (void)client.peer_active("nobody", std::chrono::milliseconds(50));
    dispatch_client_until(client, [&] { return answered; });
  }
  SUBCASE("an answer, while the callback of another one threw") {
    int answered = 0;
    const auto callback = [&](const Response&) {
      if (++answered == 1) throw std::runtime_error("no luck");
    };
    client.send_request("e", 1, callback);
    client.send_request("e", 2, callback);
    CHECK_THROWS_AS(client.await_all_responses(kHang), std::runtime_error);
    dispatch_client_until(client, [&] { return answered == 2; });
  }
  client.disconnect();
}

TEST_CASE_FIXTURE(Tidy,
                  "client: the callback for peers of Handle::client() runs in the calls of the Handle") {
  Handle service = ipcm_service("e", echoing());
  bool joined = false;
  service.client().on_peer_delta([&](const std::map<std::string, int>&) { joined = true; });
  const Client other = ipcm_connect("o", service.info());
  dispatch_until(service, [&] { return joined; });
}

TEST_CASE_FIXTURE(Tidy, "client: disconnect() with a handler that throws leaves a client that works") {
  Handle service = ipcm_service("e", echoing());
  Client client = ipcm_connect("c", service.info()), other = ipcm_connect("o", service.info());
  other.send_message("c", 1);
  REQUIRE(becomes_readable(client.fd()));
  CHECK_THROWS_AS(client.disconnect([](const Message&) { throw std::runtime_error("no luck"); }),
                  std::runtime_error);
  CHECK(client.sync_request<int>("e", 5, kHang) == 5);
  client.disconnect();
  CHECK_THROWS_AS((void)client.have_pending_responses(), UsageError);
}

TEST_CASE_FIXTURE(Tidy, "client: a diagnostics callback may end a Handle or a Client that waits for a peer") {
  Handle service = ipcm_service("m", misdirecting());
  Client sender = ipcm_connect("s", service.info());
  SUBCASE("a Handle") {
    auto handle = std::make_unique<Handle>(ipcm_handle("nobody", service.info()));
    Handle* const raw = handle.get();
    const std::map<std::string, std::string> to_handle = {{"to", handle->client().id()}};
    handle->client().on_diagnostic([&](const std::string&) { handle.reset(); });
    CHECK(sender.sync_request<std::string>("m", to_handle, kHang) == "sent");
    CHECK_THROWS_AS((void)raw->ready(kHang), UsageError);
    CHECK(handle == nullptr);
  }
  SUBCASE("a Client") {
    auto client = std::make_unique<Client>(ipcm_connect("c", service.info()));
    Client* const raw = client.get();
    client->on_diagnostic([&](const std::string&) { client.reset(); });
    const std::string id = client->send_request("m", std::map<std::string, std::string>{{"to", "s"}});
    (void)client->await_response(id, kHang);
    sender.send_message("c", Content::json(R"({"ipcm_response_id":")" + id + R"(","response":1})"));
    CHECK_FALSE(raw->peer_active("nobody", kHang));
    CHECK(client == nullptr);
  }
}

TEST_CASE_FIXTURE(Tidy, "client: disconnect() in a diagnostics callback takes effect when the call ends") {
  Handle service = ipcm_service("e", echoing());
  Client client = ipcm_connect("c", service.info()), other = ipcm_connect("o", service.info());
  const std::string id = client.send_request("e", 1);
  (void)client.await_response(id, kHang);
  client.on_diagnostic([&](const std::string&) { client.disconnect(); });
  other.send_message("c", Content::json(R"({"ipcm_response_id":")" + id + R"(","response":1})"));
  CHECK_THROWS_AS((void)client.wait_for_messages(kHang).at(0), std::out_of_range);
  CHECK_FALSE(other.peer_exists("c"));
}

TEST_CASE_FIXTURE(Tidy, "client: suspend() in a response callback ends the other waits") {
  const Guard bus = ipcm_spawn();
  ServiceOptions options = echoing();
  options.ipcm_info = bus.info();
  Handle service = ipcm_service("e", options);
  Client client = ipcm_connect("c", bus.info());
  bool suspended = false;
  int later_calls = 0;
  client.send_request("e", 1, [&](const Response&) {
    try {
      client.suspend();
      suspended = true;
    } catch (const BusError&) {
      client.disconnect();  // this protocol keeps no messages
    }
  });
  client.send_request("e", 2, [&](const Response&) { ++later_calls; });
  CHECK_THROWS_AS(client.await_all_responses(kHang), UsageError);
  CHECK(later_calls == 0);
  if (suspended) ipcm_reconnect("c", bus.info()).disconnect([](const Message&) {});
}

TEST_CASE_FIXTURE(Tidy, "client requests: an answer to one that was given up is dropped, also long after") {
  Handle service = ipcm_service("e", answers_the_first_late());
  Client client = ipcm_connect("c", service.info());
  CHECK_THROWS_AS((void)client.sync_request("e", "wait", std::chrono::milliseconds(50)), Timeout);
  for (int i = 0; i < 300; ++i) (void)client.sync_request("e", "go on", kHang);
  (void)client.sync_request("e", "now", kHang);
  CHECK(client.get_messages().empty());
  CHECK(client.dropped() == 1);
  client.disconnect();
}
