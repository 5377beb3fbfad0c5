// A program that looks from outside: anonymous clients, the peers and their processes, and buses of others.

#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "contract.h"
#include "ipcm/buses.h"
#include "ipcm/peer_info.h"
#include "ipcm/stop.h"

using namespace ipcm;
using namespace ipcm::test;

namespace {

/// Returns whether list_buses() has that bus.
bool is_listed(const BusInfo& info) {
  const BusList all = list_buses();
  return std::any_of(all.buses.begin(), all.buses.end(),
                     [&](const BusStatus& one) { return one.info.route == info.route; });
}

/// For tests of buses that are found in the file system.
LeaveOut needs_path() { return {needs_processes().when || std::getenv("IPCM_TEST_ROUTE") != nullptr}; }

}  // namespace

TEST_CASE_FIXTURE(Tidy, "an anonymous client sends and lists, and peers do not see it") {
  const Guard guard = spawn_bus();
  Client reader = ipcm_connect("reader", guard.info());
  Client anonymous = ipcm_connect_anonymous(guard.info());
  CHECK(anonymous.peers() == Strings{"reader"});
  CHECK(reader.peers().empty());
  anonymous.send_message("reader", "hello");
  const auto messages = collect(reader, 1);
  CHECK(messages[0].from == anonymous.id());
  CHECK(messages[0].content == Content("hello"));
  CHECK(anonymous.broadcast("all").sent == Strings{"reader"});
  CHECK(collect_contents(reader, 1) == Strings{"\"all\""});
  CHECK(reader.peers().empty());
  CHECK(thrown_by<PeerGone>([&] { anonymous.send_message("nobody", 1); }).peer() == "nobody");
  anonymous.disconnect();
  CHECK(ipcm_connect_anonymous(guard.info().text()).peers() == Strings{"reader"});
}

TEST_CASE_FIXTURE(Tidy,
                  "an anonymous client without a mailbox does not wait for messages, and is not suspended") {
  const Guard guard = spawn_bus();
  Client anonymous = ipcm_connect_anonymous(guard.info());
  CHECK(anonymous.get_messages().empty());
  CHECK(
      contains(thrown_by<UsageError>([&] { (void)anonymous.wait_for_messages(kHang); }).what(), "anonymous"));
  CHECK(contains(thrown_by<UsageError>([&] { anonymous.suspend(); }).what(), "anonymous"));
}

TEST_CASE_FIXTURE(Tidy, "an anonymous client on no bus is an error") {
  Guard guard = spawn_bus();
  const BusInfo info = guard.info();
  if (!info.route.starts_with('/') && std::getenv("IPCM_TEST_ROUTE") == nullptr) return;
  guard.shutdown();
  CHECK_THROWS_AS((void)ipcm_connect_anonymous(info), BusError);
}

TEST_CASE_FIXTURE(Tidy, "an anonymous client asks, after it has sent and while it watches the peers" *
                            needs_processes()) {
  const Guard guard = spawn_bus();
  Handle echo = start_on(guard.info(), "e", echoing());
  Client anonymous = ipcm_connect_anonymous(guard.info());
  const std::string id = anonymous.id();
  std::map<std::string, int> changes;
  anonymous.on_peer_delta([&](const std::map<std::string, int>& delta) {
    for (const auto& [name, change] : delta) changes[name] += change;
  });
  anonymous.send_message("e", "no request");
  CHECK(anonymous.sync_request<std::string>("e", "one", kHang) == "one");
  CHECK(anonymous.sync_request<std::string>("e", "two", kHang) == "two");
  CHECK(anonymous.id() == id);
  Client late = ipcm_connect("late", guard.info());
  while (!changes.contains("late")) {
    REQUIRE(becomes_readable(anonymous.fd()));
    anonymous.dispatch();
  }
  CHECK(changes.at("late") == 1);
  CHECK(anonymous.statistics().sent.at("e") == 3);
  anonymous.disconnect();
  CHECK_FALSE(contains(late.peers(), id));
}

TEST_CASE_FIXTURE(Tidy, "the facts of a peer and its process can be read" * needs_processes()) {
  const Guard guard = spawn_bus();
  const auto before = std::chrono::system_clock::now() - std::chrono::seconds(1);
  Handle echo = start_on(guard.info(), "e", echoing());
  const Client client = ipcm_connect_anonymous(guard.info());
  const auto peer = peer_info(client, "e");
  REQUIRE(peer);
  CHECK(peer->name == "e");
  CHECK(peer->state == PeerInfo::State::active);
  CHECK(std::string(to_string(peer->state)) == "active");
  CHECK_FALSE(peer->is_elsewhere);
  CHECK(peer->pid == echo.service_pid());
  REQUIRE(peer->started);
  CHECK(*peer->started > before);
  CHECK(*peer->started < std::chrono::system_clock::now() + std::chrono::seconds(1));
  CHECK(peer->resident_bytes.value_or(0) > 4096);
  CHECK_FALSE(peer_info(client, "nobody"));
  const auto all = list_peers(client);  // the handle is a peer too
  CHECK(std::count_if(all.begin(), all.end(), [](const PeerInfo& one) { return one.name == "e"; }) == 1);
  CHECK(std::is_sorted(all.begin(), all.end(),
                       [](const PeerInfo& a, const PeerInfo& b) { return a.name < b.name; }));
}

TEST_CASE_FIXTURE(Tidy, "a suspended peer is told as suspended" * kept_messages()) {
  const Guard guard = spawn_bus();
  Client away = ipcm_connect("away", guard.info());
  away.suspend();
  const auto peer = peer_info(ipcm_connect_anonymous(guard.info()), "away");
  REQUIRE(peer);
  CHECK(peer->state == PeerInfo::State::suspended);
}

TEST_CASE_FIXTURE(Tidy, "a proven peer gets a signal, and its end is known" * needs_processes()) {
  const Guard guard = spawn_bus();
  Forked peer(member("p", guard.info().text(), stays));
  CHECK(peer.hear() == "joined");
  const Client client = ipcm_connect_anonymous(guard.info());
  CHECK_FALSE(await_peer_gone(client, "p", std::chrono::milliseconds(1)));
  signal_peer(client, "p", 0);
  CHECK(peer_info(client, "p"));
  CHECK_THROWS_AS(signal_peer(client, "p", -1), UsageError);
  CHECK_THROWS_AS(signal_peer(client, "p", 10'000), UsageError);
  CHECK(thrown_by<PeerGone>([&] { signal_peer(client, "nobody", SIGTERM); }).peer() == "nobody");
  Forked waiter([&](Lines& test) {
    const Client own = ipcm_connect_anonymous(guard.info());
    test.say("waits");
    const auto end = await_peer_gone(own, "p", kHang);
    test.say(end ? end->description : "still there");
    return 0;
  });
  CHECK(waiter.hear() == "waits");
  signal_peer(client, "p", SIGKILL);
  const std::string description = waiter.hear();
  CHECK(description != "still there");
  CHECK(waiter.wait() == ExitStatus::exited(0));
  CHECK(peer.wait() == ExitStatus::signalled(SIGKILL));
  CHECK(await_peer_gone(client, "p", kHang));
  CHECK(thrown_by<PeerGone>([&] { signal_peer(client, "p", SIGTERM); }).peer() == "p");
}

TEST_CASE_FIXTURE(Tidy, "a client of the same process gets no signal") {
  const Guard guard = spawn_bus();
  Client own = ipcm_connect("own", guard.info());
  const Client client = ipcm_connect_anonymous(guard.info());
  CHECK_THROWS_AS(signal_peer(client, "own", SIGKILL), Error);
}

TEST_CASE_FIXTURE(Tidy, "peers are stopped by name: the others stay" * needs_processes()) {
  const Guard guard = spawn_bus();
  Handle one = start_on(guard.info(), "one", echoing());
  Handle two = start_on(guard.info(), "two", echoing());
  const StopResult result = stop_peers(guard.info(), {"one", "nobody"}, kHang);
  CHECK(result.stayed.empty());
  CHECK(result.forced.empty());
  CHECK_FALSE(one.client().peer_exists("one"));
  CHECK(two.sync_request<std::string>("still there", kHang) == "still there");
}

TEST_CASE_FIXTURE(Tidy, "a peer that does not end is forced, and named" * needs_processes()) {
  const Guard guard = spawn_bus();
  Forked peer(member("p", guard.info().text(), stays));  // does not read
  CHECK(peer.hear() == "joined");
  const StopResult result = stop_peers(guard.info(), {"p"}, std::chrono::seconds(20));
  CHECK(result.stayed.empty());
  REQUIRE(result.forced.size() == 1);
  CHECK(result.forced[0].name == "p");
  CHECK(result.forced[0].signal == SIGTERM);
  CHECK(peer.wait() == ExitStatus::signalled(SIGTERM));
}

TEST_CASE_FIXTURE(Tidy, "the status of a bus tells owner and peers" * needs_processes()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  const BusStatus status = bus_status(guard.info());
  CHECK(status.info == guard.info());
  CHECK(status.peers == Strings{"a"});
  CHECK(status.owner.state == BusOwner::State::alive);
  CHECK(status.owner.pid == ::getpid());
  CHECK_FALSE(status.is_being_removed);
}

TEST_CASE_FIXTURE(Tidy, "a bus is found by its path and in the list, until it is removed" * needs_path()) {
  SpawnOptions options = bus_options();
  options.guard = false;
  Guard guard = ipcm_spawn(options);
  const BusInfo info = guard.info();
  CHECK(bus_at(info.route) == info);
  CHECK_FALSE(bus_at(info.route + "-nowhere"));
  CHECK(bus_owner(info).state == BusOwner::State::none);
  CHECK(is_listed(info));
  Forked peer(member("p", info.text(), [](Lines& test, Client& client) {
    (void)collect(client, 1);  // the word to end
    test.say("ends");
  }));
  CHECK(peer.hear() == "joined");
  const EndedBus ended = end_bus(info);
  CHECK(ended.is_removed);
  CHECK(ended.stayed.empty());
  CHECK(ended.foreign_files.empty());
  CHECK(peer.wait() == ExitStatus::exited(0));
  CHECK_FALSE(is_listed(info));
  guard.release();
}

TEST_CASE_FIXTURE(Tidy,
                  "a bus whose owner has died is abandoned, and removed with the others" * needs_path()) {
  Forked owner([&](Lines& test) {
    const Guard guard = spawn_bus();
    test.say(guard.info().text());
    test.hear();
    return 0;
  });
  const BusInfo info = BusInfo::parse(owner.hear());
  CHECK(bus_owner(info).state == BusOwner::State::alive);
  owner.kill(SIGKILL);
  CHECK(owner.wait() == ExitStatus::signalled(SIGKILL));
  CHECK(bus_owner(info).state == BusOwner::State::dead);
  {
    const Client last = ipcm_connect("last", info);
    CHECK_FALSE(contains(remove_abandoned_buses().paths, info.route));  // it has a peer
  }
  CHECK(contains(remove_abandoned_buses().paths, info.route));
  CHECK_FALSE(bus_exists(info));
}
