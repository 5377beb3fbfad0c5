#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "ipcm/basics.h"
#include "os/clock.h"
#include "os/descriptor.h"

namespace ipcm::os {

/// A descriptor that names a process, not a number that may be given away again. nullopt: no such process;
/// the number of a thread is none. Throws SystemError for anything else (EMFILE).
[[nodiscard]] std::optional<UniqueFd> open_process(Pid pid);
/// Whether the process behind a pidfd has ended; a zombie has.
[[nodiscard]] bool has_ended(int pidfd);
/// Waits for that. false: the deadline came first.
bool await_end(int pidfd, Deadline deadline);
/// Sends a signal through a pidfd: never to a recycled pid. false: it has ended already.
bool signal_process(int pidfd, int signal);
/// Which process a pidfd names, in our pid namespace; nullopt for a descriptor that is no pidfd, or if it was
/// reaped.
[[nodiscard]] std::optional<Pid> pid_of(int pidfd);
/// How the process behind a pidfd ended, for whoever holds one: our own child if not yet reaped (left in
/// place), a zombie of our user that somebody else has to reap, or any process that was reaped, on Linux 6.15
/// or newer. nullopt: can't be told.
[[nodiscard]] std::optional<ExitStatus> peek_exit_status(int pidfd);
/// In words, for a process that has ended: "exited with status 3", or why that can't be known.
[[nodiscard]] std::string how_it_ended(int pidfd, const std::optional<ExitStatus>& status);

/// How many this process may run on.
[[nodiscard]] unsigned usable_processors() noexcept;
/// Whoever is ready to run on this processor does so first.
void let_others_run() noexcept;
[[nodiscard]] Pid own_pid();
[[nodiscard]] std::optional<Pid> parent_of(Pid pid);
/// Whether a process of that number runs; a zombie does not.
[[nodiscard]] bool is_running(Pid pid);
/// Names this machine for as long as it runs, and the pid namespace: for whom it is equal, the same pid means
/// the same process.
[[nodiscard]] std::string process_numbering();
/// When it was started, on the real-time clock; nullopt: no such process. To tell a recycled pid from the one
/// that wrote a file: the writer is older than its file. Throws SystemError if there are too few descriptors to
/// look: that says nothing about the process.
[[nodiscard]] std::optional<double> start_time(Pid pid);
/// Resident memory in bytes.
[[nodiscard]] std::optional<std::uint64_t> resident_memory(Pid pid);
/// What the text of /proc/PID/smaps_rollup says of it.
[[nodiscard]] std::optional<std::uint64_t> rss_in(std::string_view smaps_rollup);
/// More than one thread runs in this process.
[[nodiscard]] bool has_threads();
/// The name that ps and /proc/PID/comm show; the kernel keeps its first 15 bytes.
void set_process_title(const std::string& title);
/// Orphans among our descendants become our children. For processes that are hosts, never for guests.
void adopt_orphans();
/// The path of the running executable.
[[nodiscard]] std::string own_executable();

/// One child of ours, not yet reaped. Destroying it kills and reaps it. Nobody else may wait for this pid;
/// should the host do so all the same, the status is had from the kernel where it tells.
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
  /// Reaps it if it has ended. nullopt: it still runs.
  std::optional<ExitStatus> try_reap();
  /// The same, waiting.
  std::optional<ExitStatus> reap(Deadline deadline);
  /// Kills it and waits for that.
  std::optional<ExitStatus> kill_and_reap();
  /// The same for all processes of its process group, if it leads one.
  void signal_group(int signal_number);
  /// Lets it run on, unowned. Once it has ended, the next reap_released_children() reaps it.
  void release() noexcept;
  /// Known once reaped. Stays empty if somebody else took the status and the kernel can't tell.
  [[nodiscard]] const std::optional<ExitStatus>& status() const noexcept { return status_; }
  [[nodiscard]] bool reaped() const noexcept { return reaped_; }

 private:
  Pid pid_ = 0;
  UniqueFd pidfd_;
  std::optional<ExitStatus> status_;
  bool reaped_ = false;
};

/// Reaps those children that were released and have ended meanwhile. For the calls of a guest that take a
/// while anyway; costs nothing where no child was released.
void reap_released_children() noexcept;

/// For processes that are hosts: reaps every child that has ended. Those that a Child object owns get their
/// status there; the others are told of, with the number that waitpid(2) stores.
void reap_ended_children(const std::function<void(Pid pid, ExitStatus status)>& tell);

}  // namespace ipcm::os
