#pragma once

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>

#include "ipcm/basics.h"

namespace ipcm {

/// The root of all that this library throws. what() is one line for a person: who, what was tried,
/// what happened, and what to do about it where that is known.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The call itself was wrong: contradicting options, an unusable name, the wrong process.
class UsageError : public Error {
 public:
  using Error::Error;
};

/// Bytes from outside break a contract: no JSON, a missing key, a wrong type, too large.
class ProtocolError : public Error {
 public:
  using Error::Error;
};

/// The operating system refused: which call, on what, and its errno.
class SystemError : public Error {
 public:
  SystemError(int code, const std::string& what_was_tried);
  [[nodiscard]] int code() const noexcept { return code_; }

 private:
  int code_;
};

/// The bus can't be joined or made: no such route, an unknown protocol, a name that is taken.
class BusError : public Error {
 public:
  using Error::Error;
};

/// A name is held by a live process on that bus.
class NameTaken : public BusError {
 public:
  NameTaken(const std::string& name, Pid holder, const std::string& route);
  explicit NameTaken(const std::string& what) : BusError(what), holder_(0) {}
  [[nodiscard]] Pid holder() const noexcept { return holder_; }  ///< 0 where the holder can't be told.

 private:
  Pid holder_;
};

/// The deadline passed first. What was waited for may still happen.
class Timeout : public Error {
 public:
  using Error::Error;
};

/// The peer isn't there, or ended before it answered.
class PeerGone : public Error {
 public:
  PeerGone(std::string peer, const std::string& what, std::optional<ExitStatus> status = {})
      : Error(what), peer_(std::move(peer)), status_(status) {}
  [[nodiscard]] const std::string& peer() const noexcept { return peer_; }
  /// How its process ended, where we may know: our own child, or a kernel (6.15 or newer) that tells.
  [[nodiscard]] const std::optional<ExitStatus>& status() const noexcept { return status_; }

 private:
  std::string peer_;
  std::optional<ExitStatus> status_;
};

/// The service got the request and answered that it failed. what() is the service's own text.
class RemoteError : public Error {
 public:
  RemoteError(std::string peer, const std::string& text) : Error(text), peer_(std::move(peer)) {}
  [[nodiscard]] const std::string& peer() const noexcept { return peer_; }

 private:
  std::string peer_;
};

/// A service did not start. By the time this is thrown its process is gone and reaped, so that its name
/// and its place on the bus are free for another try.
class LaunchError : public Error {
 public:
  /// How far it came.
  enum class Phase {
    prepare,  ///< before any process was made: the boot binary, the bus, the parameters
    fork,     ///< the kernel would not make the process
    exec,     ///< the process was there, the boot binary would not run
    boot,     ///< the binary ran: reading its parameters, finding its class, joining the bus
    start,    ///< it was on the bus: on_start had not returned
  };
  struct Facts {
    std::string name;  ///< of the service
    Phase phase = Phase::prepare;
    int error = 0;                     ///< errno, for prepare, fork and exec; otherwise 0
    std::optional<ExitStatus> status;  ///< how the process ended by itself; none if we had to end it
    std::string reason;                ///< what the child reported of itself on the ready pipe
    std::string stderr_tail;           ///< the last of what it wrote to its stderr (at most 16 KiB)
    Duration elapsed{};                ///< from the call to the verdict
    bool timed_out = false;
  };

  LaunchError(const std::string& what, Facts facts) : Error(what), facts_(std::move(facts)) {}
  [[nodiscard]] const Facts& facts() const noexcept { return facts_; }
  [[nodiscard]] Phase phase() const noexcept { return facts_.phase; }
  [[nodiscard]] const std::optional<ExitStatus>& status() const noexcept { return facts_.status; }
  [[nodiscard]] const std::string& reason() const noexcept { return facts_.reason; }
  [[nodiscard]] const std::string& stderr_tail() const noexcept { return facts_.stderr_tail; }

 private:
  Facts facts_;
};

[[nodiscard]] const char* to_string(LaunchError::Phase phase);

}  // namespace ipcm
