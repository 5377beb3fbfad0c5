#include "peer_list.h"

namespace ipcm::launcher {

std::vector<std::string> pingable(const std::vector<PeerInfo>& peers) {
  std::vector<std::string> names;
  for (const PeerInfo& peer : peers) {
    const bool stands_still =
        peer.process == PeerInfo::Process::stopped || peer.process == PeerInfo::Process::zombie;
    if (peer.is_inspectable && peer.state == PeerInfo::State::active && !stands_still)
      names.push_back(peer.name);
  }
  return names;
}

PeerList list_with_pings(Client& client, bool ping, Duration limit) {
  PeerList list;
  list.peers = list_peers(client);
  list.is_pinged = ping;
  if (ping) list.pings = inspect_all(client, pingable(list.peers), limit);
  return list;
}

}  // namespace ipcm::launcher
