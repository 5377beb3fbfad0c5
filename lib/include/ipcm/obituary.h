#pragma once

// The obituaries of a bus: which services have died, when and how. A program looks:
//
//     for (const ipcm::Obituary& one : ipcm::obituaries(info))
//       std::printf("%s: %s\n", one.name.c_str(), one.how().c_str());

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ipcm/basics.h"
#include "ipcm/bus_info.h"

namespace ipcm {

/// The fact that a service has died: its process ended without leaving the bus, by a signal, or with a status other
/// than 0. The library keeps it beside the bus, in a file `.N.obituary` (docs/bus.md, "Obituaries"), until a service
/// of the same name starts, or the bus is removed. A service that leaves the bus and exits with status 0 has none.
///
/// The process that learns how a service ended writes it: its parent, a process that watched it, or the service itself,
/// before it exits with a status other than 0. If there was none, the process that removes the files of the dead
/// service writes that its status is unknown.
struct Obituary {
  using TimePoint = std::chrono::system_clock::time_point;
  std::string name = {};
  std::string class_name = {};            ///< The class of the service; empty: unknown.
  std::optional<Pid> pid = {};            ///< The process id, in the pid namespace of the writer.
  std::optional<TimePoint> started = {};  ///< The start of its process, if the writer knew it.
  TimePoint ended = {};                   ///< When the writer noticed its end.
  std::optional<ExitStatus> status = {};  ///< nullopt: unknown.
  std::string why_unknown = {};           ///< Why the status is unknown; empty if it is known.
  /// The end of its log at that time: whole lines, at most 4 KiB, without control characters. Empty: there was none.
  std::string last_words = {};
  /// What its supervisor does next, as it said at that time: "restart 3 in 0.8 s", "no restart". Empty: nothing is known.
  std::string next = {};

  /// Returns "killed by signal 9 (SIGKILL)", "exited with status 3" or "status unknown".
  [[nodiscard]] std::string how() const;
  /// Returns the last line of `last_words`.
  [[nodiscard]] std::string last_line() const;
};

/// Returns the obituaries of a bus, the oldest end first; at most one for each name. Leaves out files that are no
/// obituaries, and those that another user has written. Throws SystemError if they can't be listed.
[[nodiscard]] std::vector<Obituary> obituaries(const BusInfo& info);
/// Returns the obituary of that name; nullopt: there is none. Throws as obituaries() does.
[[nodiscard]] std::optional<Obituary> obituary_of(const BusInfo& info, std::string_view service);

/// Keeps the end of a process, for programs that reap processes which they have not started: a subreaper, a
/// supervisor. Finds the service on the bus by its pid, which must be one of this pid namespace. Returns false if no
/// dead service had that process, or if the obituary can't be written. Call it soon: the kernel may give the pid to
/// another process.
bool record_end(const BusInfo& info, Pid pid, const ExitStatus& status) noexcept;
/// Removes the obituary of that name.
void forget_obituary(const BusInfo& info, std::string_view service) noexcept;

}  // namespace ipcm
