#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "os/descriptor.h"
#include "os/pipe.h"
#include "support/peers.h"

using namespace ipcm;
using namespace ipcm::test;
using ipcm::os::duplicate;
using ipcm::os::make_pipe;
using ipcm::os::Pipe;
using ipcm::os::replace_standard_stream;
using ipcm::os::UniqueFd;

using Phase = LaunchError::Phase;

namespace {

ServiceOptions odd(const std::string& how) {
  ServiceOptions options = exec_echo();
  options.exec = Exec{.path = child_program("odd_boot"), .args = {how}};
  return options;
}

/// Returns options for the echo class, by exec or by fork.
ServiceOptions echo(bool exec) {
  static const Registry builtin = builtin_services();
  ServiceOptions options = exec_echo();
  if (!exec) options.exec.reset();
  options.registry = &builtin;
  return options;
}

/// Returns the error of a start that fails. Checks that the error names the service, and that its process has
/// ended and is reaped.
LaunchError failure(const std::string& name, const ServiceOptions& options) {
  auto error = thrown_by<LaunchError>([&] { (void)ipcm_service(name, options); });
  CHECK(own_children().empty());
  CHECK(error.facts().name == name);
  CHECK(contains(error.what(), name));
  if (error.phase() != Phase::prepare) CHECK(error.facts().elapsed > Duration(0));
  if (error.facts().timed_out) CHECK_FALSE(error.status());
  if (error.phase() == Phase::boot || error.phase() == Phase::start) CHECK(error.facts().error == 0);
  return error;
}

}  // namespace

TEST_CASE_FIXTURE(Tidy, "B7: a boot that exits: its status and its last words") {
  const auto error = failure("e", odd("exit"));
  CHECK(error.phase() == Phase::boot);
  CHECK(error.status() == ExitStatus::exited(3));
  CHECK(error.reason().empty());
  CHECK(error.stderr_tail() == "a screw is loose\n");
  CHECK(contains(error.what(), "exited with status 3"));
  CHECK(contains(error.what(), "a screw is loose"));
  CHECK_FALSE(error.facts().timed_out);
}

TEST_CASE_FIXTURE(Tidy, "B7: a boot that ends well without ever being ready has failed too") {
  const auto error = failure("e", odd("exit-0"));
  CHECK(error.phase() == Phase::boot);
  CHECK(error.status() == ExitStatus::exited(0));
  CHECK(error.stderr_tail().empty());
}

TEST_CASE_FIXTURE(Tidy, "B7: a boot that crashes: its signal") {
  const auto error = failure("e", odd("segv"));
  CHECK(error.phase() == Phase::boot);
  REQUIRE(error.status());
  CHECK(error.status()->how == ExitStatus::How::signalled);
  CHECK(error.status()->value == SIGSEGV);
  CHECK(error.stderr_tail() == "oh no\n");
  CHECK(contains(error.what(), "SIGSEGV"));
}

TEST_CASE_FIXTURE(Tidy, "B7: a boot that writes very much: the end of it, at most 16 KiB") {
  const auto error = failure("e", odd("chatty"));
  CHECK(error.status() == ExitStatus::exited(4));
  CHECK(error.stderr_tail().size() <= 16384);
  CHECK(error.stderr_tail().size() > 8192);
  CHECK(error.stderr_tail().ends_with("line 4999 of very many\nthe very last words\n"));
}

TEST_CASE_FIXTURE(Tidy, "B7: a boot that reports its failure: its words") {
  const auto error = failure("e", odd("failed"));
  CHECK(error.phase() == Phase::boot);
  CHECK(error.status() == ExitStatus::exited(5));
  CHECK(error.reason() == "the moon is full");
  CHECK(contains(error.what(), "the moon is full"));
}

TEST_CASE_FIXTURE(Tidy, "B7: a boot that is never ready is killed when the time is up") {
  for (const char* how : {"mute", "stubborn"}) {
    CAPTURE(std::string(how));
    ServiceOptions options = odd(how);
    options.timeout = 1s;
    const auto error = failure("e", options);
    CHECK(error.phase() == Phase::boot);
    CHECK(error.facts().timed_out);
    CHECK(error.facts().elapsed >= 1s);
    if (how == std::string("mute")) CHECK(error.stderr_tail() == "I am slow\n");
  }
}

TEST_CASE_FIXTURE(Tidy,
                  "B7: a boot that closes the ready pipe and runs on will never be ready, and is ended") {
  ServiceOptions options = odd("close");
  options.timeout = kNoLimit;
  const auto error = failure("e", options);
  CHECK(error.phase() == Phase::boot);
  CHECK_FALSE(error.status());
  CHECK_FALSE(error.facts().timed_out);
  CHECK(error.stderr_tail() == "I close it\n");
}

TEST_CASE_FIXTURE(Tidy, "B7: a ready line without end is no readiness, and is bounded") {
  ServiceOptions options = odd("endless-line");
  options.timeout = kNoLimit;
  CHECK(failure("e", options).phase() == Phase::boot);
}

TEST_CASE_FIXTURE(Tidy, "B7: a boot that says ready and is not on the bus has failed") {
  const auto error = failure("x", odd("liar"));
  CHECK(error.phase() == Phase::boot);
  CHECK(contains(error.what(), "no peer of that name is on the bus"));
}

TEST_CASE_FIXTURE(Tidy, "B7: a ready line of another service, or one that is none, is refused") {
  CHECK(contains(failure("x", odd("other-name")).what(), "names another service: 'somebody-else'"));
  CHECK(contains(failure("x", odd("no-json")).what(), "where the ready line was expected"));
}

TEST_CASE_FIXTURE(Tidy,
                  "G8: the time limit holds if a boot prints without end and our stderr has no reader") {
  Pipe unread = make_pipe();
  const UniqueFd before = duplicate(2, 3);
  replace_standard_stream(unread.write_end.get(), 2);
  ServiceOptions options = odd("flood");
  options.timeout = 300ms;
  std::optional<LaunchError> error;
  try {
    (void)ipcm_service("x", options);
  } catch (const LaunchError& thrown) {
    error = thrown;
  }
  replace_standard_stream(before.get(), 2);
  REQUIRE(error);
  CHECK(error->facts().timed_out);
  CHECK(error->stderr_tail().size() == 16384);
}

TEST_CASE_FIXTURE(
    Tidy, "G6: a failed start in a session of its own also ends the processes that the boot has started") {
  ServiceOptions options = odd("family");
  options.new_session = true;
  options.timeout = 300ms;
  // Not failure(): this process adopts the dead orphan and must reap it.
  CHECK(thrown_by<LaunchError>([&] { (void)ipcm_service("x", options); }).facts().timed_out);
  await_no_children();
}

TEST_CASE_FIXTURE(Tidy, "G6: destroying a handle before its service is ready ends the start") {
  Guard bus = ipcm_spawn();
  ServiceOptions options = odd("mute");
  options.ipcm_info = bus.info();
  {
    const Handle handle = ipcm_service_begin("x", options);
    CHECK(own_children().size() == 1);
  }
  CHECK(own_children().empty());
  {
    Handle handle = ipcm_service_begin("x", options);
    handle.release();
  }
  CHECK(own_children().empty());
}

TEST_CASE_FIXTURE(Tidy, "B7: a boot binary that is missing: its errno and its path, at once") {
  for (const std::string& path : {directory() + "/missing", std::string("no-such-ipcm-boot-in-path")}) {
    ServiceOptions options = exec_echo();
    options.exec->path = path;
    const auto error = failure("e", options);
    CHECK((error.phase() == Phase::prepare || error.phase() == Phase::exec));
    CHECK(error.facts().error == ENOENT);
    CHECK_FALSE(error.status());
    CHECK(contains(error.what(), path));
  }
}

TEST_CASE_FIXTURE(Tidy, "B7: the time from the call to the verdict is told, also if no process was made") {
  ServiceOptions options = exec_echo();
  options.exec->path = directory() + "/missing";
  CHECK(failure("e", options).facts().elapsed > Duration(0));
}

TEST_CASE_FIXTURE(Tidy, "B7: a boot binary that may not be executed, or is none") {
  const std::string path = directory() + "/boot";
  ServiceOptions options = exec_echo();
  options.exec->path = path;

  write_file(path, "#!/bin/sh\n");
  auto error = failure("e", options);
  CHECK((error.phase() == Phase::prepare || error.phase() == Phase::exec));
  CHECK(error.facts().error == EACCES);
  CHECK(contains(error.what(), path));

  write_script(path, "\x01\x02\x03 neither program nor script\n");
  error = failure("e", options);
  CHECK((error.phase() == Phase::prepare || error.phase() == Phase::exec));
  CHECK(error.facts().error == ENOEXEC);

  write_script(path, "#!" + directory() + "/no-such-interpreter\n");
  error = failure("e", options);
  CHECK((error.phase() == Phase::prepare || error.phase() == Phase::exec));
  CHECK(error.facts().error == ENOENT);

  std::filesystem::remove(path);
  options.exec->path = directory();
  error = failure("e", options);
  CHECK(error.facts().error == EACCES);

  options = exec_echo();
  options.exec->directory = directory() + "/missing";
  error = failure("e", options);
  CHECK(error.facts().error == ENOENT);
  CHECK(contains(error.what(), options.exec->directory));
}

TEST_CASE_FIXTURE(Tidy, "B7: an unknown class: the known ones are listed") {
  ServiceOptions options = exec_echo();
  options.class_name = "unicorn";
  const auto error = failure("e", options);
  CHECK(error.phase() == Phase::boot);
  CHECK(error.status() == ExitStatus::exited(127));
  CHECK(contains(error.reason(), "unicorn"));
  CHECK(contains(error.reason(), "echo"));
  CHECK(contains(error.what(), "echo"));

  options = echo(false);
  options.class_name = "unicorn";
  const std::string forked = thrown_by<Error>([&] { (void)ipcm_service("e", options); }).what();
  CHECK(contains(forked, "unicorn"));
  CHECK(contains(forked, "echo"));
  CHECK(own_children().empty());
}

TEST_CASE_FIXTURE(Tidy, "B7: wrong arguments are refused with the key's name") {
  for (const bool exec : {true, false}) {
    CAPTURE(exec);
    ServiceOptions options = echo(exec);
    options.args = Content::json(R"({"perfix":"x"})");
    auto error = failure("e", options);
    CHECK(contains(error.reason(), "perfix"));
    if (exec) CHECK(error.status() == ExitStatus::exited(64));

    options.args = Content::json(R"({"prefix":[1]})");
    error = failure("e", options);
    CHECK(contains(error.reason(), "prefix"));
    CHECK(contains(error.reason(), "string"));
    if (exec) CHECK(error.status() == ExitStatus::exited(64));
  }
}

TEST_CASE_FIXTURE(Tidy, "B7: arguments that are no object are refused") {
  for (const bool exec : {true, false}) {
    for (const char* args : {"1", "\"prefix\"", "[]", "[\"x\"]", "true"}) {
      CAPTURE(std::string(args));
      ServiceOptions options = echo(exec);
      options.args = Content::json(args);
      try {
        (void)ipcm_service("e", options);
        FAIL_CHECK("it started");
      } catch (const LaunchError& error) {
        CHECK(contains(error.reason(), "object"));
      }
    }
  }
}

TEST_CASE_FIXTURE(Tidy, "B7: the error of a name that is taken names its owner") {
  Guard guard = ipcm_spawn();
  const Client holder = ipcm_connect("e", guard.info());
  for (const bool exec : {true, false}) {
    CAPTURE(exec);
    ServiceOptions options = echo(exec);
    options.ipcm_info = guard.info();
    const auto error = failure("e", options);
    CHECK(error.phase() == Phase::boot);
    CHECK(contains(error.what(), std::to_string(::getpid())));
    if (error.status()) CHECK_FALSE(error.status()->success());
  }
  {
    ServiceOptions options = exec_echo();  // the bus still works
    options.ipcm_info = guard.info();
    Handle other = ipcm_service("other", options);
    CHECK(other.sync_request("x", kHang).ok());
  }
  guard.shutdown();
}

TEST_CASE_FIXTURE(Tidy, "B7: a name that can't be is refused before anything is started") {
  CHECK_THROWS_AS((void)ipcm_service("_e", exec_echo()), Error);
  CHECK_THROWS_AS((void)ipcm_service("", exec_echo()), Error);
  CHECK(own_children().empty());
}

TEST_CASE_FIXTURE(Tidy, "B7: a bus that is missing: its route") {
  for (const bool exec : {true, false}) {
    ServiceOptions options = echo(exec);
    options.ipcm_info = BusInfo{"ConnectionUnix", "JSON", directory() + "/no-bus"};
    const auto error = failure("e", options);
    CHECK(contains(error.what(), directory() + "/no-bus"));
  }
}

TEST_CASE_FIXTURE(Tidy, "B7: on_start that throws: its words, whether or not errors are intercepted") {
  for (const bool intercept : {false, true}) {
    ServiceOptions options;
    options.intercept_errors = intercept;
    options.on_start = [](Service&) {
      (void)!::write(2, "I try\n", 6);
      throw std::runtime_error("no luck today");
    };
    const auto error = failure("e", options);
    CHECK(error.phase() == Phase::start);
    CHECK(contains(error.reason(), "no luck today"));
    CHECK(contains(error.what(), "no luck today"));
    CHECK(contains(error.stderr_tail(), "I try\n"));
    CHECK(error.status() == ExitStatus::exited(70));
  }
}

TEST_CASE_FIXTURE(Tidy, "B7: on_start that ends the process: its status") {
  ServiceOptions options;
  options.on_start = [](Service&) { ::_exit(6); };
  auto error = failure("e", options);
  CHECK(error.phase() == Phase::start);
  CHECK(error.status() == ExitStatus::exited(6));
  options.on_start = [](Service&) { ::kill(::getpid(), SIGKILL); };
  error = failure("e", options);
  CHECK(error.phase() == Phase::start);
  CHECK(error.status() == ExitStatus::signalled(SIGKILL));
}

TEST_CASE_FIXTURE(Tidy, "B7: on_start that never returns is killed when the time is up") {
  ServiceOptions options;
  options.timeout = 1s;
  options.on_start = [](Service&) {
    for (;;) ::pause();
  };
  const auto error = failure("e", options);
  CHECK(error.phase() == Phase::start);
  CHECK(error.facts().timed_out);
}

TEST_CASE_FIXTURE(Tidy, "B7: a post_fork that throws ends the start, with its words") {
  ServiceOptions options;
  options.handle_request = [](Service&, const Request& request) -> Answer { return request.raw(); };
  options.post_fork = [] { throw std::runtime_error("not in the child"); };
  CHECK(contains(failure("e", options).what(), "not in the child"));
}

TEST_CASE_FIXTURE(Tidy, "B7: a forked service that cannot set up its streams says why") {
  ServiceOptions options;
  options.handle_request = [](Service&, const Request& request) -> Answer { return request.raw(); };
  options.post_fork = [] {
    const rlimit none{0, 0};  // dup2() fails
    ::setrlimit(RLIMIT_NOFILE, &none);
  };
  const auto error = failure("e", options);
  CHECK(contains(error.what(), "Bad file descriptor"));
}

TEST_CASE_FIXTURE(Tidy, "B7: begin: the failure comes from ready, and with every held request") {
  Handle handle = ipcm_service_begin("e", odd("exit"));
  std::string told;
  handle.send_request(1, [&](const Response& response) { told = response.error(); });
  const std::string id = handle.send_request(2);
  const auto error = thrown_by<LaunchError>([&] { (void)handle.ready(kHang); });
  CHECK(error.status() == ExitStatus::exited(3));
  CHECK_THROWS_AS((void)handle.await_response(id, kHang).content(), LaunchError);
  handle.await_all_responses(kHang);
  CHECK(contains(told, "exited with status 3"));
  CHECK(own_children().empty());
}

TEST_CASE_FIXTURE(Tidy, "B7: a failed start leaves the name and the caller's bus free for another try") {
  Guard guard = ipcm_spawn();
  const auto before = names_in(guard.info().route);
  ServiceOptions options;
  options.ipcm_info = guard.info();
  options.on_start = [](Service&) { ::kill(::getpid(), SIGKILL); };
  CHECK(failure("e", options).status() == ExitStatus::signalled(SIGKILL));
  ServiceOptions good = exec_echo();
  good.ipcm_info = guard.info();
  Handle handle = ipcm_service("e", good);
  CHECK(handle.sync_request("x", kHang).ok());
  guard.shutdown();
}

TEST_CASE_FIXTURE(Tidy, "B7: fifty failures leave nothing behind") {
  const auto descriptors = open_descriptors();
  for (int i = 0; i < 50; ++i) CHECK_THROWS_AS((void)ipcm_service("e", odd("exit")), LaunchError);
  CHECK(open_descriptors() == descriptors);
  CHECK(own_children().empty());
  CHECK(names_in(directory()).empty());
}
