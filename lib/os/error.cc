#include <system_error>

#include "ipcm/error.h"
#include "os/sys.h"

namespace ipcm {

SystemError::SystemError(int code, const std::string& what_was_tried)
    : Error(what_was_tried + ": " + os::errno_text(code)), code_(code) {}

NameTaken::NameTaken(const std::string& name, Pid holder, const std::string& route)
    : BusError("the name '" + name + "' is taken on the bus " + route +
               (holder > 0 ? " by process " + std::to_string(holder) : " by a process that can't be told") +
               "; choose another name, or stop that one first"),
      holder_(holder) {}

const char* to_string(LaunchError::Phase phase) {
  switch (phase) {
    case LaunchError::Phase::prepare:
      return "prepare";
    case LaunchError::Phase::fork:
      return "fork";
    case LaunchError::Phase::exec:
      return "exec";
    case LaunchError::Phase::boot:
      return "boot";
    case LaunchError::Phase::start:
      return "start";
  }
  return "unknown";
}

namespace os {

std::string errno_text(int error) { return std::generic_category().message(error); }

}  // namespace os
}  // namespace ipcm
