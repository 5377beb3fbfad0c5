// G7: hosts that have closed their standard streams, ignore signals or have limits, and kernels that refuse
// calls.

#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <string>

#include "ipcm/error.h"
#include "os/directory.h"
#include "os/events.h"
#include "os/fifo.h"
#include "os/pipe.h"
#include "os/process.h"
#include "os/shared_memory.h"
#include "os/signals.h"
#include "os/spawn.h"
#include "os/standard_streams.h"
#include "support/tidy.h"
#include "unit/expect.h"
#include "unit/forked.h"
#include "unit/refused.h"
#include "unit/shell.h"

using namespace ipcm;
using namespace ipcm::os;
using ipcm::test::contains;
using ipcm::test::error_of;
using ipcm::test::in_child;
using ipcm::test::kHang;
using ipcm::test::refuse;
using ipcm::test::shell;
using ipcm::test::Tidy;

namespace {

/// Returns the exit status of a program; 100 if it did not start, 101 if the status is unknown.
int run(const SpawnRequest& request) {
  constexpr int kNotStarted = 100, kUnknown = 101;
  auto made = spawn(request);
  auto* child = std::get_if<Child>(&made);
  if (child == nullptr) return kNotStarted;
  const auto status = child->reap(Deadline::after(kHang));
  return status ? status->shell_status() : kUnknown;
}

/// Limits the size of files of this process.
void limit_files_to(rlim_t size) {
  const rlimit limit{size, size};
  ::setrlimit(RLIMIT_FSIZE, &limit);
}

bool is_pending(int signal) {
  sigset_t pending;
  ::sigpending(&pending);
  return sigismember(&pending, signal) == 1;
}

bool is_blocked(int signal) {
  sigset_t mask;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  return sigismember(&mask, signal) == 1;
}

/// The steps of a test in a child. The exit status of the child is the number of the step that failed.
class Steps {
 public:
  void expect(bool good) {
    ++step_;
    if (!good && failed_ == 0) failed_ = step_;
  }
  [[nodiscard]] int status() const { return failed_; }

 private:
  int step_ = 0, failed_ = 0;
};

}  // namespace

TEST_CASE_FIXTURE(Tidy, "G7: in a host without standard streams, no descriptor of ours becomes one") {
  CHECK(in_child([&] {
          for (int stream = 0; stream <= 2; ++stream) ::close(stream);
          Steps steps;
          const Pipe pipe = make_pipe();
          const EventSet events;
          const TimerFd timer;
          const Directory here(directory());
          const auto self = open_process(own_pid());
          const UniqueFd memory = make_shared_memory_file("test", 4096);
          const UniqueFd copy = duplicate(pipe.read_end.get());
          for (const int fd : {pipe.read_end.get(), pipe.write_end.get(), events.fd(), timer.fd(),
                               self ? self->get() : -1, memory.get(), copy.get()})
            steps.expect(fd > 2);
          for (int stream = 0; stream <= 2; ++stream) steps.expect(!is_open(stream));
          // They work at their new numbers.
          write_all(pipe.write_end.get(), "x", "pipe");
          steps.expect(is_readable(copy.get()));
          steps.expect((::fcntl(pipe.read_end.get(), F_GETFD) & FD_CLOEXEC) != 0);
          return steps.status();
        }) == 0);
}

TEST_CASE_FIXTURE(Tidy, "G7: without a free descriptor above the standard streams, the error says so") {
  CHECK(in_child([&] {
          ::close(0);
          const rlimit tight{3, 3};
          // Open descriptors above the limit stay open; new ones can't get these numbers.
          if (::setrlimit(RLIMIT_NOFILE, &tight) != 0) return 1;
          const std::string words = error_of<SystemError>([] { (void)make_pipe(); });
          return contains(words, "Too many open files") && !is_open(0) ? 0 : 2;
        }) == 0);
}

TEST_CASE_FIXTURE(Tidy, "G7: our own processes redirect their closed streams to /dev/null") {
  for (int closed = 0; closed < 8; ++closed) {
    CAPTURE(closed);
    CHECK(in_child([&] {
            Steps steps;
            std::array<std::string, 3> before;
            for (int stream = 0; stream <= 2; ++stream) {
              before.at(static_cast<std::size_t>(stream)) = where_leads(own_pid(), stream);
              if ((closed >> stream & 1) != 0) ::close(stream);
            }
            for (int stream = 0; stream <= 2; ++stream)
              steps.expect(closed_standard_streams().at(static_cast<std::size_t>(stream)) ==
                           ((closed >> stream & 1) != 0));
            { const StandardStreamsHeld held; }
            fill_standard_streams(ClosedStdout::discards);
            for (int stream = 0; stream <= 2; ++stream)
              steps.expect(where_leads(own_pid(), stream) ==
                           ((closed >> stream & 1) != 0 ? std::string("/dev/null")
                                                        : before.at(static_cast<std::size_t>(stream))));
            steps.expect(::write(1, "", 0) == 0);
            char byte = 0;
            if ((closed & 1) != 0) steps.expect(::read(0, &byte, 1) == 0);
            return steps.status();
          }) == 0);
  }
}

TEST_CASE_FIXTURE(Tidy, "G7: a command whose stdout was closed gets an error from its writes") {
  CHECK(in_child([&] {
          ::close(1);
          fill_standard_streams(ClosedStdout::fails);
          return ::write(1, "x", 1) == -1 && errno == EBADF ? 0 : 1;
        }) == 0);
}

TEST_CASE_FIXTURE(Tidy, "G7: streams that are held for a call into another library are closed again") {
  CHECK(in_child([&] {
          Steps steps;
          ::close(0);
          ::close(2);
          {
            const StandardStreamsHeld held;
            steps.expect(is_open(0) && is_open(2));
          }
          steps.expect(!is_open(0) && is_open(1) && !is_open(2));
          return steps.status();
        }) == 0);
}

TEST_CASE_FIXTURE(Tidy, "G7: a standard stream is moved to another descriptor") {
  CHECK(in_child([&] {
          Steps steps;
          const Pipe pipe = make_pipe();
          replace_standard_stream(pipe.write_end.get(), 1);
          const UniqueFd taken = take_standard_stream(1);
          steps.expect(taken.get() > 2);
          steps.expect(where_leads(own_pid(), taken.get()) == where_leads(own_pid(), pipe.write_end.get()));
          steps.expect(where_leads(own_pid(), 1) == "/dev/null");
          steps.expect((::fcntl(1, F_GETFD) & FD_CLOEXEC) == 0);
          return steps.status();
        }) == 0);
}

TEST_CASE_FIXTURE(
    Tidy, "G7: a host is not killed by a write beyond the limit of file sizes, nor by a closed pipe") {
  for (const bool blocked : {false, true}) {
    CAPTURE(blocked);
    CHECK(in_child([&] {
            Steps steps;
            sigset_t both;
            sigemptyset(&both);
            sigaddset(&both, SIGPIPE);
            sigaddset(&both, SIGXFSZ);
            ::pthread_sigmask(blocked ? SIG_BLOCK : SIG_UNBLOCK, &both, nullptr);
            ::signal(SIGXFSZ, SIG_DFL);
            ::signal(SIGPIPE, SIG_DFL);
            const Directory here(directory());
            Pipe pipe = make_pipe();
            limit_files_to(0);
            const auto too_large = [&](const std::function<void()>& work) {
              steps.expect(contains(error_of<SystemError>(work), "File too large"));
            };
            too_large([&] { here.write_file("f", "text", 0600); });
            too_large([&] { here.append_to_file("g", "text", 0600); });
            too_large([&] { (void)make_shared_memory_file("test", 4096); });
            too_large([&] { (void)make_sealed_memory_file("test", "text"); });
            pipe.read_end.reset();
            steps.expect(!try_write_all(pipe.write_end.get(), "x"));
            steps.expect(!is_pending(SIGXFSZ) && !is_pending(SIGPIPE));
            steps.expect(is_blocked(SIGXFSZ) == blocked && is_blocked(SIGPIPE) == blocked);
            for (const char* name : {"f", ".f.pend", "g"}) here.remove_file(name);
            return steps.status();
          }) == 0);
  }
}

TEST_CASE_FIXTURE(Tidy, "G7: a signal that the host had pending stays pending") {
  CHECK(in_child([&] {
          sigset_t set;
          sigemptyset(&set);
          sigaddset(&set, SIGPIPE);
          ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
          ::raise(SIGPIPE);
          Pipe pipe = make_pipe();
          pipe.read_end.reset();
          (void)try_write_all(pipe.write_end.get(), "x");
          return is_pending(SIGPIPE) ? 0 : 1;
        }) == 0);
}

TEST_CASE_FIXTURE(
    Tidy, "G7: parameters that no memory file can hold go through a pipe, or the error names the call") {
  CHECK(in_child([&] {
          Steps steps;
          const std::string text(100'000, 'x');
          limit_files_to(1000);
          const UniqueFd limited = make_readable_once("test", text);
          steps.expect(read_all(limited.get(), text.size(), "test") == text);
          if (!refuse({{SYS_memfd_create, EPERM}})) return 99;
          const UniqueFd refused = make_readable_once("test", text);
          steps.expect(read_all(refused.get(), text.size(), "test") == text);
          steps.expect(contains(error_of<SystemError>([] { (void)make_sealed_memory_file("test", "x"); }),
                                "memfd_create"));
          return steps.status();
        }) == 0);
}

TEST_CASE_FIXTURE(Tidy, "G7: a process that has set its signals still knows which ones the caller ignored") {
  CHECK(in_child([&] {
          Steps steps;
          for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
          ::signal(SIGHUP, SIG_IGN);
          ::signal(SIGCHLD, SIG_IGN);
          for (int again = 0; again < 2; ++again) {
            take_charge_of_signals();
            steps.expect(ignored_on_entry(SIGHUP) && ignored_on_entry(SIGCHLD));
            steps.expect(!ignored_on_entry(SIGPIPE) && !ignored_on_entry(SIGXFSZ));
          }
          steps.expect(heeded({SIGINT, SIGHUP, SIGTERM}) == std::vector<int>{SIGINT, SIGTERM});
          steps.expect(ignored_on_entry() == std::vector<int>{SIGHUP, SIGCHLD});
          // Now the status of a child is known, and a closed pipe and a file that is too large are errors.
          steps.expect(run(shell("exit 5")) == 5);
          Pipe pipe = make_pipe();
          pipe.read_end.reset();
          steps.expect(::write(pipe.write_end.get(), "x", 1) == -1 && errno == EPIPE);
          const UniqueFd memory = make_shared_memory_file("test", 4096);
          limit_files_to(0);
          steps.expect(::ftruncate(duplicate(memory.get()).get(), 1 << 20) == -1);
          return steps.status();
        }) == 0);
}

TEST_CASE_FIXTURE(Tidy, "G7: children keep an ignored SIGHUP and the chosen signals ignored, and no others") {
  CHECK(in_child([&] {
          Steps steps;
          const SpawnRequest suicide = shell(R"(kill -HUP $$; kill -TERM $$; exit 3)");
          for (const int signal : {SIGHUP, SIGTERM}) ::signal(signal, SIG_DFL);
          steps.expect(run(suicide) == 128 + SIGHUP);
          ::signal(SIGHUP, SIG_IGN);
          ::signal(SIGTERM, SIG_IGN);
          steps.expect(run(suicide) == 128 + SIGTERM);
          SpawnRequest both = suicide;
          both.ignored_signals = {SIGTERM};
          steps.expect(run(both) == 3);
          auto forked = fork_process();
          if (!forked) {
            ::raise(SIGHUP);
            ::raise(SIGTERM);
            leave_forked_process(0);
          }
          steps.expect(forked->reap(Deadline::after(kHang)) == ExitStatus::signalled(SIGTERM));
          return steps.status();
        }) == 0);
}

TEST_CASE_FIXTURE(Tidy,
                  "G7: a command on behalf of its caller has the caller's descriptors, a service has none") {
  const int careless = ::fcntl(0, F_DUPFD, 60);
  const UniqueFd ours = duplicate(0, 70);
  SpawnRequest request = shell("[ -e /proc/self/fd/60 ] && ! [ -e /proc/self/fd/70 ]");
  request.keep_other_fds = true;
  CHECK(run(request) == 0);
  CHECK(run(shell("[ -e /proc/self/fd/60 ]")) == 1);
  ::close(careless);
}

TEST_CASE_FIXTURE(Tidy, "G7: without close_range, children have the passed descriptors and no others") {
  for (const int error : {ENOSYS, EPERM}) {
    CAPTURE(error);
    CHECK(
        in_child([&] {
          Steps steps;
          if (!refuse({{SYS_close_range, error}})) return 99;
          // More descriptors than one read of the directory returns.
          for (int fd = 300; fd < 500; ++fd)
            if (::fcntl(0, F_DUPFD, fd) < 0) return 98;
          const Pipe pipe = make_pipe();
          SpawnRequest request = shell(
              R"(l=; for f in /proc/self/fd/*; do if [ -e "$f" ]; then l="$l${f##*/} "; fi; done; [ "$l" = "0 1 2 5 " ])");
          request.fds = {{pipe.read_end.get(), 5}};
          steps.expect(run(request) == 0);
          keep_only({pipe.read_end.get()});
          steps.expect(is_open(pipe.read_end.get()) && !is_open(pipe.write_end.get()) && !is_open(400));
          return steps.status();
        }) == 0);
  }
}

TEST_CASE_FIXTURE(Tidy,
                  "G7: without CLONE_PIDFD, pidfd_open gives the pidfd; without that, no child is left") {
  constexpr std::uint32_t kPidfd = CLONE_PIDFD;
  CHECK(in_child([&] {
          Steps steps;
          if (!refuse({{SYS_clone, EINVAL, 0, kPidfd, kPidfd}})) return 99;
          steps.expect(run(shell("exit 4")) == 4);
          if (!refuse({{SYS_pidfd_open, ENOSYS}})) return 99;
          const auto made = spawn(shell("exec sleep 1000"));
          const auto* failure = std::get_if<SpawnFailure>(&made);
          steps.expect(failure != nullptr && failure->step == SpawnStep::make_process &&
                       failure->error == ENOSYS && std::string(failure->call) == "pidfd_open");
          steps.expect(::waitpid(-1, nullptr, 0) == -1 && errno == ECHILD);
          steps.expect(contains(error_of<SystemError>([] { (void)open_process(own_pid()); }), "pidfd_open"));
          return steps.status();
        }) == 0);
}

TEST_CASE_FIXTURE(Tidy, "G7: without pidfd_send_signal, a child of ours is ended all the same") {
  CHECK(in_child([&] {
          auto made = spawn(shell("exec sleep 1000"));
          auto* child = std::get_if<Child>(&made);
          if (child == nullptr || !refuse({{SYS_pidfd_send_signal, EPERM}})) return 99;
          return child->kill_and_reap() == ExitStatus::signalled(SIGKILL) ? 0 : 1;
        }) == 0);
}

TEST_CASE_FIXTURE(
    Tidy, "G7: before Linux 6.15, the status of a child that the host reaped is reported as unknown") {
  CHECK(in_child([&] {
          Steps steps;
          if (!refuse({{SYS_ioctl, ENOTTY, 1, ~0U, test::kPidfdGetInfo}})) return 99;
          const auto self = open_process(own_pid());
          steps.expect(self && pid_of(self->get()) == own_pid());  // from /proc
          auto made = spawn(shell("exit 5"));
          auto& child = std::get<Child>(made);
          int status = 0;
          steps.expect(::waitpid(-1, &status, 0) == child.pid());
          steps.expect(has_ended(child.pidfd()));
          steps.expect(!peek_exit_status(child.pidfd()));
          steps.expect(!child.reap(Deadline::after(kHang)) && child.reaped());
          steps.expect(how_it_ended(child.pidfd(), child.status()) ==
                       "has ended (how it ended can't be known on this kernel)");
          // The status of a zombie is known, and so is that of a child of this process.
          auto second = spawn(shell("exit 6"));
          auto& zombie = std::get<Child>(second);
          steps.expect(await_end(zombie.pidfd(), Deadline::after(kHang)));
          steps.expect(peek_exit_status(zombie.pidfd()) == ExitStatus::exited(6));
          steps.expect(zombie.try_reap() == ExitStatus::exited(6));
          steps.expect(how_it_ended(zombie.pidfd(), zombie.status()) == "exited with status 6");
          ::signal(SIGCHLD, SIG_IGN);
          auto third = spawn(shell("exit 7"));
          auto& taken = std::get<Child>(third);
          steps.expect(!taken.reap(Deadline::after(kHang)) && taken.reaped() && !taken.status());
          return steps.status();
        }) == 0);
}

TEST_CASE_FIXTURE(Tidy,
                  "process: resident memory is known of small processes too, on kernels that count it late") {
  CHECK(rss_in(
            "00400000-7ffe ---p 00000000 00:00 0    [rollup]\nRss:                1536 kB\nPss:    3 kB\n") ==
        1536U * 1024);
  CHECK_FALSE(rss_in(""));
  CHECK_FALSE(rss_in("Pss: 3 kB\n"));
  CHECK_FALSE(rss_in("x\nRss: many kB\n"));
  auto made = spawn(shell("kill -STOP $$"));
  auto& child = std::get<Child>(made);
  siginfo_t info{};
  REQUIRE(::waitid(P_PID, static_cast<id_t>(child.pid()), &info, WSTOPPED | WNOWAIT) == 0);
  const auto memory = resident_memory(child.pid());
  REQUIRE(memory);
  CHECK(*memory > 100U * 1024);
}
