#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "ipcm/basics.h"
#include "os/descriptor.h"

namespace ipcm::ready {

// The ready line, both ends. The service writes on an inherited pipe, once:
//   {"ready":true,"name":"…","pid":123}\n     it serves; then it closes
//   {"ready":false,"error":"…"}               no newline: it can't start, closes and exits; "phase":"start"
//   beside it if
//                                             it had joined the bus
// End of file with nothing before: it died; the wait status tells. A launcher that waits for a newline and
// nothing more (s6) is served too, and a bare newline counts as ready. Any other line is refused: it must be
// a JSON object with "ready":true; if it has a name, that must be the service's. The pid is a claim. A
// service whose line nobody reads any more (EPIPE) leaves: its launcher was killed before it could know.

/// A log that streams are to lead to from ready on.
struct LogStreams {
  os::UniqueFd log;
  bool out = false;
  bool err = false;
};

/// The service's end.
class Announcer {
 public:
  Announcer() = default;
  /// `real_stderr`: where stderr leads from ready on; empty: where it leads now.
  Announcer(os::UniqueFd pipe, os::UniqueFd real_stderr, LogStreams log = {})
      : pipe_(std::move(pipe)), real_stderr_(std::move(real_stderr)), log_(std::move(log)) {}
  /// Also tells systemd's notification socket, if $NOTIFY_SOCKET named one and there is no pipe; the variable
  /// is removed.
  void use_notify_socket();

  /// false: the launcher has ended, and nobody knows of this service.
  [[nodiscard]] bool ready(const std::string& name);
  /// `joined`: it was on the bus already.
  void failed(const std::string& error, bool joined = false) noexcept;
  /// For a child that goes on to exec: its descriptors, to be passed.
  [[nodiscard]] os::UniqueFd give_pipe() { return std::move(pipe_); }
  [[nodiscard]] os::UniqueFd give_stderr() { return std::move(real_stderr_); }
  /// The service's log, to be kept from growing; empty: it has none.
  [[nodiscard]] LogStreams give_log() { return std::move(log_); }
  /// For systemd only; nothing without it.
  void stopping() noexcept;
  void alive() noexcept;
  /// How often alive() is expected.
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
  Pid pid = 0;  ///< A claim; 0: not told.
};
struct Failed {
  std::string error;
  bool joined = false;
};
struct Silent {};  ///< End of file, and not a word.
using Report = std::variant<Ready, Failed, Silent>;

/// The launcher's end: bytes in, a report out. Pure.
class Listener {
 public:
  /// `name`: of the service that is expected; empty: any.
  explicit Listener(std::string name = {}) : name_(std::move(name)) {}
  /// nullopt: not yet.
  [[nodiscard]] std::optional<Report> feed(std::string_view bytes);
  [[nodiscard]] Report at_end() const;

 private:
  [[nodiscard]] Report parse(std::string_view text, bool with_newline) const;
  std::string name_;
  std::string seen_;
};

}  // namespace ipcm::ready
