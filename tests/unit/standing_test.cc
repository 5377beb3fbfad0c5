#include "transport/directory/standing.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "ipcm/error.h"
#include "os/directory.h"
#include "support/tidy.h"
#include "transport/directory/removal.h"
#include "transport/directory/route.h"
#include "transport/presence/disk_name.h"
#include "transport/presence/entries.h"
#include "transport/presence/lock_file.h"
#include "transport/presence/mark_file.h"
#include "transport/presence/peer_locks.h"
#include "unit/expect.h"
#include "unit/forked.h"

using namespace ipcm;
using namespace ipcm::transport;
using ipcm::test::contains;
using ipcm::test::error_of;
using ipcm::test::HeldChild;
using ipcm::test::names_in;
using ipcm::test::Tidy;
using ipcm::test::write_file;
using os::FileKind;
using Is = Standing::Is;
using Strings = std::vector<std::string>;

namespace {

std::string make(const std::string& path, mode_t mode = 0700) {
  REQUIRE(::mkdir(path.c_str(), 0700) == 0);
  REQUIRE(::chmod(path.c_str(), mode) == 0);
  return path;
}
void make_socket(const std::string& path) {
  const os::UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  REQUIRE(path.size() < sizeof address.sun_path);
  path.copy(address.sun_path, path.size());
  REQUIRE(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
}
void make_fifo(const std::string& path) { REQUIRE(::mkfifo(path.c_str(), 0600) == 0); }
BusInfo info_of(const std::string& route, const std::string& protocol = "ConnectionUnix") {
  return {protocol, "JSON", route, {}, {}};
}
Is standing(const std::string& path) { return standing_of(os::Directory(path)).is; }
const EndpointKinds kSockets = {FileKind::socket, FileKind::regular};
Removal remove(const std::string& route, Living living = Living::ignore) {
  return remove_bus_directory(info_of(route), kSockets, living);
}
/// Makes a bus with the files that a killed peer of this library leaves. Returns its path.
std::string make_bus(const std::string& path) {
  make(path);
  write_file(path + "/.info", info_of(path).text());
  make_socket(path + "/svc");
  write_file(path + "/svc.pid", "1");
  write_file(path + "/.svc.lock", "");
  return path;
}

}  // namespace

TEST_CASE_FIXTURE(Tidy, "G1: names of a bus's files are distinguished from others") {
  for (const char* name : {"a.pid", "a.name", "a.stats", "a.resume", "a.suspend", "a.pid.pend", "h-12.name"})
    CHECK(role_of_entry(name) == EntryRole::beside);
  for (const char* name : {".info", ".info.closed", ".found", ".owner", ".owner.x7Gh2aQw", "..info.pend"})
    CHECK(role_of_entry(name) == EntryRole::mark);
  for (const char* name : {".a.lock", ".a.lock.x7Gh2aQw", ".a.log", ".a.log.1", ".a.params", ".a.obituary",
                           ".a.pid.pend", ".123-abcdef.pin", ".journal"})
    CHECK(role_of_entry(name) == EntryRole::hidden);
  CHECK(role_of_entry("_a") == EntryRole::closed);
  for (const char* name : {"a", ".bashrc", ".ssh", "notes.txt", ".lock", ".log", "_", ".git"})
    CHECK(role_of_entry(name) == EntryRole::endpoint);
  CHECK(is_lock_of_peer(".a.lock"));
  CHECK_FALSE(is_lock_of_peer(".owner"));
  CHECK_FALSE(is_lock_of_peer(".lock"));
  CHECK(is_made_name("ipcm-4711-x7Gh2a", "ipcm-"));
  CHECK(is_made_name("PerlIPCMgr-4711-x7Gh2_.json", "PerlIPCMgr-", ".json"));
  for (const char* name :
       {"ipcm-4711-x7Gh2", "ipcm--x7Gh2a", "ipcm-4711-x7Gh2a.bak", "ipcm-4711-x7/h2a", "ipcm-"})
    CHECK_FALSE(is_made_name(name, "ipcm-"));
}

TEST_CASE_FIXTURE(Tidy, "G1: a directory is a bus by its mark, by its name, or by all that is in it") {
  const std::string dir = directory();
  CHECK(standing(make(dir + "/empty")) == Is::empty);
  CHECK(standing(make(dir + "/open", 0755)) == Is::no_bus);
  CHECK(standing(make(dir + "/PerlIPCManager-4711-x7Gh2a")) == Is::reference);
  const std::string home = make(dir + "/home");
  write_file(home + "/notes", "precious");
  CHECK(standing(home) == Is::no_bus);
  CHECK(contains(standing_of(os::Directory(home)).why_not, "notes"));
  CHECK(contains(error_of<BusError>([&] { expect_bus(os::Directory(home)); }), "notes"));
  const std::string perl = make(dir + "/perl");
  make_socket(perl + "/svc");
  CHECK_FALSE(standing_of(os::Directory(perl)).is_proven);  // the socket of any program
  write_file(perl + "/svc.pid", "4711");
  CHECK(standing_of(os::Directory(perl)).is_proven);
  write_file(perl + "/.bashrc", "");
  CHECK(standing(perl) == Is::no_bus);
  const std::string ours = make_bus(dir + "/ours");
  CHECK(standing(ours) == Is::ours);
  CHECK(standing_of(os::Directory(ours)).info->text() == info_of(ours).text());
  // A mark that was copied, that has other text, or that is no regular file.
  const std::string copy = make(dir + "/copy");
  write_file(copy + "/notes", "precious");
  std::filesystem::copy(ours + "/.info", copy + "/.info");
  CHECK(standing(copy) == Is::no_bus);
  std::filesystem::remove_all(ours);
  CHECK(standing(copy) == Is::no_bus);  // even after the bus that it names was removed
  write_file(copy + "/.info", "buy milk");
  CHECK(standing(copy) == Is::no_bus);
  std::filesystem::remove(copy + "/.info");
  make_fifo(copy + "/.info");
  CHECK(standing(copy) == Is::no_bus);
  CHECK_FALSE(has_mark(os::Directory(copy)));
  for (const auto& entry : std::filesystem::directory_iterator(dir)) std::filesystem::remove_all(entry);
}

TEST_CASE_FIXTURE(Tidy, "G1: removing a route that is no bus fails with the reason, and changes nothing") {
  const std::string home = make(directory() + "/home");
  make(home + "/documents");
  write_file(home + "/documents/thesis", "precious");
  make(home + "/empty");
  Removal removal = remove(home);
  CHECK_FALSE(removal.is_gone);
  CHECK(contains(removal.why, "documents"));
  removal = remove(home + "/empty");
  CHECK_FALSE(removal.is_gone);
  CHECK(contains(removal.why, "no bus"));
  CHECK(names_in(home) == Strings{"documents", "empty"});
  // A bus of another protocol: this one does not know its endpoints.
  const std::string other = make_bus(directory() + "/other");
  removal = remove_bus_directory(info_of(other, "AtomicPipe"), {FileKind::fifo}, Living::ignore);
  CHECK_FALSE(removal.is_gone);
  CHECK(contains(removal.why, "ConnectionUnix"));
  CHECK(names_in(other).size() == 4);
  CHECK(remove(other));
  CHECK_FALSE(std::filesystem::exists(other));
  CHECK(remove(other));  // a second removal is no error
  for (const char* path : {"/", "."}) CHECK_FALSE(remove(path));
  std::filesystem::remove_all(home);
}

TEST_CASE_FIXTURE(Tidy,
                  "G1: a removal knows the files of a bus by name, kind and size, and reports the rest") {
  const std::string bus = make_bus(directory() + "/bus"), outside = make(directory() + "/outside");
  write_file(outside + "/precious", "x");
  write_file(bus + "/notes.txt", "precious");  // not empty, so it is no endpoint
  write_file(bus + "/marker", "");
  REQUIRE(::symlink((outside + "/precious").c_str(), (bus + "/link.pid").c_str()) == 0);
  REQUIRE(::symlink(outside.c_str(), (bus + "/link").c_str()) == 0);
  make_fifo(bus + "/fifo.stats");
  make(bus + "/sub.name");
  make(bus + "/_sub");  // a mailbox of another protocol
  const Removal removal = remove(bus);
  CHECK(removal.is_gone);
  CHECK(removal.left == Strings{"_sub", "fifo.stats", "link", "link.pid", "notes.txt", "sub.name"});
  CHECK(names_in(bus) == removal.left);
  CHECK(test::read_file(outside + "/precious") == "x");
  // The rest is no bus.
  CHECK_FALSE(remove(bus));
  std::filesystem::remove_all(bus);
  std::filesystem::remove_all(outside);
}

TEST_CASE_FIXTURE(Tidy,
                  "G1: an endpoint whose maker was killed before it had its name is removed with the bus") {
  const std::string bus = make_bus(directory() + "/bus");
  make_fifo(bus + "/.Abcdefgh.pend");  // this protocol has no FIFOs
  CHECK(remove(bus).left == Strings{".Abcdefgh.pend"});
  std::filesystem::remove_all(bus);
  const std::string pipes = make(directory() + "/pipes");
  write_file(pipes + "/.info", info_of(pipes, "AtomicPipe").text());
  make_fifo(pipes + "/.Abcdefgh.pend");
  const Removal removal =
      remove_bus_directory(info_of(pipes, "AtomicPipe"), {FileKind::fifo}, Living::ignore);
  CHECK(removal.is_gone);
  CHECK(removal.left.empty());
  CHECK_FALSE(std::filesystem::exists(pipes));
}

TEST_CASE_FIXTURE(Tidy, "G1: a mailbox is removed with its messages, and stays with anything else") {
  const std::string bus = make(directory() + "/bus");
  write_file(bus + "/.info", info_of(bus, "MessageFiles").text());
  for (const char* peer : {"/a", "/b", "/_c"}) make(bus + peer);
  write_file(bus + "/a/1.ready", "{}");
  write_file(bus + "/a/2.pend", "");
  write_file(bus + "/b/1.ready", "{}");
  write_file(bus + "/b/notes", "precious");
  make(bus + "/_c/1.ready");
  const Removal removal =
      remove_bus_directory(info_of(bus, "MessageFiles"), {FileKind::directory}, Living::ignore);
  CHECK(removal.left == Strings{"_c", "b"});
  CHECK(names_in(bus + "/b") == Strings{"notes"});
  std::filesystem::remove_all(bus);
}

TEST_CASE_FIXTURE(Tidy,
                  "G1: a directory that existed before the bus stays, also after an interrupted removal") {
  const std::string bus = make_bus(directory() + "/bus");
  write_file(bus + "/.found", "");
  CHECK(remove(bus));
  CHECK(names_in(bus).empty());
  std::filesystem::remove_all(bus);
  (void)make_bus(bus);
  close_mark(os::Directory(bus));
  CHECK(standing(bus) == Is::closed);
  CHECK(contains(error_of<BusError>([&] { expect_bus(os::Directory(bus)); }), "being taken down"));
  CHECK(remove(bus));
  CHECK_FALSE(std::filesystem::exists(bus));
}

TEST_CASE_FIXTURE(Tidy, "G1: a link to a bus is removed as the bus that it leads to; the link stays") {
  const std::string bus = make_bus(directory() + "/bus"), link = directory() + "/link";
  REQUIRE(::symlink(bus.c_str(), link.c_str()) == 0);
  CHECK(remove(link));
  CHECK_FALSE(std::filesystem::exists(bus));
  std::filesystem::remove(link);
}

TEST_CASE_FIXTURE(Tidy, "G1: a peer that joins while its bus is removed keeps it, or is refused") {
  const std::string bus = make_bus(directory() + "/bus");
  std::filesystem::remove(bus + "/svc");
  HeldChild peer([&](const auto& stay) {
    HeldLock::Attempt attempt;
    const auto lock = HeldLock::acquire(os::Directory(bus), ".late.lock", "", attempt);
    if (lock) stay();
  });
  REQUIRE(peer.came());
  const Removal removal = remove(bus, Living::spare);
  CHECK_FALSE(removal.is_gone);
  CHECK(removal.living == "late");
  CHECK(has_mark(os::Directory(bus)));  // others may join again
  Route route(bus, {.longest_name = 60, .endpoints = kSockets});
  close_mark(os::Directory(bus));
  CHECK(contains(error_of<BusError>([&] { (void)route.claim("later", ""); }), "being taken down"));
  CHECK_FALSE(std::filesystem::exists(bus + "/.later.lock"));
  peer.kill();
  CHECK(remove(bus, Living::spare));
  CHECK_FALSE(std::filesystem::exists(bus));
}

TEST_CASE_FIXTURE(Tidy, "G1: a listing removes the files of a dead peer, and no other file") {
  const std::string bus = make_bus(directory() + "/bus"), outside = make(directory() + "/outside");
  write_file(outside + "/precious", "x");
  for (const char* name : {"/svc", "/.svc.lock", "/svc.pid"}) std::filesystem::remove(bus + name);
  Pid dead = 0;
  {
    HeldChild child([](const auto& stay) { stay(); });
    dead = child.pid();
    child.kill();
  }
  // A directory and a link that look like mailboxes of a dead peer.
  make(bus + "/dir");
  write_file(bus + "/dir/notes", "precious");
  write_file(bus + "/dir.pid", std::to_string(dead));
  REQUIRE(::symlink(outside.c_str(), (bus + "/link").c_str()) == 0);
  write_file(bus + "/link.pid", std::to_string(dead));
  Route route(bus, {.longest_name = 60, .endpoints = {FileKind::directory}});
  CHECK(route.list().empty());
  CHECK(test::read_file(bus + "/dir/notes") == "precious");
  CHECK(test::read_file(outside + "/precious") == "x");
  CHECK(std::filesystem::is_symlink(bus + "/link"));
  std::filesystem::remove_all(bus);
  std::filesystem::remove_all(outside);
}

TEST_CASE_FIXTURE(Tidy, "G8: a FIFO in the place of a peer's file blocks no process") {
  const std::string bus = make_bus(directory() + "/bus");
  std::filesystem::remove(bus + "/svc.pid");
  std::vector<os::UniqueFd> open;
  for (const char* name :
       {"/svc.pid", "/svc.stats", "/svc.suspend", "/h-c14cddc033f64b9dea80ea675cf280a015e67251.name"}) {
    make_fifo(bus + name);
    open.emplace_back(::open((bus + name).c_str(), O_RDWR | O_CLOEXEC));
  }
  write_file(bus + "/h-c14cddc033f64b9dea80ea675cf280a015e67251", "");
  Route route(bus, {.longest_name = 60, .endpoints = kSockets});
  (void)route.list();
  CHECK(route.all_statistics(*wire::make_serializer(info_of(bus))).size() == 1);
  (void)route.look("svc");
  std::filesystem::remove_all(bus);
}

TEST_CASE_FIXTURE(Tidy, "G1: a route that others can write to is refused") {
  const std::string bus = make_bus(directory() + "/bus");
  for (const mode_t mode : {0777U, 0770U, 01777U, 0702U}) {
    REQUIRE(::chmod(bus.c_str(), mode) == 0);
    CHECK(contains(
        error_of<BusError>([&] { const Route route(bus, {.longest_name = 60, .endpoints = kSockets}); }),
        "other users can write"));
    CHECK_FALSE(remove(bus));
  }
  REQUIRE(::chmod(bus.c_str(), 0755) == 0);
  CHECK(remove(bus));
}

TEST_CASE_FIXTURE(Tidy,
                  "G1: leftovers of a killed maker of a bus are removed unless a process still uses them") {
  const os::Directory here(directory());
  const std::string bus = directory() + "/bus";
  make(bus);
  CHECK(remove_unfinished_bus(here, "bus"));
  make(bus);
  write_file(bus + "/.owner.abcdefgh", "");
  write_file(bus + "/..info.pend", "[");
  CHECK(remove_unfinished_bus(here, "bus"));
  make(bus);
  HeldChild maker([&](const auto& stay) {
    HeldLock::Attempt attempt;
    const auto lock = HeldLock::acquire(os::Directory(bus), ".owner", "", attempt);
    if (lock) stay();
  });
  REQUIRE(maker.came());
  CHECK_FALSE(remove_unfinished_bus(here, "bus"));
  maker.kill();
  write_file(bus + "/notes", "precious");
  CHECK_FALSE(remove_unfinished_bus(here, "bus"));
  std::filesystem::remove(bus + "/notes");
  CHECK(remove_unfinished_bus(here, "bus"));
  CHECK_FALSE(remove_unfinished_bus(here, "bus"));
}

TEST_CASE_FIXTURE(Tidy, "directory: a file with a second name is not written to") {
  const std::string precious = directory() + "/precious", bus = make(directory() + "/bus");
  write_file(precious, "x");
  for (const char* name : {"/.a.lock", "/a.resume", "/.a.pid.pend", "/a.ready"})
    std::filesystem::create_hard_link(precious, bus + name);
  const os::Directory here(bus);
  bool created = false;
  CHECK_THROWS_AS((void)here.open_or_create(".a.lock", 0600, &created), SystemError);
  CHECK_THROWS_AS(here.append_to_file("a.resume", "y"), SystemError);
  here.write_file("a.pid", "y");
  here.write_in_place("a.ready", "y");
  CHECK(test::read_file(precious) == "x");
  CHECK(here.read_file("a.pid") == "y");
  std::filesystem::remove_all(bus);
  std::filesystem::remove(precious);
}
