// Services that start services.

#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "os/process.h"
#include "support/peers.h"

using namespace ipcm;
using namespace ipcm::test;

namespace {

ServiceOptions failing() {
  ServiceOptions options = exec_echo();
  options.exec = Exec{.path = child_program("odd_boot"), .args = {"exit"}};
  return options;
}

using Handler = std::function<Answer(Service&, const Request&)>;

/// Starts a service from outside of a service; it runs `handler` for each request.
Handle outer(Handler handler) {
  ServiceOptions options;
  options.expose_error_details = true;
  options.handle_request = std::move(handler);
  return ipcm_service("outer", options);
}

}  // namespace

TEST_CASE_FIXTURE(Tidy,
                  "B2: inside a service: the new one shares the bus, and is ready when the call returns") {
  for (const bool exec : {true, false}) {
    CAPTURE(exec);
    Handle handle = outer([exec](Service& self, const Request& request) -> Answer {
      Peer inner = self.ipcm_service("inner", exec ? exec_echo() : echoing());
      const bool fine = inner.ready() && inner.service_name() == "inner" && inner.child_pid() &&
                        inner.child_pid() == inner.service_pid() && *inner.child_pid() != ::getpid();
      if (!fine) return "something is wrong";
      return inner.sync_request<std::string>(request.raw(), kHang);
    });
    CHECK(handle.sync_request<std::string>("hello", kHang) == "hello");
    CHECK(handle.client().peers() == std::vector<std::string>{"inner", "outer"});
    CHECK(handle.sync_request<std::string>("inner", "from outside", kHang) == "from outside");
  }
}

TEST_CASE_FIXTURE(Tidy,
                  "B2: services start services start services, by turns forked and exec'd, from on_start") {
  ServiceOptions third = echoing();
  third.on_start = [](Service& self) { (void)self.ipcm_service("4", exec_echo()); };
  ServiceOptions second = echoing();
  second.on_start = [third](Service& self) { (void)self.ipcm_service("3", third); };
  ServiceOptions first = echoing();
  first.on_start = [second](Service& self) { (void)self.ipcm_service("2", second); };
  Handle handle = ipcm_service("1", first);
  CHECK(handle.client().peers() == std::vector<std::string>{"1", "2", "3", "4"});
  for (const char* name : {"1", "2", "3", "4"}) CHECK(handle.sync_request(name, "x", kHang).ok());
}

TEST_CASE_FIXTURE(Tidy, "B2: a failing start inside a service throws there, and the service goes on") {
  Handle handle = outer([](Service& self, const Request&) -> Answer {
    try {
      (void)self.ipcm_service("inner", failing());
      return "started?";
    } catch (const LaunchError& error) {
      const bool fine = error.facts().name == "inner" && error.status() == ExitStatus::exited(3) &&
                        error.stderr_tail() == "a screw is loose\n" && own_children().empty();
      return fine ? "as expected" : error.what();
    }
  });
  for (int i = 0; i < 3; ++i) CHECK(handle.sync_request<std::string>(1, kHang) == "as expected");
}

TEST_CASE_FIXTURE(Tidy, "B3: not waiting: a request is held until the new service is ready") {
  for (const bool exec : {true, false}) {
    CAPTURE(exec);
    Handle handle = outer([exec](Service& self, const Request& request) -> Answer {
      Peer inner = self.ipcm_service_nowait("inner", exec ? exec_echo() : echoing());
      inner.send_request(request.raw(), [&self, request](const Response& response) {
        if (response.ok())
          self.send_response(request, response.content());
        else
          self.send_error(request, response.error());
      });
      return later;
    });
    CHECK(handle.sync_request<std::string>("early", kHang) == "early");
  }
}

TEST_CASE_FIXTURE(Tidy, "B3: not waiting: ready waits later, and a sync request waits by itself") {
  Handle handle = outer([](Service& self, const Request& request) -> Answer {
    if (request.as<std::string>() == "ready") {
      Peer inner = self.ipcm_service_nowait("a", exec_echo());
      if (!inner.ready(kHang) || !inner.ready()) return "not ready";
      return inner.sync_request<std::string>("fine", kHang);
    }
    Peer inner = self.ipcm_service_nowait("b", exec_echo());
    return inner.sync_request<std::string>("fine", kHang);
  });
  CHECK(handle.sync_request<std::string>("ready", kHang) == "fine");
  CHECK(handle.sync_request<std::string>("sync", kHang) == "fine");
}

TEST_CASE_FIXTURE(Tidy, "B3: without waiting, held requests and ready() get the failure of the start") {
  Handle handle = outer([](Service& self, const Request& request) -> Answer {
    Peer inner = self.ipcm_service_nowait("inner-" + request.as<std::string>(), failing());
    if (request.as<std::string>() == "ready") {
      try {
        return inner.ready(kHang) ? "ready?" : "timed out?";
      } catch (const LaunchError& error) {
        return std::string("LaunchError ") + error.what();
      }
    }
    inner.send_request("x", [&self, request](const Response& response) {
      try {
        self.send_response(request, response.content());
      } catch (const LaunchError& error) {
        self.send_response(request, std::string("LaunchError ") + error.what());
      }
    });
    return later;
  });
  for (const char* wish : {"request", "ready"}) {
    CAPTURE(std::string(wish));
    const auto answer = handle.sync_request<std::string>(wish, kHang);
    CHECK(answer.starts_with("LaunchError"));
    CHECK(contains(answer, "inner-"));
    CHECK(contains(answer, "exited with status 3"));
  }
}

TEST_CASE_FIXTURE(Tidy, "B3: not waiting: a request that is held waits for a repeated start, too") {
  Handle handle = outer([](Service& self, const Request& request) -> Answer {
    const auto second = request.as<std::string>();
    const std::string name = "inner-" + second;
    Peer inner = self.ipcm_service_nowait(name, failing());
    inner.send_request("x", [&self, request](const Response& response) {
      self.send_response(request, response.ok() ? "answered" : response.error());
    });
    for (;;) {
      try {
        if (second == "works") {
          (void)self.ipcm_service_nowait(name, exec_echo());
        } else {
          ServiceOptions options = failing();
          if (second == "missing") options.exec->path = "/nowhere/boot";
          (void)self.ipcm_service(name, options);
        }
      } catch (const UsageError&) {
        (void)self.client().peer_active("nobody", 10ms);  // the first start is still open
        continue;
      } catch (const LaunchError&) {
        return later;
      }
      return later;
    }
  });
  CHECK(handle.sync_request<std::string>("works", kHang) == "answered");
  CHECK(contains(handle.sync_request<std::string>("fails", kHang), "exited with status 3"));
  CHECK(contains(handle.sync_request<std::string>("missing", kHang), "/nowhere/boot"));
}

TEST_CASE_FIXTURE(Tidy, "B3: not waiting: ready with a limit that passes says not yet") {
  Handle handle = outer([](Service& self, const Request&) -> Answer {
    ServiceOptions slow = exec_echo();
    slow.exec = Exec{.path = child_program("odd_boot"), .args = {"mute"}};
    slow.timeout = 300ms;
    Peer inner = self.ipcm_service_nowait("inner", slow);
    if (inner.ready() || inner.ready(1ms)) return "ready?";
    try {
      return inner.ready(kHang) ? "ready?" : "not even an error?";
    } catch (const LaunchError& error) {
      return error.facts().timed_out ? "timed out" : error.what();
    }
  });
  CHECK(handle.sync_request<std::string>(1, kHang) == "timed out");
}

TEST_CASE_FIXTURE(Tidy, "B5: a new bus inside a service gives a handle on it") {
  Handle handle = outer([](Service& self, const Request& request) -> Answer {
    ServiceOptions options = exec_echo();
    options.new_bus = true;
    Handle inner = ipcm_service("outer", options);  // the same name, on another bus
    if (inner.info() == self.info()) return "the same bus?";
    return inner.sync_request<std::string>(request.raw(), kHang);
  });
  CHECK(handle.sync_request<std::string>("hello", kHang) == "hello");
  CHECK(handle.client().peers() == std::vector<std::string>{"outer"});
}

TEST_CASE_FIXTURE(Tidy, "B11: a nested service has its own name in ps") {
  Handle handle = outer([](Service& self, const Request&) -> Answer {
    return self.ipcm_service("nested one", echoing()).service_pid().value();
  });
  const int pid = handle.sync_request<int>(1, kHang);
  CHECK(read_file("/proc/" + std::to_string(pid) + "/comm") == "nested one\n");
}

TEST_CASE_FIXTURE(Tidy,
                  "B12: a nested service holds none of its parent's descriptors, and can't act for it") {
  for (const bool exec : {true, false}) {
    CAPTURE(exec);
    Handle handle = outer([exec](Service& self, const Request&) -> Answer {
      const Pid inner = self.ipcm_service("inner", exec ? exec_echo() : echoing()).service_pid().value();
      std::vector<std::string> shared;
      const auto mine = descriptors_of(::getpid());
      for (const std::string& target : descriptors_of(inner))
        if (contains(target, "socket:") && contains(mine, target)) shared.push_back(target);
      return shared;
    });
    CHECK(handle.sync_request<std::vector<std::string>>(1, kHang).empty());
    // The end of the inner service does not end the outer one.
    handle.client().send_message("inner", Content::json(R"({"terminate":1})"));
    await_end(handle.client().peer_pid("inner").value_or(0));
    CHECK(handle.client().peer_active("outer"));
  }
}

TEST_CASE_FIXTURE(Tidy, "B12: a nested service runs none of its parent's callbacks") {
  const std::string file = directory() + "/who";
  ServiceOptions options;
  options.on_cleanup = [&](Service&) {
    std::string before = read_file(file);
    write_file(file, before + std::to_string(::getpid()) + "\n");
  };
  options.handle_request = [](Service& self, const Request& request) -> Answer {
    (void)self.ipcm_service("inner", echoing());
    return request.raw();
  };
  Handle handle = ipcm_service("outer", options);
  CHECK(handle.sync_request("x", kHang).ok());
  const Pid pid = handle.service_pid().value();
  handle.shutdown();
  CHECK(read_file(file) == std::to_string(pid) + "\n");
  std::filesystem::remove(file);
}

TEST_CASE_FIXTURE(Tidy, "C6: the end of a service that a service started is told by on_pid") {
  Guard guard = ipcm_spawn();
  Client ear = ipcm_connect("ear", guard.info());
  ServiceOptions options;
  options.ipcm_info = guard.info();
  options.handle_request = [](Service& self, const Request&) -> Answer {
    return self.ipcm_service("inner", exec_echo()).service_pid().value();
  };
  options.on_pid = [](Service& self, Pid pid, ExitStatus status) {
    self.client().send_message("ear", std::to_string(pid) + " " + status.describe());
  };
  Handle handle = ipcm_service("outer", options);
  const int inner = handle.sync_request<int>(1, kHang);
  ::kill(inner, SIGKILL);
  CHECK(collect(ear, 1)[0].content.as<std::string>() == std::to_string(inner) + " was killed by SIGKILL");
  guard.shutdown();
}

TEST_CASE_FIXTURE(
    Tidy, "C6: the end of a service is told by on_pid also if its name was given to another one meanwhile") {
  Guard guard = ipcm_spawn();
  Client ear = ipcm_connect("ear", guard.info());
  ServiceOptions options;
  options.ipcm_info = guard.info();
  options.handle_request = [](Service& self, const Request&) -> Answer {
    const Pid first = self.ipcm_service("inner", exec_echo()).service_pid().value();
    const auto process = os::open_process(first);
    ::kill(first, SIGKILL);
    (void)os::await_end(process.value().get(), os::Deadline::after(kHang));
    (void)self.ipcm_service("inner", exec_echo());
    return first;
  };
  options.on_pid = [](Service& self, Pid pid, ExitStatus status) {
    self.client().send_message("ear", std::to_string(pid) + " " + status.describe());
  };
  Handle handle = ipcm_service("outer", options);
  const int first = handle.sync_request<int>(1, kHang);
  CHECK(collect(ear, 1)[0].content.as<std::string>() == std::to_string(first) + " was killed by SIGKILL");
  guard.shutdown();
}

TEST_CASE_FIXTURE(
    Tidy, "C6: the end of a service is told by on_pid also if its process has the pid of an earlier one") {
  Guard guard = ipcm_spawn();
  Client ear = ipcm_connect("ear", guard.info());
  ServiceOptions options;
  options.ipcm_info = guard.info();
  // Starts services until one has the wanted pid; 0: any. Returns its pid.
  options.handle_request = [](Service& self, const Request& request) -> Answer {
    constexpr int kTries = 30;
    const Pid wanted = request.as<int>();
    Pid pid = 0;
    for (int i = 0; i < kTries; ++i) {
      if (wanted > 0) std::ofstream("/proc/sys/kernel/ns_last_pid") << wanted - 1 << std::flush;
      pid = self.ipcm_service("inner" + std::to_string(i), exec_echo()).service_pid().value();
      if (wanted == 0 || pid == wanted) break;
      ::kill(pid, SIGKILL);
    }
    return pid;
  };
  options.on_pid = [](Service& self, Pid pid, ExitStatus) { self.client().send_message("ear", int{pid}); };
  Handle handle = ipcm_service("outer", options);
  const auto await_end_of = [&](int pid) {
    ::kill(pid, SIGKILL);
    for (;;)
      for (const Message& message : ear.wait_for_messages(kHang))
        if (message.content.as<int>() == pid) return;
  };
  const int first = handle.sync_request<int>(0, kHang);
  await_end_of(first);
  if (const int second = handle.sync_request<int>(first, kHang); second == first)
    await_end_of(second);
  else
    MESSAGE("skipped: the kernel did not give the pid again");
  guard.shutdown();
}

TEST_CASE_FIXTURE(Tidy, "D4: a peer that a service started and that dies ends the request with its status") {
  ServiceOptions deadly;
  deadly.handle_request = [](Service&, const Request&) -> Answer {
    ::kill(::getpid(), SIGKILL);
    return later;
  };
  Handle handle = outer([deadly](Service& self, const Request&) -> Answer {
    Peer inner = self.ipcm_service("inner", deadly);
    try {
      return inner.sync_request(1, kHang).content();
    } catch (const PeerGone& error) {
      return error.status() ? error.status()->describe() : "gone, who knows how";
    }
  });
  CHECK(handle.sync_request<std::string>(1, kHang) == "was killed by SIGKILL");
}
