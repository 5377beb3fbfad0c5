// The obituaries of services: who writes them, and what they tell, on each protocol.

#include <sys/wait.h>

#include <csignal>

#include "contract.h"
#include "ipcm/obituary.h"
#include "ipcm/peer_events.h"
#include "ipcm/peer_info.h"

using namespace ipcm;
using namespace ipcm::test;

namespace {

/// For tests of buses with lock files in the file system, which tell when a peer had joined.
LeaveOut needs_lock_files() { return {needs_processes().when || std::getenv("IPCM_TEST_ROUTE") != nullptr}; }

/// A service that ends with status 3 when it gets a message.
ServiceOptions failing() {
  ServiceOptions options;
  options.on_general_message = [](Service& service, const Message&) { service.terminate(3); };
  return options;
}

/// Starts a service that outlives its launcher, which is gone when this function returns. Returns its pid. This
/// process adopts it.
Pid start_orphan(const BusInfo& info, const std::string& name) {
  Forked launcher([&](Lines& test) {
    ServiceOptions options = echoing();
    options.detached = true;
    Handle handle = start_on(info, name, options);
    test.say(std::to_string(handle.service_pid().value_or(0)));
    handle.release();
    return 0;
  });
  const Pid pid = std::stoi(launcher.hear());
  CHECK(launcher.wait() == ExitStatus::exited(0));
  return pid;
}

/// Waits until the bus has no dead peers any more: this lists them, and so removes their files.
void await_gone(const BusInfo& info, const std::string& name) {
  Client client = ipcm_connect_anonymous(info);
  REQUIRE(await_peer_gone(client, name, kHang));
  (void)client.peers();
}

/// Waits for the death of that peer, and returns its event.
PeerEvent next_death(PeerEvents& events, const std::string& name) {
  for (;;) {
    const auto all = events.wait(kHang);
    REQUIRE_FALSE(all.empty());
    for (const PeerEvent& event : all)
      if (event.name == name && event.kind == PeerEvent::Kind::died) return event;
  }
}

}  // namespace

TEST_CASE_FIXTURE(Tidy, "obituary: the launcher of a killed service keeps how it ended" * needs_processes()) {
  const Guard guard = spawn_bus();
  const auto before = std::chrono::system_clock::now() - std::chrono::seconds(1);
  Handle handle = start_on(guard.info(), "e", echoing());
  CHECK(obituaries(guard.info()).empty());
  const Pid pid = handle.service_pid().value();
  REQUIRE(::kill(pid, SIGKILL) == 0);
  dispatch_until(handle, [&] { return obituary_of(guard.info(), "e").has_value(); });
  const auto one = obituary_of(guard.info(), "e");
  REQUIRE(one);
  CHECK(one->name == "e");
  CHECK(one->class_name == "-");
  CHECK(one->pid == pid);
  CHECK(one->status == ExitStatus::signalled(SIGKILL));
  CHECK(one->how() == "killed by signal 9 (SIGKILL)");
  CHECK(one->why_unknown.empty());
  REQUIRE(one->started);
  CHECK(*one->started > before);
  CHECK(one->ended >= *one->started);
  const auto all = obituaries(guard.info());
  REQUIRE(all.size() == 1);
  CHECK(all.front().pid == pid);
}

TEST_CASE_FIXTURE(Tidy,
                  "obituary: a service that ends with a status keeps it by itself" * needs_processes()) {
  const Guard guard = spawn_bus();
  Handle handle = start_on(guard.info(), "f", failing());
  Client client = ipcm_connect_anonymous(guard.info());
  const Pid pid = handle.service_pid().value();
  client.send_message("f", 1);
  REQUIRE(await_peer_gone(client, "f", kHang));
  const auto one = obituary_of(guard.info(), "f");  // its launcher has not run its loop
  REQUIRE(one);
  CHECK(one->pid == pid);
  CHECK(one->how() == "exited with status 3");
  CHECK(one->started.has_value());
}

TEST_CASE_FIXTURE(Tidy,
                  "obituary: an orderly end leaves none, and a new start removes that of the predecessor" *
                      needs_processes()) {
  const Guard guard = spawn_bus();
  {
    Handle handle = start_on(guard.info(), "e", echoing());
    CHECK(handle.end_service() == ExitStatus::exited(0));
    CHECK(obituaries(guard.info()).empty());
  }
  {
    Handle handle = start_on(guard.info(), "e", echoing());
    REQUIRE(::kill(handle.service_pid().value(), SIGKILL) == 0);
    dispatch_until(handle, [&] { return obituary_of(guard.info(), "e").has_value(); });
  }
  Handle again = start_on(guard.info(), "e", echoing());
  CHECK(obituaries(guard.info()).empty());
  CHECK(again.end_service() == ExitStatus::exited(0));
  CHECK(obituaries(guard.info()).empty());
}

TEST_CASE_FIXTURE(Tidy,
                  "obituary: where nobody saw the end, the status is unknown until its parent tells it" *
                      needs_processes()) {
  const Guard guard = spawn_bus();
  const Pid pid = start_orphan(guard.info(), "o");
  REQUIRE(::kill(pid, SIGKILL) == 0);
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);  // as init does
  (void)ipcm_connect_anonymous(guard.info()).peers();
  const auto unknown = obituary_of(guard.info(), "o");
  REQUIRE(unknown);
  CHECK(unknown->pid == pid);
  CHECK(unknown->how() == "status unknown");
  CHECK_FALSE(unknown->why_unknown.empty());
  REQUIRE(record_end(guard.info(), pid, ExitStatus::from_wait_status(status)));
  CHECK(obituary_of(guard.info(), "o")->how() == "killed by signal 9 (SIGKILL)");
  CHECK(obituary_of(guard.info(), "o")->class_name == "-");
  CHECK_FALSE(record_end(guard.info(), pid, ExitStatus::from_wait_status(status)));  // nothing is unknown
  CHECK_FALSE(record_end(guard.info(), ::getpid(), ExitStatus::exited(1)));
}

TEST_CASE_FIXTURE(Tidy, "obituary: a listing learns the status of a process that its parent has not reaped" *
                            needs_lock_files()) {
  const Guard guard = spawn_bus();
  const Pid pid = start_orphan(guard.info(), "o");
  REQUIRE(::kill(pid, SIGKILL) == 0);
  await_end(pid);  // a zombie of this process
  (void)ipcm_connect_anonymous(guard.info()).peers();
  REQUIRE(obituary_of(guard.info(), "o"));
  CHECK(obituary_of(guard.info(), "o")->how() == "killed by signal 9 (SIGKILL)");
}

TEST_CASE_FIXTURE(Tidy,
                  "obituary: two observers of one death write one obituary, and both know how it ended" *
                      needs_processes()) {
  const Guard guard = spawn_bus();
  const std::string info = guard.info().text();
  const auto observe = [info](Lines& test) {
    Client client = ipcm_connect_anonymous(info);
    PeerEvents events(client);
    test.say("watches");
    const PeerEvent event = next_death(events, "e");
    test.say(event.description);
    return 0;
  };
  Handle handle = start_on(guard.info(), "e", echoing());
  Forked one(observe), other(observe);
  CHECK(one.hear() == "watches");
  CHECK(other.hear() == "watches");
  REQUIRE(::kill(handle.service_pid().value(), SIGKILL) == 0);
  CHECK(one.hear() == "was killed by SIGKILL");  // this process is its parent, and leaves it a zombie
  CHECK(other.hear() == "was killed by SIGKILL");
  const auto all = obituaries(guard.info());
  REQUIRE(all.size() == 1);
  CHECK(all.front().how() == "killed by signal 9 (SIGKILL)");
  CHECK(all.front().class_name == "-");
}

TEST_CASE_FIXTURE(Tidy,
                  "obituary: a requester that sees a service die keeps how it ended" * needs_processes()) {
  const Guard guard = spawn_bus();
  ServiceOptions options;
  options.handle_request = [](Service&, const Request&) -> Answer { return later; };
  const Pid pid = [&] {
    Forked launcher([&](Lines& test) {
      options.detached = true;
      Handle handle = start_on(guard.info(), "e", options);
      test.say(std::to_string(handle.service_pid().value_or(0)));
      handle.release();
      return 0;
    });
    const Pid service = std::stoi(launcher.hear());
    CHECK(launcher.wait() == ExitStatus::exited(0));
    return service;
  }();
  Client client = ipcm_connect("asker", guard.info());
  const std::string id = client.send_request("e", 1);
  REQUIRE(::kill(pid, SIGABRT) == 0);
  const PeerGone gone = thrown_by<PeerGone>([&] { (void)client.await_response(id, kHang).content(); });
  REQUIRE(gone.status());
  CHECK(gone.status()->value == SIGABRT);
  const auto one = obituary_of(guard.info(), "e");
  REQUIRE(one);
  CHECK(one->status == gone.status());
  CHECK(one->pid == pid);
}

TEST_CASE_FIXTURE(Tidy, "obituary: a wait for a service that has died before tells how it ended" *
                            needs_processes()) {
  const Guard guard = spawn_bus();
  Handle handle = start_on(guard.info(), "e", echoing());
  REQUIRE(::kill(handle.service_pid().value(), SIGKILL) == 0);
  dispatch_until(handle, [&] { return obituary_of(guard.info(), "e").has_value(); });
  await_gone(guard.info(), "e");
  const auto end = await_peer_gone(ipcm_connect_anonymous(guard.info()), "e", kHang);
  REQUIRE(end);
  CHECK(end->has_ended);
  CHECK(end->status == ExitStatus::signalled(SIGKILL));
  forget_obituary(guard.info(), "e");
  CHECK(obituaries(guard.info()).empty());
  CHECK_FALSE(await_peer_gone(ipcm_connect_anonymous(guard.info()), "e", kHang)->has_ended);
}

TEST_CASE_FIXTURE(Tidy, "obituary: the death of a client is none, and neither is one on a bus that is gone" *
                            needs_processes()) {
  Guard guard = spawn_bus();
  const BusInfo info = guard.info();
  {
    Forked peer(member("p", info.text(), stays));
    CHECK(peer.hear() == "joined");
    peer.kill(SIGKILL);
    (void)peer.wait();
  }
  (void)ipcm_connect_anonymous(info).peers();
  CHECK(obituaries(info).empty());
  guard.shutdown();
  CHECK(obituaries(info).empty());
  CHECK_FALSE(record_end(info, ::getpid(), ExitStatus::exited(1)));
  forget_obituary(info, "p");
  CHECK(names_in(directory()).empty());
}
