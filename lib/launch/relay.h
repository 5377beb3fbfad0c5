#pragma once

#include <string>
#include <string_view>

#include "os/process.h"
#include "os/rolling_log.h"
#include "os/stream.h"

namespace ipcm::launch {

/// Where the words of a service go: a stream that others use too, or a log of its own. Writing never blocks.
class WordsTo {
 public:
  WordsTo() = default;
  [[nodiscard]] static WordsTo stream(os::UniqueFd fd);
  [[nodiscard]] static WordsTo log(os::UniqueFd fd);
  /// How many bytes are dealt with; fewer than all: there is no room now (see fd()).
  [[nodiscard]] std::size_t put(std::string_view bytes) noexcept;
  /// Borrowed; tells with EPOLLOUT when there is room.
  [[nodiscard]] int fd() const { return log_ ? log_.fd() : stream_.fd(); }
  /// For a child of a fork: gives up what it owns, as a number.
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

// The relay: a process that passes on what a service writes to a pipe, where its boot could not take its
// streams back itself (stderr_capture.h). It is a fork of the launcher, not a program: a host that starts
// boots of others may have no program of ours. It holds the two ends and nothing else of its parent's, has a
// session of its own, and ends with the last writer of the pipe, or when nobody can read the words any more.
//
// As long as a relay writes to a log, a shared flock(2) is on that file: LogReader::await_writers() waits for
// its end.

/// Starts one. `held`: goes first. Throws SystemError; then both ends are as they were.
[[nodiscard]] os::Child start_relay(os::UniqueFd& pipe, WordsTo& to, const std::string& held);

}  // namespace ipcm::launch
