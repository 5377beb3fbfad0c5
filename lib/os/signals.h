#pragma once

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

/// Every handler and every ignored signal back to the default. Async-signal-safe.
void reset_handlers() noexcept;
/// Nothing is blocked any more. Async-signal-safe.
void unblock_signals() noexcept;

/// A write to a pipe nobody reads is EPIPE, not the end. For processes that are ours.
void ignore_broken_pipes() noexcept;

/// For a helper that ends by itself, when its work is done: SIGHUP, SIGINT, SIGQUIT, SIGTERM and SIGPIPE have
/// no effect.
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

 private:
  sigset_t set_{};
  sigset_t before_{};
  UniqueFd fd_;
};

/// The number behind "TERM" or "SIGTERM"; nullopt: no such name.
[[nodiscard]] std::optional<int> signal_number(const std::string& name);

}  // namespace ipcm::os
