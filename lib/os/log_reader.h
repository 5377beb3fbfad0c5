#pragma once

#include <cstdint>
#include <string>

#include "os/clock.h"
#include "os/descriptor.h"

namespace ipcm::os {

/// Reads a growing rolling log (rolling_log.h), also across the beginning of a new file. Once open, it can be
/// read also after the file was removed.
class LogReader {
 public:
  explicit LogReader(std::string path) : path_(std::move(path)) {}
  [[nodiscard]] const std::string& path() const { return path_; }
  /// Opens the log. Returns false if it does not exist.
  bool open();
  /// Returns the whole log, the older part first; read_new() continues after it.
  [[nodiscard]] std::string read_all();
  /// Returns the new bytes, a few MiB at most; empty if there are none.
  [[nodiscard]] std::string read_new();
  /// Returns the last bytes, at most `most`, also from the older part; empty: there is no log.
  [[nodiscard]] std::string read_end(std::size_t most);
  /// Waits until no process that writes to the log holds its lock (a relay does: launch/relay.h). Wakes when
  /// a writer closes the file. Returns false if the deadline came first. Throws SystemError.
  bool await_writers(Deadline deadline);
  /// Whether the open file was removed.
  [[nodiscard]] bool was_removed() const;

 private:
  [[nodiscard]] std::string read_from(int fd, std::uint64_t& at) const;
  std::string path_;
  UniqueFd file_;
  std::uint64_t at_ = 0;
};

}  // namespace ipcm::os
