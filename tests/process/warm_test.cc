// Warm boots: processes of a boot binary that wait for their parameters.

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>

#include "launch/warm_boots.h"
#include "support/peers.h"

using namespace ipcm;
using namespace ipcm::test;

namespace {

ServiceOptions warm_echo(const WarmPool& pool) {
  ServiceOptions options = exec_echo();
  options.exec->warm = pool;
  return options;
}

/// Waits until the pool is full, as the event loop of another program does.
void await_refill(Handle& handle, const WarmPool& pool, std::size_t processes) {
  while (pool.waiting() < processes) {
    pollfd one{handle.fd(), POLLIN, 0};
    REQUIRE(::poll(&one, 1, os::Deadline::after(kHang).poll_timeout()) == 1);
    handle.dispatch();
  }
}

std::string answer(Handle& handle) { return handle.sync_request<std::string>("hello", kHang); }

}  // namespace

TEST_CASE_FIXTURE(Tidy, "warm: a start uses a waiting process, and another one replaces it") {
  const WarmPool pool(2);
  const ServiceOptions options = warm_echo(pool);
  ipcm_warm_up(options);
  CHECK(pool.waiting() == 2);
  for (int i = 0; i < 5; ++i) {
    const auto waiting = own_children();
    Handle handle = ipcm_service("e", options);
    CHECK(contains(waiting, *handle.child_pid()));
    CHECK(handle.service_pid() == handle.child_pid());
    CHECK(pool.waiting() == 1);
    CHECK(answer(handle) == "hello");
    await_refill(handle, pool, 2);
    CHECK(handle.shutdown() == ExitStatus::exited(0));
  }
  CHECK(own_children().size() == 2);
}

TEST_CASE_FIXTURE(Tidy, "warm: the first start of a pool executes the binary; the pool fills as it is used") {
  const WarmPool pool(3);
  CHECK(pool.waiting() == 0);
  Handle first = ipcm_service("e", warm_echo(pool));
  CHECK(pool.waiting() == 2);
  Handle second = ipcm_service("e", warm_echo(pool));
  await_refill(second, pool, 3);
  CHECK(answer(first) == "hello");
  CHECK(answer(second) == "hello");
}

TEST_CASE_FIXTURE(Tidy, "warm: the end of a handle without a wait makes the replacement") {
  const WarmPool pool(2);
  const ServiceOptions options = warm_echo(pool);
  ipcm_warm_up(options);
  { const Handle handle = ipcm_service("e", options); }
  CHECK(pool.waiting() == 2);
}

TEST_CASE_FIXTURE(Tidy, "warm: starts in quick succession all find a waiting process") {
  const WarmPool pool(2);
  ServiceOptions options = warm_echo(pool);
  const Guard guard = ipcm_spawn();
  options.ipcm_info = guard.info();
  ipcm_warm_up(options);
  std::vector<Handle> handles;
  for (int i = 0; i < 5; ++i) {
    const auto waiting = own_children();
    handles.push_back(ipcm_service("e" + std::to_string(i), options));
    CHECK(contains(waiting, *handles.back().child_pid()));
  }
  for (Handle& handle : handles) CHECK(answer(handle) == "hello");
}

TEST_CASE_FIXTURE(Tidy, "warm: a pool that has ended gets no replacement") {
  std::optional<Handle> handle;
  {
    const WarmPool pool(2);
    ipcm_warm_up(warm_echo(pool));
    handle.emplace(ipcm_service("e", warm_echo(pool)));
  }
  pollfd one{handle->fd(), POLLIN, 0};
  REQUIRE(::poll(&one, 1, os::Deadline::after(kHang).poll_timeout()) == 1);  // the refill was planned
  handle->dispatch();
  CHECK(own_children() == std::vector<Pid>{*handle->child_pid()});
  CHECK(answer(*handle) == "hello");
}

TEST_CASE_FIXTURE(Tidy, "warm: waiting processes end with the last copy of their pool") {
  std::optional<Handle> handle;
  {
    const WarmPool pool(2);
    // NOLINTNEXTLINE(performance-unnecessary-copy-initialization): the test is about copies
    const WarmPool copy = pool;
    ipcm_warm_up(warm_echo(copy));
    handle.emplace(ipcm_service("e", warm_echo(pool)));
    await_refill(*handle, pool, 2);
    CHECK(own_children().size() == 3);
  }
  CHECK(own_children() == std::vector<Pid>{*handle->child_pid()});
  CHECK(answer(*handle) == "hello");
}

TEST_CASE_FIXTURE(Tidy, "warm: a start skips a waiting process that was killed") {
  const WarmPool pool(2);
  const ServiceOptions options = warm_echo(pool);
  ipcm_warm_up(options);
  const auto waiting = own_children();
  for (const Pid pid : waiting) {
    ::kill(pid, SIGKILL);
    await_end(pid);
  }
  CHECK(pool.waiting() == 0);
  Handle handle = ipcm_service("e", options);
  CHECK_FALSE(contains(waiting, *handle.child_pid()));
  CHECK(answer(handle) == "hello");
}

TEST_CASE_FIXTURE(
    Tidy, "warm: a waiting process that is killed while it starts makes the start fail, with the signal") {
  const WarmPool pool(1);
  ServiceOptions options = warm_echo(pool);
  ipcm_warm_up(options);
  const Pid waiting = own_children().at(0);
  ::kill(waiting, SIGSTOP);
  Guard guard = ipcm_spawn();
  options.ipcm_info = guard.info();
  Handle handle = ipcm_service_begin("e", options);
  CHECK(handle.child_pid() == waiting);
  ::kill(waiting, SIGKILL);
  const auto error = thrown_by<LaunchError>([&] { (void)handle.ready(kHang); });
  CHECK(error.status() == ExitStatus::signalled(SIGKILL));
  CHECK(contains(error.what(), "SIGKILL"));
}

TEST_CASE_FIXTURE(Tidy, "warm: options that a waiting process can't receive replace the waiting processes") {
  const WarmPool pool(1);
  const ServiceOptions options = warm_echo(pool);
  ServiceOptions other = options;
  const auto is_replaced = [&](const ServiceOptions& now) {
    ipcm_warm_up(options);
    const Pid waiting = own_children().at(0);
    Handle handle = ipcm_service("e", now);
    CHECK(answer(handle) == "hello");
    const auto left = own_children();
    return handle.child_pid() != waiting && !contains(left, waiting);
  };
  CHECK_FALSE(is_replaced(options));
  SUBCASE("its environment") { other.exec->env["COLOUR"] = "green"; }
  SUBCASE("its directory") { other.exec->directory = "/"; }
  SUBCASE("its session") { other.new_session = true; }
  SUBCASE("that nobody is watched") { other.detached = true; }
  SUBCASE("our environment") {
    ipcm_warm_up(options);
    ::setenv("IPCM_TEST_COLOUR", "green", 1);
    const Pid waiting = own_children().at(0);
    Handle handle = ipcm_service("e", options);
    ::unsetenv("IPCM_TEST_COLOUR");
    CHECK(handle.child_pid() != waiting);
    return;
  }
  SUBCASE("our stderr") {
    ipcm_warm_up(options);
    const Pid waiting = own_children().at(0);
    const StderrInto file(directory() + "/stderr");
    Handle handle = ipcm_service("e", options);
    CHECK(handle.child_pid() != waiting);
    (void)handle.shutdown();
    std::filesystem::remove(directory() + "/stderr");
    return;
  }
  SUBCASE("the file of the binary") {
    const std::string copy = directory() + "/boot";
    std::filesystem::copy_file(boot_program(), copy);
    ServiceOptions own = options;
    own.exec->path = copy;
    ipcm_warm_up(own);
    const Pid waiting = own_children().at(0);
    std::filesystem::rename(copy, copy + ".old");
    std::filesystem::copy_file(boot_program(), copy);
    {
      Handle handle = ipcm_service("e", own);
      CHECK(handle.child_pid() != waiting);
      CHECK(answer(handle) == "hello");
    }
    std::filesystem::remove(copy);
    std::filesystem::remove(copy + ".old");
    return;
  }
  CHECK(is_replaced(other));
}

TEST_CASE_FIXTURE(
    Tidy, "warm: starts that can't use a waiting process execute the binary, and leave the pool alone") {
  const WarmPool pool(1);
  ServiceOptions options = warm_echo(pool);
  ipcm_warm_up(options);
  const Pid waiting = own_children().at(0);
  SUBCASE("redirected") { options.redirect.out = "/dev/null"; }
  SUBCASE("forked before") {
    options.post_fork = [] {};
  }
  SUBCASE("parameters that no pipe takes at once") {
    options.args = Content::json(R"({"prefix":")" + std::string(200000, 'x') + "\"}");
  }
  SUBCASE("nobody reads its stderr") { options.capture_stderr = false; }
  Handle handle = ipcm_service("e", options);
  CHECK(handle.child_pid() != waiting);
  CHECK(contains(own_children(), waiting));
  CHECK(answer(handle).ends_with("hello"));
}

TEST_CASE_FIXTURE(Tidy, "warm: a failed start in a waiting process is reported like any other") {
  const WarmPool pool(1);
  ServiceOptions options = warm_echo(pool);
  ipcm_warm_up(options);
  options.class_name = "nobody";
  const auto waiting = own_children();
  const auto error = thrown_by<LaunchError>([&] { (void)ipcm_service("e", options); });
  CHECK(error.phase() == LaunchError::Phase::boot);
  CHECK(error.status() == ExitStatus::exited(127));
  CHECK(contains(error.what(), "unknown class 'nobody'"));
  CHECK_FALSE(contains(own_children(), waiting.at(0)));
}

TEST_CASE_FIXTURE(Tidy, "warm: a pool that can't be filled reports why; a start reports its own reason") {
  const WarmPool pool(1);
  ServiceOptions options = warm_echo(pool);
  options.exec->path = directory() + "/missing";
  CHECK(thrown_by<LaunchError>([&] { ipcm_warm_up(options); }).phase() == LaunchError::Phase::prepare);
  options.exec->path = child_program("odd_boot");
  options.exec->directory = directory() + "/nowhere";
  CHECK(contains(thrown_by<LaunchError>([&] { ipcm_warm_up(options); }).what(), "/nowhere"));
  options = exec_echo();
  CHECK(contains(thrown_by<UsageError>([&] { ipcm_warm_up(options); }).what(), "WarmPool"));
  options = warm_echo(pool);
  options.redirect.out = "/dev/null";
  CHECK(contains(thrown_by<UsageError>([&] { ipcm_warm_up(options); }).what(), "redirected"));
  CHECK(pool.waiting() == 0);
  // This boot ends at once instead of waiting. A start finds it dead, fails for the same reason, and reports
  // that.
  options = warm_echo(pool);
  options.exec = Exec{.path = child_program("odd_boot"), .args = {"exit"}, .warm = pool};
  ipcm_warm_up(options);
  for (const Pid pid : own_children()) await_end(pid);  // it may already have ended and be reaped
  CHECK(
      contains(thrown_by<LaunchError>([&] { (void)ipcm_service("e", options); }).what(), "a screw is loose"));
}

TEST_CASE_FIXTURE(Tidy, "warm: in a forked child a pool is empty, and fills anew") {
  const WarmPool pool(1);
  const ServiceOptions options = warm_echo(pool);
  ipcm_warm_up(options);
  const auto waiting = own_children();
  Forked child([&](ipcm::test::Lines& test) {
    test.say(std::to_string(pool.waiting()));
    {
      Handle handle = ipcm_service("e", options);
      test.say(std::to_string(*handle.child_pid()) + " " + answer(handle));
    }
    test.say(std::to_string(pool.waiting()));
    return 0;
  });
  CHECK(child.hear() == "0");
  CHECK_FALSE(child.hear().starts_with(std::to_string(waiting.at(0)) + " "));
  CHECK(child.hear() == "1");
  child.kill(SIGKILL);
  (void)child.wait();
  CHECK(pool.waiting() == 1);
  Handle handle = ipcm_service("e", options);
  CHECK(handle.child_pid() == waiting.at(0));
}

TEST_CASE_FIXTURE(Tidy,
                  "warm: a pool that another thread used during the fork is empty, and does not block") {
  const WarmPool pool(1);
  const ServiceOptions options = warm_echo(pool);
  ipcm_warm_up(options);
  launch::WarmBoots::Held held(*pool.boots());  // as that thread does
  Forked child([&](ipcm::test::Lines& test) {
    test.say(std::to_string(pool.waiting()));
    Handle handle = ipcm_service("e", options);
    test.say(answer(handle));
    return 0;
  });
  CHECK(child.hear() == "0");
  CHECK(child.hear() == "hello");
  CHECK(child.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "warm: waiting processes end with a launcher that is killed") {
  Forked launcher([&](ipcm::test::Lines& test) {
    const WarmPool pool(2);
    ipcm_warm_up(warm_echo(pool));
    for (const Pid pid : own_children()) test.say(std::to_string(pid));
    (void)test.hear();
    return 0;
  });
  const std::array<Pid, 2> waiting{std::stoi(launcher.hear()), std::stoi(launcher.hear())};
  launcher.kill(SIGKILL);
  (void)launcher.wait();
  for (const Pid pid : waiting) await_end(pid);
}

TEST_CASE_FIXTURE(Tidy, "warm: inside a service, peers are started from a pool, too") {
  ServiceOptions options;
  options.expose_error_details = true;
  const WarmPool pool(1);
  options.handle_request = [pool](Service& self, const Request&) -> Answer {
    const ServiceOptions inner = warm_echo(pool);
    ipcm_warm_up(inner);
    const Pid waiting = own_children().at(0);
    Peer peer = self.ipcm_service("inner", inner);
    if (peer.child_pid() != waiting || pool.waiting() != 1) return "executed";
    return peer.sync_request<std::string>("taken from the pool", kHang);
  };
  Handle handle = ipcm_service("outer", options);
  CHECK(handle.sync_request<std::string>(1, kHang) == "taken from the pool");
}

TEST_CASE_FIXTURE(Tidy, "warm: secret parameters are not shown, and a used process gets its service's name") {
  const WarmPool pool(1);
  ServiceOptions options = warm_echo(pool);
  options.secret = true;
  options.args = Content::json(R"({"prefix":"mellon"})");
  ipcm_warm_up(options);
  Handle handle = ipcm_service("e", options);
  CHECK(contains(command_line(*handle.service_pid()), boot_program()));
  CHECK_FALSE(contains(command_line(*handle.service_pid()), "mellon"));
  CHECK(read_file("/proc/" + std::to_string(*handle.service_pid()) + "/comm") == "e\n");
}
