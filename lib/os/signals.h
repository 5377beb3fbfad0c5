#pragma once

#include <cerrno>
#include <csignal>
#include <optional>
#include <vector>

#include "ipcm/basics.h"
#include "os/descriptor.h"

namespace ipcm::os {

/// Blocks all signals while it lives, then restores the mask.
class SignalsBlocked {
 public:
  SignalsBlocked() noexcept;
  ~SignalsBlocked();
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  [[nodiscard]] const sigset_t& before() const noexcept { return before_; }

 private:
  sigset_t before_{};
};

/// Resets all signals to their default actions, except that an ignored SIGHUP stays ignored (nohup).
/// Async-signal-safe.
void reset_handlers() noexcept;
/// Unblocks all signals. Async-signal-safe.
void unblock_signals() noexcept;

/// For our own processes (`ipcm`, a boot, a service). Ignores SIGPIPE and SIGXFSZ: a write to a pipe without
/// a reader fails with EPIPE, and one beyond the limit of file sizes (ulimit -f) with EFBIG. Gives SIGCHLD
/// its default action: if a caller left it ignored, the kernel would throw away the exit status of each
/// child. The first call in a process records how it found these three signals.
void take_charge_of_signals() noexcept;
/// Whether the caller of this program had that signal ignored, as nohup(1) does with SIGHUP, and a shell with
/// the SIGINT of background jobs.
[[nodiscard]] bool ignored_on_entry(int signal) noexcept;
/// Returns all signals that the caller had ignored.
[[nodiscard]] std::vector<int> ignored_on_entry();
/// Returns `signals` without those that the caller had ignored: a program may handle these.
[[nodiscard]] std::vector<int> heeded(std::vector<int> signals);

/// While it lives, a write of this thread to a pipe without a reader, or beyond the limit of file sizes, is
/// an error of that call and raises no signal. For guests, which must not change the signal actions of the
/// host. Does nothing in our own processes, which ignore both signals.
class QuietWrites {
 public:
  QuietWrites() noexcept;
  ~QuietWrites();
  QuietWrites(const QuietWrites&) = delete;
  QuietWrites& operator=(const QuietWrites&) = delete;
  /// Reports that a call failed with this errno, and may have raised a signal. Without this report, no signal
  /// is removed.
  void note(int error) noexcept { raised_ = raised_ || error == EPIPE || error == EFBIG; }
  /// Reports a call into another library: any of the two signals that it has raised is removed.
  void note_unknown() noexcept { raised_ = true; }

 private:
  sigset_t before_{}, ours_{};
  bool active_ = false, raised_ = false;
};

/// For a helper process that ends by itself when its work is done: SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE
/// and SIGXFSZ have no effect.
void ignore_polite_signals() noexcept;

/// Reads signals from a descriptor instead of handling them in handlers. They are blocked while it lives.
class SignalReader {
 public:
  struct Receipt {
    int signal = 0;
    Pid sender = 0;
  };
  explicit SignalReader(const std::vector<int>& signals);
  SignalReader(const SignalReader&) = delete;
  SignalReader& operator=(const SignalReader&) = delete;
  ~SignalReader();
  [[nodiscard]] int fd() const { return fd_.get(); }
  /// Returns the next signal; nullopt if none is pending.
  [[nodiscard]] std::optional<Receipt> next();
  void add(int signal);
  /// Discards the pending signals: at the end of this object they would otherwise have their effect.
  void discard() {
    while (next()) {
    }
  }

 private:
  sigset_t set_{};
  sigset_t before_{};
  UniqueFd fd_;
};

/// Returns the number of "TERM", "SIGTERM" or "term"; nullopt: no such name.
[[nodiscard]] std::optional<int> signal_number(const std::string& name);
/// Returns "SIGTERM" for its number; empty: that signal has no name.
[[nodiscard]] std::string signal_name(int signal);

}  // namespace ipcm::os
