#pragma once

#include <array>

#include "launch/request.h"
#include "os/descriptor.h"
#include "os/spawn.h"

namespace ipcm::launch {

// The descriptors between a launcher and the process that it starts.

/// Those that the child is meant to have. Released before a fork, taken up again on both sides.
struct Lines {
  os::UniqueFd ready, leash, capture, real_stderr, in, out, parameters;
  handoff::OriginalStreams original;

  static constexpr std::size_t kCount = 10;
  [[nodiscard]] std::array<int, kCount> release();
  void take_up(const std::array<int, kCount>& numbers);

 private:
  [[nodiscard]] std::array<os::UniqueFd*, kCount> all();
};

/// The launcher's ends of the same.
struct Ends {
  os::UniqueFd ready;        ///< Read end of the ready pipe; does not block.
  os::UniqueFd capture;      ///< Read end of its stderr, if that is captured,
  os::UniqueFd real_stderr;  ///< and where it leads otherwise.
};

struct BothEnds {
  Lines childs;
  Ends ours;
};
/// Opens all that the request wants, but not the parameters. Throws SystemError.
[[nodiscard]] BothEnds open_lines(const Request& request);

/// How a program is run that a child becomes: command line, environment and descriptors as the boot contract
/// says (docs/boot.md).
[[nodiscard]] os::SpawnRequest plan_boot(const Request& request, const Lines& lines);

}  // namespace ipcm::launch
