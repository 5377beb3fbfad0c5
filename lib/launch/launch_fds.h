#pragma once

#include <array>

#include "launch/launch_plan.h"
#include "launch/relay.h"
#include "os/descriptor.h"
#include "os/spawn.h"

namespace ipcm::launch {

// The descriptors between a launcher and the process that it starts.

/// Those that the child is meant to have. Released before a fork, taken up again on both sides.
struct ChildFds {
  os::UniqueFd ready, leash, capture, real_stderr, in, out, parameters, log;
  handoff::OriginalStreams original;

  static constexpr std::size_t kCount = 11;
  [[nodiscard]] std::array<int, kCount> release();
  void take_up(const std::array<int, kCount>& numbers);

  /// Where 1 and 2 lead until it is ready; -1: where ours do.
  [[nodiscard]] int first_stdout() const;
  [[nodiscard]] int first_stderr() const;
  /// Which of them lead to the log from then on.
  [[nodiscard]] bool returns_stdout() const { return capture && log && !out && !real_stderr; }
  [[nodiscard]] bool returns_stderr() const { return capture && log && !real_stderr; }

 private:
  [[nodiscard]] std::array<os::UniqueFd*, kCount> all();
};

/// The launcher's ends of the same.
struct LauncherFds {
  os::UniqueFd ready;    ///< Read end of the ready pipe; does not block.
  os::UniqueFd capture;  ///< Read end of its stderr, if that is captured,
  WordsTo words_to;      ///< and where it leads otherwise.
};

struct LaunchFds {
  ChildFds childs;
  LauncherFds ours;
};
/// Opens all that the request wants, but not the parameters. Throws SystemError.
[[nodiscard]] LaunchFds open_fds(const LaunchPlan& request);

/// How a program is run that a child becomes: command line, environment and descriptors as the boot contract
/// says (docs/boot.md).
[[nodiscard]] os::SpawnRequest plan_boot(const LaunchPlan& request, const ChildFds& lines);

}  // namespace ipcm::launch
