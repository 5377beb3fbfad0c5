// Tests with several clients in one process. LocalMemory, which supports nothing else, runs these.

#include <algorithm>
#include <atomic>
#include <optional>
#include <thread>

#include "contract.h"

using namespace ipcm;
using namespace ipcm::test;

TEST_CASE_FIXTURE(Tidy, "A2: clients of one process talk, and a broadcast reaches all but its sender") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info()), b = ipcm_connect("b", guard.info()),
         c = ipcm_connect("c", guard.info());
  const std::string id = a.send_message("b", Content::json(R"({"ping":[1,null]})"));
  const auto got = collect(b, 1);
  CHECK(got[0].id == id);
  CHECK(got[0].from == "a");
  CHECK(got[0].to == "b");
  CHECK(got[0].content.json() == R"({"ping":[1,null]})");
  CHECK_FALSE(got[0].broadcast);
  b.send_message("a", "pong");
  CHECK(collect_contents(a, 1) == Strings{"\"pong\""});
  a.broadcast("all").expect_sent();
  for (Client* other : {&b, &c}) {
    const auto all = collect(*other, 1);
    CHECK(all[0].broadcast);
    CHECK(all[0].to == other->id());
  }
  CHECK(a.get_messages().empty());
  a.send_message("a", "to myself");
  CHECK(collect_contents(a, 1) == Strings{"\"to myself\""});
  CHECK_THROWS_AS(a.send_message("b", nullptr), UsageError);
}

TEST_CASE_FIXTURE(Tidy, "A3: messages between clients of one process arrive in order, small and large") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info()), b = ipcm_connect("b", guard.info());
  // As many as every medium holds unread.
  constexpr int kMany = 8, kRounds = 20;
  for (int round = 0; round < kRounds; ++round) {
    for (int i = 0; i < kMany; ++i)
      b.send_message("a", i == 4 ? std::string(50'000, 'x') : std::to_string(i));
    const auto got = collect(a, kMany);
    REQUIRE(got.size() == kMany);
    for (int i = 0; i < kMany; ++i)
      CHECK(got[static_cast<std::size_t>(i)].content.as<std::string>() ==
            (i == 4 ? std::string(50'000, 'x') : std::to_string(i)));
  }
}

TEST_CASE_FIXTURE(Tidy, "A4, A5: sent and read messages are counted, and unread ones are handed over") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info()), b = ipcm_connect("b", guard.info());
  b.send_message("a", 1);
  b.send_message("a", 2);
  CHECK(collect(a, 2).size() == 2);
  CHECK(a.statistics().read == std::map<std::string, std::uint64_t>{{"b", 2}});
  CHECK(b.statistics().sent == std::map<std::string, std::uint64_t>{{"a", 2}});
  b.send_message("a", 3);
  b.send_message("a", Content::json(R"({"terminate":1})"));
  Strings unread;
  a.disconnect([&](const Message& message) { unread.push_back(message.content.json()); });
  CHECK(unread == Strings{"3"});
  CHECK_THROWS_AS(b.send_message("a", 4), PeerGone);
  Client again = ipcm_connect("a", guard.info());
  b.send_message("a", 5);
  CHECK(
      contains(thrown_by<Error>([&] { again.disconnect(); }).what(), "messages waiting at disconnect for a"));
}

TEST_CASE_FIXTURE(Tidy, "A6, A7, A8: present and absent peers among clients of one process") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  std::string why;
  CHECK_FALSE(a.try_message("b", 1, &why));
  CHECK(contains(why, "b"));
  CHECK(thrown_by<PeerGone>([&] { a.send_message("b", 1); }).peer() == "b");
  CHECK_FALSE(a.peer_active("b"));
  CHECK_FALSE(a.peer_active("b", 1ms));
  {
    const Client z = ipcm_connect("z", guard.info()), b = ipcm_connect("b", guard.info());
    CHECK(a.peers() == Strings{"b", "z"});
    CHECK(a.peer_active("b"));
    CHECK(a.peer_active("b", kHang));
    CHECK(a.peer_exists("z"));
    CHECK(a.peer_pid("b").has_value());
  }
  CHECK(a.peers().empty());
  CHECK_FALSE(a.peer_exists("b"));
}

TEST_CASE_FIXTURE(Tidy, "A7: a client waits for one that joins on another thread, and for its message") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  std::thread other([info = guard.info()] {
    Client b = ipcm_connect("b", info);
    (void)b.wait_for_messages(kHang);  // until a has seen this client
    for (int i = 0; i < 100; ++i) b.send_message("a", i);
  });
  const bool active = a.peer_active("b", kHang);
  if (active) a.send_message("b", "seen");
  const auto got = active ? collect_contents(a, 100) : Strings{};
  other.join();
  CHECK(active);
  CHECK(got.size() == 100);
  CHECK(got.back() == "99");
}

TEST_CASE_FIXTURE(Tidy, "A9: one process has a name once, and any name works") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  CHECK_THROWS_AS((void)ipcm_connect("a", guard.info()), NameTaken);
  const Strings names = {
      "x/y", "..", "h-abc", "b.pid", " ", "\n", "gr\xc3\xbc\xc3\x9f", std::string(5000, 'n')};
  std::vector<Client> clients;
  for (const std::string& name : names) clients.push_back(ipcm_connect(name, guard.info()));
  auto sorted = names;
  std::sort(sorted.begin(), sorted.end());
  CHECK(a.peers() == sorted);
  for (Client& client : clients) {
    a.send_message(client.id(), 1);
    CHECK(collect(client, 1)[0].to == client.id());
  }
  a.disconnect();
  const Client again = ipcm_connect("a", guard.info());
}

TEST_CASE_FIXTURE(Tidy, "A13: clients of a bus that was taken down get an error that says so") {
  std::optional<Guard> guard(spawn_bus());
  const BusInfo info = guard->info();
  Client a = ipcm_connect("a", info), b = ipcm_connect("b", info);
  guard.reset();  // it can't wait for clients of its own process
  CHECK_FALSE(a.try_message("c", 1));
  CHECK_THROWS_AS((void)ipcm_connect("c", info), BusError);
}

TEST_CASE_FIXTURE(Tidy, "F5: one that does not read is bounded, and others are not affected" *
                            needs_no_processes()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info()), b = ipcm_connect("b", guard.info()),
         c = ipcm_connect("c", guard.info());
  const std::string large(1U << 20U, 'x');
  std::string why;
  int sent = 0;
  while (sent < 1000 && b.try_message("a", large, &why)) ++sent;
  CHECK(sent < 1000);
  CHECK(contains(why, "does not read"));
  b.send_message("c", 1);
  CHECK(collect(c, 1).size() == 1);
  CHECK(collect(a, 1).size() == static_cast<std::size_t>(sent));
  b.send_message("a", "room again");
  CHECK(collect(a, 1).size() == 1);
}

TEST_CASE_FIXTURE(Tidy,
                  "B1: a service on a bus inside one process is refused at once" * needs_no_processes()) {
  CHECK(contains(thrown_by<UsageError>([] { (void)start("s", echoing()); }).what(), "another protocol"));
  const Guard guard = spawn_bus();
  CHECK_THROWS_AS((void)start_on(guard.info(), "s", echoing()), UsageError);
  CHECK_THROWS_AS((void)start_on(guard.info(), "s", exec_echo()), UsageError);
  CHECK_THROWS_AS((void)ipcm_service_nowait("s",
                                            [&] {
                                              ServiceOptions options = exec_echo();
                                              options.ipcm_info = guard.info();
                                              return options;
                                            }()),
                  UsageError);
}

TEST_CASE_FIXTURE(Tidy, "G9: of two threads that join under one name at the same moment, one is refused") {
  const Guard guard = spawn_bus();
  constexpr int kRounds = 20;
  for (int round = 0; round < kRounds; ++round) {
    std::atomic<int> ready{0}, won{0}, refused{0};
    const auto join = [&] {
      ++ready;
      while (ready < 2) std::this_thread::yield();
      std::optional<Client> client;
      try {
        client.emplace(ipcm_connect("same", guard.info()));
        ++won;
      } catch (const NameTaken&) {
        ++refused;
      }
      while (won + refused < 2) std::this_thread::yield();
    };
    std::thread a(join), b(join);
    a.join();
    b.join();
    REQUIRE(won == 1);
    REQUIRE(refused == 1);
  }
}

TEST_CASE_FIXTURE(Tidy, "G9: a look at a name from another thread takes nothing from its member") {
  const Guard guard = spawn_bus();
  std::atomic<bool> over{false};
  std::thread looker([&] {
    Client client = ipcm_connect("looker", guard.info());
    while (!over) (void)client.peer_active("a");
  });
  Client asker = ipcm_connect("asker", guard.info());
  bool seen = true;
  constexpr int kRounds = 20;
  for (int round = 0; round < kRounds && seen; ++round) {
    const Client a = ipcm_connect("a", guard.info());
    for (int look = 0; look < 10; ++look) seen = seen && asker.peer_active("a");
  }
  over = true;
  looker.join();
  CHECK(seen);
}
