// ipcm session: makes a bus, runs a command, and removes the bus.

#include <sys/epoll.h>

#include <csignal>
#include <cstdlib>

#include "commands/commands.h"
#include "ipcm/obituary.h"
#include "log_follower.h"
#include "loop/loop.h"
#include "os/busy_program.h"
#include "os/child.h"
#include "os/directory.h"
#include "os/process.h"
#include "os/signals.h"
#include "os/spawn.h"
#include "os/sys.h"
#include "report.h"

extern char** environ;

namespace ipcm::launcher {
namespace {

/// The exit statuses of env(1) and nohup(1).
constexpr int kCannotExecute = 126, kNotFound = 127;

std::string find_program(const std::string& name) {
  return name.find('/') == std::string::npos ? os::find_on_path(name).value_or(name) : name;
}

}  // namespace

int session(const Options& options) {
  os::SpawnRequest command;
  command.args = options.words;
  if (command.args.empty()) command.args = {os::environment("SHELL").value_or("/bin/sh")};
  command.program = find_program(command.args.front());

  // Services that `ipcm start` leaves behind become children of this process, which reaps them, and keeps their ends.
  os::adopt_orphans();
  os::SignalReader signals(os::heeded({SIGINT, SIGQUIT, SIGTERM, SIGHUP}));
  os::SignalReader ended_children({SIGCHLD});
  SpawnOptions spawn = options.spawn_options();
  spawn.hurry_fd = signals.fd();
  Guard guard = ipcm_spawn(spawn);
  tell(options, "bus " + guard.info().text());

  ::setenv("IPCM_INFO", guard.info().text().c_str(), 1);
  for (char** entry = environ; *entry != nullptr; ++entry) command.env.emplace_back(*entry);
  // The command inherits all descriptors of the caller (make's jobserver, <(…), flock 9<) and the signals
  // that the caller ignores.
  command.keep_other_fds = true;
  command.ignored_signals = os::ignored_on_entry();
  std::erase(command.ignored_signals,
             SIGCHLD);  // the command needs the exit statuses of its children
  auto made = os::spawn_when_written(command.program, [&] { return command; });
  if (const auto* failure = std::get_if<os::SpawnFailure>(&made)) {
    guard.shutdown();
    return report_words(options,
                        "can't run '" + command.args.front() + "': " + os::errno_text(failure->error),
                        failure->error == ENOENT ? kNotFound : kCannotExecute);
  }
  os::Child child = std::move(std::get<os::Child>(made));

  Loop loop;
  LogFollower logs(loop, guard.info());
  const Watch child_watch =
      loop.watch(child.pidfd(), EPOLLIN, [&](std::uint32_t) { (void)child.try_reap(); });
  const Watch signals_watch = loop.watch(signals.fd(), EPOLLIN, [&](std::uint32_t) {
    while (const auto receipt = signals.next()) {
      if (receipt->signal == SIGTERM || receipt->signal == SIGHUP) (void)child.signal(receipt->signal);
      // SIGINT and SIGQUIT come from a terminal, which sends them to the command too.
    }
  });
  const Watch children_watch = loop.watch(ended_children.fd(), EPOLLIN, [&](std::uint32_t) {
    while (ended_children.next()) {
    }
    os::reap_ended_children([&](Pid pid, ExitStatus status) { (void)record_end(guard.info(), pid, status); });
  });
  loop.run_until([&] { return child.reaped(); }, os::Deadline::never());

  // The signal that ended the command does not hurry the shutdown; a signal from now on does.
  signals.discard();
  logs.hold();
  guard.shutdown();
  signals.discard();
  logs.finish();
  os::reap_ended_children([](Pid, ExitStatus) {});
  const auto status = child.status();
  return status ? status->shell_status() : number(Status::gone);
}

}  // namespace ipcm::launcher
