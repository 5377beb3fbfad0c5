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

// The library looks for drivers in this order: $IPCM_DRIVERS; `../drivers` from the folder of the
// executable (a build tree); the folder of the installation. The file is ipcm-driver-NAME.so.

/// Returns what is missing and what to do about it; empty: the file of the driver exists.
[[nodiscard]] std::string why_no_driver(const std::string& name) noexcept;
/// Loads a driver, once in a process. Throws BusError that names what is missing.
[[nodiscard]] const Driver& load_driver(const std::string& name);

/// A session that is inert in a forked child: there its socket or file is closed, and the session is never
/// used again. (The locks of a database file belong to the parent; closing the file in the child does not
/// release them.)
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
  /// Access for one call, without signals if a database file reaches the file size limit, or a server has
  /// closed the connection.
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
  std::vector<os::UniqueFd> opened_;  // by the session; a forked child closes its copies
  std::uint32_t born_in_ = 0;
};

}  // namespace ipcm::database
