#include "transport/directory/route.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ipcm/error.h"
#include "os/events.h"
#include "os/process.h"
#include "os/record_lock.h"
#include "support/tidy.h"
#include "transport/presence/disk_name.h"
#include "transport/presence/lock_file.h"
#include "transport/presence/ownership.h"
#include "transport/presence/peer_locks.h"
#include "unit/expect.h"
#include "unit/forked.h"
#include "unit/locks.h"

using namespace ipcm;
using namespace ipcm::transport;
using namespace std::string_literals;
using ipcm::test::contains;
using ipcm::test::dead_pid;
using ipcm::test::error_of;
using ipcm::test::HeldChild;
using ipcm::test::in_child;
using ipcm::test::kHang;
using ipcm::test::lock_is_held_for_others;
using ipcm::test::Tidy;
using os::FileKind;
using State = PeerFacts::State;

namespace {

constexpr std::size_t kLongest = 60;

Route open(const std::string& path) {
  return Route(path, {.longest_name = kLongest, .endpoints = {FileKind::regular}});
}

/// Claims a name on the bus, for a child process, and stays.
void join(const std::string& path, const std::string& name, const std::function<void()>& stay) {
  Route route = open(path);
  Route::Registration registration = route.claim(name, "Class of " + name);
  route.directory().write_file(registration.disk_name, "");
  route.announce(registration);
  stay();
  route.vacate(registration, "{}");
}

std::vector<std::string> names_of(Route& route) {
  std::vector<std::string> names;
  for (const auto& listed : route.list()) names.push_back(listed.name);
  return names;
}

/// A watch for the holder of a lock. It reports that another process has read the holder, so that later
/// events are new to that process.
class Onlooker {
 public:
  explicit Onlooker(const std::string& directory) : fd_(::inotify_init1(IN_CLOEXEC)) {
    (void)::inotify_add_watch(fd_.get(), directory.c_str(), IN_OPEN | IN_ACCESS | IN_DELETE);
  }
  /// Blocks until files in the directory were read or removed `times` times since the last call.
  void await(std::uint32_t what, int times) {
    while (times > 0) {
      alignas(inotify_event) std::array<char, 4096> buffer{};
      const ssize_t got = ::read(fd_.get(), buffer.data(), buffer.size());
      if (got <= 0) throw SystemError(errno, "read changes");
      for (std::size_t at = 0; at < static_cast<std::size_t>(got);) {
        inotify_event event{};
        std::memcpy(&event, buffer.data() + at, sizeof event);
        if ((event.mask & what) != 0) --times;
        at += sizeof event + event.len;
      }
    }
  }
  /// Blocks until a process waits for the lock. Such a process reads the holder twice: when it does not get
  /// the lock, and after it has begun to watch the directory.
  void await_waiter() { await(IN_ACCESS, 2); }

 private:
  os::UniqueFd fd_;
};

}  // namespace

TEST_CASE_FIXTURE(Tidy, "disk name: those of the reference") {
  const DiskNames names(100);
  CHECK(names.of("a/b") == "h-c14cddc033f64b9dea80ea675cf280a015e67251");
  CHECK(names.of(std::string(120, 'x')) == "h-13f05a0b594787f5ecd315edc96141bd3243203d");
}

TEST_CASE_FIXTURE(Tidy, "disk name: a name that can stand stands for itself") {
  const DiskNames names(10);
  for (const char* name :
       {"svc", "a b", "a.b", "x~\x7f", "h", "h_x", "a.pid.x", "ü", "-", "a_", "0123456789"}) {
    CAPTURE(std::string(name));
    CHECK(names.of(name) == name);
    CHECK_FALSE(DiskNames::is_hashed(names.of(name)));
  }
}

TEST_CASE_FIXTURE(Tidy, "disk name: a name that can't stand is hashed") {
  const DiskNames names(10);
  for (const std::string& name :
       {"0123456789a"s, "a/b"s, "/"s, "a\\b"s, "a\nb"s, "a\x1f"s, "h-"s, "h-x"s, "."s, ".."s, ".x"s, "x.pid"s,
        "x.name"s, "x.stats"s, "x.resume"s, "x.suspend"s, "x.pend"s, ".pid"s, "a\0b"s}) {
    CAPTURE(std::string(name));
    const std::string disk = names.of(name);
    CHECK(disk.size() == 42);
    CHECK(disk.starts_with("h-"));
    CHECK(disk.find_first_not_of("0123456789abcdef", 2) == std::string::npos);
    CHECK(DiskNames::is_hashed(disk));
    CHECK(DiskNames::may_be_endpoint(disk));
    CHECK(names.of(name) == disk);
  }
  CHECK(names.of("a/b") != names.of("a\\b"));
  // A name that looks like the hash of another name does not lead to the files of that name.
  CHECK(DiskNames(100).of(names.of("a/b")) != names.of("a/b"));
}

TEST_CASE_FIXTURE(Tidy, "disk name: a file beside an endpoint is no endpoint") {
  for (const char* file : {"", ".", ".x.lock", ".owner", "_x", "x.pid", "x.name", "x.stats", "x.resume",
                           "x.suspend", "x.pid.pend"}) {
    CAPTURE(std::string(file));
    CHECK_FALSE(DiskNames::may_be_endpoint(file));
  }
  CHECK(DiskNames::may_be_endpoint("x"));
  CHECK(DiskNames::may_be_endpoint("pid"));
}

TEST_CASE_FIXTURE(Tidy, "disk name: names that no peer can have are refused") {
  for (const std::string& name : {""s, "_"s, "_x"s, "0"s, "a\0b"s}) {
    CAPTURE(std::string(name));
    CHECK_THROWS_AS(check_peer_name(name), UsageError);
  }
  for (const char* name : {"a", "x_", "00", "0.0", "a/b", " ", "ü", "."}) {
    CAPTURE(std::string(name));
    CHECK_NOTHROW(check_peer_name(name));
  }
}

TEST_CASE_FIXTURE(Tidy, "record lock: it is held against other processes, which can see its owner") {
  const std::string path = directory() + "/lock";
  const os::UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  CHECK_FALSE(os::lock_holder(file.get()));
  REQUIRE(os::try_lock(file.get()) == os::LockAttempt::taken);
  CHECK(os::try_lock(file.get()) == os::LockAttempt::taken);
  CHECK_FALSE(os::lock_holder(file.get()));  // this process holds it
  const Pid pid = ::getpid();
  CHECK(in_child([&] {
          const os::UniqueFd own(::open(path.c_str(), O_RDWR | O_CLOEXEC));
          return os::try_lock(own.get()) == os::LockAttempt::held_by_other &&
                         os::lock_holder(own.get()).value_or(os::LockHolder{}).pid == pid
                     ? 0
                     : 1;
        }) == 0);
  const os::UniqueFd read_only(::open(directory().c_str(), O_RDONLY | O_CLOEXEC));
  CHECK_THROWS_AS((void)os::try_lock(read_only.get()), SystemError);
  ::unlink(path.c_str());
}

TEST_CASE_FIXTURE(Tidy, "held lock: it has one holder, names the holder, and ends with its file") {
  const os::Directory here(directory());
  HeldLock::Attempt attempt;
  auto lock = HeldLock::acquire(here, ".x.lock", "note \"ü\"", attempt);
  REQUIRE(lock);
  CHECK(*lock);
  CHECK_FALSE(attempt.left);
  CHECK(here.look(".x.lock").mode == 0600);
  const Pid pid = ::getpid();
  CHECK(in_child([&] {
          const os::Directory there(directory());
          const LockFacts facts = look_at_lock(there, ".x.lock");
          if (!facts.exists || !facts.held || facts.pid != pid || facts.note.class_name != "note \"ü\"")
            return 1;
          HeldLock::Attempt mine;
          return !HeldLock::acquire(there, ".x.lock", "", mine) && mine.holder == pid && !mine.left ? 0 : 2;
        }) == 0);
  lock->release(here);
  CHECK_FALSE(*lock);
  CHECK(here.names().empty());
  CHECK_FALSE(look_at_lock(here, ".x.lock").exists);
  lock->release(here);
  auto again = HeldLock::acquire(here, ".x.lock", "", attempt);
  REQUIRE(again);
  CHECK_FALSE(attempt.left);
  again->release(here);
}

TEST_CASE_FIXTURE(
    Tidy, "held lock: its note says whether the holder can be inspected, to others and to its own process") {
  const os::Directory here(directory());
  for (const bool inspectable : {false, true}) {
    HeldLock::Attempt attempt;
    auto lock = HeldLock::acquire(here, ".x.lock", PeerNote("Class", inspectable), attempt);
    REQUIRE(lock);
    CHECK(look_at_lock(here, ".x.lock").note.is_inspectable == inspectable);
    CHECK(look_at_lock(here, ".x.lock").note.class_name == "Class");
    CHECK(in_child([&] {
            const LockFacts facts = look_at_lock(os::Directory(directory()), ".x.lock");
            return facts.note.is_inspectable == inspectable && facts.note.class_name == "Class" ? 0 : 1;
          }) == 0);
    lock->release(here);
  }
  // Another value than 1 belongs to a later version.
  test::write_file(directory() + "/.x.lock", R"({"pid":1,"note":"Class","inspect":2,"more":[1]})");
  CHECK_FALSE(look_at_lock(here, ".x.lock").note.is_inspectable);
  here.remove_file(".x.lock");
}

TEST_CASE_FIXTURE(Tidy, "held lock: another attempt or a look in the same process does not drop it") {
  const os::Directory here(directory()), same(directory());
  HeldLock::Attempt attempt;
  auto lock = HeldLock::acquire(here, ".x.lock", "n", attempt);
  REQUIRE(lock);
  CHECK_FALSE(HeldLock::acquire(here, ".x.lock", "m", attempt));
  CHECK(attempt.holder == ::getpid());
  CHECK_FALSE(HeldLock::acquire(same, ".x.lock", "m", attempt));
  const LockFacts facts = look_at_lock(same, ".x.lock");
  CHECK(facts.held);
  CHECK(facts.pid == ::getpid());
  // A hard link leads to the same file.
  REQUIRE(::link((directory() + "/.x.lock").c_str(), (directory() + "/.y.lock").c_str()) == 0);
  CHECK_FALSE(HeldLock::acquire(here, ".y.lock", "m", attempt));
  CHECK(look_at_lock(here, ".y.lock").held);
  CHECK(lock_is_held_for_others(directory() + "/.x.lock"));
  here.remove_file(".y.lock");
  // The lock is still held after the object was moved, and free after the object was destroyed.
  HeldLock moved = std::move(*lock);
  CHECK(lock_is_held_for_others(directory() + "/.x.lock"));
  lock.reset();
  CHECK(lock_is_held_for_others(directory() + "/.x.lock"));
  moved.release(here);
}

TEST_CASE_FIXTURE(Tidy, "held lock: dropped without release it leaves its file, and is to be had") {
  const os::Directory here(directory());
  HeldLock::Attempt attempt;
  { const auto lock = HeldLock::acquire(here, ".x.lock", "n", attempt); }
  const LockFacts facts = look_at_lock(here, ".x.lock");
  CHECK(facts.exists);
  CHECK_FALSE(facts.held);
  CHECK(facts.pid == ::getpid());
  CHECK(facts.note.class_name == "n");
  auto again = HeldLock::acquire(here, ".x.lock", "longer than before", attempt);
  REQUIRE(again);
  CHECK(attempt.left);
  CHECK(attempt.left_by == ::getpid());
  again->release(here);
}

TEST_CASE_FIXTURE(Tidy, "held lock: after its holder was killed it is free, and names the last holder") {
  const os::Directory here(directory());
  HeldChild holder([&](const auto& stay) {
    const os::Directory there(directory());
    HeldLock::Attempt attempt;
    const auto lock = HeldLock::acquire(there, ".x.lock", std::string(300, 'n'), attempt);
    if (lock) stay();
  });
  REQUIRE(holder.came());
  const Pid pid = holder.pid();
  HeldLock::Attempt attempt;
  CHECK_FALSE(HeldLock::acquire(here, ".x.lock", "m", attempt));
  CHECK(attempt.holder == pid);
  CHECK(look_at_lock(here, ".x.lock").held);
  CHECK(look_at_lock(here, ".x.lock").pid == pid);
  holder.kill_only();  // a zombie holds nothing
  CHECK_FALSE(look_at_lock(here, ".x.lock").held);
  CHECK(look_at_lock(here, ".x.lock").pid == pid);
  auto lock = HeldLock::acquire(here, ".x.lock", "m", attempt);
  REQUIRE(lock);
  CHECK(attempt.left);
  CHECK(attempt.left_by == pid);
  CHECK(here.read_file(".x.lock") ==
        R"({"pid":)" + std::to_string(::getpid()) + R"(,"note":"m"})");  // no bytes of the old note
  lock->release(here);
}

TEST_CASE_FIXTURE(Tidy, "held lock: a joining process waits until another one has cleared up") {
  const os::Directory here(directory());
  bool puts_back = false, dies = false;
  SUBCASE("and has cleared") {}
  SUBCASE("and puts back what it could not clear") { puts_back = true; }
  SUBCASE("and dies over it") { dies = true; }
  test::write_file(directory() + "/.x.lock", R"({"pid":4000000,"note":"n"})");
  HeldChild holder([&](const auto& stay) {
    const os::Directory there(directory());
    HeldLock::Attempt attempt;
    auto lock = HeldLock::acquire(there, ".x.lock", HeldLock::kClearing, attempt);
    Onlooker onlooker(directory());
    stay();
    onlooker.await_waiter();
    if (dies) ::_exit(0);
    if (puts_back)
      lock->put_back(attempt.left_by);
    else
      lock->release(there);
    onlooker.await(IN_DELETE, puts_back ? 1 : 2);  // before this process ends, which is an event too
  });
  REQUIRE(holder.came());
  holder.go();
  const auto began = os::Clock::now();
  HeldLock::Attempt attempt;
  auto lock = HeldLock::acquire(here, ".x.lock", "m", attempt, kHang);
  CHECK(os::Clock::now() - began < kHang);
  REQUIRE(lock);
  CHECK(attempt.left == (puts_back || dies));
  CHECK(attempt.left_by == (puts_back ? 4000000 : dies ? holder.pid() : 0));
  CHECK(look_at_lock(here, ".x.lock").held);
  lock->release(here);
  CHECK(holder.end() == 0);
}

TEST_CASE_FIXTURE(Tidy, "held lock: its purpose shows at once, also over old content of the file") {
  const os::Directory here(directory());
  const std::string path = directory() + "/.x.lock";
  for (const bool clears : {true, false}) {
    test::write_file(path, R"({"pid":4000000,"note":"of the dead"})");
    HeldChild holder([&](const auto& stay) {
      const os::UniqueFd own(::open(path.c_str(), O_RDWR | O_CLOEXEC));
      const auto part = clears ? os::LockPart::tail : os::LockPart::whole;
      if (os::try_lock(own.get(), part) == os::LockAttempt::taken) stay();
    });
    REQUIRE(holder.came());
    const LockFacts facts = look_at_lock(here, ".x.lock");
    CHECK(facts.held);
    CHECK(facts.pid == holder.pid());
    CHECK(facts.is_held_for_clearing() == clears);
    HeldLock::Attempt attempt;
    CHECK_FALSE(HeldLock::acquire(here, ".x.lock", "m", attempt, std::chrono::milliseconds(1)));
    CHECK_FALSE(HeldLock::acquire(here, ".x.lock", HeldLock::kClearing, attempt));
    CHECK(attempt.holder == holder.pid());
    CHECK(holder.end() == 0);
    ::unlink(path.c_str());
  }
}

TEST_CASE_FIXTURE(Tidy, "held lock: a process that clears up for too long counts as the holder") {
  const os::Directory here(directory());
  HeldChild holder([&](const auto& stay) {
    const os::Directory there(directory());
    HeldLock::Attempt attempt;
    auto lock = HeldLock::acquire(there, ".x.lock", HeldLock::kClearing, attempt);
    stay();
    lock->release(there);
  });
  REQUIRE(holder.came());
  HeldLock::Attempt attempt;
  CHECK_FALSE(HeldLock::acquire(here, ".x.lock", "m", attempt));
  CHECK(attempt.holder == holder.pid());
  CHECK(holder.end() == 0);
}

TEST_CASE_FIXTURE(Tidy, "held lock: the death of its holder shows in the directory") {
  HeldChild holder([&](const auto& stay) {
    const os::Directory there(directory());
    HeldLock::Attempt attempt;
    const auto lock = HeldLock::acquire(there, ".x.lock", "", attempt);
    if (lock) stay();
  });
  REQUIRE(holder.came());
  os::DirectoryWatch watch(directory());
  holder.kill();
  std::string told;
  watch.read([&](std::string_view name) { told.append(name).append(" "); });
  CHECK(told == ".x.lock ");
  ::unlink((directory() + "/.x.lock").c_str());
}

TEST_CASE_FIXTURE(Tidy, "held lock: a child that inherited everything does not keep it") {
  const os::Directory here(directory());
  const std::string told = directory() + "/grandchild";
  HeldChild holder([&](const auto& stay) {
    const os::Directory there(directory());
    HeldLock::Attempt attempt;
    const auto lock = HeldLock::acquire(there, ".x.lock", "", attempt);
    if (!lock) return;
    // A fork as another library may make it: no fork handler runs, and all descriptors stay open.
    const pid_t grandchild = ::_Fork();
    if (grandchild == 0) {
      for (;;) ::pause();
    }
    there.write_file("grandchild", std::to_string(grandchild));
    stay();
  });
  REQUIRE(holder.came());
  const Pid grandchild = std::stoi(test::read_file(told));
  holder.kill();
  CHECK(os::is_running(grandchild));
  CHECK_FALSE(look_at_lock(here, ".x.lock").held);
  HeldLock::Attempt attempt;
  auto lock = HeldLock::acquire(here, ".x.lock", "", attempt);
  CHECK(lock);
  if (lock) lock->release(here);
  ::kill(grandchild, SIGKILL);
  ::unlink(told.c_str());
}

TEST_CASE_FIXTURE(Tidy, "held lock: a forked child of the holder holds nothing, and takes nothing away") {
  const os::Directory here(directory());
  HeldLock::Attempt attempt;
  auto lock = HeldLock::acquire(here, ".x.lock", "", attempt);
  REQUIRE(lock);
  const Pid pid = ::getpid();
  CHECK(in_child([&] {
          if (*lock) return 1;
          lock->release(here);
          lock.reset();
          const os::Directory there(directory());
          const LockFacts facts = look_at_lock(there, ".x.lock");
          return facts.held && facts.pid == pid ? 0 : 2;
        }) == 0);
  CHECK(lock_is_held_for_others(directory() + "/.x.lock"));
  lock->release(here);
}

TEST_CASE_FIXTURE(Tidy, "held lock: a lock file with nonsense in it is a lock file all the same") {
  const os::Directory here(directory());
  for (const std::string& text :
       {""s, "x"s, "{}"s, "[1]"s, R"({"pid":"x","note":7})"s, std::string(10'000, 'x'), "{\"pid\":1"s}) {
    CAPTURE(std::string(text));
    here.write_file(".x.lock", text);
    const LockFacts facts = look_at_lock(here, ".x.lock");
    CHECK(facts.exists);
    CHECK_FALSE(facts.held);
    CHECK(facts.pid == 0);
    HeldLock::Attempt attempt;
    auto lock = HeldLock::acquire(here, ".x.lock", "", attempt);
    REQUIRE(lock);
    CHECK(attempt.left);
    CHECK(attempt.left_by == 0);
    lock->release(here);
  }
}

TEST_CASE_FIXTURE(Tidy, "route: where there is no bus it says so") {
  CHECK(contains(error_of<BusError>([&] { (void)open(directory() + "/none"); }), "no such directory"));
  test::write_file(directory() + "/file", "x");
  CHECK(contains(error_of<BusError>([&] { (void)open(directory() + "/file"); }), "no directory"));
  ::unlink((directory() + "/file").c_str());
}

TEST_CASE_FIXTURE(Tidy, "route: a peer is present once it has an endpoint, and active once it has said so") {
  Route route = open(directory());
  CHECK(route.look("a").state == State::absent);
  auto registration = route.claim("a", "Class");
  CHECK(registration.name == "a");
  CHECK(registration.disk_name == "a");
  CHECK(route.look("a").state == State::absent);
  CHECK(route.list().empty());
  route.directory().write_file("a", "");
  CHECK(route.look("a").state == State::present);
  route.announce(registration);
  CHECK(route.directory().read_file("a.pid") == std::to_string(::getpid()));
  const PeerFacts facts = route.look("a");
  CHECK(facts.state == State::active);
  CHECK(facts.pid == ::getpid());
  route.vacate(registration, "");
  CHECK(route.directory().names().empty());
}

TEST_CASE_FIXTURE(Tidy, "route: a peer may leave statistics when it leaves") {
  Route route = open(directory());
  auto registration = route.claim("a/b", "");
  route.directory().write_file(registration.disk_name, "");
  route.announce(registration);
  CHECK(route.directory().read_file(registration.disk_name + ".name") == "a/b");
  route.vacate(registration, R"({"sent":{}})");
  CHECK(route.directory().read_file(registration.disk_name + ".stats") == R"({"sent":{}})");
  CHECK(route.look("a/b").state == State::absent);
  CHECK(route.list().empty());
  CHECK_FALSE(look_at_lock(route.directory(), lock_file_of(registration.disk_name)).exists);
  for (const auto& name : route.directory().names()) route.directory().remove_file(name);
}

TEST_CASE_FIXTURE(Tidy, "route: a name is taken while its holder lives") {
  Route route = open(directory());
  auto mine = route.claim("mine", "");
  try {
    (void)route.claim("mine", "");
    FAIL("it was had twice");
  } catch (const NameTaken& taken) {
    CHECK(taken.holder() == ::getpid());
  }
  HeldChild other([&](const auto& stay) { join(directory(), "other", stay); });
  REQUIRE(other.came());
  try {
    (void)route.claim("other", "");
    FAIL("it was had twice");
  } catch (const NameTaken& taken) {
    CHECK(taken.holder() == other.pid());
    CHECK(contains(taken.what(), "'other'"));
    CHECK(contains(taken.what(), std::to_string(other.pid())));
  }
  CHECK(route.look("other").state == State::active);  // the attempt changed nothing
  CHECK(route.look("other").pid == other.pid());
  CHECK(route.look("other").class_name == "Class of other");
  CHECK(other.end() == 0);
  auto next = route.claim("other", "");
  route.vacate(next, "");
  route.vacate(mine, "");
  route.directory().remove_file("other.stats");
  route.directory().remove_file("other.name");
}

TEST_CASE_FIXTURE(Tidy, "route: names that no peer can have are refused before anything is made") {
  Route route = open(directory());
  for (const char* name : {"", "_x", "0"}) CHECK_THROWS_AS((void)route.claim(name, ""), UsageError);
  CHECK(route.directory().names().empty());
}

TEST_CASE_FIXTURE(Tidy, "route: the files of a killed process are taken over with its name") {
  Route route = open(directory());
  HeldChild other([&](const auto& stay) { join(directory(), "a", stay); });
  REQUIRE(other.came());
  route.directory().write_file("a.resume", "unread");
  other.kill_only();
  CHECK(route.look("a").state == State::dead);
  auto registration = route.claim("a", "");
  CHECK(route.directory().names() == std::vector<std::string>{".a.lock"});
  route.vacate(registration, "");
}

TEST_CASE_FIXTURE(Tidy, "route: the list has the living, by name, and clears away the dead") {
  Route route = open(directory());
  HeldChild a([&](const auto& stay) { join(directory(), "z/1", stay); });
  HeldChild b([&](const auto& stay) { join(directory(), "b", stay); });
  HeldChild c([&](const auto& stay) { join(directory(), "c", stay); });
  REQUIRE((a.came() && b.came() && c.came()));
  test::write_file(directory() + "/.owner", "");  // none of these is a peer
  test::write_file(directory() + "/_gone", "");
  test::write_file(directory() + "/x.stats", "");
  REQUIRE(::mkdir((directory() + "/wrong_kind").c_str(), 0700) == 0);
  CHECK(names_of(route) == std::vector<std::string>{"b", "c", "z/1"});
  for (const auto& listed : route.list()) {
    CHECK(listed.has_lock);
    CHECK(listed.facts.state == State::active);
    CHECK(listed.facts.class_name == "Class of " + listed.name);
  }
  a.kill();
  c.kill_only();
  CHECK(names_of(route) == std::vector<std::string>{"b"});
  CHECK(test::names_in(directory()) ==
        std::vector<std::string>{".b.lock", ".owner", "_gone", "b", "b.pid", "wrong_kind", "x.stats"});
  CHECK(b.end() == 0);
  CHECK(names_of(route).empty());
  CHECK(std::filesystem::remove_all(directory()) > 0);
  REQUIRE(::mkdir(directory().c_str(), 0700) == 0);
}

TEST_CASE_FIXTURE(Tidy, "route: leftovers are cleared, the living are left alone") {
  Route route = open(directory());
  HeldChild dead([&](const auto& stay) { join(directory(), "dead", stay); });
  HeldChild alive([&](const auto& stay) { join(directory(), "alive", stay); });
  REQUIRE((dead.came() && alive.came()));
  auto mine = route.claim("mine", "");
  route.directory().write_file("mine", "");
  route.announce(mine);
  dead.kill();
  for (const char* name : {"dead", "alive", "mine", "nobody"}) route.clear_leftovers(name);
  CHECK(test::names_in(directory()) ==
        std::vector<std::string>{".alive.lock", ".mine.lock", "alive", "alive.pid", "mine", "mine.pid"});
  CHECK(lock_is_held_for_others(directory() + "/.mine.lock"));
  route.vacate(mine, "");
  CHECK(alive.end() == 0);
  CHECK(std::filesystem::remove_all(directory() + "/alive.stats") > 0);
}

TEST_CASE_FIXTURE(Tidy, "route: a peer killed before it said that it is active is a leftover too") {
  Route route = open(directory());
  HeldChild other([&](const auto& stay) {
    Route there = open(directory());
    const auto registration = there.claim("a", "");
    there.directory().write_file("a", "");
    stay();
  });
  REQUIRE(other.came());
  CHECK(route.look("a").state == State::present);
  CHECK(names_of(route) == std::vector<std::string>{"a"});
  other.kill();
  CHECK(route.look("a").state == State::dead);
  CHECK(names_of(route).empty());
  CHECK(test::names_in(directory()).empty());
}

TEST_CASE_FIXTURE(Tidy, "route: a peer of the reference, without a lock, goes by its pid file") {
  Route route = open(directory());
  HeldChild living([](const auto& stay) { stay(); });
  REQUIRE(living.came());
  const os::Directory here(directory());
  here.write_file("perl", "");
  CHECK(route.look("perl").state == State::present);  // it is joining now
  try {
    (void)route.claim("perl", "");
    FAIL("it was taken from somebody who is just coming");
  } catch (const NameTaken& taken) {
    CHECK(taken.holder() == 0);
  }
  here.write_file("perl.pid", std::to_string(living.pid()));
  CHECK(route.look("perl").state == State::active);
  CHECK(route.look("perl").pid == living.pid());
  REQUIRE(route.list().size() == 1);
  CHECK_FALSE(route.list().front().has_lock);
  CHECK_THROWS_AS((void)route.claim("perl", ""), NameTaken);
  CHECK(test::names_in(directory()) == std::vector<std::string>{"perl", "perl.pid"});
  living.kill();
  CHECK(route.look("perl").state == State::dead);
  CHECK(route.list().empty());
  if (!test::numbers_prove_deaths()) {
    MESSAGE("not in the first pid namespace: nothing proves the death of a foreign peer, and its files stay");
    CHECK_THROWS_AS((void)route.claim("perl", ""), NameTaken);
    here.remove_file("perl");
    here.remove_file("perl.pid");
    return;
  }
  CHECK(test::names_in(directory()).empty());
  // Another peer can also claim the name without a look at it.
  here.write_file("perl", "");
  here.write_file("perl.pid", std::to_string(dead_pid()));
  auto registration = route.claim("perl", "");
  route.vacate(registration, "");
}

TEST_CASE_FIXTURE(Tidy, "route: a foreign peer that took over a dead one's name is not its leftover") {
  Route route = open(directory());
  HeldChild dead([&](const auto& stay) { join(directory(), "a", stay); });
  HeldChild perl([](const auto& stay) { stay(); });
  REQUIRE((dead.came() && perl.came()));
  dead.kill();
  // Perl saw a dead pid, removed the files that it knows, and took the name. The lock file, which it does not
  // know, stays.
  const os::Directory here(directory());
  here.write_file("a", "");
  const auto endpoint = here.look("a").inode;
  here.write_file("a.pid", std::to_string(perl.pid()));
  CHECK(route.look("a").state == State::active);
  CHECK(route.look("a").pid == perl.pid());
  CHECK(names_of(route) == std::vector<std::string>{"a"});
  CHECK_THROWS_AS((void)route.claim("a", ""), NameTaken);
  route.clear_leftovers("a");
  CHECK(here.look("a").inode == endpoint);
  perl.kill();
  CHECK(names_of(route).empty());
  if (!test::numbers_prove_deaths())
    for (const char* left : {"a", "a.pid", ".a.lock"}) here.remove_file(left);
  CHECK(test::names_in(directory()).empty());
}

TEST_CASE_FIXTURE(Tidy, "route: a pid file with nonsense in it is as none") {
  Route route = open(directory());
  const os::Directory here(directory());
  here.write_file("a", "");
  for (const std::string& text : {""s, "x"s, "-1"s, "0"s, std::string(1'000, '1'), "99999999999"s}) {
    CAPTURE(std::string(text));
    here.write_file("a.pid", text);
    CHECK(route.look("a").state == State::present);
    CHECK(route.look("a").pid == 0);
  }
  here.remove_file("a");
  here.remove_file("a.pid");
}

TEST_CASE_FIXTURE(Tidy, "route: it is orphaned when its owner is dead or its directory is gone") {
  const std::string path = directory() + "/bus";
  REQUIRE(::mkdir(path.c_str(), 0700) == 0);
  Route route = open(path);
  CHECK_FALSE(route.is_orphaned());  // it has no owner, like a bus that Perl made
  HeldChild owner([&](const auto& stay) {
    const os::Directory there(path);
    HeldLock::Attempt attempt;
    const auto lock = HeldLock::acquire(there, kOwnerFile, "", attempt);
    if (lock) stay();
  });
  REQUIRE(owner.came());
  CHECK_FALSE(route.is_orphaned());
  owner.kill();
  CHECK(route.is_orphaned());
  route.directory().remove_file(kOwnerFile);
  CHECK_FALSE(route.is_orphaned());
  CHECK(std::filesystem::remove_all(path) > 0);
  CHECK(route.is_orphaned());
}
