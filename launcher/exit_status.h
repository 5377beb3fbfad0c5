#pragma once

namespace ipcm::launcher {

/// What `ipcm` returns; `ipcm session` returns its command's own status.
enum class Status : int {
  done = 0,
  answered_with_error = 1,  ///< the service got the request and said no, or bytes
  usage = 2,                ///< the words were wrong, or no JSON
  gone = 3,                 ///< no such bus or peer, or it went away
  timed_out = 4,
  launch_failed = 5,
  output_lost = 74,  ///< stdout could not be written; EX_IOERR of <sysexits.h>
};

inline int number(Status status) { return static_cast<int>(status); }

}  // namespace ipcm::launcher
