#pragma once

#include <map>
#include <string>
#include <vector>

#include "os/descriptor.h"
#include "transport/database/store.h"

namespace ipcm::database {

/// The processes of the peers that a member has sent to, to report their end.
class PeerProcesses {
 public:
  /// `process`: a proven pidfd of the peer; may be empty.
  void open(const std::string& peer, const PeerRow& row, os::UniqueFd process);
  void close(const std::string& peer) { processes_.erase(peer); }
  /// Returns whether the process of a peer is known and still runs; false if that cannot be proven.
  [[nodiscard]] bool is_known_alive(const std::string& peer) const;
  /// Removes the peers that are not in `there`, or have another process now. Returns their names.
  [[nodiscard]] std::vector<std::string> close_all_but(const std::map<std::string, Pid>& there);
  std::vector<std::string> close_all() { return close_all_but({}); }

 private:
  struct Link {
    Pid pid = 0;
    os::UniqueFd process;  // on this machine
  };
  std::map<std::string, Link> processes_;
};

}  // namespace ipcm::database
