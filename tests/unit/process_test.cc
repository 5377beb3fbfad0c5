#include "os/process.h"
#include "os/child.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ipcm/error.h"
#include "os/directory.h"
#include "os/pipe.h"
#include "os/signals.h"
#include "os/spawn.h"
#include "os/stream.h"
#include "support/tidy.h"
#include "unit/expect.h"
#include "unit/forked.h"
#include "unit/shell.h"

using namespace ipcm;
using namespace ipcm::os;
using ipcm::test::contains;
using ipcm::test::error_of;
using ipcm::test::HeldChild;
using ipcm::test::in_child;
using ipcm::test::kHang;
using ipcm::test::shell;
using ipcm::test::Tidy;

namespace {

SpawnRequest program(const std::string& path) {
  SpawnRequest request;
  request.program = path;
  request.args = {"x"};
  return request;
}

Child spawned(const SpawnRequest& request) {
  auto result = spawn(request);
  if (const auto* failure = std::get_if<SpawnFailure>(&result))
    FAIL("spawn failed at step ", static_cast<int>(failure->step), " with errno ", failure->error);
  return std::get<Child>(std::move(result));
}

SpawnFailure failed(const SpawnRequest& request) {
  auto result = spawn(request);
  REQUIRE(std::holds_alternative<SpawnFailure>(result));
  return std::get<SpawnFailure>(result);
}

/// Returns the output of a shell script on stdout.
std::string output_of(SpawnRequest request) {
  Pipe pipe = make_pipe();
  request.fds.push_back({pipe.write_end.get(), 1});
  Child child = spawned(request);
  pipe.write_end.reset();
  std::string text = read_all(pipe.read_end.get(), 1U << 20U, "child's stdout");
  CHECK(child.reap(Deadline::after(kHang)) == ExitStatus::exited(0));
  return text;
}

/// A script that lists the descriptors of the shell itself, without another process.
constexpr const char* kListDescriptors =
    R"(for f in /proc/self/fd/*; do if [ -e "$f" ]; then printf '%s ' "${f##*/}"; fi; done)";

/// Returns whether the kernel reports the exit status of a process that another process has reaped (since
/// Linux 6.15).
bool kernel_tells_of_reaped() {
  utsname name{};
  int major = 0, minor = 0;
  return ::uname(&name) == 0 && std::sscanf(name.release, "%d.%d", &major, &minor) == 2 &&
         (major > 6 || (major == 6 && minor >= 15));
}

bool no_children_left() { return ::waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD; }

}  // namespace

TEST_CASE_FIXTURE(Tidy, "exit status: it says how a process ended") {
  CHECK(ExitStatus::from_wait_status(3 << 8) == ExitStatus::exited(3));
  CHECK(ExitStatus::from_wait_status(9) == ExitStatus::signalled(9));
  CHECK(ExitStatus::from_wait_status(11 | 0x80) == ExitStatus::signalled(11, true));
  CHECK(ExitStatus::exited(3).describe() == "exited with status 3");
  CHECK(ExitStatus::signalled(SIGSEGV, true).describe() == "was killed by SIGSEGV (core dumped)");
  CHECK(ExitStatus::signalled(SIGKILL).describe() == "was killed by SIGKILL");
  CHECK(ExitStatus::exited(0).success());
  CHECK_FALSE(ExitStatus::exited(1).success());
  CHECK_FALSE(ExitStatus::signalled(1).success());
  CHECK(ExitStatus::exited(7).shell_status() == 7);
  CHECK(ExitStatus::signalled(15).shell_status() == 143);
  CHECK_FALSE(ExitStatus::exited(9) == ExitStatus::signalled(9));
}

TEST_CASE_FIXTURE(Tidy, "spawn: a child's exit status is known") {
  for (const int status : {0, 1, 7, 127, 255}) {
    Child child = spawned(shell("exit " + std::to_string(status)));
    CHECK(child.is_ours());
    CHECK(child.pid() > 0);
    CHECK(child.reap(Deadline::after(kHang)) == ExitStatus::exited(status));
    CHECK(child.reaped());
    CHECK(child.status() == ExitStatus::exited(status));
    CHECK(child.try_reap() == ExitStatus::exited(status));
    CHECK_FALSE(child.signal(SIGTERM));
  }
}

TEST_CASE_FIXTURE(Tidy, "spawn: a child killed by a signal says by which") {
  for (const int signal : {SIGTERM, SIGKILL, SIGHUP}) {
    Child child = spawned(shell("kill -" + std::to_string(signal) + " $$"));
    const auto status = child.reap(Deadline::after(kHang));
    REQUIRE(status);
    CHECK(status->how == ExitStatus::How::signalled);
    CHECK(status->value == signal);
  }
}

TEST_CASE_FIXTURE(Tidy, "spawn: arguments and environment arrive as they are, and nothing else") {
  SpawnRequest request = shell(R"(printf '%s|' "$0" "$@" "$A" "$HOME")");
  request.args = {"sh", "-c", request.args[2], "zero", "", "a b", "ü\n"};
  request.env = {"A=1=2"};
  ::setenv("HOME", "/not/inherited", 0);
  CHECK(output_of(request) == "zero||a b|ü\n|1=2||");
}

TEST_CASE_FIXTURE(Tidy,
                  "spawn: a program that can't be executed is told with its errno, and no child is left") {
  const std::string plain = directory() + "/plain", no_format = directory() + "/no_format";
  test::write_file(plain, "#!/bin/sh\n");
  REQUIRE(::chmod(plain.c_str(), 0644) == 0);
  test::write_script(no_format, "this is no program\n");
  const auto check = [](const std::string& path, int error) {
    CAPTURE(path);
    const SpawnFailure failure = failed(program(path));
    CHECK(failure.step == SpawnStep::execute);
    CHECK(failure.error == error);
    CHECK(no_children_left());
  };
  check(directory() + "/none", ENOENT);
  check("", ENOENT);
  check(plain, EACCES);
  check(directory(), EACCES);
  check(no_format, ENOEXEC);
  check(plain + "/below", ENOTDIR);
  ::unlink(plain.c_str());
  ::unlink(no_format.c_str());
}

TEST_CASE_FIXTURE(Tidy, "spawn: a script whose interpreter is missing is ENOENT too") {
  const std::string script = test::write_script(directory() + "/script", "#!/no/such/interpreter\n");
  const SpawnFailure failure = failed(program(script));
  CHECK(failure.step == SpawnStep::execute);
  CHECK(failure.error == ENOENT);
  ::unlink(script.c_str());
}

TEST_CASE_FIXTURE(Tidy, "spawn: arguments that are too long are told with their errno") {
  SpawnRequest request = shell("exit 0");
  request.args.emplace_back(200'000, 'x');
  const SpawnFailure failure = failed(request);
  CHECK(failure.step == SpawnStep::execute);
  CHECK(failure.error == E2BIG);
}

TEST_CASE_FIXTURE(Tidy, "spawn: the child begins in the directory it was given, or fails at that step") {
  SpawnRequest request = shell("pwd -P");
  request.directory = directory();
  CHECK(output_of(request) == directory() + "\n");
  request.directory = directory() + "/none";
  const SpawnFailure failure = failed(request);
  CHECK(failure.step == SpawnStep::change_directory);
  CHECK(failure.error == ENOENT);
  CHECK(no_children_left());
}

TEST_CASE_FIXTURE(Tidy, "spawn: the child has the descriptors it was passed, and no others") {
  // Two descriptors without close-on-exec, which a host may have.
  const int careless = ::dup(0), high = ::fcntl(0, F_DUPFD, 200);
  CHECK(output_of(shell(kListDescriptors)) == "0 1 2 ");
  const Pipe pipe = make_pipe();
  SpawnRequest request = shell(kListDescriptors);
  const int end = pipe.read_end.get();
  request.fds = {{end, 4}, {end, 7}, {end, 9}};  // with gaps
  CHECK(output_of(request) == "0 1 2 4 7 9 ");
  request.fds = {{end, 9}, {end, 3}};  // out of order
  CHECK(output_of(request) == "0 1 2 3 9 ");
  request.fds = {{high, 6}};
  CHECK(output_of(request) == "0 1 2 6 ");
  ::close(careless);
  ::close(high);
}

TEST_CASE_FIXTURE(Tidy, "spawn: each descriptor arrives under its number, though numbers cross") {
  Pipe a = make_pipe(), b = make_pipe();
  write_all(a.write_end.get(), "a\n", "pipe");
  write_all(b.write_end.get(), "b\n", "pipe");
  const int first = a.read_end.get(), second = b.read_end.get();
  REQUIRE(first < 10);
  REQUIRE(second < 10);
  const std::string script =
      "read x <&" + std::to_string(second) + "; read y <&" + std::to_string(first) + "; echo $x$y";
  SpawnRequest request = shell(script);
  request.fds = {{first, second}, {second, first}};  // swapped
  CHECK(output_of(request) == "ab\n");
  CHECK(where_leads(::getpid(), first) != where_leads(::getpid(), second));
}

TEST_CASE_FIXTURE(Tidy, "spawn: a descriptor passed under its own number is inherited") {
  const Pipe pipe = make_pipe();
  write_all(pipe.write_end.get(), "same\n", "pipe");
  const int number = pipe.read_end.get();
  REQUIRE(number < 10);
  SpawnRequest request = shell("read x <&" + std::to_string(number) + "; echo $x");
  request.fds = {{number, number}};
  CHECK(output_of(request) == "same\n");
}

TEST_CASE_FIXTURE(Tidy, "spawn: a descriptor that is not open is refused, and no child is left") {
  SpawnRequest request = shell("exit 0");
  request.fds = {{9'999, 5}};
  try {
    const SpawnFailure failure = failed(request);
    CHECK(failure.step == SpawnStep::pass_descriptors);
    CHECK(failure.error == EBADF);
  } catch (const SystemError& error) {
    CHECK(error.code() == EBADF);
  }
  request.fds = {{-1, 5}};
  CHECK_THROWS_AS((void)spawn(request), SystemError);
  CHECK(no_children_left());
}

TEST_CASE_FIXTURE(
    Tidy, "spawn: the child begins with no signal blocked or ignored; the caller's are as they were") {
  const auto handler = [](int) {};
  struct sigaction ignored {
  }, handled{}, before_pipe{}, before_usr1{}, now{};
  ignored.sa_handler = SIG_IGN;
  handled.sa_handler = handler;
  ::sigaction(SIGPIPE, &ignored, &before_pipe);
  ::sigaction(SIGUSR1, &handled, &before_usr1);
  sigset_t some, before, after;
  sigemptyset(&some);
  sigaddset(&some, SIGTERM);
  sigaddset(&some, SIGUSR2);
  ::pthread_sigmask(SIG_BLOCK, &some, &before);

  const std::string text = output_of(shell(
      R"(while read key value; do case $key in SigBlk:|SigIgn:) printf '%s%s ' "$key" "$value";; esac; done < /proc/self/status)"));
  CHECK(text == "SigBlk:0000000000000000 SigIgn:0000000000000000 ");

  ::pthread_sigmask(SIG_SETMASK, &before, &after);
  for (int signal = 1; signal < NSIG; ++signal) {
    const bool blocked = sigismember(&before, signal) == 1 || signal == SIGTERM || signal == SIGUSR2;
    CHECK((sigismember(&after, signal) == 1) == blocked);
  }
  ::sigaction(SIGPIPE, &before_pipe, &now);
  CHECK((now.sa_handler == SIG_IGN));
  ::sigaction(SIGUSR1, &before_usr1, &now);
  CHECK((now.sa_handler == static_cast<void (*)(int)>(handler)));
}

TEST_CASE_FIXTURE(Tidy, "spawn: a failure leaves the caller's signal mask as it was") {
  sigset_t before, after;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &before);
  (void)failed(program("/no/such/program"));
  ::pthread_sigmask(SIG_SETMASK, nullptr, &after);
  for (int signal = 1; signal < NSIG; ++signal)
    CHECK(sigismember(&before, signal) == sigismember(&after, signal));
}

namespace {

/// Returns a child that has not yet reached its exec. Requires that the fork succeeds.
Spawning begun(const SpawnRequest& request) {
  auto result = Spawning::begin(request);
  REQUIRE(std::holds_alternative<Spawning>(result));
  return std::get<Spawning>(std::move(result));
}

}  // namespace

TEST_CASE_FIXTURE(Tidy, "spawn: many children start without a wait for their exec") {
  std::vector<Spawning> all;
  for (int i = 0; i < 20; ++i) all.push_back(begun(shell("exit " + std::to_string(i))));
  for (int i = 0; i < 20; ++i) {
    Spawning& one = all[static_cast<std::size_t>(i)];
    CHECK_FALSE(one.await_exec());
    Child child = std::move(one).take_child();
    CHECK(child.reap(Deadline::after(kHang)) == ExitStatus::exited(i));
  }
  CHECK(no_children_left());
}

TEST_CASE_FIXTURE(Tidy, "spawn: a failed exec without a wait reports the reason, and leaves errno alone") {
  SpawnRequest request = shell("exit 0");
  request.program = directory() + "/missing";
  Spawning one = begun(request);
  errno = EXDEV;  // of this thread; the child uses the same memory
  CHECK(await_end(one.child().pidfd(), Deadline::after(kHang)));
  CHECK(errno == EXDEV);
  const auto failure = one.await_exec();
  REQUIRE(failure);
  CHECK(failure->step == SpawnStep::execute);
  CHECK(failure->error == ENOENT);
  CHECK(no_children_left());
}

TEST_CASE_FIXTURE(Tidy, "spawn: a child that is given up before its exec is killed and reaped") {
  for (int i = 0; i < 20; ++i) {
    const Spawning one = begun(shell("kill -STOP $$"));
    const Spawning two = begun(shell("exit 0"));
  }
  CHECK(no_children_left());
}

TEST_CASE_FIXTURE(Tidy, "spawn: in a fork of its launcher, a child before its exec has no owner") {
  Pipe pipe = make_pipe();
  SpawnRequest request = shell("read line; exit 5");
  request.fds.push_back({pipe.read_end.get(), 0});
  auto one = std::make_unique<Spawning>(begun(request));
  const pid_t forked = ::fork();
  if (forked == 0) {
    one.reset();  // must neither wait nor kill
    ::_exit(3);
  }
  int status = 0;
  REQUIRE(::waitpid(forked, &status, 0) == forked);
  CHECK(ExitStatus::from_wait_status(status) == ExitStatus::exited(3));
  CHECK_FALSE(one->await_exec());
  write_all(pipe.write_end.get(), "\n", "pipe");
  Child child = std::move(*one).take_child();
  CHECK(child.reap(Deadline::after(kHang)) == ExitStatus::exited(5));
}

TEST_CASE_FIXTURE(Tidy, "spawn: a child gets a session of its own on request") {
  SpawnRequest request = shell(
      R"(read pid comm state ppid group session rest < /proc/self/stat; [ $session = $pid ] && echo own || echo caller)");
  CHECK(output_of(request) == "caller\n");
  request.new_session = true;
  CHECK(output_of(request) == "own\n");
}

TEST_CASE_FIXTURE(Tidy, "spawn: a process may become another program; it comes back only if that fails") {
  CHECK(in_child([] {
          (void)become(shell("exit 42"));
          return 1;
        }) == 42);
  CHECK(in_child([] {
          const SpawnFailure failure = become(program("/no/such"));
          return failure.step == SpawnStep::execute && failure.error == ENOENT ? 0 : 1;
        }) == 0);
}

TEST_CASE_FIXTURE(Tidy, "fork: both sides know which they are, and the child's signals are reset") {
  struct sigaction ignored {
  }, before{};
  ignored.sa_handler = SIG_IGN;
  ::sigaction(SIGUSR1, &ignored, &before);
  const Pipe pipe = make_pipe();
  auto child = fork_process();
  if (!child) {
    discard_stdio();
    struct sigaction now {};
    ::sigaction(SIGUSR1, nullptr, &now);
    sigset_t mask;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    const bool good = now.sa_handler == SIG_DFL && sigismember(&mask, SIGTERM) == 0 && !pipe.read_end;
    leave_forked_process(good ? 5 : 6);
  }
  CHECK(child->reap(Deadline::after(kHang)) == ExitStatus::exited(5));
  ::sigaction(SIGUSR1, &before, nullptr);
}

TEST_CASE_FIXTURE(Tidy, "fork: a child's own output is written, its parent's buffered output is not") {
  const std::string path = directory() + "/out";
  const int status = in_child([&] {
    UniqueFd file = open_stream(path, StreamUse::append);
    replace_standard_stream(file.get(), 1);
    discard_stdio();  // output of the test
    std::printf("parent ");
    auto child = fork_process();
    if (!child) {
      discard_stdio();
      std::printf("child ");
      leave_forked_process(0);
    }
    const bool good = child->reap(Deadline::after(kHang)) == ExitStatus::exited(0);
    std::fflush(stdout);
    return good ? 0 : 1;
  });
  CHECK(status == 0);
  CHECK(test::read_file(path) == "child parent ");
  ::unlink(path.c_str());
}

TEST_CASE_FIXTURE(Tidy, "child: destroying it kills and reaps it") {
  Pid pid = 0;
  {
    const Child child = spawned(shell("kill -STOP $$; exit 0"));
    pid = child.pid();
  }
  CHECK_FALSE(is_running(pid));
  CHECK(no_children_left());
}

TEST_CASE_FIXTURE(Tidy, "child: a moved Child is one Child, and the target's former child is killed") {
  const Pipe pipe = make_pipe();
  SpawnRequest request = shell("read x; exit 3");
  request.fds = {{pipe.read_end.get(), 0}};
  Child first = spawned(request);
  const Pid pid = first.pid();
  Child second = std::move(first);
  CHECK_FALSE(first.is_ours());  // NOLINT: empty after a move, by contract
  CHECK(second.pid() == pid);
  CHECK_FALSE(second.try_reap());
  Child third = spawned(request);
  const Pid killed = third.pid();
  third = std::move(second);
  CHECK_FALSE(is_running(killed));
  CHECK(is_running(pid));
  write_all(pipe.write_end.get(), "\n", "pipe");
  CHECK(third.reap(Deadline::after(kHang)) == ExitStatus::exited(3));
}

TEST_CASE_FIXTURE(Tidy, "child: waiting ends at the deadline, and a signal reaches it") {
  const Pipe pipe = make_pipe();
  SpawnRequest request = shell("read x");
  request.fds = {{pipe.read_end.get(), 0}};
  Child child = spawned(request);
  CHECK_FALSE(child.try_reap());
  CHECK_FALSE(child.reap(Deadline::passed()));
  CHECK_FALSE(has_ended(child.pidfd()));
  CHECK_FALSE(await_end(child.pidfd(), Deadline::after(std::chrono::milliseconds(1))));
  CHECK(is_running(child.pid()));
  CHECK(child.signal(SIGTERM));
  CHECK(child.reap(Deadline::after(kHang)) == ExitStatus::signalled(SIGTERM));
  CHECK_FALSE(child.signal(SIGTERM));
}

TEST_CASE_FIXTURE(Tidy,
                  "child: kill_and_reap returns the exit status, also of a child that had ended before") {
  Child running = spawned(shell("kill -STOP $$"));
  CHECK(running.kill_and_reap() == ExitStatus::signalled(SIGKILL));
  Child ended = spawned(shell("exit 4"));
  REQUIRE(await_end(ended.pidfd(), Deadline::after(kHang)));
  CHECK(ended.kill_and_reap() == ExitStatus::exited(4));
  CHECK(ended.kill_and_reap() == ExitStatus::exited(4));
}

TEST_CASE_FIXTURE(Tidy, "child: a released child runs on") {
  const Pipe pipe = make_pipe();
  SpawnRequest request = shell("read x; exit 0");
  request.fds = {{pipe.read_end.get(), 0}};
  Pid pid = 0;
  {
    Child child = spawned(request);
    pid = child.pid();
    child.release();
    CHECK_FALSE(child.is_ours());
  }
  CHECK(is_running(pid));
  write_all(pipe.write_end.get(), "\n", "pipe");
  int status = -1;
  CHECK(::waitpid(pid, &status, 0) == pid);
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE_FIXTURE(Tidy, "child: in a forked child, the object is inert") {
  const Pipe pipe = make_pipe();
  SpawnRequest request = shell("read x; exit 3");
  request.fds = {{pipe.read_end.get(), 0}};
  auto child = std::make_unique<Child>(spawned(request));
  CHECK(in_child([&] {
          const bool inert = !child->is_ours() && !child->try_reap() && !child->reap(Deadline::never());
          child.reset();
          return inert ? 0 : 1;
        }) == 0);
  CHECK_FALSE(child->try_reap());
  write_all(pipe.write_end.get(), "\n", "pipe");
  CHECK(child->reap(Deadline::after(kHang)) == ExitStatus::exited(3));
}

TEST_CASE_FIXTURE(Tidy, "child: its status is known although the host reaped it, if the kernel supports it") {
  for (const auto& [script, expected] : std::vector<std::pair<std::string, ExitStatus>>{
           {"exit 5", ExitStatus::exited(5)}, {"kill -TERM $$", ExitStatus::signalled(SIGTERM)}}) {
    Child child = spawned(shell(script));
    int status = 0;
    REQUIRE(::waitpid(-1, &status, 0) == child.pid());
    CHECK(has_ended(child.pidfd()));
    const auto known = kernel_tells_of_reaped() ? std::optional<ExitStatus>(expected) : std::nullopt;
    CHECK(peek_exit_status(child.pidfd()) == known);
    CHECK(child.reap(Deadline::after(kHang)) == known);
    CHECK(child.status() == known);
    CHECK(child.reaped());
  }
}

TEST_CASE_FIXTURE(Tidy,
                  "child: its status is known although the host ignores SIGCHLD, if the kernel supports it") {
  const auto before = ::signal(SIGCHLD, SIG_IGN);
  {
    Child child = spawned(shell("exit 6"));
    const auto known =
        kernel_tells_of_reaped() ? std::optional<ExitStatus>(ExitStatus::exited(6)) : std::nullopt;
    CHECK(child.reap(Deadline::after(kHang)) == known);
    CHECK(child.reaped());
    (void)failed(program("/no/such/program"));
    const Child killed = spawned(shell("kill -STOP $$"));
  }
  ::signal(SIGCHLD, before);
}

TEST_CASE_FIXTURE(Tidy, "child: peeking at a status does not consume it") {
  Child child = spawned(shell("exit 8"));
  REQUIRE(await_end(child.pidfd(), Deadline::after(kHang)));
  CHECK(peek_exit_status(child.pidfd()) == ExitStatus::exited(8));
  CHECK(peek_exit_status(child.pidfd()) == ExitStatus::exited(8));
  CHECK(child.try_reap() == ExitStatus::exited(8));
  Child running = spawned(shell("kill -STOP $$"));
  CHECK_FALSE(peek_exit_status(running.pidfd()));
  const Pipe pipe = make_pipe();
  CHECK_FALSE(peek_exit_status(pipe.read_end.get()));
}

TEST_CASE_FIXTURE(
    Tidy, "child: reap_ended_children() reports unowned children, and owners get their own statuses") {
  Child owned = spawned(shell("exit 9"));
  Child running = spawned(shell("kill -STOP $$"));
  Child let_go = spawned(shell("exit 10"));
  REQUIRE(await_end(owned.pidfd(), Deadline::after(kHang)));
  REQUIRE(await_end(let_go.pidfd(), Deadline::after(kHang)));
  const Pid other = let_go.pid();
  let_go.release();
  std::map<Pid, ExitStatus> told;
  reap_ended_children([&](Pid pid, ExitStatus status) { told[pid] = status; });
  REQUIRE(told.size() == 1);
  CHECK(told.begin()->first == other);
  CHECK(told.begin()->second == ExitStatus::exited(10));
  CHECK(owned.reaped());
  CHECK(owned.status() == ExitStatus::exited(9));
  CHECK_FALSE(running.reaped());
  // The library still finds a Child that was moved.
  const Child moved = [&] {
    Child child = spawned(shell("exit 11"));
    REQUIRE(await_end(child.pidfd(), Deadline::after(kHang)));
    return Child(std::move(child));
  }();
  reap_ended_children([&](Pid pid, ExitStatus) { FAIL("told of ", pid); });
  CHECK(moved.status() == ExitStatus::exited(11));
}

TEST_CASE_FIXTURE(Tidy, "process: a pidfd identifies a process, and a dead process has none") {
  HeldChild child([](const auto& stay) { stay(); });
  REQUIRE(child.came());
  const Pid pid = child.pid();
  auto process = open_process(pid);
  REQUIRE(process);
  CHECK(pid_of(process->get()) == pid);
  CHECK_FALSE(has_ended(process->get()));
  CHECK(is_running(pid));
  CHECK(parent_of(pid) == own_pid());
  child.kill_only();
  CHECK(has_ended(process->get()));
  CHECK_FALSE(is_running(pid));  // a zombie does not run
  child.kill();
  CHECK_FALSE(signal_process(process->get(), SIGTERM));
  CHECK_FALSE(open_process(pid));
  CHECK_FALSE(pid_of(process->get()));
  CHECK_FALSE(parent_of(pid));
  CHECK_FALSE(start_time(pid));
  CHECK_FALSE(resident_memory(pid));
  for (const Pid none : {0, -1, 2147483647}) {
    CHECK_FALSE(open_process(none));
    CHECK_FALSE(is_running(none));
  }
  const Pipe pipe = make_pipe();
  CHECK_FALSE(pid_of(pipe.read_end.get()));
}

TEST_CASE_FIXTURE(Tidy, "process: a process can read facts about itself") {
  CHECK(is_running(own_pid()));
  CHECK(parent_of(own_pid()) == ::getppid());
  CHECK(resident_memory(own_pid()).value_or(0) > 1U << 20U);
  const auto start = start_time(own_pid());
  REQUIRE(start);
  CHECK(*start <= wall_clock_seconds() + 0.1);
  CHECK_FALSE(has_threads());
  CHECK(own_executable() == where_leads(own_pid(), -1) + own_executable());
  CHECK(contains(own_executable(), "unit_os"));
}

TEST_CASE_FIXTURE(Tidy, "process: a name with brackets and spaces does not confuse the reader of /proc") {
  HeldChild child([](const auto& stay) {
    set_process_title(") R 1 2 (3");
    stay();
  });
  REQUIRE(child.came());
  CHECK(parent_of(child.pid()) == own_pid());
  CHECK(start_time(child.pid()));
}
