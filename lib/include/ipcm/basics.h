#pragma once

#include <chrono>
#include <functional>
#include <string>

namespace ipcm {

/// A process id. It is pid_t, which is int on Linux; so the public headers include no system header.
using Pid = int;

/// A span of time; any std::chrono unit converts to it. As the limit of a call, zero (`kNoLimit`) means no
/// limit, and a negative value is a limit that has already passed.
using Duration = std::chrono::nanoseconds;
inline constexpr Duration kNoLimit{0};

/// A function that gets sentences for the operator of a process: which message was dropped, its sender, and
/// the reason.
using Diagnostics = std::function<void(const std::string& sentence)>;

/// The end of a process: it exited with a status, or a signal killed it.
struct ExitStatus {
  enum class How { exited, signalled };
  How how = How::exited;
  int value = 0;  ///< The exit status (0 to 255), or the signal's number.
  bool core_dumped = false;

  static ExitStatus exited(int status) { return {How::exited, status, false}; }
  static ExitStatus signalled(int signal, bool core = false) { return {How::signalled, signal, core}; }
  /// Converts the number that waitpid(2) stores.
  static ExitStatus from_wait_status(int wait_status);

  [[nodiscard]] bool success() const { return how == How::exited && value == 0; }
  /// Returns a text such as "exited with status 3" or "was killed by SIGSEGV (core dumped)".
  [[nodiscard]] std::string describe() const;
  /// Returns the number that a shell shows: the exit status, or 128 + signal.
  [[nodiscard]] int shell_status() const { return how == How::exited ? value : 128 + value; }

  friend bool operator==(const ExitStatus&, const ExitStatus&) = default;
};

}  // namespace ipcm
