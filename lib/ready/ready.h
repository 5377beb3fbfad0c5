#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "ipcm/basics.h"
#include "os/descriptor.h"

namespace ipcm::ready {

// The two ends of the ready line. The service writes one report on an inherited pipe, and closes the pipe:
//   {"ready":true,"name":"…","pid":123}\n     it serves
//   {"ready":false,"error":"…"}               without a newline: it can't start, and exits. An additional
//                                             "phase":"start" says that it had joined the bus
// End of file without a report means that the process died; its wait status says how. A launcher that waits
// only for a newline (s6) works too, and our launcher accepts a bare newline as ready. It refuses any other
// line: a line must be a JSON object with "ready":true, and its name, if any, must be that of the service.
// The pid is only a claim. If the write fails with EPIPE, the launcher was killed during the start; then the
// service leaves the bus.

/// A log, and the streams that lead to it after the service is ready.
struct LogStreams {
  os::UniqueFd log;
  bool out = false;
  bool err = false;
};

/// The service's end of the ready pipe.
class Announcer {
 public:
  Announcer() = default;
  /// `real_stderr` is the stderr of the ready service; empty: stderr stays as it is.
  Announcer(os::UniqueFd pipe, os::UniqueFd real_stderr, LogStreams log = {})
      : pipe_(std::move(pipe)), real_stderr_(std::move(real_stderr)), log_(std::move(log)) {}
  /// Makes the functions below notify systemd too, if $NOTIFY_SOCKET is set and there is no pipe. Removes
  /// $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID from the environment.
  void use_notify_socket();

  /// Switches stdout and stderr to their destination, and reports ready. Returns false if the launcher has
  /// ended, so that nobody knows of this service.
  [[nodiscard]] bool ready(const std::string& name);
  /// Reports that the start failed. `joined`: the service had joined the bus.
  void failed(const std::string& error, bool joined = false) noexcept;
  /// Transfer the descriptors to the caller, for a process that executes another program.
  [[nodiscard]] os::UniqueFd give_pipe() { return std::move(pipe_); }
  [[nodiscard]] os::UniqueFd give_stderr() { return std::move(real_stderr_); }
  /// Transfers the log to the caller; empty: there is none.
  [[nodiscard]] LogStreams give_log() { return std::move(log_); }
  /// Notify systemd; do nothing without its socket.
  void stopping() noexcept;
  void alive() noexcept;
  /// Returns the time between calls of alive(): half of $WATCHDOG_USEC. nullopt: no calls are expected.
  [[nodiscard]] std::optional<Duration> watchdog() const { return watchdog_; }

 private:
  void notify(std::string_view state) noexcept;
  os::UniqueFd pipe_;
  os::UniqueFd real_stderr_;
  LogStreams log_;
  std::string notify_socket_;
  std::optional<Duration> watchdog_;
};

struct Ready {
  std::string name;
  Pid pid = 0;  ///< A claim; 0: the line has no pid.
};
struct Failed {
  std::string error;
  bool joined = false;
};
struct Silent {};  ///< End of file without a report.
using Report = std::variant<Ready, Failed, Silent>;

/// The launcher's end: it parses bytes from the ready pipe. It makes no system calls.
class Listener {
 public:
  /// `name` is the name of the expected service; empty: any.
  explicit Listener(std::string name = {}) : name_(std::move(name)) {}
  /// Parses further bytes. nullopt: the report is not complete.
  [[nodiscard]] std::optional<Report> feed(std::string_view bytes);
  /// Returns the report after the end of the file.
  [[nodiscard]] Report at_end() const;

 private:
  [[nodiscard]] Report parse(std::string_view text, bool with_newline) const;
  std::string name_;
  std::string seen_;
};

}  // namespace ipcm::ready
