// The steps of taking a bus down: Guard::terminate(), wait() and remove().

#include "contract.h"

using namespace ipcm;
using namespace ipcm::test;

namespace {

/// A member that reads until it is asked to end.
void ends_when_asked(Lines&, Client& client) { (void)collect(client, 1); }

}  // namespace

TEST_CASE_FIXTURE(Tidy, "the owner asks the peers to end, waits for them, and removes the bus" *
                            needs_processes()) {
  Guard guard = spawn_bus();
  const BusInfo info = guard.info();
  Handle service = start_on(info, "s", echoing());
  service.release();
  Forked peer(member("p", info.text(), ends_when_asked));
  CHECK(peer.hear() == "joined");
  guard.terminate();
  CHECK(guard.wait(kHang).empty());
  CHECK(ipcm_connect_anonymous(info).peers().empty());  // the bus is still there
  CHECK(peer.wait() == ExitStatus::exited(0));
  guard.remove();
  CHECK_FALSE(bus_exists(info));
  guard.shutdown();  // does nothing
}

TEST_CASE_FIXTURE(Tidy, "a peer that stays is named, and keeps the bus" * needs_processes()) {
  Guard guard = spawn_bus();
  Forked peer(member("p", guard.info().text(), stays));
  CHECK(peer.hear() == "joined");
  guard.terminate();  // it does not read
  const auto stayed = guard.wait(std::chrono::milliseconds(1));
  REQUIRE(stayed.size() == 1);
  CHECK(stayed[0].name == "p");
  CHECK(stayed[0].is_proven);
  CHECK(contains(thrown_by<BusError>([&] { guard.remove(); }).what(), "'p'"));
  CHECK(ipcm_connect_anonymous(guard.info()).peers() == Strings{"p"});
  peer.say("end");
  CHECK(guard.wait(kHang).empty());
  guard.remove();
  CHECK(peer.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "the owner asks no client of its own process, and does not wait for it") {
  Guard guard = spawn_bus();
  Client own = ipcm_connect("own", guard.info());
  guard.terminate();
  CHECK(own.get_messages().empty());
  CHECK(guard.wait(kHang).empty());
  CHECK(own.peers().empty());  // it is still on the bus
  guard.remove();
  CHECK_FALSE(bus_exists(guard.info()));
}

TEST_CASE_FIXTURE(Tidy, "removal as a step reports messages that nobody has read" * needs_processes()) {
  SpawnOptions options = bus_options();
  options.do_sanity_check = true;
  Guard guard = ipcm_spawn(options);
  Client sender = ipcm_connect("a", guard.info());
  {
    Client reader = ipcm_connect("b", guard.info());
    sender.send_message("b", 1);
  }
  sender.disconnect();
  CHECK(contains(thrown_by<Error>([&] { guard.remove(); }).what(), "from 'a' to 'b'"));
  CHECK_FALSE(bus_exists(guard.info()));
}

TEST_CASE_FIXTURE(Tidy, "the steps belong to the process that owns the bus, as long as it does" *
                            needs_processes()) {
  Guard guard = spawn_bus();
  Forked other([&](Lines& test) {
    int refused = 0;
    for (const auto step : {+[](Guard& of) { of.terminate(); }, +[](Guard& of) { (void)of.wait(kHang); },
                            +[](Guard& of) { of.remove(); }}) {
      try {
        step(guard);
      } catch (const UsageError&) {
        ++refused;
      }
    }
    test.say(std::to_string(refused));
    return 0;
  });
  CHECK(other.hear() == "3");
  guard.shutdown();
  CHECK_THROWS_AS(guard.terminate(), UsageError);
  CHECK_THROWS_AS((void)guard.wait(kHang), UsageError);
  CHECK_THROWS_AS(guard.remove(), UsageError);
}
