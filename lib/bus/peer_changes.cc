#include "bus/peer_changes.h"

#include <utility>
#include <vector>

namespace ipcm::bus {

PeerChanges::PeerChanges(Member& member) : member_(member), seen_(0) {
  member_.watch_peers();  // before the first look, so that no change is missed
  seen_ = member_.peer_changes();
  for (std::string& peer : member_.transport().peers()) known_.insert(std::move(peer));
}

std::map<std::string, int> PeerChanges::take() {
  std::map<std::string, int> delta;
  const std::uint64_t changes = member_.peer_changes();
  std::set<std::string> now;
  for (std::string& peer : member_.transport().peers()) now.insert(std::move(peer));
  for (const std::string& peer : now)
    if (!known_.contains(peer)) delta[peer] = 1;
  for (const std::string& peer : known_)
    if (!now.contains(peer)) delta[peer] = -1;
  known_ = std::move(now);
  seen_ = changes;
  return delta;
}

}  // namespace ipcm::bus
