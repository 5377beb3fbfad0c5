#pragma once

#include <cerrno>
#include <csignal>
#include <optional>
#include <vector>

#include "ipcm/basics.h"
#include "os/descriptor.h"

namespace ipcm::os {

/// All signals wait while this lives; then the mask is as it was.
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

/// Every handler and every ignored signal back to the default; but SIGHUP stays ignored if it is (nohup).
/// Async-signal-safe.
void reset_handlers() noexcept;
/// Nothing is blocked any more. Async-signal-safe.
void unblock_signals() noexcept;

/// For processes that are ours: `ipcm`, a boot, a service. A write to a pipe that nobody reads fails with
/// EPIPE, and one beyond the limit of file sizes (ulimit -f) with EFBIG: SIGPIPE and SIGXFSZ are ignored.
/// SIGCHLD gets its default action: where a caller left it ignored, the kernel would throw away the exit
/// status of each child. The first call in a process notes how it found these three.
void take_charge_of_signals() noexcept;
/// Whether the caller of this program had it ignored, as nohup(1) does with SIGHUP and a shell with the
/// SIGINT of jobs in the background.
[[nodiscard]] bool ignored_on_entry(int signal) noexcept;
/// All of those.
[[nodiscard]] std::vector<int> ignored_on_entry();
/// `signals` without them: what a program may ask to be told of.
[[nodiscard]] std::vector<int> heeded(std::vector<int> signals);

/// While it lives, a write of this thread to a pipe that nobody reads, or beyond the limit of file sizes, is
/// an error of that call and raises no signal: for guests in a process, whose signal actions are not ours to
/// change. In processes that are ours it does nothing: they ignore both signals.
class QuietWrites {
 public:
  QuietWrites() noexcept;
  ~QuietWrites();
  QuietWrites(const QuietWrites&) = delete;
  QuietWrites& operator=(const QuietWrites&) = delete;
  /// A call that failed with this errno may have raised a signal. Without it, none is taken back.
  void note(int error) noexcept { raised_ = raised_ || error == EPIPE || error == EFBIG; }
  /// A call into another library was made: whatever it raised is taken back.
  void note_unknown() noexcept { raised_ = true; }

 private:
  sigset_t before_{}, ours_{};
  bool active_ = false, raised_ = false;
};

/// For a helper that ends by itself, when its work is done: SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE and
/// SIGXFSZ have no effect.
void ignore_polite_signals() noexcept;

/// Reads signals from a descriptor instead of taking them in handlers. They are blocked while it lives.
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
  /// nullopt: no more now.
  [[nodiscard]] std::optional<Receipt> next();
  void add(int signal);
  /// Takes those that wait and does nothing about them: at the reader's end they would have their effect.
  void discard() {
    while (next()) {
    }
  }

 private:
  sigset_t set_{};
  sigset_t before_{};
  UniqueFd fd_;
};

/// The number behind "TERM" or "SIGTERM"; nullopt: no such name.
[[nodiscard]] std::optional<int> signal_number(const std::string& name);

}  // namespace ipcm::os
