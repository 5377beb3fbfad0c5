#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "os/clock.h"
#include "os/descriptor.h"
#include "os/signals.h"
#include "transport/database/driver.h"

namespace ipcm::database {

// Where drivers are looked for, in this order: $IPCM_DRIVERS; `../drivers` from the folder of the executable
// (a build tree); the folder that they are installed in. The file is ipcm-driver-NAME.so.

/// Empty: the driver is there (only its file is looked at). Otherwise what is missing, and what to do.
[[nodiscard]] std::string why_no_driver(const std::string& name) noexcept;
/// Loads it, once in a process. Throws BusError that says what is missing.
[[nodiscard]] const Driver& load_driver(const std::string& name);

/// A session that is inert in a forked child: there its socket or its file is closed, and it is never touched
/// again. (The locks of a database file are the parent's; that the child closes it does not end them.)
class OwnedSession {
 public:
  OwnedSession() = default;
  /// Waits for a server until the deadline.
  OwnedSession(const Driver& driver, const std::map<std::string, std::string>& parameters,
               os::Deadline deadline, Failure& failure);
  OwnedSession(OwnedSession&& other) noexcept = default;
  OwnedSession& operator=(OwnedSession&& other) noexcept;
  ~OwnedSession() { close(); }
  void close() noexcept;
  [[nodiscard]] explicit operator bool() const noexcept { return session_ != nullptr && is_ours(); }
  /// For one call: a database file at the limit of file sizes, or a server that has hung up, raises no
  /// signal.
  class Use {
   public:
    explicit Use(Session* session) noexcept : session_(session) { quiet_writes_.note_unknown(); }
    [[nodiscard]] Session* operator->() const noexcept { return session_; }

   private:
    os::QuietWrites quiet_writes_;
    Session* session_;
  };
  [[nodiscard]] Use operator->() const noexcept { return Use(session_.get()); }
  [[nodiscard]] bool is_ours() const noexcept { return born_in_ == os::generation(); }

 private:
  std::unique_ptr<Session> session_;
  std::vector<os::UniqueFd>
      opened_;  // by the session, and its own: noted here so that a forked child closes its copies
  std::uint32_t born_in_ = 0;
};

}  // namespace ipcm::database
