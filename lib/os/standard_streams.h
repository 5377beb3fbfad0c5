#pragma once

#include <array>

#include "os/descriptor.h"

namespace ipcm::os {

// Descriptors 0, 1 and 2. Processes that are ours (`ipcm`, a boot, a service) have all three: where they were
// started without one, it leads to /dev/null. In a host's process they are the host's: ours are 3 or above
// (descriptor.h), and closed ones stay closed.

/// Which of the three are closed.
[[nodiscard]] std::array<bool, 3> closed_standard_streams() noexcept;

/// What writing to a stdout that was closed does. A command fails then, and says so; in a service it is no
/// error.
enum class ClosedStdout { fails, discards };
/// Leads those that are closed to /dev/null. Reading finds the end.
void fill_standard_streams(ClosedStdout closed_stdout) noexcept;

/// Fills them for the time of a call into a library that opens descriptors itself, and closes them again.
class StandardStreamsHeld {
 public:
  StandardStreamsHeld() noexcept;
  ~StandardStreamsHeld();
  StandardStreamsHeld(const StandardStreamsHeld&) = delete;
  StandardStreamsHeld& operator=(const StandardStreamsHeld&) = delete;

 private:
  std::array<bool, 3> held_{};
};

/// Takes over what a standard stream leads to, as a descriptor above them; the stream leads to /dev/null from
/// then on. Throws SystemError.
[[nodiscard]] UniqueFd take_standard_stream(int stream);

}  // namespace ipcm::os
