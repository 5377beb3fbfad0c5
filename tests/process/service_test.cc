#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <deque>
#include <filesystem>

#include "bus/member.h"
#include "support/peers.h"
#include "transport/protocols.h"

using namespace ipcm;
using namespace ipcm::test;

namespace {

/// A service under test, and a client on its bus that receives its reports.
class Heard : public Tidy {
 public:
  Handle start(ServiceOptions options) {
    options.ipcm_info = guard_->info();
    return ipcm_service("e", options);
  }
  Client& ear() { return *ear_; }
  Guard& guard() { return *guard_; }
  std::string hear() {
    if (heard_.empty())
      for (Message& message : collect(ear(), 1)) heard_.push_back(message.content.as<std::string>());
    std::string first = std::move(heard_.front());
    heard_.pop_front();
    return first;
  }
  /// Returns how many messages of 10 KB fill the channel to a reader. On a protocol that keeps messages, a
  /// few are enough (on a JSONFile, the time grows with the square of their number).
  [[nodiscard]] int flood() const {
    return transport::find_protocol(guard_->info().protocol).keeps_messages() ? 40 : 400;
  }
  /// Returns whether no report is left.
  bool silent() { return heard_.empty() && ear().get_messages().empty(); }
  ~Heard() {
    ear_.reset();
    guard_.reset();
  }

 private:
  std::optional<Guard> guard_{ipcm_spawn()};
  std::optional<Client> ear_{ipcm_connect("ear", guard_->info())};
  std::deque<std::string> heard_;
};

void tell(Service& self, const Content& content) { self.client().send_message("ear", content); }

}  // namespace

TEST_CASE_FIXTURE(Heard, "C1: callbacks are a list: push, unshift, remove, clear, in order") {
  ServiceOptions options;
  options.on_general_message = [](Service& self, const Message& message) {
    tell(self, "given");
    auto& list = self.callbacks().on_general_message;
    const auto wish = message.content.as<std::string>();
    static std::uint64_t pushed = 0;
    if (wish == "push") pushed = list.push([](Service& s, const Message&) { tell(s, "pushed"); });
    if (wish == "unshift") list.unshift([](Service& s, const Message&) { tell(s, "unshifted"); });
    if (wish == "remove") tell(self, list.remove(pushed) && !list.remove(pushed) ? "removed" : "not removed");
    if (wish == "clear") list.clear();
    if (wish == "size") tell(self, std::to_string(list.size()));
  };
  Handle handle = start(options);
  const auto send = [&](const char* wish) { ear().send_message("e", wish); };
  send("push");
  CHECK(hear() == "given");
  send("unshift");
  CHECK(hear() == "given");
  CHECK(hear() == "pushed");
  send("size");
  CHECK(hear() == "unshifted");
  CHECK(hear() == "given");
  CHECK(hear() == "3");
  CHECK(hear() == "pushed");
  send("remove");
  CHECK(hear() == "unshifted");
  CHECK(hear() == "given");
  CHECK(hear() == "removed");
  CHECK(hear() == "pushed");  // removed during a call of the list: takes effect in the next call
  send("clear");
  CHECK(hear() == "unshifted");
  CHECK(hear() == "given");
  send("nobody");
  CHECK_THROWS_AS((void)handle.sync_request(1, kHang), RemoteError);
  CHECK(silent());
}

TEST_CASE_FIXTURE(Heard, "C1: life: on_start before ready, on_cleanup at the end, once each") {
  ServiceOptions options;
  options.on_start = [](Service& self) { tell(self, "start"); };
  options.on_cleanup = [](Service& self) { tell(self, "cleanup"); };
  options.handle_request = [](Service& self, const Request&) -> Answer { return self.name(); };
  Handle handle = start(options);
  CHECK(hear() == "start");
  CHECK(handle.sync_request<std::string>(1, kHang) == "e");
  ear().send_message("e", Content::json(R"({"terminate":1})"));
  CHECK(hear() == "cleanup");
  await_end(handle.service_pid().value());
  CHECK(silent());
}

TEST_CASE_FIXTURE(Heard, "C1: should_end ends the loop") {
  ServiceOptions options;
  auto asked = std::make_shared<bool>(false);
  options.handle_request = [asked](Service&, const Request&) -> Answer {
    *asked = true;
    return "bye";
  };
  options.should_end = [asked](Service&) { return *asked; };
  options.on_cleanup = [](Service& self) { tell(self, "cleanup"); };
  Handle handle = start(options);
  CHECK(handle.sync_request<std::string>(1, kHang) == "bye");
  CHECK(hear() == "cleanup");
  await_end(handle.service_pid().value());
}

TEST_CASE_FIXTURE(Heard, "C1: on_interval is called again and again, while requests are served") {
  ServiceOptions options;
  options.interval = 1ms;
  options.on_interval = [](Service& self) { tell(self, "tick"); };
  options.handle_request = [](Service&, const Request& request) -> Answer { return request.raw(); };
  Handle handle = start(options);
  for (int i = 0; i < 5; ++i) {
    CHECK(hear() == "tick");
    CHECK(handle.sync_request<int>(i, kHang) == i);
  }
}

TEST_CASE_FIXTURE(
    Heard, "C1: on_general_message gets all messages that are no request and no response, broadcasts too") {
  ServiceOptions options;
  options.on_general_message = [](Service& self, const Message& message) {
    tell(self, message.from + (message.broadcast ? " to all: " : ": ") + message.content.json());
  };
  Handle handle = start(options);
  ear().send_message("e", 1);
  CHECK(hear() == "ear: 1");
  handle.client().broadcast("hello").expect_sent();
  std::string next = hear();
  if (next == "hello") next = hear();  // the broadcast reaches the test too
  CHECK(next == handle.client().id() + " to all: \"hello\"");
}

TEST_CASE_FIXTURE(Heard, "C1: on_peer_delta reports peers that joined and left, politely or not") {
  ServiceOptions options;
  options.on_peer_delta = [](Service& self, const std::map<std::string, int>& delta) {
    for (const auto& [name, change] : delta)
      if (name.starts_with("guest")) tell(self, name + (change > 0 ? " came" : " went"));
  };
  Handle handle = start(options);
  {
    const Client guest = ipcm_connect("guest", guard().info());
    CHECK(hear() == "guest came");
  }
  CHECK(hear() == "guest went");
  Forked killed([&](Lines& test) {
    const Client guest = ipcm_connect("guest/2", guard().info());
    return test.hear(), 0;
  });
  CHECK(hear() == "guest/2 came");
  killed.kill(SIGKILL);
  CHECK(hear() == "guest/2 went");
}

TEST_CASE_FIXTURE(Heard, "C2: an activity has all the events that woke the service") {
  ServiceOptions options;
  options.on_sig[SIGUSR1] = [](Service&) {};
  options.on_all = [](Service& self, const Activity& activity) {
    for (const Message& message : activity.messages) tell(self, "message " + message.content.json());
    for (const auto& [number, count] : activity.sigs)
      if (number == SIGUSR1 && count > 0) tell(self, "SIGUSR1");
    for (const auto& ended : activity.pids) tell(self, ended.status.describe());
    for (const auto& [name, change] : activity.peer_delta)
      if (name == "guest") tell(self, "guest " + std::to_string(change));
    if (activity.interval) tell(self, "interval?");
    if (activity.terminated) tell(self, "terminated");
  };
  options.handle_request = [](Service&, const Request&) -> Answer {
    if (::fork() == 0) ::_exit(7);
    return 1;
  };
  Handle handle = start(options);
  ear().send_message("e", "hi");
  CHECK(hear() == "message \"hi\"");
  ::kill(handle.service_pid().value(), SIGUSR1);
  CHECK(hear() == "SIGUSR1");
  CHECK(handle.sync_request(1, kHang).ok());
  CHECK(hear() == "exited with status 7");
  {
    const Client guest = ipcm_connect("guest", guard().info());
    CHECK(hear() == "guest 1");
  }
  CHECK(hear() == "guest -1");
  ear().send_message("e", Content::json(R"({"terminate":1})"));
  std::string last = hear();
  if (last.starts_with("message")) last = hear();  // the terminate message may be reported too
  CHECK(last == "terminated");
  await_end(handle.service_pid().value());
}

TEST_CASE_FIXTURE(Heard, "C3: a handler that throws answers with an error, and the service goes on") {
  ServiceOptions options;
  options.handle_request = [](Service&, const Request& request) -> Answer {
    return "len " + std::to_string(request.as<std::string>().size());
  };
  {
    Handle handle = start(options);
    const auto error =
        thrown_by<RemoteError>([&] { (void)handle.sync_request(Content::json("[1]"), kHang).content(); });
    CHECK(std::string(error.what()) == "Internal service error");
    CHECK(error.peer() == "e");
    CHECK(handle.sync_request("four", kHang).as<std::string>() == "len 4");
    ear().send_message("e", Content::json(R"({"terminate":1})"));
    await_end(handle.service_pid().value());
  }
  options.expose_error_details = true;
  options.handle_request = [](Service&, const Request&) -> Answer {
    throw std::runtime_error("the details — exposed");
  };
  Handle handle = start(options);
  CHECK(contains(thrown_by<RemoteError>([&] { (void)handle.sync_request(1, kHang); }).what(),
                 "the details — exposed"));
}

TEST_CASE_FIXTURE(Heard, "C3: something thrown that is no exception answers with an error too") {
  ServiceOptions options;
  options.expose_error_details = true;
  options.handle_request = [](Service&, const Request& request) -> Answer {
    if (request.as<int>() == 1) throw 42;  // NOLINT
    return 2;
  };
  Handle handle = start(options);
  CHECK_THROWS_AS((void)handle.sync_request(1, kHang).content(), RemoteError);
  CHECK(handle.sync_request<int>(2, kHang) == 2);
}

TEST_CASE_FIXTURE(Heard, "C3: answers may come later, in another order, or as errors") {
  ServiceOptions options;
  auto kept = std::make_shared<std::vector<Request>>();
  options.handle_request = [kept](Service& self, const Request& request) -> Answer {
    if (request.as<int>() != 0) {
      kept->push_back(request);
      return later;
    }
    std::reverse(kept->begin(), kept->end());
    for (const Request& one : *kept) {
      if (one.as<int>() == 2)
        self.send_error(one, "not two");
      else
        self.send_response(one, one.as<int>() * 10);
    }
    kept->clear();
    return "all";
  };
  Handle handle = start(options);
  std::vector<std::string> answers;
  for (int i = 1; i <= 3; ++i)
    handle.send_request(i, [&](const Response& response) {
      answers.push_back(response.ok() ? response.content().json() : response.error());
    });
  CHECK(handle.sync_request(0, kHang).as<std::string>() == "all");
  handle.await_all_responses(kHang);
  CHECK(answers == std::vector<std::string>{"30", "not two", "10"});
}

TEST_CASE_FIXTURE(
    Heard, "C3: a requester that left before the late answer is PeerGone for the service, which goes on") {
  ServiceOptions options;
  auto kept = std::make_shared<std::optional<Request>>();
  options.handle_request = [kept](Service& self, const Request& request) -> Answer {
    if (request.as<std::string>() == "keep") {
      kept->emplace(request);
      tell(self, "kept");
      return later;
    }
    try {
      self.send_response(**kept, "too late");
      return "sent";
    } catch (const PeerGone& error) {
      return error.peer();
    }
  };
  Handle handle = start(options);
  {
    Client guest = ipcm_connect("guest", guard().info());
    guest.send_message("e", Content::json(R"({"ipcm_request_id":"1","request":"keep"})"));
    CHECK(hear() == "kept");
  }
  CHECK(handle.sync_request<std::string>("answer it", kHang) == "guest");
}

TEST_CASE_FIXTURE(Heard, "C4: an exception in a callback ends the service with an error exit") {
  ServiceOptions options;
  options.on_general_message = [](Service&, const Message&) { throw std::runtime_error("boom"); };
  options.on_cleanup = [](Service& self) { tell(self, "cleanup"); };
  Handle handle = ipcm_service("alone", [&] {
    ServiceOptions own = options;
    own.on_cleanup = {};
    return own;
  }());
  handle.client().send_message("alone", 1);
  await_end(handle.service_pid().value());
  CHECK(handle.shutdown() == ExitStatus::exited(70));

  Handle heard = start(options);
  ear().send_message("e", 1);
  await_end(heard.service_pid().value());
  CHECK(hear() == "cleanup");  // it still cleans up
}

TEST_CASE_FIXTURE(Heard, "C4: with intercept_errors the service goes on, whichever callback throws") {
  ServiceOptions options;
  options.intercept_errors = true;
  options.interval = 1ms;
  const auto fail = [](const std::string& where) { throw std::runtime_error("boom in " + where); };
  options.on_general_message = [fail](Service&, const Message&) { fail("on_general_message"); };
  options.on_interval = [fail](Service&) { fail("on_interval"); };
  options.on_all = [fail](Service&, const Activity&) { fail("on_all"); };
  options.on_pid = [fail](Service&, Pid, ExitStatus) { fail("on_pid"); };
  options.on_peer_delta = [fail](Service&, const std::map<std::string, int>&) { fail("on_peer_delta"); };
  options.on_sig[SIGUSR1] = [fail](Service&) { fail("on_sig"); };
  options.handle_request = [](Service&, const Request& request) -> Answer {
    if (::fork() == 0) ::_exit(1);
    return request.raw();
  };
  const std::string file = directory() + "/stderr";
  {
    const StderrInto into(file);
    Handle handle = start(options);
    for (int i = 0; i < 5; ++i) {
      ear().send_message("e", i);
      ::kill(handle.service_pid().value(), SIGUSR1);
      const Client guest = ipcm_connect("guest", guard().info());
      CHECK(handle.sync_request<int>(i, kHang) == i);
    }
  }
  CHECK(contains(read_file(file), "boom in on_general_message"));  // the error is reported
  std::filesystem::remove(file);
}

TEST_CASE_FIXTURE(Heard, "C5: signals named in on_sig are callbacks, once for each receipt") {
  ServiceOptions options;
  options.on_sig[SIGUSR1] = [](Service& self) { tell(self, "usr1"); };
  options.on_sig[SIGHUP] = [](Service& self) { tell(self, "hup"); };
  options.handle_request = [](Service&, const Request& request) -> Answer { return request.raw(); };
  Handle handle = start(options);
  for (int i = 0; i < 3; ++i) {
    ::kill(handle.service_pid().value(), SIGUSR1);
    CHECK(hear() == "usr1");
    ::kill(handle.service_pid().value(), SIGHUP);
    CHECK(hear() == "hup");
  }
  CHECK(handle.sync_request("x", kHang).ok());
  CHECK(silent());
}

TEST_CASE_FIXTURE(Heard, "C5: SIGTERM and SIGINT end a service politely") {
  for (const int signal : {SIGTERM, SIGINT}) {
    ServiceOptions options;
    options.on_cleanup = [](Service& self) { tell(self, "cleanup"); };
    Handle handle = start(options);
    ::kill(handle.service_pid().value(), signal);
    CHECK(hear() == "cleanup");
    await_end(handle.service_pid().value());
  }
}

TEST_CASE_FIXTURE(
    Heard, "C5: a signal that is waited for in on_sig may be SIGTERM, which then does not end the service") {
  ServiceOptions options;
  options.on_sig[SIGTERM] = [](Service& self) { tell(self, "term"); };
  options.handle_request = [](Service&, const Request& request) -> Answer { return request.raw(); };
  Handle handle = start(options);
  ::kill(handle.service_pid().value(), SIGTERM);
  CHECK(hear() == "term");
}

TEST_CASE_FIXTURE(Heard, "C6: children are reaped and told, with the raw wait status") {
  ServiceOptions options;
  options.handle_request = [](Service&, const Request& request) -> Answer {
    const auto how = request.as<std::string>();
    const pid_t pid = ::fork();
    if (pid == 0) {
      sigset_t all;
      sigfillset(&all);
      sigprocmask(SIG_UNBLOCK, &all, nullptr);
      if (how == "signal") ::kill(::getpid(), SIGKILL);
      ::_exit(7);
    }
    return pid;
  };
  options.on_pid = [](Service& self, Pid pid, ExitStatus status) {
    tell(self, std::to_string(pid) + " " + status.describe());
  };
  Handle handle = start(options);
  const int exits = handle.sync_request<int>("exit", kHang);
  CHECK(hear() == std::to_string(exits) + " exited with status 7");
  const int killed = handle.sync_request<int>("signal", kHang);
  CHECK(hear() == std::to_string(killed) + " was killed by SIGKILL");
  CHECK_FALSE(std::filesystem::exists("/proc/" + std::to_string(killed)));  // no zombie
}

TEST_CASE_FIXTURE(Heard,
                  "C8: a reader that does not read delays no other peer, and gets all messages in the end") {
  ServiceOptions options;
  const int many = flood();
  options.handle_request = [many](Service& self, const Request& request) -> Answer {
    const auto wish = request.as<std::string>();
    if (wish == "flood") {
      for (int i = 0; i < many; ++i)
        self.client().send_message("ear", std::to_string(i) + std::string(10000, ' '));
      return "flooded";
    }
    return std::to_string(self.client().pending_sends() > 0 ? 1 : 0) +
           (self.client().can_send_to("ear") ? " can" : " can't");
  };
  Handle handle = start(options);
  CHECK(handle.sync_request<std::string>("how is it?", kHang) == "0 can");
  CHECK(handle.sync_request<std::string>("flood", kHang) == "flooded");
  // A protocol that keeps messages has stored them all; otherwise, the kernel accepts only a part.
  const bool kept = transport::find_protocol(handle.info().protocol).keeps_messages();
  CHECK(handle.sync_request<std::string>("how is it?", kHang) == (kept ? "0 can" : "1 can't"));
  const auto all = collect(ear(), static_cast<std::size_t>(many));
  for (int i = 0; i < many; ++i)
    REQUIRE(std::stoi(all[static_cast<std::size_t>(i)].content.as<std::string>()) == i);
  // The service sends its queue by itself; the test can't know when.
  const auto deadline = os::Deadline::after(kHang);
  std::string how;
  while ((how = handle.sync_request<std::string>("how is it?", kHang)) != "0 can")
    REQUIRE_FALSE(deadline.has_passed());
  CHECK(how == "0 can");
}

TEST_CASE_FIXTURE(Heard, "C8: queued messages are flushed before the service ends") {
  ServiceOptions options;
  const int many = flood();
  options.handle_request = [many](Service& self, const Request&) -> Answer {
    for (int i = 0; i < many; ++i)
      self.client().send_message("ear", std::to_string(i) + std::string(10000, ' '));
    self.terminate();
    return "flooded";
  };
  Handle handle = start(options);
  CHECK(handle.sync_request<std::string>(1, kHang) == "flooded");
  const auto all = collect(ear(), static_cast<std::size_t>(many));
  CHECK(std::stoi(all.back().content.as<std::string>()) == many - 1);
  await_end(handle.service_pid().value());
}

TEST_CASE_FIXTURE(Tidy, "C9: terminate: the first call wins, and is the exit status") {
  ServiceOptions options;
  options.handle_request = [](Service& self, const Request&) -> Answer {
    self.terminate(5);
    self.terminate(6);
    return "bye";
  };
  Handle handle = ipcm_service("e", options);
  CHECK(handle.sync_request(1, kHang).as<std::string>() == "bye");
  await_end(handle.service_pid().value());
  CHECK(handle.shutdown() == ExitStatus::exited(5));
}

TEST_CASE_FIXTURE(Tidy, "C9: terminate in on_start: the service was ready, and ends with that status") {
  ServiceOptions options;
  options.on_start = [](Service& self) { self.terminate(9); };
  try {
    Handle handle = ipcm_service("e", options);
    await_end(handle.service_pid().value());
    CHECK(handle.shutdown() == ExitStatus::exited(9));
  } catch (const LaunchError& error) {
    CHECK(error.status() == ExitStatus::exited(9));
  }
}

TEST_CASE_FIXTURE(Heard, "C9: a terminate message ends the loop after the messages that came with it") {
  ServiceOptions options;
  options.on_start = [](Service& self) {
    // Waits until the whole batch has arrived before it handles a message.
    tell(self, "ready");
    (void)self.peer("go").ready(kHang);
    self.client().member().inbox().drain();  // reads the mailbox, which ready() may not have done
  };
  options.on_general_message = [](Service& self, const Message& message) {
    if (message.content.json().starts_with('"')) tell(self, message.content);
  };
  options.ipcm_info = guard().info();
  Handle handle = ipcm_service_nowait("e", options);
  CHECK(hear() == "ready");
  ear().send_message("e", "before");
  ear().send_message("e", Content::json(R"({"terminate":1})"));
  ear().send_message("e", "after");
  const Client go = ipcm_connect("go", guard().info());
  CHECK(hear() == "before");
  CHECK(hear() == "after");
  await_end(handle.child_pid().value());
}

TEST_CASE_FIXTURE(Heard, "C10: the same holds with spin after its polling; and it answers") {
  ServiceOptions options;
  options.handle_request = [](Service&, const Request& request) -> Answer { return request.raw(); };
  options.spin = 50us;
  Handle handle = start(options);
  for (int i = 0; i < 100; ++i) REQUIRE(handle.sync_request(i, kHang).as<int>() == i);
  await_idle(handle.service_pid().value());
  CHECK(handle.sync_request("x", kHang).ok());
  options.spin = 2s;
  CHECK(contains(thrown_by<UsageError>([&] { (void)ipcm_service("f", options); }).what(), "spin"));
  CHECK_THROWS_AS(handle.client().spin(2s), UsageError);
  CHECK_THROWS_AS(handle.client().spin(-1us), UsageError);
  handle.client().spin(1us);
  CHECK(handle.sync_request("y", kHang).ok());
}

TEST_CASE_FIXTURE(Heard, "C10: a service with nothing to do rests") {
  ServiceOptions options;
  options.handle_request = [](Service&, const Request& request) -> Answer { return request.raw(); };
  Handle handle = start(options);
  CHECK(handle.sync_request("x", kHang).ok());
  await_idle(handle.service_pid().value());
}
