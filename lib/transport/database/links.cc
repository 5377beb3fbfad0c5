#include "transport/database/links.h"

#include <utility>

#include "os/process.h"

namespace ipcm::database {

void Links::open(const std::string& peer, const PeerRow& row, os::UniqueFd process) {
  links_.insert_or_assign(peer, Link{row.pid, std::move(process)});
}

bool Links::is_known_alive(const std::string& peer) const {
  const auto link = links_.find(peer);
  return link != links_.end() && link->second.process && !os::has_ended(link->second.process.get());
}

std::vector<std::string> Links::close_all_but(const std::map<std::string, Pid>& there) {
  std::vector<std::string> closed;
  for (auto link = links_.begin(); link != links_.end();) {
    const auto now = there.find(link->first);
    if (now != there.end() && now->second == link->second.pid) {
      ++link;
      continue;
    }
    closed.push_back(link->first);
    link = links_.erase(link);
  }
  return closed;
}

}  // namespace ipcm::database
