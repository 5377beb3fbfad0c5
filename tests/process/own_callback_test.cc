// Objects that their own callbacks and handlers end, move or keep.

#include <chrono>
#include <limits>
#include <memory>
#include <optional>

#include "support/peers.h"

using namespace ipcm;
using namespace ipcm::test;

namespace {

enum class End { shutdown, release, destroy, move_away };

}  // namespace

TEST_CASE_FIXTURE(Tidy, "own callback: a Handle may end inside its own response callback") {
  for (const End end : {End::shutdown, End::release, End::destroy, End::move_away}) {
    CAPTURE(static_cast<int>(end));
    auto bus = std::make_optional(ipcm_spawn());
    ServiceOptions options = echoing();
    options.ipcm_info = bus->info();
    auto handle = std::make_unique<Handle>(ipcm_service("e", options));
    Handle* const raw = handle.get();
    std::optional<Handle> elsewhere;
    int calls = 0;
    const auto callback = [&, filler = std::string(1000, 'x')](const Response& response) {
      ++calls;
      if (calls > 1) return;
      if (end == End::shutdown) (void)handle->shutdown();
      if (end == End::release) handle->release();
      if (end == End::destroy) handle.reset();
      if (end == End::move_away) elsewhere.emplace(std::move(*handle));
      CHECK(response.as<int>() == 1);  // the response and the captures are still alive
      CHECK(filler.size() == 1000);
    };
    SUBCASE("nothing else is awaited") {
      handle->send_request(1, callback);
      raw->await_all_responses(kHang);
      CHECK(calls == 1);
    }
    SUBCASE("another answer is awaited") {
      handle->send_request(1, callback);
      handle->send_request(2, callback);
      if (end == End::move_away)
        raw->await_all_responses(kHang);
      else
        CHECK_THROWS_AS(raw->await_all_responses(kHang), UsageError);
      CHECK(calls == (end == End::move_away ? 2 : 1));
    }
    elsewhere.reset();
    handle.reset();
    bus.reset();
  }
}

TEST_CASE_FIXTURE(Tidy,
                  "own callback: a Handle that owns the bus and the service ends inside sync_request()") {
  ServiceOptions options;
  options.handle_request = [](Service&, const Request& request) -> Answer {
    if (request.as<int>() == 2) return later;  // there is no answer
    return request.raw();
  };
  auto handle = std::make_unique<Handle>(ipcm_service("e", options));
  std::optional<ExitStatus> status;
  handle->send_request(1, [&](const Response&) { status = handle->shutdown(); });
  CHECK_THROWS_AS((void)handle->sync_request(2, kHang), UsageError);
  CHECK(status == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "own callback: a Client may be destroyed by the handler of disconnect()") {
  const Guard bus = ipcm_spawn();
  auto client = std::make_unique<Client>(ipcm_connect("c", bus.info()));
  Client sender = ipcm_connect("s", bus.info());
  sender.send_message("c", 1);
  Client* const raw = client.get();
  int handled = 0;
  raw->disconnect([&](const Message&) {
    ++handled;
    client.reset();
  });
  CHECK(handled == 1);
  CHECK(sender.peers().empty());
}

TEST_CASE_FIXTURE(Tidy, "moved away: each call on a Handle, a Guard, a Client or a Batch throws UsageError") {
  Handle handle = ipcm_service("e", echoing());
  const Handle owner = std::move(handle);
  CHECK_THROWS_AS((void)handle.service_name(), UsageError);  // NOLINT: tests a moved-from object
  CHECK_THROWS_AS((void)handle.info(), UsageError);
  CHECK_THROWS_AS((void)handle.client(), UsageError);
  CHECK_THROWS_AS((void)handle.child_pid(), UsageError);
  CHECK_THROWS_AS((void)handle.service_pid(), UsageError);
  CHECK_THROWS_AS((void)handle.time_to_ready(), UsageError);
  CHECK_THROWS_AS((void)handle.ready(), UsageError);
  CHECK_THROWS_AS((void)handle.ready(1s), UsageError);
  CHECK_THROWS_AS((void)handle.shutdown(), UsageError);
  CHECK_THROWS_AS(handle.release(), UsageError);
  CHECK_THROWS_AS((void)handle.fd(), UsageError);
  CHECK_THROWS_AS(handle.dispatch(), UsageError);
  CHECK_THROWS_AS((void)handle.send_request(1), UsageError);
  CHECK_THROWS_AS((void)handle.sync_request(1), UsageError);
  CHECK_THROWS_AS((void)handle.sync_request("e", 1), UsageError);
  CHECK_THROWS_AS((void)handle.get_response("x"), UsageError);
  CHECK_THROWS_AS((void)handle.await_response("x"), UsageError);
  CHECK_THROWS_AS(handle.await_all_responses(), UsageError);
  CHECK_THROWS_AS((void)handle.have_pending_responses(), UsageError);
  CHECK_THROWS_AS((void)handle.messages(), UsageError);

  Guard guard = ipcm_spawn();
  Client client = ipcm_connect("c", guard.info());
  Batch batch = client.batch();
  const Batch other_batch = std::move(batch);
  CHECK_THROWS_AS(batch.flush(), UsageError);  // NOLINT
  const Client other_client = std::move(client);
  CHECK_THROWS_AS((void)client.id(), UsageError);  // NOLINT
  CHECK_THROWS_AS((void)client.fd(), UsageError);
  CHECK_THROWS_AS(client.disconnect(), UsageError);
  CHECK_THROWS_AS((void)client.batch(), UsageError);
  const Guard other_guard = std::move(guard);
  CHECK_THROWS_AS((void)guard.info(), UsageError);  // NOLINT
  CHECK_THROWS_AS(guard.shutdown(), UsageError);
  CHECK_THROWS_AS(guard.terminate(), UsageError);
  CHECK_THROWS_AS((void)guard.wait(1s), UsageError);
  CHECK_THROWS_AS(guard.remove(), UsageError);
  CHECK_THROWS_AS(guard.release(), UsageError);
  CHECK_THROWS_AS((void)guard.cleave(), UsageError);
  CHECK_THROWS_AS((void)guard.sanity_check(), UsageError);
}

TEST_CASE_FIXTURE(Tidy, "moved away: a Batch may outlive its Client") {
  const Guard bus = ipcm_spawn();
  auto client = std::make_optional(ipcm_connect("c", bus.info()));
  Client reader = ipcm_connect("r", bus.info());
  Batch batch = client->batch();
  client->send_message("r", 1);
  client.reset();
  CHECK_THROWS_AS(batch.flush(), UsageError);
  CHECK(collect_contents(reader, 1) == std::vector<std::string>{"1"});
}

namespace {

struct Keeps : Service {
  using Service::Service;
  Answer take_request(Request&& request) override {
    const Request mine = std::move(request);
    request = Request("another id", "nobody", 0);
    if (mine.as<int>() < 0) throw std::runtime_error("below zero");
    if (mine.as<int>() == 0) throw std::runtime_error("");
    return mine.as<int>() + 1;
  }
};

struct Defers : Service {
  using Service::Service;
  Answer take_request(Request&& request) override {
    kept.push_back(std::move(request));
    if (kept.size() < 2) return later;
    const std::vector<Request> all = std::move(kept);
    for (const Request& one : all)
      if (&one != &all.back()) send_response(one, one.as<int>() + 1);
    return all.back().as<int>() + 1;
  }
  std::vector<Request> kept;
};

}  // namespace

TEST_CASE_FIXTURE(Tidy, "G10: a handler may keep, move or change its request") {
  Registry registry;
  registry.add<Keeps>("keeps", "moves its request away");
  registry.add<Defers>("defers", "answers the first request with the second");
  ServiceOptions options;
  options.registry = &registry;
  options.expose_error_details = true;
  options.class_name = "keeps";
  {
    Handle handle = ipcm_service("k", options);
    CHECK(handle.sync_request<int>(1, kHang) == 2);
    CHECK(std::string(thrown_by<RemoteError>([&] { (void)handle.sync_request(-1, kHang); }).what()) ==
          "below zero");
    // An error with an empty message is still an error.
    CHECK(std::string(thrown_by<RemoteError>([&] { (void)handle.sync_request(0, kHang); }).what()) != "");
    CHECK(handle.sync_request<int>(2, kHang) == 3);
  }
  options.class_name = "defers";
  Handle handle = ipcm_service("d", options);
  const std::string first = handle.send_request(10), second = handle.send_request(20);
  CHECK(handle.await_response(first, kHang).as<int>() == 11);
  CHECK(handle.await_response(second, kHang).as<int>() == 21);
}

TEST_CASE_FIXTURE(Tidy,
                  "D1: sync_request() throws the error that ended the request, with and without a type") {
  ServiceOptions options;
  options.handle_request = [](Service& self, const Request& request) -> Answer {
    if (request.as<std::string>() == "end") ::_exit(3);
    throw std::runtime_error(self.name());
  };
  Handle handle = ipcm_service("e", options);
  CHECK_THROWS_AS((void)handle.sync_request("x", kHang), RemoteError);
  CHECK_THROWS_AS((void)handle.sync_request("e", "x", kHang), RemoteError);
  CHECK_THROWS_AS((void)handle.sync_request<int>("x", kHang), RemoteError);
  CHECK_THROWS_AS((void)handle.sync_request("end", kHang), PeerGone);
  CHECK_THROWS_AS((void)handle.sync_request("end", kHang), PeerGone);
}

TEST_CASE_FIXTURE(Tidy, "C10: an interval too long for the clock never ends") {
  using std::chrono::hours;
  for (const Duration interval :
       {Duration(hours(24 * 365 * 100)), Duration(hours(24 * 365 * 250)), Duration::max()})
    for (const bool exec : {false, true}) {
      ServiceOptions options = exec ? exec_echo() : echoing();
      options.interval = interval;
      Handle handle = ipcm_service("e", options);
      CHECK(handle.sync_request<int>(1, kHang) == 1);
      await_idle(handle.service_pid().value());
    }
}
