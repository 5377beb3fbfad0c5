// The state of a bus: statistics, requeued messages, suspended names, and the owner.

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <optional>
#include <random>
#include <thread>

#include "bus/member.h"
#include "contract.h"
#include "os/pipe.h"

using namespace ipcm;
using namespace ipcm::test;

namespace {

/// Returns the body of a process that joins under `name`, reads `count` messages, and leaves.
std::function<int(Lines&)> taker(const std::string& name, const BusInfo& info, std::size_t count) {
  return [=](Lines& test) {
    Client client = ipcm_connect(name, info);
    test.say("joined");
    (void)collect(client, count);
    client.disconnect();
    return 0;
  };
}

std::vector<std::string> described(const std::vector<Discrepancy>& all) {
  std::vector<std::string> words;
  for (const Discrepancy& one : all) words.push_back(one.describe());
  return words;
}

/// Returns letters that no compression makes much shorter.
std::string noise(std::size_t size) {
  std::mt19937 random(1);  // the same text in each run
  std::string text(size, ' ');
  for (char& letter : text) letter = static_cast<char>('A' + random() % 26);
  return text;
}

/// Executes this test program again in this process, with only the helper test of that name.
[[noreturn]] void become_helper(const std::string& info) {
  ::setenv("IPCM_TEST_REJOIN", info.c_str(), 1);
  ::execl("/proc/self/exe", "contract", "--no-skip", "-tc=helper: join again after exec", nullptr);
  ::_exit(97);
}

}  // namespace

TEST_CASE_FIXTURE(Tidy,
                  "A4: counts are written at disconnect, and others can read them" * needs_processes()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  Forked b(taker("b", guard.info(), 2));
  CHECK(b.hear() == "joined");
  a.send_message("b", 1);
  a.send_message("b", 2);
  CHECK(b.wait() == ExitStatus::exited(0));
  const auto all = a.all_statistics();
  REQUIRE(all.contains("b"));
  CHECK(all.at("b").read.at("a") == 2);
  CHECK(all.at("b").sent.empty());
  CHECK_FALSE(all.contains("a"));  // still on the bus
  CHECK(a.statistics().sent.at("b") == 2);
}

TEST_CASE_FIXTURE(Tidy, "A4: a new peer under an old name continues its counts") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  for (int i = 0; i < 2; ++i) {
    Client b = ipcm_connect("b", guard.info());
    a.send_message("b", i);
    CHECK(collect_contents(b, 1) == std::vector<std::string>{std::to_string(i)});
    b.disconnect();
  }
  CHECK(a.all_statistics().at("b").read.at("a") == 2);
  a.disconnect();
  CHECK(guard.sanity_check().empty());
}

TEST_CASE_FIXTURE(Tidy, "A4: the sanity check names each pair whose counts differ, and by how many") {
  const Guard guard = spawn_bus();
  {
    Client a = ipcm_connect("a", guard.info()), b = ipcm_connect("b", guard.info()),
           c = ipcm_connect("c", guard.info());
    a.send_message("b", 1);
    a.send_message("b", 2);
    a.send_message("b", 3);
    c.send_message("a", 4);
    CHECK(collect(a, 1).size() == 1);
    c.disconnect();
    a.disconnect();
    CHECK_THROWS_AS(b.disconnect(), Error);  // it has unread messages, which do not count as read
  }
  CHECK(described(guard.sanity_check()) ==
        std::vector<std::string>{"3 messages from 'a' to 'b' were sent and not read"});
}

TEST_CASE_FIXTURE(Tidy,
                  "A4: a visitor that leaves no counts is no discrepancy, a peer that does not is one") {
  for (const bool visits : {true, false}) {
    CAPTURE(visits);
    const Guard guard = spawn_bus();
    Client a = ipcm_connect("a", guard.info());
    Client other = ipcm_connect(visits ? "ipcm-4711" : "ipcm-x", guard.info());
    other.member().counts().store(false);
    other.send_message("a", 1);
    CHECK(collect(a, 1).size() == 1);
    a.send_message(visits ? "ipcm-4711" : "ipcm-x", 2);
    CHECK(collect(other, 1).size() == 1);
    other.disconnect();
    a.disconnect();
    CHECK(guard.sanity_check().empty() == visits);
  }
}

TEST_CASE_FIXTURE(Tidy, "A4: a bus with do_sanity_check checks at shutdown") {
  SpawnOptions options = bus_options();
  options.do_sanity_check = true;
  {
    Guard guard = ipcm_spawn(options);
    Client a = ipcm_connect("a", guard.info()), b = ipcm_connect("b", guard.info());
    a.send_message("b", 1);
    b.disconnect([](const Message&) {});
    a.disconnect();
    CHECK_NOTHROW(guard.shutdown());
  }
  Guard guard = ipcm_spawn(options);
  Client a = ipcm_connect("a", guard.info()), b = ipcm_connect("b", guard.info());
  a.send_message("b", 1);
  CHECK_THROWS(b.disconnect());
  a.disconnect();
  const auto error = thrown_by<Error>([&] { guard.shutdown(); });
  CHECK(contains(error.what(), "1 messages from 'a' to 'b' were sent and not read"));
  CHECK_NOTHROW(guard.shutdown());  // already done
}

TEST_CASE_FIXTURE(Tidy, "A4: services that asked each other and were shut down pass the sanity check" *
                            needs_processes()) {
  ServiceOptions options = echoing();
  options.bus = bus_options();
  options.bus.do_sanity_check = true;
  Handle handle = ipcm_service("e", options);
  Handle other = start_on(handle.info(), "f", echoing());
  for (int i = 0; i < 10; ++i) CHECK(handle.sync_request(i, kHang).ok());
  CHECK(handle.sync_request("f", "x", kHang).ok());
  (void)other.shutdown();
  CHECK_NOTHROW(handle.shutdown());
}

TEST_CASE_FIXTURE(Tidy, "A10: suspend and reconnect: messages sent before and meanwhile are all there after" *
                            needs_processes()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  Forked b([&](Lines& test) {
    Client client = ipcm_connect("b", guard.info());
    test.say("joined");
    test.hear();
    try {
      client.suspend(1h);
      test.say("away");
    } catch (const BusError& error) {
      test.say(error.what());
      (void)collect(client, 1);  // it is still on the bus
    }
    return 0;
  });
  CHECK(b.hear() == "joined");
  a.send_message("b", "before");
  b.say("suspend");
  const std::string said = b.hear();
  if (!keeps_messages()) {
    CHECK(contains(said, "'b' can't suspend: protocol " + protocol() + " keeps no messages"));
    CHECK(b.wait() == ExitStatus::exited(0));
    return;
  }
  CHECK(said == "away");
  CHECK(b.wait() == ExitStatus::exited(0));
  CHECK(a.peers() == std::vector<std::string>{"b"});  // A8: a suspended peer is listed
  CHECK(a.peer_exists("b"));
  CHECK_FALSE(a.peer_active("b"));
  a.send_message("b", "meanwhile");
  CHECK_THROWS_AS((void)ipcm_connect("b", guard.info()), NameTaken);
  {
    Client again = ipcm_reconnect("b", guard.info());
    CHECK(a.peer_active("b"));
    CHECK(collect_contents(again, 2) == std::vector<std::string>{"\"before\"", "\"meanwhile\""});
    again.disconnect();
  }
  a.disconnect();
  CHECK(guard.sanity_check().empty());
}

TEST_CASE_FIXTURE(Tidy, "A10: a reconnect while the old process lives throws, and leaves that one its place" *
                            needs_processes()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  Forked b([&](Lines& test) {
    Client client = ipcm_connect("b", guard.info());
    test.say("joined");
    test.say(collect_contents(client, 1)[0]);
    return 0;
  });
  CHECK(b.hear() == "joined");
  CHECK(thrown_by<NameTaken>([&] { (void)ipcm_reconnect("b", guard.info()); }).holder() == b.pid());
  a.send_message("b", "still there?");
  CHECK(b.hear() == "\"still there?\"");
  CHECK(b.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy,
                  "A10: a suspended peer is gone after its deadline, and a reconnect clears the deadline" *
                      kept_messages()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  Client b = ipcm_connect("b", guard.info());
  b.suspend(std::chrono::system_clock::now() - 1s);
  CHECK(a.peers().empty());
  Client again = ipcm_connect("b", guard.info());  // the name is free
  again.suspend(1h);
  Client third = ipcm_reconnect("b", guard.info());
  third.suspend();
  CHECK(a.peers() == std::vector<std::string>{"b"});
  Client last = ipcm_reconnect("b", guard.info());
  CHECK(a.peer_active("b"));
}

TEST_CASE_FIXTURE(Tidy, "A11: messages put back come again first, with the next read") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info()), b = ipcm_connect("b", guard.info());
  for (int i = 1; i <= 3; ++i) a.send_message("b", i);
  const auto first = collect(b, 3);
  b.requeue_messages({first[1], first[2]});
  CHECK(b.statistics().read.at("a") == 1);
  a.send_message("b", 4);
  CHECK(collect_contents(b, 3) == std::vector<std::string>{"2", "3", "4"});
  CHECK(b.statistics().read.at("a") == 4);
  CHECK(b.get_messages().empty());
}

TEST_CASE_FIXTURE(Tidy, "A11: messages put back reach the next process that joins under the name") {
  const Guard guard = spawn_bus();
  const std::string name = "b with a name that is long enough to be hashed " + std::string(300, 'x');
  Client a = ipcm_connect("a", guard.info());
  {
    Client b = ipcm_connect(name, guard.info());
    a.send_message(name, "x");
    b.requeue_message(collect(b, 1)[0]);
    b.disconnect();
  }
  Client b = ipcm_connect(name, guard.info());
  CHECK(collect_contents(b, 1) == std::vector<std::string>{"\"x\""});
  b.disconnect();
  a.disconnect();
  CHECK(guard.sanity_check().empty());
}

TEST_CASE_FIXTURE(Tidy, "A11: messages put back survive an exec of their reader" * needs_processes()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  Forked b([&](Lines& test) -> int {
    Client client = ipcm_connect("b", guard.info());
    test.say("joined");
    const auto got = collect(client, 1);
    client.requeue_messages(got);
    become_helper(guard.info().text());
  });
  CHECK(b.hear() == "joined");
  a.send_message("b", "for the other program");
  CHECK(collect_contents(a, 1) == std::vector<std::string>{"\"for the other program\""});
  CHECK(b.wait() == ExitStatus::exited(0));
}

TEST_CASE("helper: join again after exec" * doctest::skip()) {
  const char* info = std::getenv("IPCM_TEST_REJOIN");
  REQUIRE(info != nullptr);
  Client client = ipcm_connect("b", info);
  for (const Message& message : collect(client, 1)) client.send_message("a", message.content);
}

TEST_CASE_FIXTURE(Tidy,
                  "A13: the configured signal reaches the peers before the word to end" * needs_processes()) {
  SpawnOptions options = bus_options();
  options.signal = SIGUSR1;
  Guard guard = ipcm_spawn(options);
  const std::string file = directory() + "/order";
  ServiceOptions service = echoing();
  service.on_sig[SIGUSR1] = [file](Service&) { write_file(file, "signal"); };
  service.on_general_message = [file](Service&, const Message&) {
    write_file(file, read_file(file) + " word");
  };
  Handle handle = start_on(guard.info(), "e", service);
  handle.release();
  guard.shutdown();
  CHECK(read_file(file) == "signal word");
  std::filesystem::remove(file);
}

TEST_CASE_FIXTURE(Tidy, "A13: a peer that is stopped does not hold up the others, and is ended" *
                            needs_processes()) {
  SpawnOptions options = bus_options();
  options.polite_time = 300ms;
  options.term_time = 300ms;
  Guard guard = ipcm_spawn(options);
  Handle stopped = start_on(guard.info(), "stopped", echoing());
  Handle well = start_on(guard.info(), "well", echoing());
  const Pid pid = stopped.service_pid().value(), other = well.service_pid().value();
  ::kill(pid, SIGSTOP);
  stopped.release();
  well.release();
  CHECK_NOTHROW(guard.shutdown());
  await_end(pid);
  await_end(other);
  CHECK_FALSE(std::filesystem::exists(guard.info().route));
}

TEST_CASE_FIXTURE(Tidy, "A14: cleave: a detached process owns the bus, and takes it down on request" *
                            needs_processes()) {
  Guard guard = spawn_bus();
  const BusInfo info = guard.info();
  const Pid daemon = guard.cleave();
  CHECK(daemon != ::getpid());
  CHECK(::getsid(daemon) != ::getsid(0));
  CHECK_THROWS_AS((void)guard.cleave(), UsageError);
  CHECK_NOTHROW(guard.shutdown());  // the daemon owns the bus now
  Forked b([&](Lines& test) {
    Client client = ipcm_connect("b", info);
    test.say("joined");
    const auto got = collect(client, 1);
    test.say(got[0].content.json());
    return 0;
  });
  CHECK(b.hear() == "joined");
  ::kill(daemon, SIGTERM);
  CHECK(b.hear() == R"({"terminate":1})");
  CHECK(b.wait() == ExitStatus::exited(0));
  await_end(daemon);
  CHECK_THROWS_AS((void)ipcm_connect("c", info), BusError);
}

TEST_CASE_FIXTURE(Tidy, "A14: cleave: the bus outlives its maker, and ends when the last peer has left" *
                            needs_processes()) {
  BusInfo info;
  Pid daemon = 0;
  Forked maker([&](Lines& test) {
    Guard guard = spawn_bus();
    ServiceOptions options = echoing();
    options.detached = true;
    Handle handle = start_on(guard.info(), "e", options);
    handle.release();
    const Pid pid = guard.cleave();
    test.say(guard.info().text());
    test.say(std::to_string(pid));
    return 0;
  });
  info = BusInfo::parse(maker.hear());
  daemon = std::stoi(maker.hear());
  CHECK(maker.wait() == ExitStatus::exited(0));
  {
    Client client = ipcm_connect("c", info);
    CHECK(client.peer_active("e", kHang));
    client.send_message("e", Content::json(R"({"terminate":1})"));
    client.disconnect();
  }
  await_end(daemon);
  CHECK_THROWS_AS((void)ipcm_connect("c", info), BusError);
}

TEST_CASE_FIXTURE(Tidy, "A14: cleave: a process with threads is refused" * needs_processes()) {
  Guard guard = spawn_bus();
  with_thread([&] { CHECK_THROWS_AS((void)guard.cleave(), UsageError); });
  CHECK_NOTHROW(guard.shutdown());
}

TEST_CASE_FIXTURE(Tidy, "D5: a peer that suspended is waited for, until its deadline" * needs_processes() *
                            kept_messages()) {
  const Guard guard = spawn_bus();
  Handle asker = start_on(guard.info(), "asker", echoing());
  Client b = ipcm_connect("b", guard.info());
  b.suspend(1h);
  const std::string id = asker.send_request("b", "question");
  Client again = ipcm_reconnect("b", guard.info());
  const auto got = collect(again, 1);
  const auto request = got[0].content.as<std::map<std::string, Content>>();
  again.send_message(got[0].from,
                     std::map<std::string, Content>{{"ipcm_response_id", request.at("ipcm_request_id")},
                                                    {"response", request.at("request")}});
  CHECK(asker.await_response(id, kHang).as<std::string>() == "question");
  again.suspend(200ms);
  CHECK_THROWS_AS((void)asker.sync_request("b", "too late", kHang).content(), PeerGone);
}

TEST_CASE_FIXTURE(Tidy, "D5: a peer that restarts under a new pid: where messages are kept it is waited for" *
                            needs_processes()) {
  const Guard guard = spawn_bus();
  Client reader = ipcm_connect("unused", guard.info());
  Handle asker = start_on(guard.info(), "asker", echoing());
  auto first = std::make_unique<Forked>([&](Lines& test) {
    Client client = ipcm_connect("b", guard.info());
    test.say("joined");
    if (test.hear() == "suspend") client.suspend();
    return 0;
  });
  CHECK(first->hear() == "joined");
  const std::string id = asker.send_request("b", "question");
  first->say(keeps_messages() ? "suspend" : "end");
  CHECK(first->wait() == ExitStatus::exited(0));
  Forked second([&](Lines& test) {
    Client client = ipcm_reconnect("b", guard.info());
    test.say("joined");
    test.hear();
    for (const Message& message : client.get_messages()) {
      const auto request = message.content.as<std::map<std::string, Content>>();
      client.send_message(message.from,
                          std::map<std::string, Content>{{"ipcm_response_id", request.at("ipcm_request_id")},
                                                         {"response", request.at("request")}});
    }
    return 0;
  });
  CHECK(second.hear() == "joined");
  second.say("answer");
  if (keeps_messages()) {
    CHECK(asker.await_response(id, kHang).as<std::string>() == "question");
  } else {
    // The request ended with the process that had it, so there is no answer.
    CHECK_THROWS_AS((void)asker.await_response(id, kHang).content(), PeerGone);
  }
  CHECK(second.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "F5: a member that never handles its messages has a full inbox, and senders wait" *
                            needs_processes()) {
  const Guard guard = spawn_bus();
  const auto kFloodHang = 6 * kHang;  // hundreds of megabytes, with sanitizers, into a database
  Client slow = ipcm_connect("slow", guard.info());
  Client quick = ipcm_connect("quick", guard.info());
  // A service never blocks: it queues messages up to a limit. Beyond the limit, try_message() fails with an
  // error text.
  ServiceOptions options;
  options.handle_request = [](Service& self, const Request& request) -> Answer {
    std::string why;
    if (request.as<std::string>() == "flood") {
      const std::string piece = noise(1000 * 1000);
      while (self.client().try_message("slow", piece, &why)) {
      }
      return why;
    }
    return self.client().pending_sends();
  };
  Handle flood = start_on(guard.info(), "flood", options);
  const auto refused = flood.sync_request<std::string>("flood", kFloodHang);
  CAPTURE(refused);
  CHECK(contains(refused, "'slow'"));
  // On a JSONFile, the error may be that the reader has locked the file at that moment.
  CHECK((contains(refused, "does not read") || contains(refused, "is locked by")));
  // The slow client dispatches and never takes messages, until its full inbox stops it from reading.
  for (bool had_enough = false; !had_enough;) {
    slow.dispatch();
    if (keeps_messages()) {  // messages that it does not read stay on the bus
      had_enough = !os::is_readable(slow.fd());
      continue;
    }
    const auto pending = flood.sync_request<std::size_t>("pending", kFloodHang);
    if (pending == 0) (void)flood.sync_request("flood", kFloodHang);
    had_enough = pending > 0 && !os::is_readable(slow.fd());
  }
  quick.send_message("flood", "others are served");
  CHECK(flood.sync_request("pending", kHang).ok());
  const std::size_t held = slow.get_messages().size();
  CHECK(held >= 10);
  CHECK(held <= 250);
  slow.disconnect([](const Message&) {});
}

namespace {

/// A guard that keeps this process from opening descriptors while it lives.
class NoDescriptors {
 public:
  NoDescriptors() {
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
    const int lowest = ::fcntl(0, F_DUPFD_CLOEXEC, 0);
    REQUIRE(lowest >= 0);
    ::close(lowest);
    const rlimit none{static_cast<rlim_t>(lowest), before_.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  }
  ~NoDescriptors() { (void)::setrlimit(RLIMIT_NOFILE, &before_); }
  NoDescriptors(const NoDescriptors&) = delete;
  NoDescriptors& operator=(const NoDescriptors&) = delete;

 private:
  rlimit before_{};
};

}  // namespace

TEST_CASE_FIXTURE(Tidy, "G6: the next shutdown, or the destructor, completes a shutdown that threw" *
                            needs_files()) {
  for (const bool again : {true, false}) {
    CAPTURE(again);
    std::optional<Guard> guard(spawn_bus());
    const BusInfo info = guard->info();
    {
      const NoDescriptors none;
      CHECK_THROWS_AS(guard->shutdown(), Error);
    }
    CHECK(bus_exists(info));
    if (again) guard->shutdown();
    guard.reset();
    CHECK_FALSE(bus_exists(info));
  }
}

TEST_CASE_FIXTURE(Tidy, "G5: a bus that can't be listed is not taken for an empty one" * needs_files()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info()), b = ipcm_connect("b", guard.info());
  CHECK(a.peers() == std::vector<std::string>{"b"});
  try {
    const auto peers = [&] {
      const NoDescriptors none;
      return a.peers();
    }();
    CHECK(peers == std::vector<std::string>{"b"});  // a server may need no descriptor for it
  } catch (const Error& error) {
    CHECK(std::string(error.what()).find("open files") != std::string::npos);
  }
  CHECK(a.peers() == std::vector<std::string>{"b"});
}

TEST_CASE_FIXTURE(Tidy, "G1: a bus has one owner at a time" * needs_files()) {
  Guard one = spawn_bus();
  SpawnOptions options = bus_options();
  options.route = one.info().route;
  CHECK_THROWS_AS((void)ipcm_spawn(options), BusError);
  CHECK(bus_exists(one.info()));  // the failed attempt does not remove the bus
  one.release();
  const Guard two = ipcm_spawn(options);
  CHECK(two.info().route == one.info().route);
}

namespace {

/// Returns the body of a process that joins, waits for messages for as long as it takes, and says what ended the wait.
std::function<int(Lines&)> waits_for_messages(const BusInfo& info) {
  return [=](Lines& test) {
    Client client = ipcm_connect("waiter", info);
    test.say("joined");
    try {
      test.say("got " + std::to_string(client.wait_for_messages().size()));
    } catch (const BusError&) {
      test.say("the bus ended");
    }
    return 0;
  };
}

}  // namespace

TEST_CASE_FIXTURE(Tidy,
                  "a client that waits for messages notices the removal of its bus" * needs_processes()) {
  Guard guard = spawn_bus();
  Forked waiter(waits_for_messages(guard.info()));
  CHECK(waiter.hear() == "joined");
  await_idle(waiter.pid());
  guard.release();
  CHECK(remove_bus(guard.info()));
  CHECK(waiter.hear() == "the bus ended");
  CHECK(waiter.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "a client whose bus was removed before it waits is told so") {
  Guard guard = spawn_bus();
  Client client = ipcm_connect("late", guard.info());
  guard.release();
  CHECK(remove_bus(guard.info()));
  CHECK_THROWS_AS((void)client.wait_for_messages(), BusError);
}

TEST_CASE_FIXTURE(Tidy,
                  "a client that waits on a thread notices the removal of its bus" * needs_no_processes()) {
  Guard guard = spawn_bus();
  Client client = ipcm_connect("waiter", guard.info());
  std::thread waiter([&] { CHECK_THROWS_AS((void)client.wait_for_messages(), BusError); });
  guard.release();
  CHECK(remove_bus(guard.info()));
  waiter.join();
}
