#pragma once

#include <string>
#include <string_view>

#include "loop/loop.h"
#include "os/stream.h"

namespace ipcm::command {

/// Copies the output of programs to stdout or stderr of the service, and never blocks: a reader that is slow or stopped
/// must not hold up the service. It keeps 256 KiB for such a reader, and drops further output with a note.
class LogStream {
 public:
  /// stream: 1 or 2. The loop must outlive this object.
  LogStream(Loop& loop, int stream) : loop_(loop), stream_(stream) {}
  void write(std::string_view bytes);
  /// For the moment when the service becomes ready: its streams lead elsewhere from then on (docs/boot.md).
  void reopen();

 private:
  void put_waiting();

  Loop& loop_;
  int stream_;
  os::StreamWriter writer_;
  bool open_ = false;
  std::string waiting_;
  std::size_t dropped_ = 0;
  Watch room_;
};

}  // namespace ipcm::command
