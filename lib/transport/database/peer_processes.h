#pragma once

#include <map>
#include <string>
#include <vector>

#include "os/descriptor.h"
#include "transport/database/store.h"

namespace ipcm::database {

/// Those that a member has sent to, alive when it looked: their ends are told to it.
class PeerProcesses {
 public:
  /// `process`: a pidfd that is proven to be its process; may be empty.
  void open(const std::string& peer, const PeerRow& row, os::UniqueFd process);
  void close(const std::string& peer) { processes_.erase(peer); }
  /// Its process was seen, and runs still; false where that can't be told.
  [[nodiscard]] bool is_known_alive(const std::string& peer) const;
  /// Closes those to whoever is not there any more, or is another process now; their names.
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
