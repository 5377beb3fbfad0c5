#pragma once

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>

#include "ipcm/basics.h"

namespace ipcm {

/// The base class of all exceptions of this library. what() is one line for a person: the object, the
/// operation, the error and, if it is known, the remedy.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A mistake of the caller: contradicting options, an unusable name, the wrong process.
class UsageError : public Error {
 public:
  using Error::Error;
};

/// Input that breaks a contract: no JSON, a missing key, a wrong type, too large.
class ProtocolError : public Error {
 public:
  using Error::Error;
};

/// A system call that failed. what() names the call and its subject.
class SystemError : public Error {
 public:
  SystemError(int code, const std::string& what_was_tried);
  [[nodiscard]] int code() const noexcept { return code_; }  ///< errno

 private:
  int code_;
};

/// A bus that can't be joined or made: no such route, an unknown protocol, a name that is taken.
class BusError : public Error {
 public:
  using Error::Error;
};

/// A name that a live process holds on that bus.
class NameTaken : public BusError {
 public:
  NameTaken(const std::string& name, Pid holder, const std::string& route);
  explicit NameTaken(const std::string& what) : BusError(what), holder_(0) {}
  [[nodiscard]] Pid holder() const noexcept { return holder_; }  ///< 0: not known.

 private:
  Pid holder_;
};

/// A deadline that passed before the awaited event. The event may still happen.
class Timeout : public Error {
 public:
  using Error::Error;
};

/// A peer that is not on the bus, or that ended before it answered.
class PeerGone : public Error {
 public:
  PeerGone(std::string peer, const std::string& what, std::optional<ExitStatus> status = {})
      : Error(what), peer_(std::move(peer)), status_(status) {}
  [[nodiscard]] const std::string& peer() const noexcept { return peer_; }
  /// The end of its process, if it is known: the process was our own child, or the kernel (6.15 or newer) or its
  /// obituary tells it.
  [[nodiscard]] const std::optional<ExitStatus>& status() const noexcept { return status_; }

 private:
  std::string peer_;
  std::optional<ExitStatus> status_;
};

/// An error that the service sent as its answer. what() is the text of the service.
class RemoteError : public Error {
 public:
  RemoteError(std::string peer, const std::string& text) : Error(text), peer_(std::move(peer)) {}
  [[nodiscard]] const std::string& peer() const noexcept { return peer_; }

 private:
  std::string peer_;
};

/// A service that did not start. Before the library throws this, the process of the service has ended and is
/// reaped; so its name on the bus is free for another attempt.
class LaunchError : public Error {
 public:
  /// The step that failed.
  enum class Phase {
    prepare,  ///< before a process was made: the boot binary, the bus, the parameters
    fork,     ///< the kernel did not make the process
    exec,     ///< the process was made, but could not execute the boot binary
    boot,     ///< the process ran: it read its parameters, looked for its class, or joined the bus
    start,    ///< the process had joined the bus, and on_start had not returned
  };
  struct Facts {
    std::string name;  ///< of the service
    Phase phase = Phase::prepare;
    int error = 0;                     ///< errno, for prepare, fork and exec; otherwise 0
    std::optional<ExitStatus> status;  ///< the end of the process; none if the launcher ended it
    std::string reason;                ///< the error on the ready pipe, or why that text was refused
    std::string stderr_tail;           ///< the last output of the process on stderr, at most 16 KiB
    Duration elapsed{};                ///< from the call to the error
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
