#pragma once

#include <chrono>
#include <functional>
#include <string>

namespace ipcm {

/// A process id. Linux's pid_t is an int; saying so here keeps system headers out of the public ones.
using Pid = int;

/// A span of time; any std::chrono unit converts. As a limit for a call, zero (`kNoLimit`) means: as long
/// as it takes. A negative limit has passed already.
using Duration = std::chrono::nanoseconds;
inline constexpr Duration kNoLimit{0};

/// Takes sentences meant for a person who looks after a process: what was dropped, from whom, and why.
using Diagnostics = std::function<void(const std::string& sentence)>;

/// How a process ended: it exited with a status, or a signal killed it. Never both folded into one number.
struct ExitStatus {
  enum class How { exited, signalled };
  How how = How::exited;
  int value = 0;  ///< The exit status (0 to 255), or the signal's number.
  bool core_dumped = false;

  static ExitStatus exited(int status) { return {How::exited, status, false}; }
  static ExitStatus signalled(int signal, bool core = false) { return {How::signalled, signal, core}; }
  /// From the number that waitpid(2) stores.
  static ExitStatus from_wait_status(int wait_status);

  [[nodiscard]] bool success() const { return how == How::exited && value == 0; }
  /// "exited with status 3", "was killed by SIGSEGV (core dumped)".
  [[nodiscard]] std::string describe() const;
  /// As the shells say it: the exit status, or 128 + signal.
  [[nodiscard]] int shell_status() const { return how == How::exited ? value : 128 + value; }

  friend bool operator==(const ExitStatus&, const ExitStatus&) = default;
};

}  // namespace ipcm
