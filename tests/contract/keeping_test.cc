// A10, A11 and related behaviours: messages that outlive their reader, on the protocols that keep messages.

#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstdlib>
#include <map>
#include <set>

#include "bus/member.h"
#include "contract.h"
#include "os/clock.h"

using namespace ipcm;
using namespace ipcm::test;

namespace {

/// A member of the bus, without the public interface of Client.
class Bare {
 public:
  Bare(const BusInfo& info, const std::string& name, bool reconnect = false)
      : member_(request(info, name, reconnect), std::make_shared<Loop>(), bus::Member::Sending::waits) {}
  bus::Member* operator->() { return &member_; }

  /// Waits until `count` messages have arrived, and returns them. Earlier messages count as read.
  std::vector<Message> collect(std::size_t count) {
    std::vector<Message> all;
    const auto deadline = os::Deadline::after(kHang);
    while (all.size() < count && !deadline.has_passed()) {
      member_.loop().run_until([&] { return !member_.inbox().empty(); }, deadline);
      for (Message& message : member_.inbox().take()) all.push_back(std::move(message));
    }
    return all;
  }
  std::vector<std::string> contents(std::size_t count) {
    std::vector<std::string> all;
    for (const Message& message : collect(count)) all.push_back(message.content.json());
    return all;
  }

 private:
  static transport::JoinRequest request(const BusInfo& info, const std::string& name, bool reconnect) {
    transport::JoinRequest request;
    request.info = info;
    request.name = name;
    request.reconnect = reconnect;
    return request;
  }
  bus::Member member_;
};

using State = transport::PeerFacts::State;

}  // namespace

TEST_CASE_FIXTURE(Tidy, "A10: suspend throws on a protocol that keeps no messages, and says so" *
                            kept_messages(false)) {
  const Guard guard = spawn_bus();
  Bare a(guard.info(), "a");
  CHECK(contains(thrown_by<BusError>([&] { a->suspend(std::nullopt, os::Deadline::passed()); }).what(),
                 protocol()));
  Client b = ipcm_connect("b", guard.info());
  b.send_message("a", "still there");
  CHECK(a.contents(1) == Strings{"\"still there\""});
}

TEST_CASE_FIXTURE(Tidy, "A10: messages sent before and during a suspension are all there after it" *
                            kept_messages()) {
  const Guard guard = spawn_bus();
  Client b = ipcm_connect("b", guard.info());
  {
    Bare a(guard.info(), "a");
    b.send_message("a", 1);
    CHECK(a.contents(1) == Strings{"1"});
    b.send_message("a", 2);
    a->inbox().drain();  // in the inbox, not read, and not lost
    b.send_message("a", 3);
    a->suspend(std::nullopt, os::Deadline::passed());
    CHECK_THROWS_AS(a->expect_usable(), UsageError);
  }
  CHECK(b.peers() == Strings{"a"});
  CHECK_FALSE(b.peer_active("a"));
  CHECK(b.member().transport().look("a").state == State::suspended);
  for (int i = 4; i < 20; ++i) b.send_message("a", i);
  Bare a(guard.info(), "a", true);
  CHECK(b.peer_active("a"));
  Strings expected;
  for (int i = 2; i < 20; ++i) expected.push_back(std::to_string(i));
  CHECK(a.contents(18) == expected);
  b.send_message("a", 20);
  CHECK(a.contents(1) == Strings{"20"});
  a->leave(os::Deadline::passed());
  CHECK(b.peers().empty());
}

TEST_CASE_FIXTURE(Tidy, "A10: only a reconnect may use a suspended name" * kept_messages()) {
  const Guard guard = spawn_bus();
  Client b = ipcm_connect("b", guard.info());
  {
    Bare a(guard.info(), "a");
    a->suspend(std::nullopt, os::Deadline::passed());
  }
  b.send_message("a", 1);
  CHECK(contains(thrown_by<NameTaken>([&] { const Bare again(guard.info(), "a"); }).what(), "suspended"));
  Bare a(guard.info(), "a", true);
  CHECK(a.contents(1) == Strings{"1"});
}

TEST_CASE_FIXTURE(Tidy,
                  "A10: to reconnect while the name is in use throws" * kept_messages() * needs_processes()) {
  const Guard guard = spawn_bus();
  Forked other([&](Lines& test) {
    Bare a(guard.info(), "a");
    test.say("joined");
    test.say(a.contents(1).at(0));
    test.hear();
    return 0;
  });
  CHECK(other.hear() == "joined");
  CHECK(thrown_by<NameTaken>([&] { const Bare again(guard.info(), "a", true); }).holder() == other.pid());
  Client b = ipcm_connect("b", guard.info());
  b.send_message("a", "unharmed");
  CHECK(other.hear() == "\"unharmed\"");
  other.say("end");
  CHECK(other.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "A10: a peer that is away too long is dead: its name is free, its messages are gone" *
                            kept_messages()) {
  const Guard guard = spawn_bus();
  Client b = ipcm_connect("b", guard.info());
  {
    Bare a(guard.info(), "a");
    b.send_message("a", "old");
    a->suspend(os::wall_clock_seconds() - 1, os::Deadline::passed());
  }
  CHECK_FALSE(b.try_message("a", 1));
  CHECK(b.peers().empty());
  Bare a(guard.info(), "a");
  b.send_message("a", "new");
  CHECK(a.contents(1) == Strings{"\"new\""});
}

TEST_CASE_FIXTURE(Tidy, "A10: peers can read a suspension's deadline, and the reconnect clears it" *
                            kept_messages()) {
  const Guard guard = spawn_bus();
  Client b = ipcm_connect("b", guard.info());
  const double until = std::floor(os::wall_clock_seconds()) + 1000.25;
  {
    Bare a(guard.info(), "a");
    a->suspend(until, os::Deadline::passed());
  }
  const auto facts = b.member().transport().look("a");
  CHECK(facts.state == State::suspended);
  CHECK(facts.expires == until);
  b.send_message("a", 1);
  {
    Bare a(guard.info(), "a", true);
    CHECK(a.contents(1) == Strings{"1"});
    a->suspend(std::nullopt, os::Deadline::passed());
  }
  CHECK_FALSE(b.member().transport().look("a").expires);
}

TEST_CASE_FIXTURE(Tidy, "A10: a suspended peer is seen to go and to come back" * kept_messages()) {
  const Guard guard = spawn_bus();
  Client b = ipcm_connect("b", guard.info());
  std::optional<Bare> a(std::in_place, guard.info(), "a");
  CHECK(b.peer_active("a", kHang));
  const std::uint64_t seen = b.member().peer_changes();
  (*a)->suspend(std::nullopt, os::Deadline::passed());
  a.reset();
  CHECK(b.member().loop().run_until([&] { return b.member().peer_changes() != seen; },
                                    os::Deadline::after(kHang)));
  CHECK_FALSE(b.peer_active("a"));
  a.emplace(guard.info(), "a", true);
  CHECK(b.peer_active("a", kHang));
}

TEST_CASE_FIXTURE(Tidy,
                  "A10: a processed message does not come again, an unprocessed one does" * kept_messages()) {
  const Guard guard = spawn_bus();
  Client b = ipcm_connect("b", guard.info());
  for (const bool dealt_with : {true, false}) {
    CAPTURE(dealt_with);
    Forked reader([&](Lines& test) {
      Bare a(guard.info(), "a", true);
      test.say("joined");
      test.say(a.contents(1).at(0));
      if (dealt_with) a->inbox().finish_taken();
      ::kill(::getpid(), SIGKILL);
      return 0;
    });
    CHECK(reader.hear() == "joined");
    b.send_message("a", 1);
    CHECK(reader.hear() == "1");
    CHECK(reader.wait() == ExitStatus::signalled(SIGKILL));
    CHECK(b.peers().empty());  // peers() removes dead peers, but not their unread messages
    Bare a(guard.info(), "a", true);
    b.send_message("a", 2);
    CHECK(a.contents(dealt_with ? 1 : 2) == (dealt_with ? Strings{"2"} : Strings{"1", "2"}));
  }
}

TEST_CASE_FIXTURE(Tidy, "A11: messages put back come first, also after a suspension" * kept_messages()) {
  const Guard guard = spawn_bus();
  Client b = ipcm_connect("b", guard.info());
  std::vector<Message> got;
  {
    Bare a(guard.info(), "a");
    b.send_message("a", 1);
    b.send_message("a", 2);
    got = a.collect(2);
    a->transport().requeue({got[1]});
    a->inbox().finish_taken();
    b.send_message("a", 3);
    a->inbox().drain();
    auto again = a->inbox().take();
    REQUIRE(again.size() == 2);
    CHECK(again[0].id == got[1].id);
    CHECK(again[1].content.json() == "3");
    a->transport().requeue(again);
    a->suspend(std::nullopt, os::Deadline::passed());
  }
  b.send_message("a", 4);
  Bare a(guard.info(), "a", true);
  a->inbox().drain();
  CHECK(a.contents(3) == Strings{"2", "3", "4"});
  a->inbox().finish_taken();
  a->inbox().drain();
  CHECK(a->inbox().empty());
}

TEST_CASE_FIXTURE(Tidy, "A11: messages put back are not lost if their reader dies" * kept_messages()) {
  const Guard guard = spawn_bus();
  Client b = ipcm_connect("b", guard.info());
  Forked reader([&](Lines& test) {
    Bare a(guard.info(), "a");
    test.say("joined");
    const auto got = a.collect(1);
    a->transport().requeue(got);
    a->inbox().finish_taken();
    a->inbox().drain();
    test.say(a.contents(1).at(0));
    ::kill(::getpid(), SIGKILL);
    return 0;
  });
  CHECK(reader.hear() == "joined");
  b.send_message("a", 1);
  CHECK(reader.hear() == "1");
  (void)reader.wait();
  CHECK(b.peers().empty());
  Bare a(guard.info(), "a", true);
  a->inbox().drain();
  CHECK(a.contents(1) == Strings{"1"});
}

TEST_CASE_FIXTURE(Tidy,
                  "F2: readers that are killed at any moment lose nothing that was sent" * kept_messages()) {
  const char* given = std::getenv("IPCM_TEST_KILLS");
  const int kills = given != nullptr ? std::atoi(given) : 20;
  const Guard guard = spawn_bus();
  // Sends increasing numbers until the test ends it, and reports how many.
  Forked sender([&](Lines& test) {
    Client client = ipcm_connect("sender", guard.info());
    test.say("joined");
    int sent = 0;
    for (std::string line = test.hear(); line != "end"; line = test.hear()) {
      // After the reader died, a send fails until the successor has joined. Then the number is sent again.
      for (int i = 0; i < 40; ++i)
        if (client.try_message("reader", sent)) ++sent;
      test.say(std::to_string(sent));
    }
    return 0;
  });
  CHECK(sender.hear() == "joined");
  const auto reading = [&](Lines& test) {
    Bare reader(guard.info(), "reader", true);
    test.say("joined");
    for (;;) {
      reader->loop().run_until([&] { return !reader->inbox().empty(); }, os::Deadline::never());
      for (const Message& message : reader->inbox().take())
        test.say(message.id + " " + message.content.json());
      reader->inbox().finish_taken();
    }
    return 0;
  };

  std::map<int, std::set<std::string>> seen;  // the ids of the messages with that number
  std::map<std::string, int> times;           // how often that id arrived
  const auto note = [&](const std::string& line) {
    const auto blank = line.find(' ');
    seen[std::stoi(line.substr(blank + 1))].insert(line.substr(0, blank));
    ++times[line.substr(0, blank)];
  };
  std::srand(4711);
  std::string sent = "0";
  for (int round = 0; round < kills; ++round) {
    Forked reader(reading);
    CHECK(reader.hear() == "joined");
    sender.say("more");
    // Kills the reader after a random number of messages: while it reads, reports, or removes the next.
    for (int left = std::rand() % 30; left > 0; --left) note(reader.hear());
    reader.kill(SIGKILL);
    (void)reader.wait();
    // The messages that it reported before it died count as read.
    try {
      for (;;) note(reader.hear());
    } catch (const std::exception&) {
    }
    sent = sender.hear();
  }
  // The last one reads the rest.
  const int all = std::stoi(sent);
  CHECK(all > kills);
  Bare last(guard.info(), "reader", true);
  const auto deadline = os::Deadline::after(kHang);
  while (static_cast<int>(seen.size()) < all && !deadline.has_passed())
    for (const Message& message : last.collect(1)) {
      seen[message.content.as<int>()].insert(message.id);
      ++times[message.id];
    }
  CHECK(static_cast<int>(seen.size()) == all);
  int twice = 0;
  for (const auto& [number, ids] : seen) {
    CHECK(number < all);
    CHECK(ids.size() == 1);  // a message that arrives twice has the same id
  }
  for (const auto& [id, count] : times) twice += count > 1;
  MESSAGE(all << " messages, " << kills << " readers killed, " << twice << " came more than once");
  sender.say("end");
  CHECK(sender.wait() == ExitStatus::exited(0));
}
