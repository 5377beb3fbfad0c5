#pragma once

#include <functional>
#include <optional>

#include "ipcm/basics.h"
#include "os/clock.h"
#include "os/descriptor.h"

namespace ipcm::os {

/// A child of this process that is not yet reaped. Its destructor kills and reaps it. No other code may wait
/// for this pid; if the host does so all the same, the exit status comes from the kernel if the kernel still
/// knows it.
class Child {
 public:
  Child() noexcept = default;
  Child(Pid pid, UniqueFd pidfd);
  Child(Child&& other) noexcept;
  Child& operator=(Child&& other) noexcept;
  ~Child();

  [[nodiscard]] Pid pid() const noexcept { return pid_; }
  /// Borrowed; readable once the child has ended.
  [[nodiscard]] int pidfd() const noexcept { return pidfd_.get(); }
  [[nodiscard]] bool is_ours() const noexcept { return static_cast<bool>(pidfd_); }
  bool signal(int signal_number);
  /// Reaps it if it has ended. Returns nullopt while it runs.
  std::optional<ExitStatus> try_reap();
  /// The same, but waits until the deadline.
  std::optional<ExitStatus> reap(Deadline deadline);
  /// Kills it, and waits until it has ended.
  std::optional<ExitStatus> kill_and_reap();
  /// Kills all processes of its process group, if it leads one.
  void signal_group(int signal_number);
  /// Gives up ownership: the child runs on. After it has ended, the next reap_released_children() reaps it.
  void release() noexcept;
  /// The exit status, once the child is reaped. It stays empty if other code has reaped the child and the
  /// kernel does not know the status.
  [[nodiscard]] const std::optional<ExitStatus>& status() const noexcept { return status_; }
  [[nodiscard]] bool reaped() const noexcept { return reaped_; }
  /// Notes the status of a child that other code has reaped: another process knows it.
  void note_status(ExitStatus status) noexcept { status_ = status; }

 private:
  Pid pid_ = 0;
  UniqueFd pidfd_;
  std::optional<ExitStatus> status_;
  bool reaped_ = false;
};

/// Reaps the released children that have ended. Called from functions that take some time anyway; costs
/// nothing if no child was released.
void reap_released_children() noexcept;

/// Reaps every child that has ended; for our own processes only. A Child object gets the status of its child.
/// For each other child, calls `tell` with its pid and exit status, before it is reaped: until then, no other process
/// can have that pid.
void reap_ended_children(const std::function<void(Pid pid, ExitStatus status)>& tell);

}  // namespace ipcm::os
