#pragma once

#include <memory>
#include <optional>
#include <string>

#include "ipcm/error.h"
#include "launch/boot_process.h"
#include "launch/launch_plan.h"
#include "launch/stderr_capture.h"
#include "loop/loop.h"
#include "os/child.h"
#include "os/process.h"
#include "ready/ready.h"

namespace ipcm::launch {

class WarmBoots;

// The start of a service, from a plan to a process that reports ready, or to an error.

/// The start of one service. It owns the child, and its destructor kills and reaps the child. It runs on a
/// loop: the callbacks only note events, and verdict() has the result.
///
/// If the start uses a pool, the pool is not refilled during the start and during the first request after it:
/// the exec of another boot would use a processor for as long as a whole start, and delay both. The loop
/// refills the pool 1 ms after the start, or the destructor does.
class Launch {
 public:
  enum class Verdict { pending, ready, failed };

  /// Makes the process, or takes a waiting one from the pool. Throws LaunchError (prepare, fork, exec).
  Launch(Loop& loop, LaunchPlan plan);
  /// A service that is ready, and that another process has started. Takes over its process, which may be the child of
  /// another one.
  Launch(Loop& loop, LaunchPlan plan, os::Child running);
  ~Launch();
  Launch(const Launch&) = delete;
  Launch& operator=(const Launch&) = delete;

  [[nodiscard]] Verdict verdict() const { return verdict_; }
  /// Runs the loop until there is a verdict. If the deadline passes first, kills the child; the verdict is
  /// then `failed`.
  void decide(os::Deadline deadline);
  /// Sets a deadline, and returns at once. If it passes before the verdict, the loop kills the child.
  void limit(os::Deadline deadline);
  /// Returns the error of a start that has failed. The child has ended and is reaped.
  [[nodiscard]] LaunchError error() const;

  [[nodiscard]] os::Child& child() { return child_; }
  [[nodiscard]] Pid first_pid() const { return first_pid_; }
  /// Returns the pid of the service. It is not the child if post_fork forked again. 0: not ready, or unknown.
  [[nodiscard]] Pid service_pid() const { return service_pid_; }
  [[nodiscard]] Duration time_to_ready() const { return elapsed_; }
  /// Returns the exit status of the child if `pid` is the child or the service; a `pid` of 0 means that the
  /// caller does not know it. Waits up to 1 s for a child that has left the bus and is about to end.
  [[nodiscard]] std::optional<ExitStatus> status_of(Pid pid);
  /// Checks again whether a service that reported ready is on the bus. The launcher calls it after it has
  /// joined the bus itself.
  void look_again();
  /// Gives up ownership: the child and the relay of its stderr run on.
  void release();
  [[nodiscard]] os::Child& relay() { return capture_.relay(); }

 private:
  void adopt(BootProcess boot);
  void start_anew();
  void start_by_fork(ChildFds fds);
  void on_ready_pipe();
  void on_child_ended();
  void heard(const ready::Report& report);
  void conclude();
  void confirm(const ready::Ready& ready);
  void refuse_absent();
  void succeed(Pid service);
  [[nodiscard]] Pid proven(Pid claimed, const LaunchPlan::Presence& there) const;
  [[nodiscard]] bool has_joined() const;
  void fail(LaunchError::Facts facts, const std::string& what);
  void end_child();
  void report_death() noexcept;
  void give_up();
  void refill_soon();
  void refill() noexcept;
  [[noreturn]] void refuse(LaunchError::Phase phase, int error, const std::string& what) const;

  Loop& loop_;
  LaunchPlan plan_;
  std::weak_ptr<WarmBoots> pool_;  // the pool to refill; weak, so that it may end before this object
  Verdict verdict_ = Verdict::pending;
  os::Child child_;
  Pid first_pid_ = 0;
  Pid service_pid_ = 0;
  double began_ = 0;  // of the child, Unix seconds
  bool is_death_reported_ = false;
  Duration elapsed_{};
  LauncherFds ends_;
  ready::Listener listener_;
  std::optional<ready::Ready> unconfirmed_;  // a ready line of a service that is not on the bus
  std::optional<ready::Report> bad_news_;    // the start has failed, and the end of the child is awaited
  StderrCapture capture_;
  Watch ready_watch_, child_watch_, limit_watch_, ending_watch_, refill_watch_;
  std::optional<LaunchError> error_;
};

}  // namespace ipcm::launch
