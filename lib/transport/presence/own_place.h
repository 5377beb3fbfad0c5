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

/// Watches the files that a member's place on a bus consists of: its endpoint, its lock, the directory. If
/// somebody removes or replaces one of them, nobody finds the member any more.
///
/// The watch begins a second after this object was made, and also reports a loss in that second. A service
/// that ends before that has no watch to end, which would take longer than its whole start.
class OwnPlace {
 public:
  using Say = std::function<void(const std::string& sentence)>;
  /// Both are called inside the loop, with a sentence for people: `lost` once; `report` if the watch can't
  /// begin yet for want of memory, descriptors or watches (it is tried again). Throws SystemError.
  OwnPlace(Loop& loop, const os::Directory& directory, std::vector<std::string> files, Say lost, Say report);

 private:
  void begin();
  void look();

  Loop& loop_;
  const os::Directory& directory_;
  os::RemovalWatch removal_;
  Say lost_;
  Recovery beginning_;
  Watch watch_;  // last: it is to end first
};

}  // namespace ipcm::transport
