#pragma once

#include <map>
#include <optional>
#include <string>

#include "ipcm/bus_info.h"
#include "loop/loop.h"
#include "os/events.h"
#include "os/log_reader.h"
#include "os/stream.h"

namespace ipcm::launcher {

/// A copier of the logs of all services on a bus to stderr, while they grow. For the commands that own a bus.
///
/// A command that takes less than 100 ms reads the logs only once, at its end: the kernel takes tens of
/// milliseconds to end a watch.
class LogFollower {
 public:
  LogFollower(Loop& loop, const BusInfo& info);
  LogFollower(const LogFollower&) = delete;
  LogFollower& operator=(const LogFollower&) = delete;
  /// Opens all logs and stops watching them. Call it before the bus is removed, which removes the logs.
  void hold();
  /// Copies the rest of the logs. Waits if the reader of stderr is slow.
  void finish();

 private:
  void begin_to_watch();
  void copy();
  void find_logs();
  [[nodiscard]] bool put();

  Loop& loop_;
  std::string directory_;
  std::map<std::string, os::LogReader> logs_;
  std::optional<os::StreamWriter> stderr_;  // set by begin_to_watch()
  std::string pending_;                     // read from a log, and not yet written
  std::optional<os::DirectoryWatch> changes_;
  Watch changes_watch_, room_watch_, timer_;
};

}  // namespace ipcm::launcher
