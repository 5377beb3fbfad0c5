#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "handoff/handoff.h"
#include "ipcm/error.h"
#include "ipcm/launch.h"
#include "launch/stderr_capture.h"
#include "loop/loop.h"
#include "os/process.h"
#include "ready/ready.h"

namespace ipcm::launch {

// From a request to a process that says "ready", or to the reason why not.

/// What a child gets from its launcher, on the child's side of a fork.
struct ChildSide {
  ready::Announcer announcer;
  os::UniqueFd leash;
  handoff::OriginalStreams original;
};

struct Request {
  std::string name;   ///< of the service, for messages
  bool leash = true;  ///< hand it a pidfd of this process
  bool capture_stderr = true;
  bool new_session = false;
  Redirect redirect;
  /// Descriptors of ours that the child gets as its original streams, where it is redirected; borrowed, -1:
  /// none.
  std::array<int, 3> original = {-1, -1, -1};
  std::function<void()> post_fork;  ///< present: a plain fork, also for exec

  // Either a program …
  std::string program;  ///< Path. Empty: fork.
  std::vector<std::string> args;
  std::map<std::string, std::string> env;
  std::string directory;
  std::string parameters;  ///< The JSON document.
  bool secret = false;
  // … or what the forked child does. Its result is the exit status.
  std::function<int(ChildSide)> body;

  /// Asked when the time is up: whether it had joined the bus.
  std::function<bool()> on_bus;
};

/// A boot binary's path: `wanted`, or $IPCM_BOOT, or the installed one. Throws LaunchError (phase prepare).
[[nodiscard]] std::string find_boot_binary(const std::string& service, const std::string& wanted);

/// A child on its way to ready. Owns the child: destroying it kills and reaps it. Runs on a loop, whose
/// callbacks only note; verdict() is where it stands.
class Launch {
 public:
  enum class Verdict { pending, ready, failed };

  /// Makes the process. Throws LaunchError (prepare, fork, exec).
  Launch(Loop& loop, Request request);
  ~Launch();
  Launch(const Launch&) = delete;
  Launch& operator=(const Launch&) = delete;

  [[nodiscard]] Verdict verdict() const { return verdict_; }
  /// Takes turns of the loop until there is a verdict. When the deadline passes, the child is ended and the
  /// verdict is failed.
  void decide(os::Deadline deadline);
  /// The same without waiting: when the deadline passes inside the loop, the child is ended.
  void limit(os::Deadline deadline);
  /// The error, once failed: by then the child is gone and reaped.
  [[nodiscard]] LaunchError error() const;

  [[nodiscard]] os::Child& child() { return child_; }
  [[nodiscard]] Pid first_pid() const { return first_pid_; }
  /// The service's own process: another one than the child if post_fork forked again. 0 before ready.
  [[nodiscard]] Pid service_pid() const { return service_pid_; }
  [[nodiscard]] Duration time_to_ready() const { return elapsed_; }
  /// Lets the child, and what relays its stderr, run on without us.
  void release();
  [[nodiscard]] os::Child& relay() { return capture_.relay(); }

 private:
  struct Lines;
  void start_by_spawn(Lines lines);
  void start_by_fork(Lines lines);
  void on_ready_pipe();
  void on_child_ended();
  void heard(const ready::Report& report);
  void conclude();
  void succeed(const ready::Ready& ready);
  void fail(LaunchError::Facts facts, const std::string& what);
  void end_child();
  void give_up();
  [[noreturn]] void refuse(LaunchError::Phase phase, int error, const std::string& what) const;

  Loop& loop_;
  Request request_;
  os::Clock::time_point began_;
  Verdict verdict_ = Verdict::pending;
  os::Child child_;
  Pid first_pid_ = 0;
  Pid service_pid_ = 0;
  Duration elapsed_{};
  os::UniqueFd ready_pipe_;
  ready::Listener listener_;
  std::optional<ready::Report> bad_news_;  // it will not become ready; its end is awaited
  StderrCapture capture_;
  Watch ready_watch_, child_watch_, limit_watch_, last_words_watch_;
  std::optional<LaunchError> error_;
};

}  // namespace ipcm::launch
