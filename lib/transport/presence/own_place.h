#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "loop/loop.h"
#include "os/directory.h"
#include "os/removal_watch.h"

namespace ipcm::transport {

/// Watches the files that a member's place on a bus consists of: its endpoint, its lock file, the directory.
/// If another process removes or replaces one of them, no other peer finds the member any more.
class OwnPlace {
 public:
  using Lost = std::function<void(const std::string& why)>;
  /// Notes the files. `lost` is called once, inside the loop or from watch(), with a sentence for people.
  /// Throws SystemError.
  OwnPlace(Loop& loop, const os::Directory& directory, std::vector<std::string> files, Lost lost);
  /// Reports a loss, once.
  void look();
  /// Begins to watch, and reports a loss that came before. Does nothing when called again. Throws
  /// SystemError. See RemovalWatch::begin() for its price.
  void watch();

 private:
  Loop& loop_;
  const os::Directory& directory_;
  os::RemovalWatch removal_;
  Lost lost_;    // null: it was called
  Watch watch_;  // last: it is to end first
};

}  // namespace ipcm::transport
