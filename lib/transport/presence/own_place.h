#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "loop/loop.h"
#include "loop/recovery.h"
#include "os/directory.h"
#include "os/removal_watch.h"

namespace ipcm::transport {

/// Watches the files by which peers find a member: its endpoint, its lock, the directory. If another
/// process removes or replaces one of them, no peer finds the member any more.
///
/// The watch begins a second after construction, and also reports a loss in that second. For a service that
/// ends before that, setting up and removing the watch would take longer than its whole start.
class OwnPlace {
 public:
  using Say = std::function<void(const std::string& sentence)>;
  /// Calls both functions inside the loop, with a sentence for people: `lost` once; `report` if the watch
  /// cannot begin yet for want of memory, descriptors or watches (it tries again). Throws SystemError.
  OwnPlace(Loop& loop, const os::Directory& directory, std::vector<std::string> files, Say lost, Say report);

 private:
  void begin();
  void look();

  Loop& loop_;
  const os::Directory& directory_;
  os::RemovalWatch removal_;
  Say lost_;
  Recovery beginning_;
  Watch watch_;  // last: it must end first
};

}  // namespace ipcm::transport
