#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "support/peers.h"

using namespace ipcm;
using namespace ipcm::test;

namespace {

/// The prefix of files that show that a destructor or an exit handler ran, and in which process. Empty: no
/// files.
std::string mark_file;
void leave_mark(const std::string& who) {
  if (!mark_file.empty()) write_file(mark_file + "-" + who, std::to_string(::getpid()));
}
struct Marks {
  const char* who;
  ~Marks() { leave_mark(who); }
};
const Marks global{"global"};

void at_exit() { leave_mark("atexit"); }

}  // namespace

TEST_CASE_FIXTURE(Tidy, "B9: pre_fork runs in the caller, post_fork in the child") {
  Pid before = 0;
  int count = 0;
  const std::string file = directory() + "/post";
  ServiceOptions options = echoing();
  options.pre_fork = [&] {
    before = ::getpid();
    ++count;
  };
  options.post_fork = [&] { write_file(file, std::to_string(::getpid()) + " " + std::to_string(count)); };
  Handle handle = ipcm_service("e", options);
  CHECK(before == ::getpid());
  CHECK(count == 1);
  CHECK(read_file(file) == std::to_string(handle.child_pid().value()) + " 1");
  CHECK(handle.sync_request("x", kHang).ok());
  std::filesystem::remove(file);
}

TEST_CASE_FIXTURE(Tidy,
                  "B9: daemonising in post_fork: the middle process ends, the grandchild is the service") {
  for (const bool exec : {false, true}) {
    CAPTURE(exec);
    ServiceOptions options = exec ? exec_echo() : echoing();
    options.post_fork = [] {
      if (::fork() != 0) ::_exit(0);
      ::setsid();
    };
    std::optional<Handle> handle(ipcm_service("e", options));
    CHECK(handle->sync_request("x", kHang).ok());
    const Pid middle = handle->child_pid().value(), service = handle->service_pid().value();
    CHECK(middle != service);
    CHECK(::getsid(service) == service);
    await_end(middle);
    CHECK(handle->sync_request("y", kHang).ok());
    (void)handle->shutdown();
    await_end(service);
    CHECK(::waitpid(middle, nullptr, WNOHANG) == -1);  // its parent has reaped it
    CHECK(errno == ECHILD);
    await_no_children();
  }
}

TEST_CASE_FIXTURE(Tidy, "B9: interposing in post_fork: the middle process stays and waits") {
  for (const bool exec : {false, true}) {
    CAPTURE(exec);
    ServiceOptions options = exec ? exec_echo() : echoing();
    options.post_fork = [] {
      const pid_t pid = ::fork();
      if (pid == 0) return;
      int status = 0;
      ::waitpid(pid, &status, 0);
      ::_exit(WIFEXITED(status) ? 40 + WEXITSTATUS(status) : 99);
    };
    Handle handle = ipcm_service("e", options);
    CHECK(handle.sync_request("x", kHang).ok());
    const Pid middle = handle.child_pid().value(), service = handle.service_pid().value();
    CHECK(middle != service);
    CHECK(contains(own_children(), middle));
    CHECK_FALSE(contains(own_children(), service));
    (void)handle.shutdown();
    CHECK(own_children().empty());
  }
}

TEST_CASE_FIXTURE(Tidy, "B9: an interposed service that fails to start is an error, and no process is left") {
  ServiceOptions options = echoing();
  options.on_start = [](Service&) { throw std::runtime_error("no luck"); };
  options.post_fork = [] {
    const pid_t pid = ::fork();
    if (pid == 0) return;
    ::waitpid(pid, nullptr, 0);
    ::_exit(1);
  };
  CHECK(contains(thrown_by<LaunchError>([&] { (void)ipcm_service("e", options); }).reason(), "no luck"));
}

TEST_CASE_FIXTURE(Tidy, "B9: a daemonised service that is never ready is ended when the time is up") {
  ServiceOptions options = echoing();
  options.timeout = 1s;
  options.bus.polite_time = 100ms;
  options.bus.term_time = 200ms;
  options.post_fork = [] {
    if (::fork() != 0) ::_exit(0);
  };
  options.on_start = [](Service&) {
    for (;;) ::pause();
  };
  const auto error = thrown_by<LaunchError>([&] { (void)ipcm_service("e", options); });
  CHECK(error.facts().timed_out);
}

TEST_CASE_FIXTURE(Tidy,
                  "B12: a forked service holds none of the descriptors that the library has in its parent") {
  Guard elsewhere = ipcm_spawn();
  Client client = ipcm_connect("c", elsewhere.info());
  Client other = ipcm_connect("d", elsewhere.info());
  client.send_message("d", 1);
  CHECK(collect(other, 1).size() == 1);
  Handle first = ipcm_service("first", exec_echo());
  CHECK(first.sync_request("x", kHang).ok());
  Handle handle = ipcm_service("e", echoing());
  const auto mine = descriptors_of(::getpid());
  for (const std::string& target : descriptors_of(handle.service_pid().value())) {
    if (contains(target, "socket:")) CHECK_FALSE(contains(mine, target));
    CHECK_FALSE(contains(target, elsewhere.info().route));
    CHECK_FALSE(contains(target, first.info().route));
  }
  CHECK(handle.sync_request("x", kHang).ok());
}

TEST_CASE_FIXTURE(Tidy, "B12: an exec'd service holds none of its parent's descriptors") {
  const std::string path = directory() + "/parents";
  const int plain = ::open(path.c_str(), O_RDWR | O_CREAT, 0600);
  Handle first = ipcm_service("first", exec_echo());
  Handle handle = ipcm_service("e", exec_echo());
  const auto its = descriptors_of(handle.service_pid().value());
  CHECK_FALSE(contains(its, path));
  for (const std::string& target : its)
    if (contains(target, "socket:")) CHECK_FALSE(contains(descriptors_of(::getpid()), target));
  ::close(plain);
  std::filesystem::remove(path);
}

TEST_CASE_FIXTURE(Tidy, "B12: a forked service runs none of its parent's destructors and exit handlers") {
  static const bool registered = std::atexit(at_exit) == 0;
  REQUIRE(registered);
  static const Marks in_function{"static"};
  std::optional<Marks> local(Marks{"local"});
  mark_file = directory() + "/mark";
  for (const char* end : {"politely", "terminate", "throw", "exit"}) {
    CAPTURE(std::string(end));
    ServiceOptions options;
    options.handle_request = [](Service& self, const Request& request) -> Answer {
      const auto wish = request.as<std::string>();
      if (wish == "terminate") self.terminate(5);
      return wish;
    };
    options.on_general_message = [](Service&, const Message&) { throw std::runtime_error("as asked"); };
    {
      Handle handle = ipcm_service("e", options);
      if (end == std::string("terminate")) CHECK(handle.sync_request(end, kHang).ok());
      if (end == std::string("throw")) handle.client().send_message("e", end);
      if (end != std::string("politely")) {
        if (end == std::string("exit")) ::kill(handle.service_pid().value(), SIGTERM);
        await_end(handle.service_pid().value());
      }
    }
    CHECK(names_in(directory()).empty());
  }
  mark_file.clear();
}

TEST_CASE_FIXTURE(Tidy, "B12: output that the parent has not flushed is not written twice") {
  const std::string path = directory() + "/buffered";
  std::FILE* file = std::fopen(path.c_str(), "we");
  REQUIRE(file != nullptr);
  (void)std::fputs("once\n", file);
  {
    Handle handle = ipcm_service("e", echoing());
    CHECK(handle.sync_request("x", kHang).ok());
  }
  CHECK(read_file(path).empty());
  (void)std::fclose(file);
  CHECK(read_file(path) == "once\n");
  std::filesystem::remove(path);
}

TEST_CASE_FIXTURE(Tidy, "B12: a handle, its client and its guard are inert in a forked child") {
  Handle handle = ipcm_service("e", exec_echo());
  Forked child([&](Lines& test) {
    std::string said;
    try {
      (void)handle.sync_request("x", 1s);
      said = "answered";
    } catch (const UsageError&) {
      said = "refused";
    }
    { const Handle gone = std::move(handle); }
    test.say(said);
    return 0;
  });
  CHECK(child.hear() == "refused");
  CHECK(child.wait() == ExitStatus::exited(0));
  CHECK(handle.sync_request("still here", kHang).ok());
  CHECK(handle.shutdown() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "B12: a service forked while another handle is held leaves that one alone") {
  Handle first = ipcm_service("first", echoing());
  {
    Handle second = ipcm_service("second", echoing());
    CHECK(second.sync_request("x", kHang).ok());
  }
  CHECK(first.sync_request("x", kHang).ok());
  CHECK(first.shutdown() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "launch: a new session has no terminal, and shutdown reaches it") {
  ServiceOptions options = exec_echo();
  options.new_session = true;
  Handle handle = ipcm_service("e", options);
  CHECK(::getsid(handle.service_pid().value()) == handle.service_pid().value());
  Handle plain = ipcm_service("e", exec_echo());
  CHECK(::getsid(plain.service_pid().value()) == ::getsid(0));
}
