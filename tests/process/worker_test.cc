#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "support/peers.h"

using namespace ipcm;
using namespace ipcm::test;

namespace {

ServiceOptions with_handler(std::function<Answer(Service&, const Request&)> handler) {
  ServiceOptions options;
  options.handle_request = std::move(handler);
  return options;
}

[[noreturn]] void stay() {
  for (;;) ::pause();
}

}  // namespace

TEST_CASE_FIXTURE(Tidy, "E1: a worker runs its function in a process of its own, and exits with its result") {
  const std::string file = directory() + "/did";
  Handle handle = ipcm_service("e", with_handler([file](Service& self, const Request&) -> Answer {
                                 return self.ipcm_worker("w", [file] {
                                   write_file(file + "-pending",
                                              std::to_string(::getpid()) + " " + std::to_string(::getppid()));
                                   std::filesystem::rename(file + "-pending", file);
                                   stay();
                                   return 0;
                                 });
                               }));
  const Pid pid = handle.sync_request<Pid>(1, kHang);
  CHECK(pid != handle.service_pid());
  await_file(file);
  CHECK(read_file("/proc/" + std::to_string(pid) + "/comm") == "w\n");
  CHECK(read_file(file) == std::to_string(pid) + " " + std::to_string(handle.service_pid().value()));
  (void)handle.shutdown();
  await_end(pid);
  std::filesystem::remove(file);
}

TEST_CASE_FIXTURE(Tidy, "E1: a worker that throws, or returns a status: both end quietly for the service") {
  const std::string file = directory() + "/err";
  const StderrInto into(file);
  ServiceOptions options = with_handler([](Service& self, const Request& request) -> Answer {
    if (request.as<std::string>() == "list") {
      std::vector<std::string> names;
      for (const Worker& worker : self.workers()) names.push_back(worker.name);
      return names;
    }
    const Pid thrower =
        self.ipcm_worker("thrower", []() -> int { throw std::runtime_error("no more paper"); });
    const Pid returner = self.ipcm_worker("returner", [] { return 7; });
    return std::vector<Pid>{thrower, returner};
  });
  options.on_pid = [](Service&, Pid pid, ExitStatus) {
    write_file("/dev/stderr", "told of " + std::to_string(pid));
  };
  Handle handle = ipcm_service("e", options);
  for (const Pid pid : handle.sync_request<std::vector<Pid>>("start", kHang)) await_end(pid);
  CHECK(handle.sync_request<std::vector<std::string>>("list", kHang).empty());
  (void)handle.shutdown();
  const std::string said = read_file(file);
  CHECK(contains(said, "worker 'thrower' of service 'e' ends: no more paper"));
  CHECK_FALSE(contains(said, "told of"));  // E2: reaped without a report
  std::filesystem::remove(file);
}

TEST_CASE_FIXTURE(Tidy, "E1: outside a service there is no worker") {
  Handle handle = ipcm_service("e", with_handler([](Service& self, const Request&) -> Answer {
                                 // In a worker, the service object belongs to the parent: a call there fails.
                                 const Pid pid = self.ipcm_worker("outer", [&self] {
                                   try {
                                     (void)self.ipcm_worker("inner", [] { return 0; });
                                   } catch (const UsageError&) {
                                     return 0;
                                   }
                                   return 1;
                                 });
                                 int status = -1;
                                 ::waitpid(pid, &status, 0);
                                 return status;
                               }));
  CHECK(handle.sync_request<int>(1, kHang) == 0);
}

TEST_CASE_FIXTURE(Tidy, "E2: workers are listed while they run") {
  Handle handle = ipcm_service("e", with_handler([](Service& self, const Request& request) -> Answer {
                                 if (request.as<std::string>() == "start")
                                   for (const char* name : {"a", "b"})
                                     self.ipcm_worker(name, []() -> int { stay(); });
                                 std::vector<std::string> all;
                                 for (const Worker& worker : self.workers()) {
                                   all.push_back(worker.name);
                                   if (request.as<std::string>() == "kill a" && worker.name == "a") {
                                     ::kill(worker.pid, SIGKILL);
                                     await_end(worker.pid);
                                   }
                                 }
                                 return all;
                               }));
  using Names = std::vector<std::string>;
  CHECK(handle.sync_request<Names>("start", kHang) == Names{"a", "b"});
  (void)handle.sync_request("kill a", kHang);
  CHECK(handle.sync_request<Names>("list", kHang) == Names{"b"});
}

TEST_CASE_FIXTURE(Tidy, "E2: at the end of the service workers get SIGTERM, and SIGKILL when they stay") {
  ServiceOptions options = with_handler([](Service& self, const Request&) -> Answer {
    self.worker_patience(200ms);
    const Pid polite = self.ipcm_worker("polite", []() -> int { stay(); });
    const Pid stubborn = self.ipcm_worker("stubborn", []() -> int {
      ::signal(SIGTERM, SIG_IGN);
      stay();
    });
    return std::vector<Pid>{polite, stubborn};
  });
  Handle handle = ipcm_service("e", options);
  const auto pids = handle.sync_request<std::vector<Pid>>(1, kHang);
  CHECK(handle.shutdown() == ExitStatus::exited(0));
  for (const Pid pid : pids) CHECK(::kill(pid, 0) != 0);  // ended and reaped before the service ended
}

TEST_CASE_FIXTURE(Tidy, "E2: when the service is killed its workers end too") {
  Handle handle = ipcm_service("e", with_handler([](Service& self, const Request&) -> Answer {
                                 return self.ipcm_worker("w", []() -> int { stay(); });
                               }));
  const Pid pid = handle.sync_request<Pid>(1, kHang);
  ::kill(handle.service_pid().value(), SIGKILL);
  await_end(pid);
}

TEST_CASE_FIXTURE(Tidy, "E3: a worker holds none of the service's sockets, locks and clients") {
  const std::string file = directory() + "/use";
  Handle handle = ipcm_service("e", with_handler([file](Service& self, const Request&) -> Answer {
                                 return self.ipcm_worker("w", [&self, file] {
                                   std::string said;
                                   try {
                                     self.client().send_message("x", 1);
                                     said = "sent?";
                                   } catch (const UsageError& error) {
                                     said = error.what();
                                   }
                                   write_file(file + "-pending", said);
                                   std::filesystem::rename(file + "-pending", file);
                                   stay();
                                   return 0;
                                 });
                               }));
  const Pid pid = handle.sync_request<Pid>(1, kHang);
  await_file(file);
  CHECK(contains(read_file(file), "belongs to the process that joined the bus"));
  for (const std::string& leads : descriptors_of(pid)) {
    CAPTURE(leads);
    CHECK_FALSE(contains(leads, "socket:"));
    CHECK_FALSE(contains(leads, "eventpoll"));
    CHECK_FALSE(contains(leads, handle.info().route));
  }
  // When the service dies, its worker does not keep it alive for others, nor its name.
  const Pid service = handle.service_pid().value();
  ::kill(pid, SIGSTOP);
  ::kill(service, SIGKILL);
  await_end(service);
  CHECK(handle.client().peers().empty());
  Client again = ipcm_connect("e", handle.info());
  std::filesystem::remove(file);
}

TEST_CASE_FIXTURE(Tidy, "fork: a worker of a service with threads is refused, with advice") {
  Handle handle = ipcm_service("e", with_handler([](Service& self, const Request&) -> Answer {
                                 std::string said = "not refused";
                                 with_thread([&] {
                                   try {
                                     (void)self.ipcm_worker("w", [] { return 0; });
                                   } catch (const UsageError& error) {
                                     said = error.what();
                                   }
                                 });
                                 return said;
                               }));
  const auto said = handle.sync_request<std::string>(1, kHang);
  CHECK(contains(said, "several threads"));
  CHECK(contains(said, "exec"));
}
