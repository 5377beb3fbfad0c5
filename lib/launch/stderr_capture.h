#pragma once

#include <string>

#include "launch/relay.h"
#include "loop/loop.h"
#include "os/descriptor.h"
#include "os/process.h"

namespace ipcm::launch {

// What a starting service writes to its stderr, and to its stdout if both go to a log.
//
// Until it is ready, these streams are a pipe that we read, so that its words can be part of the error if it
// fails. Once it is ready, they must be what they would have been: a boot of ours takes them back itself just
// before it says ready ($IPCM_STDERR_FD, $IPCM_LOG_FD); the held words are passed on. A boot of others can't
// take them back, nor can a helper that was started meanwhile and has inherited the pipe. That shows: the
// pipe still has a writer. Then a relay passes on the rest (relay.h), for as long as somebody writes.
//
// The loop that reads here has other duties, such as the time limit of the start: each turn reads a bounded
// amount, and nothing is written where that would block. When the reader of the real stream is slow and
// enough is held, the pipe is not read; then the service has to wait, as it would have had to anyway.

class StderrCapture {
 public:
  StderrCapture() = default;
  /// Reads `pipe` on `loop`. `to`: where the words go otherwise.
  void begin(Loop& loop, os::UniqueFd pipe, WordsTo to);
  [[nodiscard]] bool active() const { return static_cast<bool>(pipe_); }
  /// Takes what is there, and returns the last of it: at most 16 KiB.
  [[nodiscard]] std::string take_tail();
  /// The service is ready: passes on what was held, and sees to what follows.
  void pass_on();
  /// We go before it is ready: somebody else has to listen.
  void leave_to_relay();
  [[nodiscard]] os::Child& relay() { return relay_; }

 private:
  void read();
  void pass_excess();
  [[nodiscard]] bool drain() noexcept;
  void start_relay();
  void stop();

  Loop* loop_ = nullptr;
  os::UniqueFd pipe_;
  WordsTo to_;
  std::string held_;
  os::Child relay_;
  Watch watch_, room_watch_, relay_watch_;  // last: they are to end first
};

}  // namespace ipcm::launch
