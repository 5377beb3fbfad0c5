#pragma once

#include <string>
#include <string_view>

#include "os/child.h"
#include "os/rolling_log.h"
#include "os/stream.h"

namespace ipcm::launch {

/// The destination of the output of a service: a stream that other processes use too, or the log of the
/// service. Writing never blocks.
class WordsTo {
 public:
  WordsTo() = default;
  [[nodiscard]] static WordsTo stream(os::UniqueFd fd);
  [[nodiscard]] static WordsTo log(os::UniqueFd fd);
  /// Returns how many bytes were written or dropped. Fewer than all: there is no room now (see fd()).
  [[nodiscard]] std::size_t put(std::string_view bytes) noexcept;
  /// Borrowed; EPOLLOUT reports room.
  [[nodiscard]] int fd() const { return log_ ? log_.fd() : stream_.fd(); }
  /// A descriptor that release() has given up, for crossing a fork; take_up() owns it again.
  struct Number {
    int fd = -1;
    bool is_log = false;
  };
  [[nodiscard]] Number release();
  void take_up(Number number);

 private:
  os::StreamWriter stream_;
  os::RollingLog log_;
};

// The relay: a process that copies the output of a service from a pipe to its destination, if the boot has
// not switched its streams itself (stderr_capture.h). It is a fork of the launcher and not a program: a host
// that starts boots of another author may have no program of ours. It keeps only the two descriptors of its
// parent, and has its own session. It ends when the last writer has closed the pipe, or when the destination
// has no reader any more.
//
// While a relay writes to a log, it holds a shared flock(2) on that file; LogReader::await_writers() waits
// for its end.

/// Starts a relay. It writes `held` first. Throws SystemError; then `pipe` and `to` are unchanged.
[[nodiscard]] os::Child start_relay(os::UniqueFd& pipe, WordsTo& to, const std::string& held);

}  // namespace ipcm::launch
