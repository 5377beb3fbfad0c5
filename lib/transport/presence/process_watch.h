#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "loop/loop.h"
#include "os/descriptor.h"

namespace ipcm::transport {

/// Watches the processes of peers that hold no lock of ours: nothing else tells of their death. Their numbers
/// are claims, so the end of such a process is only a reason to look again.
class ProcessWatch {
 public:
  struct Peer {
    std::string name;
    Pid pid;
  };
  /// `died` is called inside the loop.
  ProcessWatch(Loop& loop, std::function<void()> died) : loop_(loop), died_(std::move(died)) {}
  /// Those, and no others any more.
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
