// Ends of owners, services and watched processes, which other processes must notice.

#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>

#include "support/peers.h"

using namespace ipcm;
using namespace ipcm::test;

TEST_CASE_FIXTURE(Tidy, "F1: when the owner is killed every service ends, and the last one removes the bus") {
  for (const bool exec : {true, false}) {
    CAPTURE(exec);
    Forked owner([&](Lines& test) {
      Handle first = ipcm_service("first", exec ? exec_echo() : echoing());
      std::vector<Handle> others;
      for (const char* name : {"second", "third"}) {
        ServiceOptions options = exec ? exec_echo() : echoing();
        options.ipcm_info = first.info();
        others.push_back(ipcm_service(name, options));
      }
      test.say(first.info().route);
      for (Handle* handle : {&first, &others[0], &others[1]})
        test.say(std::to_string(handle->service_pid().value()));
      for (;;) ::pause();
      return 0;
    });
    const std::string route = owner.hear();
    std::vector<Pid> services;
    for (int i = 0; i < 3; ++i) services.push_back(std::stoi(owner.hear()));
    CHECK(std::filesystem::exists(route));
    owner.kill(SIGKILL);
    for (const Pid pid : services) await_end(pid);
    CHECK_FALSE(std::filesystem::exists(route));
    CHECK(owner.wait() == ExitStatus::signalled(SIGKILL));
    await_no_children();
  }
}

TEST_CASE_FIXTURE(Tidy, "F1: the owner's orderly end without shutdown leaves nothing either") {
  Forked owner([](Lines& test) {
    Handle handle = ipcm_service("e", exec_echo());
    test.say(handle.info().route);
    test.say(std::to_string(handle.service_pid().value()));
    ::_exit(0);  // no destructor runs
    return 0;
  });
  const std::string route = owner.hear();
  const Pid service = std::stoi(owner.hear());
  await_end(service);
  CHECK_FALSE(std::filesystem::exists(route));
}

TEST_CASE_FIXTURE(Tidy, "F1: when the owner is killed while the service starts, nothing is left") {
  std::array<int, 2> go{};
  REQUIRE(::pipe(go.data()) == 0);
  Forked owner([&](Lines& test) {
    ServiceOptions options = echoing();
    options.on_start = [&](Service&) {
      char byte = 0;
      (void)!::read(go[0], &byte, 1);
    };
    options.timeout = kNoLimit;
    Handle handle = ipcm_service_begin("e", options);
    test.say(handle.info().route);
    test.say(std::to_string(handle.child_pid().value()));
    test.say(handle.client().peer_active("e", kHang) ? "joined" : "did not join");
    for (;;) ::pause();
    return 0;
  });
  const std::string route = owner.hear();
  const Pid service = std::stoi(owner.hear());
  CHECK(owner.hear() == "joined");
  owner.kill(SIGKILL);
  CHECK(owner.wait() == ExitStatus::signalled(SIGKILL));
  CHECK(::write(go[1], "x", 1) == 1);
  await_end(service);
  CHECK_FALSE(std::filesystem::exists(route));
  ::close(go[0]);
  ::close(go[1]);
}

TEST_CASE_FIXTURE(Tidy, "F1: a service in a service ends with it") {
  ServiceOptions options;
  options.on_start = [](Service& self) { (void)self.ipcm_service("inner", exec_echo()); };
  options.handle_request = [](Service& self, const Request&) -> Answer {
    return self.peer("inner").service_pid().value();
  };
  Handle handle = ipcm_service("outer", options);
  const Pid inner = handle.sync_request<int>(1, kHang);
  ::kill(handle.service_pid().value(), SIGKILL);
  await_end(inner);
}

TEST_CASE_FIXTURE(
    Tidy, "D4: a request that waits when the service is killed from outside is PeerGone, with the signal") {
  ServiceOptions options;
  options.handle_request = [](Service& self, const Request& request) -> Answer {
    self.client().send_message("killer", request.raw());
    return later;
  };
  for (const int signal : {SIGKILL, SIGQUIT}) {
    Handle handle = ipcm_service("e", options);
    const BusInfo info = handle.info();
    Forked killer([&](Lines& test) {
      Client client = ipcm_connect("killer", info);
      test.say("joined");
      ::kill(collect(client, 1)[0].content.as<int>(), signal);
      return 0;
    });
    CHECK(killer.hear() == "joined");
    const auto error =
        thrown_by<PeerGone>([&] { (void)handle.sync_request(handle.service_pid().value()).content(); });
    REQUIRE(error.status());
    CHECK(error.status()->how == ExitStatus::How::signalled);
    CHECK(error.status()->value == signal);
    CHECK(killer.wait() == ExitStatus::exited(0));
    const auto status = handle.shutdown();
    REQUIRE(status);
    CHECK(status->value == signal);
  }
}

TEST_CASE_FIXTURE(Tidy,
                  "D4: answers sent just before the end are not lost: exit, terminate, and a large one") {
  ServiceOptions options;
  options.handle_request = [](Service& self, const Request& request) -> Answer {
    const auto wish = request.as<std::string>();
    if (wish == "terminate") self.terminate(3);
    if (wish == "exit") {
      self.send_response(request, wish);
      ::_exit(4);
    }
    if (wish == "large") {
      self.terminate(5);
      return std::string(8U << 20, 'x');
    }
    return wish;
  };
  for (int round = 0; round < 10; ++round) {
    for (const char* wish : {"terminate", "exit"}) {
      Handle handle = ipcm_service("e", options);
      CHECK(handle.sync_request(wish).as<std::string>() == wish);
      CHECK(handle.shutdown() == ExitStatus::exited(wish == std::string("exit") ? 4 : 3));
    }
  }
  Handle handle = ipcm_service("e", options);
  CHECK(handle.sync_request("large").as<std::string>().size() == 8U << 20);
  CHECK(handle.shutdown() == ExitStatus::exited(5));
}

TEST_CASE_FIXTURE(Tidy, "C7: when any watched process ends the service cleans up and ends") {
  for (const bool exec : {true, false}) {
    CAPTURE(exec);
    Forked first([](Lines&test) { return test.hear(), 0; }),
        second([](Lines&test) { return test.hear(), 0; });
    const std::string file = directory() + "/cleaned";
    ServiceOptions options = exec ? exec_echo() : echoing();
    if (!exec) options.on_cleanup = [&](Service&) { write_file(file, "yes"); };
    options.watch_pids = {first.pid(), second.pid()};
    Handle handle = ipcm_service("e", options);
    CHECK(handle.sync_request("x", kHang).ok());
    second.kill(SIGKILL);
    await_end(handle.service_pid().value());
    if (!exec) CHECK(read_file(file) == "yes");
    CHECK_FALSE(handle.client().peer_active("e"));
    CHECK(handle.shutdown() == ExitStatus::exited(0));
    std::filesystem::remove(file);
  }
}

TEST_CASE_FIXTURE(Tidy, "C7: the end of a watched process is an activity") {
  Guard guard = ipcm_spawn();
  Client ear = ipcm_connect("ear", guard.info());
  Forked watched([](Lines& test) { return test.hear(), 0; });
  ServiceOptions options;
  options.ipcm_info = guard.info();
  options.watch_pids = {watched.pid()};
  options.on_all = [](Service& self, const Activity& activity) {
    for (const Pid pid : activity.pid_watch) self.client().send_message("ear", pid);
  };
  Handle handle = ipcm_service("e", options);
  watched.kill(SIGKILL);
  CHECK(collect(ear, 1)[0].content.as<int>() == watched.pid());
  await_end(handle.service_pid().value());
  guard.shutdown();
}

TEST_CASE_FIXTURE(Tidy, "C7: a process that ended before the service started is noticed too") {
  Forked watched([](Lines&) { return 0; });
  watched.await_end();
  ServiceOptions options = exec_echo();
  options.watch_pids = {watched.pid()};
  try {
    Handle handle = ipcm_service("e", options);
    await_end(handle.service_pid().value());
  } catch (const LaunchError& error) {
    MESSAGE("refused: " << error.what());
  }
}

TEST_CASE_FIXTURE(Tidy,
                  "C7: the caller is watched by default, whichever of its threads or forks started it") {
  Forked caller([](Lines& test) {
    Handle handle = ipcm_service("e", exec_echo());
    test.say(std::to_string(handle.service_pid().value()));
    Forked sibling([](Lines& up) { return up.hear(), 0; });  // must not keep the service alive
    test.say(std::to_string(sibling.pid()));
    test.hear();
    ::kill(::getpid(), SIGKILL);
    return 0;
  });
  const Pid service = std::stoi(caller.hear());
  (void)caller.hear();
  caller.say("die");
  await_end(service);
}

TEST_CASE_FIXTURE(Tidy, "shutdown: a service that will not end is ended by signal") {
  ServiceOptions options = echoing();
  options.on_general_message = [](Service&, const Message&) {
    for (;;) ::pause();
  };
  options.bus.patience = 100ms;
  options.bus.term_time = 200ms;
  Handle handle = ipcm_service("e", options);
  CHECK(handle.sync_request("x", kHang).ok());
  handle.client().send_message("e", "hang");
  std::optional<ExitStatus> status;
  try {
    status = handle.shutdown();
  } catch (const Timeout&) {
  }
  CHECK(own_children().empty());
  if (status) CHECK(status->how == ExitStatus::How::signalled);
}
