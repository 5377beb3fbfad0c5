#pragma once

#include <array>

#include "os/descriptor.h"

namespace ipcm::os {

// Descriptors 0, 1 and 2. Our own processes (`ipcm`, a boot, a service) always have all three: if one was
// closed at the start, it leads to /dev/null. In the process of a host they belong to the host: descriptors
// of the library are 3 or above (descriptor.h), and closed streams stay closed.

/// Returns for each of the three whether it is closed.
[[nodiscard]] std::array<bool, 3> closed_standard_streams() noexcept;

/// The effect of writing to a stdout that was closed. A command fails then and reports it; in a service it is
/// no error.
enum class ClosedStdout { fails, discards };
/// Redirects the closed ones to /dev/null. Reading from it finds the end.
void fill_standard_streams(ClosedStdout closed_stdout) noexcept;

/// Redirects closed streams to /dev/null during a call into a library that opens descriptors itself, and
/// closes them again.
class StandardStreamsHeld {
 public:
  StandardStreamsHeld() noexcept;
  ~StandardStreamsHeld();
  StandardStreamsHeld(const StandardStreamsHeld&) = delete;
  StandardStreamsHeld& operator=(const StandardStreamsHeld&) = delete;

 private:
  std::array<bool, 3> held_{};
};

/// Moves a standard stream to a descriptor above 2; the stream leads to /dev/null from then on. Throws
/// SystemError.
[[nodiscard]] UniqueFd take_standard_stream(int stream);

}  // namespace ipcm::os
