#pragma once

#include <string>

#include "loop/loop.h"
#include "os/descriptor.h"
#include "os/process.h"

namespace ipcm::launch {

// What a starting service writes to its stderr.
//
// Until it is ready, its stderr is a pipe that we read, so that its words can be part of the error if it
// fails. Once it is ready, its stderr must be what it would have been: a boot of ours takes it back itself
// just before it says ready
// ($IPCM_STDERR_FD); the held words are passed on. A foreign boot can't take it back, nor can a helper that
// was started meanwhile and has inherited the pipe. That shows: the pipe still has a writer. Then cat(1)
// relays from the pipe to the real stderr, for as long as somebody writes.

class StderrCapture {
 public:
  StderrCapture() = default;
  /// Reads `pipe` on `loop`. `real`: where stderr leads otherwise.
  void begin(Loop& loop, os::UniqueFd pipe, os::UniqueFd real);
  [[nodiscard]] bool active() const { return static_cast<bool>(pipe_); }
  /// Takes what is there, and returns the last of it: at most 16 KiB.
  [[nodiscard]] std::string take_tail();
  /// The service is ready: passes on what was held, and sees to what follows.
  void pass_on(Loop& loop);
  [[nodiscard]] os::Child& relay() { return relay_; }

 private:
  void read();
  os::UniqueFd pipe_, real_;
  std::string held_;
  os::Child relay_;
  Watch watch_, relay_watch_;  // last: they are to end first
};

}  // namespace ipcm::launch
