// Deaths that others must notice: behaviours D4, F2, F3, and cases that the reference handles wrongly.

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "support/peers.h"

using namespace ipcm;
using namespace ipcm::test;

namespace {

ServiceOptions never_answering() {
  ServiceOptions options;
  options.handle_request = [](Service&, const Request&) -> Answer { return later; };
  return options;
}

Handle start_on(const BusInfo& bus, const std::string& name, ServiceOptions options) {
  options.ipcm_info = bus;
  return ipcm_service(name, options);
}

}  // namespace

TEST_CASE_FIXTURE(
    Tidy, "D4: a dead peer that another process must reap is gone at once, and its exit status is known") {
  const Guard guard = ipcm_spawn();
  // Another process starts the service, and never reaps it.
  Forked starter([&](Lines& test) {
    Handle handle = start_on(guard.info(), "e", never_answering());
    test.say(std::to_string(handle.service_pid().value()));
    test.hear();
    handle.release();
    return 0;
  });
  const Pid pid = std::stoi(starter.hear());
  Handle asker = start_on(guard.info(), "asker", echoing());
  const std::string id = asker.send_request("e", 1);
  ::kill(pid, SIGKILL);
  const auto gone = thrown_by<PeerGone>([&] { (void)asker.await_response(id, kHang).content(); });
  CHECK(gone.peer() == "e");
  CHECK(gone.status() == ExitStatus::signalled(SIGKILL));
  CHECK(::kill(pid, 0) == 0);  // still a zombie
  CHECK_FALSE(contains(asker.client().peers(), std::string("e")));
  starter.say("end");
  CHECK(starter.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy,
                  "F2: if a service is killed, peers learn it, nothing of it is listed, its name is free") {
  const Guard guard = ipcm_spawn();
  Client ear = ipcm_connect("ear", guard.info());
  ServiceOptions watching = echoing();
  watching.on_peer_delta = [](Service& self, const std::map<std::string, int>& delta) {
    for (const auto& [name, change] : delta)
      self.client().send_message("ear", name + (change > 0 ? " came" : " went"));
  };
  Handle watcher = start_on(guard.info(), "watcher", watching);
  std::vector<std::string> words;
  Handle victim = start_on(guard.info(), "victim", echoing());
  const auto hear = [&](const std::string& word) {
    while (!contains(words, word))
      for (const Message& message : collect(ear, 1)) words.push_back(message.content.as<std::string>());
  };
  hear("victim came");
  ::kill(victim.service_pid().value(), SIGKILL);
  hear("victim went");
  CHECK_FALSE(contains(ear.peers(), std::string("victim")));
  if (std::filesystem::is_directory(guard.info().route))
    for (const std::string& file : names_in(guard.info().route))
      CHECK((file == ".victim.obituary" || !contains(file, "victim")));
  Handle again = start_on(guard.info(), "victim", echoing());
  CHECK(again.sync_request("x", kHang).ok());
  ear.disconnect([](const Message&) {});
}

TEST_CASE_FIXTURE(Tidy, "F3: a recycled pid is not taken for a live peer") {
  const Guard guard = ipcm_spawn();
  Client here = ipcm_connect("here", guard.info());
  Forked other([&](Lines& test) {
    Client client = ipcm_connect("b", guard.info());
    test.say("joined");
    test.hear();
    return 0;
  });
  CHECK(other.hear() == "joined");
  CHECK(here.peer_active("b"));
  // Writes files as if b had died and a running process had got its number: the parent of this one.
  const std::string route = guard.info().route;
  other.kill(SIGKILL);
  (void)other.wait();
  if (!std::filesystem::is_directory(route)) return;  // a bus without such files
  write_file(route + "/b.pid", std::to_string(::getppid()));
  write_file(route + "/.b.lock", R"({"pid":)" + std::to_string(::getppid()) + R"(,"note":""})");
  CHECK_FALSE(here.peer_active("b"));
  CHECK_FALSE(contains(here.peers(), std::string("b")));
  CHECK_THROWS_AS(here.send_message("b", 1), PeerGone);
  const Client again = ipcm_connect("b", guard.info());
}

TEST_CASE_FIXTURE(Tidy, "reference: a client that leaves before its answer does not hurt the service") {
  Handle handle =
      ipcm_service("e", ServiceOptions{.handle_request = [](Service& self, const Request& request) -> Answer {
                     static std::optional<Request> kept;
                     if (request.from() == "hasty") {
                       kept = request;  // answered after its requester has left
                       return later;
                     }
                     try {
                       self.send_response(kept.value(), 1);
                       return "somebody was there";
                     } catch (const PeerGone&) {
                       return "nobody was there";
                     }
                   }});
  {
    Client hasty = ipcm_connect("hasty", handle.info());
    hasty.send_message("e", Content::json(R"({"ipcm_request_id":"R-1","request":1})"));
    hasty.disconnect();
  }
  CHECK(handle.sync_request<std::string>("x", kHang) == "nobody was there");
  CHECK(handle.sync_request<std::string>("y", kHang) == "nobody was there");
}

TEST_CASE_FIXTURE(Tidy, "reference: a request from a peer that can't be reached does not hurt the service") {
  const StderrInto into(directory() + "/err");
  Handle handle = ipcm_service("e", echoing());
  {
    Client hasty = ipcm_connect("hasty", handle.info());
    for (int i = 0; i < 100; ++i)
      hasty.send_message(
          "e", Content::json(R"({"ipcm_request_id":"R-)" + std::to_string(i) + R"(","request":1})"));
    try {
      hasty.disconnect();
    } catch (const Error&) {
      // The first answers may have arrived already.
    }
  }
  CHECK(handle.sync_request("x", kHang).ok());
  CHECK(handle.shutdown() == ExitStatus::exited(0));
  std::filesystem::remove(directory() + "/err");
}

TEST_CASE_FIXTURE(Tidy, "reference: a temporary directory with a path of 100 characters") {
  const std::string deep = directory() + "/" + std::string(100, 'd');
  std::filesystem::create_directory(deep);
  {
    ServiceOptions options = echoing();
    options.bus.parent_directory = deep;
    Handle handle =
        ipcm_service("a service with a name that is quite long as well, for good measure", options);
    CHECK(handle.sync_request("x", kHang).ok());
    ServiceOptions exec = exec_echo();
    exec.bus.parent_directory = deep;
    Handle other = ipcm_service("e", exec);
    CHECK(other.sync_request("x", kHang).ok());
  }
  CHECK(std::filesystem::remove(deep));
}

TEST_CASE_FIXTURE(Tidy, "reference: two handles of one process on one bus") {
  const Guard guard = ipcm_spawn();
  Handle a = start_on(guard.info(), "a", echoing()), b = start_on(guard.info(), "b", echoing());
  CHECK(a.sync_request("x", kHang).ok());
  CHECK(b.sync_request("x", kHang).ok());
  CHECK(a.sync_request("b", "x", kHang).ok());
  CHECK(b.sync_request("a", "x", kHang).ok());
  CHECK(a.client().id() != b.client().id());
}

TEST_CASE_FIXTURE(Tidy, "C1: on_unhandled gets messages that no callback of their kind has handled") {
  const Guard guard = ipcm_spawn();
  Client ear = ipcm_connect("ear", guard.info());
  ServiceOptions options = echoing();
  options.on_unhandled = [](Service& self, const Activity& rest) {
    for (const Message& message : rest.messages) self.client().send_message("ear", message.content);
  };
  options.on_all = [](Service&, const Activity&) {};
  Handle handle = start_on(guard.info(), "e", options);
  handle.client().send_message("e", "nobody's");
  CHECK(collect_contents(ear, 1) == std::vector<std::string>{"\"nobody's\""});
  options.on_general_message = [](Service&, const Message&) {};
  Handle other = start_on(guard.info(), "f", options);
  other.client().send_message("f", "somebody's");
  CHECK(other.sync_request("x", kHang).ok());
  CHECK(ear.get_messages().empty());
}

TEST_CASE_FIXTURE(Tidy, "C1: should_end is a list, asked until one says yes") {
  const Guard guard = ipcm_spawn();
  ServiceOptions options = echoing();
  options.on_start = [](Service& self) {
    auto& questions = self.callbacks().should_end;
    const auto wrong = questions.push([](Service&) { return true; });
    questions.unshift([asked = 0](Service&) mutable { return ++asked > 2; });
    CHECK(questions.remove(wrong));
  };
  Handle handle = start_on(guard.info(), "e", options);
  int answered = 0;
  try {
    for (; answered < 10; ++answered) (void)handle.sync_request(answered, kHang);
  } catch (const PeerGone&) {
  }
  CHECK(answered > 0);
  CHECK(answered < 10);
}

TEST_CASE_FIXTURE(Tidy, "B8: child_pid is the first fork's, on a handle and on a peer, and unset on others") {
  Handle handle = ipcm_service(
      "e", ServiceOptions{.handle_request = [](Service& self, const Request&) -> Answer {
        Peer inner = self.ipcm_service("inner", echoing());
        const bool same = inner.child_pid() == inner.service_pid() && inner.child_pid().has_value();
        return same && !self.peer("inner-2").child_pid().has_value();
      }});
  CHECK(handle.child_pid() == handle.service_pid());
  CHECK(handle.sync_request<bool>(1, kHang));
}
