// A bus and its members: forks (A12), the shutdown by the guard (A13), making a bus (A15), deaths (F2).

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

bool is_terminate(const Message& message) {
  return message.content.json().find("\"terminate\"") != std::string::npos;
}

}  // namespace

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
                     refused([&] { (void)a.broadcast(1); }) && refused([&] { (void)a.get_messages(); }) &&
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
  CHECK(std::filesystem::exists(mark));  // the guard has waited for it
  CHECK_FALSE(bus_exists(info));
  CHECK(b.hear() == "terminate");
  (void)b.wait();
  std::filesystem::remove(mark);
}

TEST_CASE_FIXTURE(Tidy,
                  "A13: shutdown removes the bus at once, a second call does nothing, and no peer can join") {
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

TEST_CASE_FIXTURE(Tidy,
                  "A13: a foreign peer that does not leave is named, and the route is removed all the same" *
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
  const Client b = ipcm_connect("b", guard.info());  // the bus still exists
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

TEST_CASE_FIXTURE(Tidy, "A15: the error for a bus that can't be made names the place" * needs_files()) {
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
    for (const std::string& name : names_in(guard.info().route))
      CHECK((name == ".victim.obituary" || !contains(name, "victim")));
  }
  CHECK(watcher.sync_request("fine?", kHang).as<std::string>() == "fine?");
  guard.shutdown();
}
