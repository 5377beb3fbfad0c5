#pragma once

#include <array>

#include "launch/launch_plan.h"
#include "launch/relay.h"
#include "os/descriptor.h"
#include "os/spawn.h"

namespace ipcm::launch {

// The descriptors between a launcher and the process that it starts.

/// The descriptors for the child. release() gives them up as numbers before a fork, and take_up() owns them
/// again in both processes.
struct ChildFds {
  os::UniqueFd ready, leash, capture, real_stderr, in, out, parameters, log;
  handoff::OriginalStreams original;

  static constexpr std::size_t kCount = 11;
  [[nodiscard]] std::array<int, kCount> release();
  void take_up(const std::array<int, kCount>& numbers);

  /// Return the descriptors for stdout and stderr until the service is ready. -1: the launcher's own stream.
  [[nodiscard]] int first_stdout() const;
  [[nodiscard]] int first_stderr() const;
  /// Return whether the stream leads to the log after the service is ready.
  [[nodiscard]] bool returns_stdout() const { return capture && log && !out && !real_stderr; }
  [[nodiscard]] bool returns_stderr() const { return capture && log && !real_stderr; }

 private:
  [[nodiscard]] std::array<os::UniqueFd*, kCount> all();
};

/// The descriptors of the launcher.
struct LauncherFds {
  os::UniqueFd ready;    ///< The read end of the ready pipe; non-blocking.
  os::UniqueFd capture;  ///< The read end of the child's stderr, if it is captured.
  WordsTo words_to;      ///< The destination of the captured text.
};

struct LaunchFds {
  ChildFds childs;
  LauncherFds ours;
};
/// Opens all descriptors that the plan needs, except that of the parameters. Throws SystemError.
[[nodiscard]] LaunchFds open_fds(const LaunchPlan& plan);

/// Returns the command line, the environment and the descriptors of a boot, according to the boot contract
/// (docs/boot.md).
[[nodiscard]] os::SpawnRequest plan_boot(const LaunchPlan& plan, const ChildFds& fds);

}  // namespace ipcm::launch
