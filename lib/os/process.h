#pragma once

#include <cstdint>
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

}  // namespace ipcm::os
