#pragma once

#include <optional>
#include <string_view>

#include "ipcm/basics.h"

namespace ipcm::os {

/// What the kernel counts for a process, from /proc/PID/stat.
struct ProcessStatistics {
  enum class State {
    running,  ///< It runs, or waits for an event.
    stopped,  ///< A signal (SIGSTOP, Ctrl-Z) or a debugger has stopped it.
    zombie,   ///< It has ended, or at least its main thread has.
  };
  State state = State::running;
  Duration processor_time{};  ///< Of all its threads, in user mode and in the kernel.
};

/// Returns nullopt if there is no such process. The number may mean another process than its writer.
[[nodiscard]] std::optional<ProcessStatistics> process_statistics(Pid pid);
/// Returns the statistics of the process of a pidfd, surely of that one; nullopt: it was reaped.
[[nodiscard]] std::optional<ProcessStatistics> proven_statistics(int pidfd);
/// Returns the statistics according to the text of /proc/PID/stat; nullopt: it is no such text. `ticks`: how many the
/// kernel counts in a second.
[[nodiscard]] std::optional<ProcessStatistics> statistics_in(std::string_view stat, long ticks);

}  // namespace ipcm::os
