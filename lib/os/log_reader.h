#pragma once

#include <cstdint>
#include <string>

#include "os/clock.h"
#include "os/descriptor.h"

namespace ipcm::os {

/// Reads a rolling log (rolling_log.h) as it grows, over the beginning of a new file. Once open it reads on
/// also after the file was removed.
class LogReader {
 public:
  explicit LogReader(std::string path) : path_(std::move(path)) {}
  [[nodiscard]] const std::string& path() const { return path_; }
  /// Opens it if it is there. false: it is not.
  bool open();
  /// All that is kept, the older part first; read_new() goes on behind it.
  [[nodiscard]] std::string read_all();
  /// What has come since. At most a few MiB at once; empty: nothing.
  [[nodiscard]] std::string read_new();
  /// Waits until nobody writes to it who has locked it for that (a relay: launch/relay.h), woken when a writer
  /// closes it. false: the deadline came first. Throws SystemError.
  bool await_writers(Deadline deadline);
  /// It was opened, and then removed.
  [[nodiscard]] bool was_removed() const;

 private:
  [[nodiscard]] std::string read_from(int fd, std::uint64_t& at) const;
  std::string path_;
  UniqueFd file_;
  std::uint64_t at_ = 0;
};

}  // namespace ipcm::os
