#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "loop/loop.h"
#include "os/directory.h"
#include "os/removal_watch.h"

namespace ipcm::transport {

/// Watches the files that a member's place on a bus consists of: its endpoint, its lock, the directory. If
/// somebody removes or replaces one of them, nobody finds the member any more. Wakes nobody before that.
class OwnPlace {
 public:
  /// `lost` is called once, inside the loop, with a sentence for people. Throws SystemError.
  OwnPlace(Loop& loop, const os::Directory& directory, std::vector<std::string> files,
           std::function<void(const std::string& why)> lost);

 private:
  const os::Directory& directory_;
  os::RemovalWatch removal_;
  std::function<void(const std::string&)> lost_;
  Watch watch_;  // last: it is to end first
};

}  // namespace ipcm::transport
