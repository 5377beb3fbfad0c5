// G2 and G9: facts that a lock proves about its holder. No thread of this process can lose a lock, or have it
// twice.

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "ipcm/error.h"
#include "os/process.h"
#include "os/record_lock.h"
#include "support/tidy.h"
#include "transport/directory/route.h"
#include "transport/presence/lock_file.h"
#include "unit/expect.h"
#include "unit/forked.h"
#include "unit/locks.h"

using namespace ipcm;
using namespace ipcm::transport;
using ipcm::test::HeldChild;
using ipcm::test::in_child;
using ipcm::test::kForkUnlocksAllocator;
using ipcm::test::lock_is_held_for_others;
using ipcm::test::Tidy;
using State = PeerFacts::State;

namespace {

Route route_at(const std::string& path) {
  return Route(path, {.longest_name = 60, .endpoints = {os::FileKind::regular}});
}

}  // namespace

TEST_CASE_FIXTURE(Tidy, "G2: the holder of a lock is proven, its note is not") {
  const os::Directory here(directory());
  HeldChild stranger([](const auto& stay) { stay(); });
  REQUIRE(stranger.came());
  os::UniqueFd process;
  test::write_file(directory() + "/claim", R"({"pid":)" + std::to_string(stranger.pid()) + R"(,"note":"n"})");
  // The number of another process in a file without a lock proves nothing.
  LockFacts facts = look_at_lock(here, "claim", &process);
  CHECK(facts.exists);
  CHECK(facts.written_by == stranger.pid());
  CHECK_FALSE(process);
  HeldChild keeps([&](const auto& stay) {
    HeldLock::Attempt attempt;
    const auto lock = HeldLock::acquire(os::Directory(directory()), ".y.lock", "n", attempt);
    stay();
  });
  REQUIRE(keeps.came());
  facts = look_at_lock(here, ".y.lock", &process);
  CHECK(facts.held);
  REQUIRE(process);
  CHECK(os::pid_of(process.get()) == keeps.pid());
  keeps.kill_only();
  facts = look_at_lock(here, ".y.lock", &process);
  CHECK_FALSE(facts.held);
  CHECK_FALSE(process);
  here.remove_file("claim");
  here.remove_file(".y.lock");
}

TEST_CASE_FIXTURE(Tidy, "G2: a planted pid file is a claim, and proves no process") {
  const Route route = route_at(directory());
  HeldChild stranger([](const auto& stay) { stay(); });
  REQUIRE(stranger.came());
  for (const Pid planted : {Pid{1}, stranger.pid(), ::getppid()}) {
    CAPTURE(planted);
    route.directory().write_file("x", "");
    route.directory().write_file("x.pid", std::to_string(planted));
    const auto found = route.identify("x");
    CHECK(found.facts.state == State::active);
    CHECK(found.facts.pid == planted);
    CHECK_FALSE(found.process);
    CHECK_FALSE(found.facts.surely_dead);
  }
  route.directory().remove_file("x");
  route.directory().remove_file("x.pid");
}

TEST_CASE_FIXTURE(Tidy,
                  "G2: a foreign peer is dead if its endpoint proves it, whichever process has its pid") {
  os::Endpoint endpoint = os::Endpoint::read;
  Route route(directory(),
              {.longest_name = 60,
               .endpoints = {os::FileKind::regular},
               .ask_endpoint = [&](const os::Directory&, const std::string&) { return endpoint; }});
  const os::Directory here(directory());
  HeldChild gone([](const auto& stay) { stay(); });
  const Pid number = gone.pid();
  gone.kill();
  here.write_file("x", "");
  here.write_file("x.pid", std::to_string(number));
  // No process here has the number, and the endpoint has a reader: it lives in another pid namespace.
  CHECK(route.look("x").state == State::active);
  CHECK(route.look("x").elsewhere);
  CHECK(route.look("x").pid == 0);
  CHECK(route.look("x").noted == number);
  CHECK(route.list().size() == 1);
  CHECK_THROWS_AS((void)route.claim("x", ""), NameTaken);
  // The same if the file has the number of this process.
  here.write_file("x.pid", std::to_string(::getpid()));
  CHECK(route.look("x").elsewhere);
  CHECK_THROWS_AS((void)route.claim("x", ""), NameTaken);
  endpoint = os::Endpoint::dead;
  CHECK(route.look("x").state == State::dead);
  CHECK(route.look("x").surely_dead);
  CHECK(route.list().empty());
  CHECK_FALSE(here.read_file("x"));
}

TEST_CASE_FIXTURE(Tidy, "G9: of two threads that take one name at the same moment, one has it") {
  const os::Directory here(directory());
  constexpr int kRounds = 200;
  for (int round = 0; round < kRounds; ++round) {
    std::atomic<int> ready{0}, won{0}, done{0};
    const auto take = [&] {
      ++ready;
      while (ready < 2) std::this_thread::yield();
      HeldLock::Attempt attempt;
      auto lock = HeldLock::acquire(here, ".x.lock", "n", attempt);
      won += lock ? 1 : 0;
      ++done;
      while (done < 2) std::this_thread::yield();
      if (lock) lock->release(here);
    };
    std::thread a(take), b(take);
    a.join();
    b.join();
    REQUIRE(won == 1);
  }
}

TEST_CASE_FIXTURE(Tidy, "G9: a look from another thread drops no lock") {
  const os::Directory here(directory());
  std::atomic<bool> over{false};
  std::vector<std::thread> lookers;
  for (int i = 0; i < 2; ++i)
    lookers.emplace_back([&] {
      while (!over) (void)look_at_lock(here, ".x.lock");
    });
  bool always_held = true;
  constexpr int kRounds = 100;
  for (int round = 0; round < kRounds && always_held; ++round) {
    HeldLock::Attempt attempt;
    auto lock = HeldLock::acquire(here, ".x.lock", "n", attempt);
    always_held = lock && lock_is_held_for_others(directory() + "/.x.lock");
    if (lock && round % 2 == 0) lock->release(here);  // otherwise the next round finds its file
  }
  over = true;
  for (std::thread& looker : lookers) looker.join();
  CHECK(always_held);
  here.remove_file(".x.lock");
}

TEST_CASE_FIXTURE(Tidy, "G9: a child that was forked while another thread looked can look") {
  const os::Directory here(directory());
  std::atomic<bool> over{false};
  std::thread looker([&] {
    while (!over) (void)look_at_lock(here, ".x.lock");
  });
  if (!kForkUnlocksAllocator) {
    over = true;
    looker.join();
  }
  HeldLock::Attempt attempt;
  auto lock = HeldLock::acquire(here, ".x.lock", "n", attempt);
  int wrong = 0;
  constexpr int kRounds = 50;
  for (int round = 0; round < kRounds; ++round)
    wrong += in_child([&] { return look_at_lock(os::Directory(directory()), ".x.lock").held ? 0 : 1; });
  over = true;
  if (looker.joinable()) looker.join();
  CHECK(wrong == 0);
  lock->release(here);
}
