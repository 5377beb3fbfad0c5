#include "transport/database/peer_processes.h"

#include <utility>

#include "os/process.h"

namespace ipcm::database {

void PeerProcesses::open(const std::string& peer, const PeerRow& row, os::UniqueFd process) {
  processes_.insert_or_assign(peer, Link{row.pid, std::move(process)});
}

bool PeerProcesses::is_known_alive(const std::string& peer) const {
  const auto link = processes_.find(peer);
  return link != processes_.end() && link->second.process && !os::has_ended(link->second.process.get());
}

std::vector<std::string> PeerProcesses::close_all_but(const std::map<std::string, Pid>& there) {
  std::vector<std::string> closed;
  for (auto link = processes_.begin(); link != processes_.end();) {
    const auto now = there.find(link->first);
    if (now != there.end() && now->second == link->second.pid) {
      ++link;
      continue;
    }
    closed.push_back(link->first);
    link = processes_.erase(link);
  }
  return closed;
}

}  // namespace ipcm::database
