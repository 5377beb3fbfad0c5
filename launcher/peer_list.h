#pragma once

#include <map>
#include <string>
#include <vector>

#include "ipcm/client.h"
#include "ipcm/inspection.h"
#include "ipcm/peer_info.h"

namespace ipcm::launcher {

/// The time that `ipcm ps --ping` gives all services together.
inline constexpr Duration kPingLimit = std::chrono::seconds(1);

/// The peers of a bus, as `ipcm ps` shows them.
struct PeerList {
  std::vector<PeerInfo> peers;
  bool is_pinged = false;
  std::map<std::string, Inspected> pings;  ///< Of the services that were asked.
};

/// Lists the peers. With `ping`, asks all services that understand it at the same time, except those whose processes
/// are stopped. Throws BusError, SystemError.
[[nodiscard]] PeerList list_with_pings(Client& client, bool ping, Duration limit);
/// Returns the services of a list that can be asked.
[[nodiscard]] std::vector<std::string> pingable(const std::vector<PeerInfo>& peers);

// The output of `ipcm ps`; see commands/ps.cc.

inline constexpr const char* kAgeColumn = "AGE";
/// Returns the table of the peers, with its header.
[[nodiscard]] std::vector<std::vector<std::string>> rows_of(const PeerList& list);
[[nodiscard]] std::string json_of_peers(const PeerList& list);
[[nodiscard]] std::string json_of_peer(const PeerInfo& peer, const Inspected& ping);

}  // namespace ipcm::launcher
