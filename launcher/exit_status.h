#pragma once

namespace ipcm::launcher {

/// The exit status of `ipcm`. `ipcm session` returns the status of its command.
enum class Status : int {
  done = 0,
  answered_with_error = 1,  ///< the service answered with an error, or with bytes
  usage = 2,                ///< the command line was wrong, or a request was no JSON
  gone = 3,                 ///< no such bus or peer, or it went away
  timed_out = 4,
  launch_failed = 5,
  output_lost = 74,  ///< stdout could not be written; EX_IOERR of <sysexits.h>
};

inline int number(Status status) { return static_cast<int>(status); }

}  // namespace ipcm::launcher
