#pragma once

#include <string>

#include "launch/relay.h"
#include "loop/loop.h"
#include "os/child.h"
#include "os/descriptor.h"

namespace ipcm::launch {

// The capture of a starting service's stderr, and of its stdout if both lead to a log.
//
// Until the service is ready, these streams are a pipe that the launcher reads. If the start fails, the error
// has the text. If it succeeds, the launcher passes the text on, and the streams must lead to their
// destination. Our boot switches them itself, just before it reports ready ($IPCM_STDERR_FD, $IPCM_LOG_FD).
// Other boots do not know these variables, and a helper of the service may have inherited the pipe. In both
// cases the pipe still has a writer; then a relay (relay.h) copies from it until the last writer closes it.
//
// The loop that reads the pipe has other tasks, such as the time limit of the start. So each turn reads a
// bounded amount, and no write blocks. If the destination has no room and enough text is held, the launcher
// stops reading; then the service blocks, as it would without a capture.

/// The launcher's end of that pipe.
class StderrCapture {
 public:
  StderrCapture() = default;
  /// Begins to read `pipe` on `loop`. `to` is the destination of the text.
  void begin(Loop& loop, os::UniqueFd pipe, WordsTo to);
  [[nodiscard]] bool active() const { return static_cast<bool>(pipe_); }
  /// Ends the capture after a failed start. Returns the last text, at most 16 KiB; passes on the rest.
  [[nodiscard]] std::string take_tail();
  /// Ends the capture after the service is ready: passes the held text on, and starts a relay if the pipe
  /// still has a writer.
  void pass_on();
  /// Ends the capture before the service is ready: a relay reads the pipe.
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
  Watch watch_, room_watch_, relay_watch_;  // last, so that they end before the descriptors
};

}  // namespace ipcm::launch
