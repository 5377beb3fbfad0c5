#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "ipcm/basics.h"
#include "os/clock.h"
#include "os/descriptor.h"

namespace ipcm::os {

/// Returns a pidfd: it identifies a process, while a pid may be given to another one. nullopt: there is no
/// such process, or the number belongs to a thread. Throws SystemError for other errors (EMFILE).
[[nodiscard]] std::optional<UniqueFd> open_process(Pid pid);
/// Whether the process of a pidfd has ended; a zombie has.
[[nodiscard]] bool has_ended(int pidfd);
/// Waits until it has ended. Returns false if the deadline came first.
bool await_end(int pidfd, Deadline deadline);
/// Sends a signal through a pidfd, so never to a recycled pid. Returns false if the process has already
/// ended.
bool signal_process(int pidfd, int signal);
/// Returns the pid of a pidfd in our pid namespace; nullopt if the descriptor is no pidfd, or the process was
/// reaped.
[[nodiscard]] std::optional<Pid> pid_of(int pidfd);
/// Returns the exit status of the process of a pidfd, without reaping it, if the process is our own unreaped
/// child, a zombie of our user that its parent has to reap, or, on Linux 6.15 or newer, any reaped process.
/// nullopt: unknown.
[[nodiscard]] std::optional<ExitStatus> peek_exit_status(int pidfd);
/// Describes the end of a process that has ended: "exited with status 3", or the reason why the status is
/// unknown.
[[nodiscard]] std::string how_it_ended(int pidfd, const std::optional<ExitStatus>& status);

/// Returns the number of processors that this process may run on.
[[nodiscard]] unsigned usable_processors() noexcept;
/// Yields this processor to other threads that are ready to run.
void let_others_run() noexcept;
[[nodiscard]] Pid own_pid();
[[nodiscard]] std::optional<Pid> parent_of(Pid pid);
/// Whether a process with that pid runs; a zombie does not.
[[nodiscard]] bool is_running(Pid pid);
/// Identifies the machine, until it reboots, and the pid namespace. If two processes get equal texts, a pid
/// means the same process to both.
[[nodiscard]] std::string process_numbering();
/// Returns the start time of a process on the real-time clock; nullopt: no such process. It tells a recycled
/// pid from the writer of a file: the writer is older than its file. Throws SystemError if too few
/// descriptors are left to look, which says nothing about the process.
[[nodiscard]] std::optional<double> start_time(Pid pid);
/// Returns resident memory in bytes.
[[nodiscard]] std::optional<std::uint64_t> resident_memory(Pid pid);
/// Returns the resident memory according to the text of /proc/PID/smaps_rollup.
[[nodiscard]] std::optional<std::uint64_t> rss_in(std::string_view smaps_rollup);
/// Whether more than one thread runs in this process.
[[nodiscard]] bool has_threads();
/// Sets the name that ps and /proc/PID/comm show; the kernel keeps its first 15 bytes.
void set_process_title(const std::string& title);
/// Makes orphans among our descendants our children. For our own processes, never for guests.
void adopt_orphans();
/// Returns the path of the running executable.
[[nodiscard]] std::string own_executable();

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
/// For each other child, calls `tell` with its pid and exit status.
void reap_ended_children(const std::function<void(Pid pid, ExitStatus status)>& tell);

}  // namespace ipcm::os
