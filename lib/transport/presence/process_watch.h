#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "loop/loop.h"
#include "os/descriptor.h"

namespace ipcm::transport {

/// Watches the processes of peers that hold no lock of ours, since nothing else shows their death. Their
/// process ids are only notes, so the end of such a process is a reason to look again, and no proof.
class ProcessWatch {
 public:
  struct Peer {
    std::string name;
    Pid pid;
  };
  /// `died` is called inside the loop.
  ProcessWatch(Loop& loop, std::function<void()> died) : loop_(loop), died_(std::move(died)) {}
  /// Watches exactly these peers from now on.
  void follow(const std::vector<Peer>& peers);

 private:
  struct Followed {
    Pid pid;
    os::UniqueFd process;
    Watch watch;
  };
  Loop& loop_;
  std::function<void()> died_;
  std::map<std::string, Followed> followed_;
};

}  // namespace ipcm::transport
