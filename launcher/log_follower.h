#pragma once

#include <map>
#include <optional>
#include <string>

#include "ipcm/bus.h"
#include "loop/loop.h"
#include "os/events.h"
#include "os/log_reader.h"
#include "os/stream.h"

namespace ipcm::launcher {

/// Copies the logs of all services on a bus to our stderr, as they grow: for the commands that own the bus.
///
/// A command that is over in a moment reads the logs once, at its end: the kernel takes tens of milliseconds
/// to end a watch.
class LogFollower {
 public:
  LogFollower(Loop& loop, const BusInfo& info);
  LogFollower(const LogFollower&) = delete;
  LogFollower& operator=(const LogFollower&) = delete;
  /// The bus is about to be removed, its logs with it: opens them all.
  void hold();
  /// Copies what is left, waiting for a slow reader.
  void finish();

 private:
  void begin_to_watch();
  void copy();
  void find_logs();
  [[nodiscard]] bool put();

  Loop& loop_;
  std::string directory_;
  std::map<std::string, os::LogReader> logs_;
  std::optional<os::StreamWriter> stderr_;  // with the watch
  std::string pending_;                     // read, and not yet written
  std::optional<os::DirectoryWatch> changes_;
  Watch changes_watch_, room_watch_, timer_;
};

/// The last lines that a service wrote to its log, on one line, for an error about its end; empty: there are
/// none.
[[nodiscard]] std::string last_words_of(const BusInfo& info, const std::string& name) noexcept;

}  // namespace ipcm::launcher
