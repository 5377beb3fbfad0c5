#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <filesystem>
#include <mutex>
#include <thread>

#include "bus/service_log.h"
#include "os/directory.h"
#include "os/pipe.h"
#include "os/rolling_log.h"
#include "support/peers.h"
#include "transport/protocols.h"

using namespace ipcm;
using namespace ipcm::test;

namespace {

struct Prefix {
  std::string prefix;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(CEREAL_NVP(prefix));
  }
};

/// A class that only this program has registered, so that it can only be forked.
class Adder final : public Service {
 public:
  struct Args {
    int start = 0;
    template <class Archive>
    void serialize(Archive& archive) {
      archive(ipcm::optional("start", start));
    }
  };
  Adder(ServiceSetup setup, Args args) : Service(std::move(setup)), sum_(args.start) {}
  Answer handle_request(const Request& request) override { return sum_ += request.as<int>(); }

 private:
  int sum_;
};

/// A service that answers each request with the one before.
class Keeper final : public Service {
 public:
  struct Args {
    template <class Archive>
    void serialize(Archive& /*archive*/) {}
  };
  Keeper(ServiceSetup setup, Args /*args*/) : Service(std::move(setup)) {}
  Answer take_request(Request&& request) override {
    if (request.raw().json() == "\"\"") {
      (void)std::move(request).take();
      throw std::runtime_error("nothing to keep");
    }
    Content before = std::exchange(kept_, std::move(request).take());
    // NOLINTNEXTLINE(bugprone-use-after-move): the payload is moved out, and null is left
    return request.raw().is_null() ? std::move(before) : Content("was not moved");
  }

 private:
  Content kept_;
};

/// A guard that gives the process a second thread.
class SecondThread {
 public:
  SecondThread()
      : thread_([this] {
          std::unique_lock lock(mutex_);
          changed_.wait(lock, [this] { return end_; });
        }) {}
  ~SecondThread() {
    {
      const std::lock_guard lock(mutex_);
      end_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool end_ = false;
  std::thread thread_;
};

}  // namespace

TEST_CASE_FIXTURE(Tidy, "B1: exec: a service is started on a bus of its own, answers, and is taken down") {
  std::optional<Handle> handle(ipcm_service("e", exec_echo()));
  CHECK(handle->service_name() == "e");
  CHECK(handle->ready());
  CHECK(handle->time_to_ready() > Duration(0));
  const std::string route = handle->info().route;
  CHECK(std::filesystem::exists(route));
  CHECK(handle->sync_request("hello", kHang).as<std::string>() == "hello");
  REQUIRE(handle->service_pid());
  CHECK(handle->service_pid() == handle->child_pid());
  CHECK(contains(own_children(), *handle->child_pid()));
  CHECK(contains(command_line(*handle->service_pid()), boot_program()));
  CHECK(handle->client().peers() == std::vector<std::string>{"e"});
  handle.reset();
  CHECK(own_children().empty());
  CHECK_FALSE(std::filesystem::exists(route));
}

TEST_CASE_FIXTURE(Tidy, "B1: fork: a service is started on a bus of its own, answers, and is taken down") {
  std::optional<Handle> handle(ipcm_service("e", echoing()));
  CHECK(handle->ready());
  const std::string route = handle->info().route;
  CHECK(handle->sync_request("hello", kHang).as<std::string>() == "hello");
  CHECK(handle->service_pid() == handle->child_pid());
  CHECK(handle->service_pid() != ::getpid());
  CHECK(contains(own_children(), handle->child_pid().value()));
  handle.reset();
  CHECK(own_children().empty());
  CHECK_FALSE(std::filesystem::exists(route));
}

TEST_CASE_FIXTURE(Tidy, "B1: shutdown ends the service and tells how it ended; a second call does nothing") {
  for (const bool exec : {true, false}) {
    Handle handle = ipcm_service("e", exec ? exec_echo() : echoing());
    CHECK(handle.shutdown() == ExitStatus::exited(0));
    CHECK(own_children().empty());
    CHECK_FALSE(std::filesystem::exists(handle.info().route));
    (void)handle.shutdown();
  }
}

TEST_CASE_FIXTURE(Tidy, "B1: many services one after the other leave nothing behind") {
  for (int i = 0; i < 30; ++i) {
    Handle handle = ipcm_service("e", i % 2 == 0 ? exec_echo() : echoing());
    CHECK(handle.sync_request<int>(i, kHang) == i);
  }
}

TEST_CASE_FIXTURE(Tidy, "B1: several handles at once, each with a bus of its own, ended in any order") {
  std::vector<Handle> handles;
  for (int i = 0; i < 5; ++i) handles.push_back(ipcm_service("e", exec_echo()));
  for (Handle& handle : handles) CHECK(handle.sync_request("x", kHang).ok());
  handles.erase(handles.begin() + 2);
  handles.erase(handles.begin());
  for (Handle& handle : handles) CHECK(handle.sync_request("x", kHang).ok());
}

TEST_CASE_FIXTURE(Tidy, "B1: release leaves service and bus running, and the caller's end ends them") {
  Forked owner([](Lines& test) {
    Handle handle = ipcm_service("e", exec_echo());
    test.say(handle.info().text());
    test.say(std::to_string(handle.service_pid().value()));
    handle.release();
    { const Handle gone = std::move(handle); }
    test.say("released");
    test.hear();
    return 0;
  });
  const BusInfo bus = BusInfo::parse(owner.hear());
  const Pid service = std::stoi(owner.hear());
  CHECK(owner.hear() == "released");
  {
    Client client = ipcm_connect("c", bus);
    CHECK(client.peer_active("e"));
    client.send_message("e", Content::json(R"({"ipcm_request_id":"1","request":"x"})"));
    CHECK(contains(collect_contents(client, 1)[0], "\"x\""));
  }
  owner.say("end");
  CHECK(owner.wait() == ExitStatus::exited(0));
  await_end(service);
  CHECK(transport::find_protocol(bus.protocol).remove_route(bus).is_gone);
}

TEST_CASE_FIXTURE(Tidy, "B1: a detached service outlives its launcher") {
  Forked owner([](Lines& test) {
    ServiceOptions options = exec_echo();
    options.detached = true;
    Handle handle = ipcm_service("e", options);
    test.say(handle.info().text());
    handle.release();
    return 0;
  });
  const BusInfo bus = BusInfo::parse(owner.hear());
  CHECK(owner.wait() == ExitStatus::exited(0));
  Client client = ipcm_connect("c", bus);
  for (int i = 0; i < 20; ++i) {
    client.send_message("e", Content::json(R"({"ipcm_request_id":"1","request":"alive"})"));
    CHECK(contains(collect_contents(client, 1)[0], "\"alive\""));
  }
  const Pid service = client.peer_pid("e").value();
  client.send_message("e", Content::json(R"({"terminate":1})"));
  await_end(service);
  client.disconnect([](const Message&) {});
  CHECK(transport::find_protocol(bus.protocol).remove_route(bus).is_gone);
}

TEST_CASE_FIXTURE(Tidy, "B1: begin returns at once: requests are held until the service is ready") {
  for (const bool exec : {true, false}) {
    Handle handle = ipcm_service_begin("e", exec ? exec_echo() : echoing());
    CHECK(handle.child_pid());
    const std::string id = handle.send_request("early");
    CHECK(handle.await_response(id, kHang).as<std::string>() == "early");
    CHECK(handle.ready());
  }
}

TEST_CASE_FIXTURE(Tidy, "B1: begin in an event loop: the descriptor wakes us until the service is ready") {
  Handle handle = ipcm_service_begin("e", exec_echo());
  bool answered = false;
  handle.send_request("x", [&](const Response& response) { answered = response.ok(); });
  dispatch_until(handle, [&] { return handle.ready(); });
  CHECK(handle.time_to_ready() > Duration(0));
  dispatch_until(handle, [&] { return answered; });
}

TEST_CASE_FIXTURE(Tidy, "B3: outside a service, not waiting needs a bus") {
  CHECK_THROWS_AS((void)ipcm_service_nowait("e", exec_echo()), UsageError);
  ServiceOptions options = exec_echo();
  options.wait = false;
  CHECK_THROWS_AS((void)ipcm_service("e", options), UsageError);
}

TEST_CASE_FIXTURE(Tidy, "B3: outside a service, not waiting on a bus that is there") {
  Guard guard = ipcm_spawn();
  ServiceOptions options = exec_echo();
  options.ipcm_info = guard.info();
  Handle handle = ipcm_service_nowait("e", options);
  CHECK(handle.ready(kHang));
  CHECK(handle.sync_request("x", kHang).ok());
  guard.shutdown();
}

TEST_CASE_FIXTURE(Tidy, "B4: one callback gets every activity") {
  Handle handle = ipcm_service("e", [](Service& self, const Activity& activity) {
    for (const Message& message : activity.messages)
      self.client().send_message(message.from, message.content);
  });
  Client client = ipcm_connect("c", handle.info());
  client.send_message("e", "hello");
  CHECK(collect(client, 1)[0].content == Content("hello"));
}

TEST_CASE_FIXTURE(Tidy, "B4: one callback with parameters") {
  Guard guard = ipcm_spawn();
  Client client = ipcm_connect("c", guard.info());
  ServiceOptions options;
  options.interval = 1ms;
  options.ipcm_info = guard.info();
  Handle handle = ipcm_service("e", options, [](Service& self, const Activity& activity) {
    if (activity.interval) self.client().send_message("c", "tick");
  });
  CHECK(collect(client, 3)[2].content == Content("tick"));
  guard.shutdown();
}

TEST_CASE_FIXTURE(Tidy, "B4: a registered class with parameters, forked") {
  Registry registry = builtin_services();
  registry.add<Adder>("adder", "adds up");
  ServiceOptions options;
  options.class_name = "adder";
  options.registry = &registry;
  options.args = Adder::Args{40};
  Handle adder = ipcm_service("a", options);
  CHECK(adder.sync_request<int>(2, kHang) == 42);
  CHECK(adder.sync_request<int>(-42, kHang) == 0);
}

TEST_CASE_FIXTURE(
    Tidy, "B4: a service may keep a request without copying it, and its answer is sent all the same") {
  Registry registry = builtin_services();
  registry.add<Keeper>("keeper", "answers with what it was asked before");
  ServiceOptions options;
  options.class_name = "keeper";
  options.registry = &registry;
  Handle keeper = ipcm_service("k", options);
  const std::string large(2'000'000, 'x');
  CHECK(keeper.sync_request(large, kHang).content().is_null());
  CHECK_THROWS_AS((void)keeper.sync_request("", kHang).content(), RemoteError);
  CHECK(keeper.sync_request<std::string>("next", kHang) == large);
  CHECK(keeper.sync_request<std::string>("last", kHang) == "next");
}

TEST_CASE_FIXTURE(Tidy, "B4: a built-in class with parameters, forked without naming a registry") {
  ServiceOptions options;
  options.class_name = "echo";
  options.args = Prefix{"> "};
  Handle handle = ipcm_service("e", options);
  CHECK(handle.sync_request("x", kHang).as<std::string>() == "> x");
}

TEST_CASE_FIXTURE(Tidy, "B4: callbacks can't be exec'd, and the error says why") {
  ServiceOptions options = echoing();
  options.exec = Exec{.path = boot_program()};
  const std::string why = thrown_by<UsageError>([&] { (void)ipcm_service("e", options); }).what();
  CHECK(contains(why, "exec"));
  CHECK(contains(why, "class"));
  ServiceOptions bare;
  bare.exec = Exec{.path = boot_program()};
  CHECK_THROWS_AS((void)ipcm_service("e", bare, [](Service&, const Activity&) {}), UsageError);
  CHECK_THROWS_AS((void)ipcm_service("e", bare), UsageError);
}

TEST_CASE_FIXTURE(Tidy, "B4: a class and callbacks at once contradict each other") {
  ServiceOptions options = echoing();
  options.class_name = "echo";
  CHECK_THROWS_AS((void)ipcm_service("e", options), UsageError);
}

TEST_CASE_FIXTURE(Tidy, "B5: a new bus and a given one contradict each other") {
  const Guard guard = ipcm_spawn();
  ServiceOptions options = exec_echo();
  options.new_bus = true;
  options.ipcm_info = guard.info();
  const std::string why = thrown_by<UsageError>([&] { (void)ipcm_service("e", options); }).what();
  CHECK(contains(why, "new_bus"));
  CHECK(contains(why, "ipcm_info"));
}

TEST_CASE_FIXTURE(Tidy, "B5: ipcm_info joins that bus, and the handle's end leaves service and bus alone") {
  Guard guard = ipcm_spawn();
  Client client = ipcm_connect("c", guard.info());
  ServiceOptions options = exec_echo();
  options.ipcm_info = guard.info();
  Pid pid = 0;
  {
    Handle handle = ipcm_service("e", options);
    CHECK(handle.info() == guard.info());
    CHECK(handle.sync_request("x", kHang).ok());
    pid = handle.service_pid().value();
  }
  CHECK(client.peer_active("e"));
  CHECK(client.peer_pid("e") == pid);
  client.send_message("e", Content::json(R"({"ipcm_request_id":"1","request":"x"})"));
  CHECK(collect(client, 1).size() == 1);
  guard.shutdown();
  await_end(pid);
}

TEST_CASE_FIXTURE(
    Tidy, "B5: a handle on another's bus that is destroyed after its service's end leaves no zombie") {
  Guard guard = ipcm_spawn();
  ServiceOptions options = exec_echo();
  options.ipcm_info = guard.info();
  {
    Handle handle = ipcm_service("e", options);
    handle.client().send_message("e", Content::json(R"({"terminate":1})"));
    await_end(handle.service_pid().value());
  }
  CHECK(own_children().empty());
  guard.shutdown();
}

TEST_CASE_FIXTURE(Tidy, "B6: exec: parameters reach the class, typed and as JSON text") {
  ServiceOptions options = exec_echo();
  options.args = Prefix{"« "};
  Handle typed = ipcm_service("e", options);
  CHECK(typed.sync_request("x", kHang).as<std::string>() == "« x");
  options.args = Content::json(R"({"prefix":"\u0001\"\\"})");
  Handle text = ipcm_service("e", options);
  CHECK(text.sync_request("x", kHang).as<std::string>() == "\x01\"\\x");
}

TEST_CASE_FIXTURE(Tidy,
                  "B6: exec: the boot binary is found by $IPCM_BOOT or in $PATH, with arguments, environment "
                  "and directory") {
  ::setenv("IPCM_BOOT", boot_program().c_str(), 1);
  ServiceOptions options = exec_echo();
  options.exec = Exec{};
  { CHECK(ipcm_service("e", options).sync_request("x", kHang).ok()); }
  ::unsetenv("IPCM_BOOT");

  const std::string script =
      write_script(directory() + "/my-boot",
                   "#!/bin/sh\n[ \"$1\" = first ] && shift && [ \"$(pwd)\" = / ] && [ -n \"$COLOUR\" ] "
                   "&& exec " +
                       boot_program() + " \"$@\"\n");
  const std::string path = std::getenv("PATH");
  ::setenv("PATH", (directory() + ":" + path).c_str(), 1);
  options.exec = Exec{.path = "my-boot", .args = {"first"}, .env = {{"COLOUR", "red"}}, .directory = "/"};
  { CHECK(ipcm_service("e", options).sync_request("x", kHang).ok()); }
  ::setenv("PATH", path.c_str(), 1);
  CHECK(std::getenv("COLOUR") == nullptr);
  std::filesystem::remove(script);
}

TEST_CASE_FIXTURE(Tidy, "B6: exec: the service does not see the variables and descriptors of its start") {
  Handle handle = ipcm_service("e", exec_echo());
  CHECK(handle.sync_request("x", kHang).ok());
  int pipes = 0;
  for (const std::string& target : descriptors_of(handle.service_pid().value()))
    if (contains(target, "pipe:") && !contains(descriptors_of(::getpid()), target)) ++pipes;
  CHECK(pipes == 0);  // the ready pipe is closed, and stderr is no pipe of the launch
}

TEST_CASE_FIXTURE(Tidy, "B8: child_pid is unset on a handle's peers that were not started here") {
  Guard guard = ipcm_spawn();
  const Client other = ipcm_connect("other", guard.info());
  ServiceOptions options;
  options.ipcm_info = guard.info();
  options.handle_request = [](Service& self, const Request& request) -> Answer {
    const Peer peer = self.peer(request.as<std::string>());
    return peer.child_pid() ? "started here" : std::to_string(peer.service_pid().value_or(0));
  };
  Handle handle = ipcm_service("e", options);
  CHECK(handle.sync_request<std::string>("other", kHang) == std::to_string(::getpid()));
  CHECK(handle.sync_request<std::string>("nobody", kHang) == "0");
  guard.shutdown();
}

TEST_CASE_FIXTURE(Tidy, "B11: ps shows the service's name") {
  for (const bool exec : {true, false}) {
    Handle handle = ipcm_service("my little service", exec ? exec_echo() : echoing());
    CHECK(read_file("/proc/" + std::to_string(handle.service_pid().value()) + "/comm") ==
          "my little servi\n");
  }
}

TEST_CASE_FIXTURE(Tidy, "F6: parameters of 1 MiB are carried") {
  const std::string large(1U << 20, 'p');
  for (const bool exec : {true, false}) {
    ServiceOptions options = exec_echo();
    const Registry registry = builtin_services();
    options.registry = &registry;
    if (!exec) options.exec.reset();
    options.args = Prefix{large};
    Handle handle = ipcm_service("e", options);
    CHECK(handle.sync_request("!", kHang).as<std::string>() == large + "!");
  }
}

TEST_CASE_FIXTURE(Tidy, "F6: parameters about as long as an argument may be are carried") {
  for (const std::size_t length : {130000UL, 130900UL, 131071UL, 131072UL, 131073UL, 140000UL}) {
    ServiceOptions options = exec_echo();
    options.args = Prefix{std::string(length, 'p')};
    Handle handle = ipcm_service("e", options);
    CHECK(handle.sync_request("!", kHang).as<std::string>().size() == length + 1);
  }
}

TEST_CASE_FIXTURE(Tidy, "F6: secret parameters are not shown in the process list") {
  ServiceOptions options = exec_echo();
  options.args = Prefix{"open sesame"};
  {
    Handle handle = ipcm_service("e", options);
    CHECK(contains(command_line(handle.service_pid().value()), "open sesame"));
  }
  options.secret = true;
  Handle handle = ipcm_service("e", options);
  const std::string place = "/proc/" + std::to_string(handle.service_pid().value());
  CHECK_FALSE(contains(command_line(handle.service_pid().value()), "sesame"));
  CHECK_FALSE(contains(read_file(place + "/environ"), "sesame"));
  CHECK(handle.sync_request("!", kHang).as<std::string>() == "open sesame!");
}

TEST_CASE_FIXTURE(Tidy, "launch: stderr of a starting service goes to its original place") {
  const std::string file = directory() + "/stderr";
  {
    const StderrInto into(file);
    ServiceOptions options;
    options.on_start = [](Service&) { (void)!::write(2, "starting\n", 9); };
    options.handle_request = [](Service&, const Request&) -> Answer {
      (void)!::write(2, "serving\n", 8);
      return 1;
    };
    options.on_cleanup = [](Service&) { (void)!::write(2, "leaving\n", 8); };
    Handle handle = ipcm_service("e", options);
    CHECK(handle.sync_request(1, kHang).ok());
    CHECK(read_file(file) == "starting\nserving\n");
    handle.shutdown();
    CHECK(read_file(file) == "starting\nserving\nleaving\n");
  }
  std::filesystem::remove(file);
}

TEST_CASE_FIXTURE(Tidy, "launch: stderr of a foreign boot goes to its original place") {
  const std::string file = directory() + "/stderr";
  const std::string boot = write_script(directory() + "/boot", R"(#!/bin/sh
echo early >&2
[ "$1" = --ready-fd ] || exit 9
printf '{"ready":true,"name":"x","pid":%d}\n' $$ > /proc/self/fd/$2
echo late >&2
)");
  {
    const StderrInto into(file);
    ServiceOptions options = exec_echo();
    options.exec->path = boot;
    Handle handle = ipcm_service("x", options);
    await_end(handle.service_pid().value());
    CHECK(handle.shutdown() == ExitStatus::exited(0));
  }
  CHECK(read_file(file) == "early\nlate\n");
  std::filesystem::remove(file);
  std::filesystem::remove(boot);
}

TEST_CASE_FIXTURE(
    Tidy, "launch: stderr that is not captured goes through from the beginning, also if the start fails") {
  const std::string file = directory() + "/stderr";
  {
    const StderrInto into(file);
    ServiceOptions options = exec_echo();
    options.exec = Exec{.path = child_program("odd_boot"), .args = {"exit"}};
    options.capture_stderr = false;
    const auto error = thrown_by<LaunchError>([&] { (void)ipcm_service("e", options); });
    CHECK(error.stderr_tail().empty());
    CHECK(error.status() == ExitStatus::exited(3));
  }
  CHECK(read_file(file) == "a screw is loose\n");
  std::filesystem::remove(file);
}

TEST_CASE_FIXTURE(Tidy, "launch: a foreign boot can go on writing after its launcher has released it") {
  const std::string file = directory() + "/stderr", go = directory() + "/go";
  const std::string boot = write_script(directory() + "/boot", R"(#!/bin/sh
echo early >&2
read line < "$GO"
echo late >&2
)");
  REQUIRE(::mkfifo(go.c_str(), 0600) == 0);
  {
    const StderrInto into(file);
    Guard bus = ipcm_spawn();
    ServiceOptions options = exec_echo();
    options.exec->path = boot;
    options.exec->env = {{"GO", go}};
    options.ipcm_info = bus.info();
    options.detached = true;
    options.capture_stderr = true;
    Handle handle = ipcm_service_nowait("x", options);
    handle.release();  // before the service is ready: a relay now reads its stderr
    test::write_file(go, "on\n");
    await_no_children();
    CHECK(read_file(file) == "early\nlate\n");
  }
  for (const std::string& gone : {file, go, boot}) std::filesystem::remove(gone);
}

TEST_CASE_FIXTURE(Tidy, "launch: a log has a service's stdout and stderr, and belongs to that service") {
  Guard bus = ipcm_spawn();
  ServiceOptions options;
  options.ipcm_info = bus.info();
  options.log = true;
  options.on_start = [](Service&) { (void)!::write(2, "starting\n", 9); };
  options.handle_request = [](Service&, const Request&) -> Answer {
    (void)!::write(1, "out\n", 4);
    (void)!::write(2, "err\n", 4);
    return 1;
  };
  Handle handle = ipcm_service("e", options);
  CHECK(handle.sync_request(1, kHang).ok());
  const std::string path = service_log_path(bus.info(), "e");
  CHECK(read_file(path) == "starting\nout\nerr\n");
  CHECK((os::look_at(path).mode & 0777) == 0600);
  CHECK(service_log_path(bus.info(), "f") != path);
  bus.shutdown();
  CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE_FIXTURE(Tidy, "launch: the log of a service that prints without end is bounded") {
  Guard bus = ipcm_spawn();
  ServiceOptions options;
  options.ipcm_info = bus.info();
  options.log = true;
  options.handle_request = [](Service&, const Request&) -> Answer {
    const std::string much(200UL * 1024, 'x');
    os::write_all(1, much, "stdout");
    return 1;
  };
  Handle handle = ipcm_service("e", options);
  const std::string path = service_log_path(bus.info(), "e");
  // Writes more than the log keeps, for longer than the interval at which the service checks its log.
  const auto until = os::Deadline::after(300ms);
  for (int i = 0; i < 30 || !until.has_passed(); ++i) REQUIRE(handle.sync_request(1, kHang).ok());
  CHECK(handle.sync_request(1, kHang).ok());
  await_idle(handle.service_pid().value());  // it checks its log after an answer
  const auto older = os::look_at(path + ".1").size;
  CHECK(older > os::RollingLog::kFull);
  CHECK(older <= os::RollingLog::kLargest);
  bus.shutdown();
}

TEST_CASE_FIXTURE(Tidy, "launch: released children are reaped at the next start") {
  Guard bus = ipcm_spawn();
  ServiceOptions options = exec_echo();
  options.ipcm_info = bus.info();
  std::vector<Pid> pids;
  for (const std::string name : {"a", "b", "c"}) {
    Handle handle = ipcm_service(name, options);
    pids.push_back(handle.child_pid().value());
    handle.release();
  }
  Client client = ipcm_connect("client", bus.info());
  for (const std::string name : {"a", "b", "c"})
    client.send_message(name, Content::json(R"({"terminate":true})"));
  for (const Pid pid : pids) await_end(pid);
  CHECK(own_children().size() == 3);  // zombies
  Handle next = ipcm_service("d", options);
  CHECK(own_children() == std::vector<Pid>{next.child_pid().value()});
  bus.shutdown();
}

TEST_CASE_FIXTURE(Tidy, "launch: a boot binary that is still being written is waited for") {
  const std::string boot = directory() + "/boot";
  std::filesystem::copy_file(boot_program(), boot);
  // If the protocol needs a driver, the fallback beside the binary serves it.
  const std::string fallback = boot + "-dynamic";
  if (const char* built = std::getenv("IPCM_TEST_BOOT_DYNAMIC")) std::filesystem::copy_file(built, fallback);
  {
    const Forked writer([&](test::Lines& test) {
      const os::UniqueFd held(::open(boot.c_str(), O_WRONLY | O_CLOEXEC));
      test.say("open");
      (void)::poll(nullptr, 0, 100);
      return 0;
    });
    (void)const_cast<Forked&>(writer).hear();
    ServiceOptions options = exec_echo();
    options.exec->path = boot;
    Handle handle = ipcm_service("e", options);
    CHECK(handle.sync_request("x", kHang).ok());
  }
  {
    const os::UniqueFd held(::open(boot.c_str(), O_WRONLY | O_CLOEXEC));
    ServiceOptions options = exec_echo();
    options.exec->path = boot;
    CHECK(thrown_by<LaunchError>([&] { (void)ipcm_service("e", options); }).facts().error == ETXTBSY);
  }
  std::filesystem::remove(boot);
  std::filesystem::remove(fallback);
}

TEST_CASE_FIXTURE(Tidy,
                  "G6: a service whose launcher is killed before it is ready leaves, but stays after a start "
                  "without waiting") {
  const std::string go = directory() + "/go";
  const std::string boot =
      write_script(directory() + "/boot", "#!/bin/sh\nread line < \"$GO\"\nexec \"$REAL\" \"$@\"\n");
  REQUIRE(::mkfifo(go.c_str(), 0600) == 0);
  for (const bool waits : {true, false}) {
    Guard bus = ipcm_spawn();
    Forked launcher([&](test::Lines& test) {
      ServiceOptions options = exec_echo();
      options.exec->path = boot;
      options.exec->env = {{"GO", go}, {"REAL", boot_program()}};
      options.ipcm_info = bus.info();
      options.detached = true;
      const Handle handle = waits ? ipcm_service_begin("e", options) : ipcm_service_nowait("e", options);
      test.say(std::to_string(handle.child_pid().value()));
      test.hear();
      return 0;
    });
    const Pid service = std::stoi(launcher.hear());
    launcher.kill(SIGKILL);
    launcher.await_end();
    test::write_file(go, "on\n");
    Client client = ipcm_connect("client", bus.info());
    if (waits) {
      await_end(service);
      CHECK_FALSE(client.peer_active("e"));
    } else {
      CHECK(client.peer_active("e", kHang));
    }
    client.disconnect();
    bus.shutdown();
    await_no_children();
  }
  for (const std::string& gone : {go, boot}) std::filesystem::remove(gone);
}

TEST_CASE_FIXTURE(Tidy, "launch: a process with threads may not fork, but exec") {
  const SecondThread thread;
  const std::string why = thrown_by<Error>([&] { (void)ipcm_service("e", echoing()); }).what();
  CHECK(contains(why, "thread"));
  Handle execed = ipcm_service("e", exec_echo());
  CHECK(execed.sync_request("x", kHang).ok());
  ServiceOptions options = echoing();
  options.allow_threads = true;
  Handle forked = ipcm_service("e", options);
  CHECK(forked.sync_request("x", kHang).ok());
}

TEST_CASE_FIXTURE(
    Tidy, "launch: a guest leaves its host's signals alone, and the service starts with none blocked") {
  sigset_t mine, before, after;
  sigemptyset(&mine);
  sigaddset(&mine, SIGUSR2);
  sigprocmask(SIG_BLOCK, &mine, nullptr);
  struct sigaction child_before {
  }, child_after{}, pipe_before{}, pipe_after{};
  sigaction(SIGCHLD, nullptr, &child_before);
  sigaction(SIGPIPE, nullptr, &pipe_before);
  sigprocmask(SIG_BLOCK, nullptr, &before);
  {
    Handle handle = ipcm_service("e", exec_echo());
    CHECK(handle.sync_request("x", kHang).ok());
    Handle forked = ipcm_service("e", echoing());
    CHECK(forked.sync_request("x", kHang).ok());
  }
  sigprocmask(SIG_BLOCK, nullptr, &after);
  sigaction(SIGCHLD, nullptr, &child_after);
  sigaction(SIGPIPE, nullptr, &pipe_after);
  for (int number = 1; number < 32; ++number)
    CHECK(sigismember(&before, number) == sigismember(&after, number));
  CHECK((child_before.sa_handler == child_after.sa_handler));
  CHECK((pipe_before.sa_handler == pipe_after.sa_handler));
  sigprocmask(SIG_UNBLOCK, &mine, nullptr);
}

TEST_CASE_FIXTURE(Tidy, "launch: a host's own children are not taken from it") {
  Forked own([](Lines& test) {
    test.say("here");
    return 7;
  });
  CHECK(own.hear() == "here");
  own.await_end();
  {
    Handle handle = ipcm_service("e", exec_echo());
    CHECK(handle.sync_request("x", kHang).ok());
  }
  CHECK(own.wait() == ExitStatus::exited(7));
}
