#pragma once

#include <memory>
#include <optional>
#include <string>

#include "ipcm/error.h"
#include "launch/boot_process.h"
#include "launch/launch_plan.h"
#include "launch/stderr_capture.h"
#include "loop/loop.h"
#include "os/process.h"
#include "ready/ready.h"

namespace ipcm::launch {

class WarmBoots;

// From a request to a process that says "ready", or to the reason why not.

/// A child on its way to ready. Owns the child: destroying it kills and reaps it. Runs on a loop, whose
/// callbacks only note; verdict() is where it stands.
///
/// A pool that a process was taken from is not refilled while this one starts: an exec keeps a processor for
/// as long as the whole start takes. Nor while the first request after it is under way, which waits for the
/// same processor. It is done on the loop a moment later, or when this object goes.
class Launch {
 public:
  enum class Verdict { pending, ready, failed };

  /// Makes the process, or takes one that waits. Throws LaunchError (prepare, fork, exec).
  Launch(Loop& loop, LaunchPlan request);
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
  /// How the service ended if `pid` is its process; 0: if it could be. Waits a moment for one that has left
  /// the bus and is about to end.
  [[nodiscard]] std::optional<ExitStatus> status_of(Pid pid);
  /// The bus can be asked now: what was heard before that is looked at again.
  void look_again();
  /// Lets the child, and what relays its stderr, run on without us.
  void release();
  [[nodiscard]] os::Child& relay() { return capture_.relay(); }

 private:
  void adopt(BootProcess boot);
  void start_anew();
  void start_by_fork(ChildFds lines);
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
  void give_up();
  void refill_soon();
  void refill() noexcept;
  [[noreturn]] void refuse(LaunchError::Phase phase, int error, const std::string& what) const;

  Loop& loop_;
  LaunchPlan plan_;
  std::weak_ptr<WarmBoots> pool_;  // is not to live as long as we do; empty: nothing is to be done for it
  os::Clock::time_point began_;
  Verdict verdict_ = Verdict::pending;
  os::Child child_;
  Pid first_pid_ = 0;
  Pid service_pid_ = 0;
  Duration elapsed_{};
  LauncherFds ends_;
  ready::Listener listener_;
  std::optional<ready::Ready> unconfirmed_;  // it says so; the bus does not, or not yet
  std::optional<ready::Report> bad_news_;    // it will not become ready; its end is awaited
  StderrCapture capture_;
  Watch ready_watch_, child_watch_, limit_watch_, last_words_watch_, refill_watch_;
  std::optional<LaunchError> error_;
};

}  // namespace ipcm::launch
