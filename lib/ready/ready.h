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
// End of file with nothing before: it died; the wait status tells. Who waits for a newline and nothing more
// (s6) is served too; and whoever writes just a newline counts as ready.

/// The service's end.
class Announcer {
 public:
  Announcer() = default;
  /// `real_stderr`: where stderr leads from ready on; empty: where it leads now.
  Announcer(os::UniqueFd pipe, os::UniqueFd real_stderr)
      : pipe_(std::move(pipe)), real_stderr_(std::move(real_stderr)) {}
  /// Also tells systemd's notification socket, if $NOTIFY_SOCKET named one and there is no pipe; the variable
  /// is removed.
  void use_notify_socket();

  void ready(const std::string& name);
  /// `joined`: it was on the bus already.
  void failed(const std::string& error, bool joined = false) noexcept;
  /// For a child that goes on to exec: its descriptors, to be passed.
  [[nodiscard]] os::UniqueFd give_pipe() { return std::move(pipe_); }
  [[nodiscard]] os::UniqueFd give_stderr() { return std::move(real_stderr_); }
  /// For systemd only; nothing without it.
  void stopping() noexcept;
  void alive() noexcept;
  /// How often alive() is expected.
  [[nodiscard]] std::optional<Duration> watchdog() const { return watchdog_; }

 private:
  void notify(std::string_view state) noexcept;
  os::UniqueFd pipe_;
  os::UniqueFd real_stderr_;
  std::string notify_socket_;
  std::optional<Duration> watchdog_;
};

struct Ready {
  std::string name;
  Pid pid = 0;  ///< 0: not told
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
  /// nullopt: not yet.
  [[nodiscard]] std::optional<Report> feed(std::string_view bytes);
  [[nodiscard]] Report at_end() const;

 private:
  std::string seen_;
};

}  // namespace ipcm::ready
