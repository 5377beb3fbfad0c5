#include "transport/file/sidecar.h"
#include "transport/bus_note.h"

#include <sys/stat.h>
#include <unistd.h>

#include <optional>
#include <string>

#include "ipcm/error.h"
#include "os/clock.h"
#include "os/events.h"
#include "support/tidy.h"
#include "unit/expect.h"
#include "unit/forked.h"
#include "unit/locks.h"

using namespace ipcm;
using namespace ipcm::transport;
using ipcm::test::contains;
using ipcm::test::dead_pid;
using ipcm::test::error_of;
using ipcm::test::HeldChild;
using ipcm::test::names_in;
using ipcm::test::Tidy;
using State = PeerFacts::State;

namespace {

std::string make_file_bus(const std::string& directory) {
  test::write_file(directory + "/bus.db", "");
  return directory + "/bus.db";
}
void remove_bus(const std::string& route) {
  ::unlink(route.c_str());
  CHECK(Sidecar::remove(route));
}
/// Holds a name, for a child process.
void hold(const std::string& route, const std::string& peer, const std::function<void()>& stay) {
  const Sidecar there(route);
  HeldLock::Attempt attempt;
  auto lock = there.take(peer, "Class", attempt);
  if (!lock) return;
  stay();
  there.release(*lock);
}

}  // namespace

TEST_CASE_FIXTURE(Tidy, "sidecar: it is hidden beside the route, for its user alone, and made once") {
  const std::string route = make_file_bus(directory());
  CHECK(Sidecar::path_of(route) == directory() + "/.bus.db.ipcm");
  CHECK(Sidecar::path_of("x.json") == "./.x.json.ipcm");
  CHECK(Sidecar::path_of("/x.json") == "//.x.json.ipcm");
  const Sidecar one(route), two(route);
  CHECK(one.directory().facts().mode == 0700);
  CHECK(one.directory().facts().inode == two.directory().facts().inode);
  remove_bus(route);
}

TEST_CASE_FIXTURE(Tidy, "sidecar: where there is no bus, or something else stands in its place, it says so") {
  const std::string route = directory() + "/bus.db", place = directory() + "/.bus.db.ipcm";
  CHECK(contains(error_of<BusError>([&] { const Sidecar here(route); }), "no such file"));
  CHECK(names_in(directory()).empty());
  CHECK(contains(error_of<BusError>([&] { const Sidecar here(directory()); }), "it is no file"));
  (void)make_file_bus(directory());
  // A directory that others may write to, and a link, are not used as a sidecar.
  REQUIRE(::mkdir(place.c_str(), 0700) == 0);
  REQUIRE(::chmod(place.c_str(), 0777) == 0);
  CHECK(contains(error_of<BusError>([&] { const Sidecar here(route); }), "not ours alone"));
  REQUIRE(::rmdir(place.c_str()) == 0);
  REQUIRE(::symlink(directory().c_str(), place.c_str()) == 0);
  CHECK_THROWS_AS(const Sidecar here(route), BusError);
  CHECK(names_in(directory()) == std::vector<std::string>{".bus.db.ipcm", "bus.db"});
  remove_bus(route);
  CHECK(::unlink(place.c_str()) == 0);  // it is no sidecar, so it has stayed
}

TEST_CASE_FIXTURE(Tidy, "sidecar: a name is had once, and any name can be") {
  const std::string route = make_file_bus(directory());
  const Sidecar here(route);
  HeldChild other([&](const auto& stay) { hold(route, "a/b", stay); });
  REQUIRE(other.came());
  HeldLock::Attempt attempt;
  CHECK_FALSE(here.take("a/b", "", attempt));
  CHECK(attempt.holder == other.pid());
  CHECK_THROWS_AS((void)here.take("_x", "", attempt), UsageError);
  auto lock = here.take(std::string(5000, 'n'), "", attempt);
  CHECK(lock);
  here.release(*lock);
  CHECK(other.end() == 0);
  CHECK(here.directory().names().size() == 1);
  remove_bus(route);
}

TEST_CASE_FIXTURE(
    Tidy, "sidecar: the holder of a lock lives, whatever pid is noted; without a lock the pid decides") {
  const std::string route = make_file_bus(directory());
  const Sidecar here(route);
  HeldChild ours([&](const auto& stay) { hold(route, "ours", stay); });
  HeldChild foreign([](const auto& stay) { stay(); });
  REQUIRE((ours.came() && foreign.came()));
  CHECK(here.judge("ours", std::nullopt).state == State::present);
  const PeerFacts facts = here.judge("ours", ours.pid());
  CHECK(facts.state == State::active);
  CHECK(facts.pid == ours.pid());
  CHECK(facts.class_name == "Class");
  CHECK(here.holds_lock("ours"));
  CHECK(here.judge("foreign", foreign.pid()).state == State::active);
  CHECK_FALSE(here.holds_lock("foreign"));
  const Pid left_by = ours.pid();
  ours.kill_only();
  CHECK(here.judge("ours", left_by).state == State::dead);
  // A peer of the reference has the name now. It does not know the lock file, which therefore proves nothing.
  CHECK(here.judge("ours", foreign.pid()).state == State::active);
  HeldLock::Attempt attempt;
  auto lock = here.take("ours", "", attempt);
  REQUIRE(lock);
  CHECK(Sidecar::is_leftover(left_by, attempt));
  CHECK_FALSE(Sidecar::is_leftover(foreign.pid(), attempt));
  CHECK(Sidecar::is_leftover(::getpid(), attempt) == test::numbers_prove_deaths());
  CHECK(Sidecar::is_leftover(dead_pid(), attempt) == test::numbers_prove_deaths());
  here.release(*lock);
  foreign.kill_only();
  CHECK(here.judge("foreign", foreign.pid()).state == State::dead);
  remove_bus(route);
}

TEST_CASE_FIXTURE(Tidy, "sidecar: a peer whose remains are being removed is dead, though its lock is held") {
  const std::string route = make_file_bus(directory());
  const Sidecar here(route);
  HeldChild dying([](const auto& stay) { stay(); });
  HeldChild clearer([&](const auto& stay) {
    const Sidecar there(route);
    HeldLock::Attempt attempt;
    auto lock = there.take("a", HeldLock::kClearing, attempt);
    stay();
    there.release(*lock);
  });
  REQUIRE((dying.came() && clearer.came()));
  CHECK(here.judge("a", dying.pid()).state == State::dead);
  CHECK(here.judge("a", dying.pid()).pid == dying.pid());
  CHECK(here.judge("a", std::nullopt, 1000.5).state == State::dead);
  CHECK(clearer.end() == 0);
  CHECK(here.judge("a", dying.pid()).state == State::active);
  remove_bus(route);
}

TEST_CASE_FIXTURE(Tidy, "sidecar: a recycled pid is not taken for a live peer") {
  const std::string route = make_file_bus(directory());
  const Sidecar here(route);
  HeldChild runs([](const auto& stay) { stay(); });
  REQUIRE(runs.came());
  // As if the writer of this file had died, and another process had got its number.
  here.directory().write_file(".a.lock", R"({"pid":)" + std::to_string(runs.pid()) + R"(,"note":""})");
  CHECK(here.judge("a", runs.pid()).state == State::dead);
  HeldLock::Attempt attempt;
  auto lock = here.take("a", "", attempt);
  REQUIRE(lock);
  CHECK(Sidecar::is_leftover(runs.pid(), attempt));
  here.release(*lock);
  remove_bus(route);
}

TEST_CASE_FIXTURE(Tidy, "sidecar: a peer without a pid is suspended, until its time has passed") {
  const std::string route = make_file_bus(directory());
  const Sidecar here(route);
  CHECK(here.judge("a", std::nullopt).state == State::suspended);
  const double later = os::wall_clock_seconds() + 1000;
  CHECK(here.judge("a", std::nullopt, later).state == State::suspended);
  CHECK(here.judge("a", std::nullopt, later).expires == later);
  CHECK(here.judge("a", std::nullopt, 1000.5).state == State::dead);
  remove_bus(route);
}

TEST_CASE_FIXTURE(Tidy, "sidecar: a death shows in its directory") {
  const std::string route = make_file_bus(directory());
  const Sidecar here(route);
  HeldChild other([&](const auto& stay) { hold(route, "a", stay); });
  REQUIRE(other.came());
  os::DirectoryWatch watch(here.directory().short_path("."));
  other.kill();
  std::string told;
  watch.read([&](std::string_view name) {
    if (Sidecar::is_news(name)) told.append(name).append(" ");
  });
  CHECK(told == ".a.lock ");
  remove_bus(route);
}

TEST_CASE_FIXTURE(Tidy, "sidecar: the bus is orphaned when its owner is dead or its file is gone") {
  const std::string route = make_file_bus(directory());
  const Sidecar here(route);
  CHECK_FALSE(here.is_orphaned());
  CHECK_FALSE(Sidecar::owner(route).exists);
  HeldChild owner([&](const auto& stay) {
    const auto owned = Sidecar::own(route);
    stay();
  });
  REQUIRE(owner.came());
  CHECK_FALSE(here.is_orphaned());
  CHECK(Sidecar::owner(route).held);
  CHECK(Sidecar::owner(route).pid == owner.pid());
  owner.kill();
  CHECK(here.is_orphaned());
  CHECK(Sidecar::owner(route).exists);
  CHECK_FALSE(Sidecar::owner(route).held);
  const auto owned = Sidecar::own(route);
  CHECK_FALSE(here.is_orphaned());
  remove_bus(route);
  CHECK(here.is_orphaned());
}

TEST_CASE_FIXTURE(Tidy,
                  "sidecar: if only the file was removed, the last member that leaves removes the sidecar") {
  const std::string route = make_file_bus(directory());
  const Sidecar here(route);
  HeldLock::Attempt attempt;
  auto lock = here.take("a", "", attempt);
  HeldChild killed([&](const auto& stay) { hold(route, "killed", stay); });
  HeldChild last([&](const auto& stay) { hold(route, "last", stay); });
  REQUIRE((lock && killed.came() && last.came()));
  ::unlink(route.c_str());
  killed.kill();
  here.release(*lock);
  CHECK(names_in(directory()) == std::vector<std::string>{".bus.db.ipcm"});
  CHECK(last.end() == 0);
  CHECK(names_in(directory()).empty());
}

TEST_CASE_FIXTURE(Tidy, "sidecar: of a bus that is not ours nothing stays when the last of us has looked") {
  const std::string route = make_file_bus(directory());
  {
    const Sidecar one(route);
    { const Sidecar other(route); }
    CHECK(one.directory().names().size() == 1);
    HeldLock::Attempt attempt;
    auto lock = one.take("a", "", attempt);  // the directory of that name was not replaced
    REQUIRE(lock);
    CHECK(Sidecar(route).holds_lock("a"));
    one.release(*lock);
  }
  CHECK(names_in(directory()) == std::vector<std::string>{"bus.db"});
  remove_bus(route);
}

TEST_CASE_FIXTURE(Tidy,
                  "sidecar: on a bus of ours it stays, and a process that only looks does not change it") {
  const std::string route = make_file_bus(directory());
  transport::note_route_info({"SQLite", "JSON", route, {}, {}});
  {
    const Sidecar here(route);
    CHECK(here.directory().names() == std::vector<std::string>{".info"});
  }
  CHECK(transport::has_route_info(route));
  remove_bus(route);
}

TEST_CASE_FIXTURE(Tidy,
                  "sidecar: a lock of a dead peer that is taken and put back still names the dead process") {
  const std::string route = make_file_bus(directory());
  const Sidecar here(route);
  // It holds no lock now, and its process has not ended yet.
  HeldChild dying([&](const auto& stay) { stay(); });
  REQUIRE(dying.came());
  here.directory().write_file(".a.lock", R"({"pid":)" + std::to_string(dying.pid()) + R"(,"note":"x"})");
  CHECK(here.judge("a", dying.pid()).state == State::dead);
  HeldLock::Attempt attempt;
  auto lock = here.take("a", "", attempt);
  REQUIRE(lock);
  CHECK(attempt.left_by == dying.pid());
  lock->put_back(attempt.left_by);
  here.release(*lock);
  CHECK(here.judge("a", dying.pid()).state == State::dead);
  lock = here.take("a", "", attempt);
  REQUIRE(lock);
  CHECK(attempt.left_by == dying.pid());
  here.release(*lock);
  CHECK(dying.end() == 0);
  remove_bus(route);
}
