#pragma once

#include <vector>

#include "ipcm/basics.h"

namespace ipcm::os {

// The processes below this one. For a process that adopts orphans (adopt_orphans()), these are all that it and its
// children have started, also those that made themselves daemons.

/// Whether this process has a child, which may be a zombie.
[[nodiscard]] bool has_children() noexcept;
/// Returns all descendants that run, parents before their children. Empty, too, if /proc can't be read.
[[nodiscard]] std::vector<Pid> descendants();
/// Whether a process is a descendant of this one. false, too, if it has ended and was reaped.
[[nodiscard]] bool is_descendant(Pid pid);
/// Sends a signal to all descendants.
void signal_descendants(int signal);
/// Sends a signal to all processes of a group, if a child of this process is among them: otherwise the number may belong
/// to another group by now. Returns whether it was sent.
bool signal_group_of_child(Pid group, int signal) noexcept;

/// Sends a signal to all processes of a session other than its leader, also to those in other process groups. The leader
/// must be a child of this process that is not reaped: its number is then its own. Does nothing for the number 0 (no
/// process), and if /proc can't be read.
void signal_session(Pid leader, int signal);

}  // namespace ipcm::os
