#include "ipcm/buses.h"

#include <utility>

#include "bus/find_buses.h"
#include "bus/member.h"
#include "bus/transient_client.h"
#include "ipcm/error.h"
#include "os/directory.h"
#include "transport/bus_note.h"
#include "transport/protocols.h"

namespace ipcm {

std::optional<BusInfo> bus_at(const std::string& path) {
  return transport::read_route_info(os::absolute(path));
}

BusOwner bus_owner(const BusInfo& info) {
  using State = BusOwner::State;
  const transport::OwnerFacts owner = transport::find_protocol(info.protocol).owner(info);
  if (!owner.exists) return {State::none, 0};
  if (!owner.held) return {State::dead, 0};
  return owner.pid > 0 ? BusOwner{State::alive, owner.pid} : BusOwner{State::elsewhere, 0};
}

BusStatus bus_status(const BusInfo& info) {
  const auto member = bus::join_unseen(info);
  BusStatus status;
  status.info = info;
  status.peers = member->transport().peers();
  status.owner = bus_owner(info);
  return status;
}

BusList list_buses() {
  BusList all;
  for (const bus::FoundBus& found : bus::find_buses()) {
    const auto info = bus::bus_at(found);
    if (!info) continue;
    if (bus::is_being_removed(found)) {
      BusStatus status;
      status.info = *info;
      status.is_being_removed = true;
      all.buses.push_back(std::move(status));
      continue;
    }
    try {
      all.buses.push_back(bus_status(*info));
    } catch (const BusError&) {
      const bool has_gone = !bus::bus_at(found) || bus::is_being_removed(found);  // meanwhile
      if (!has_gone && !all.first_failure) all.first_failure = std::current_exception();
    }
  }
  return all;
}

RemovedBuses remove_abandoned_buses() {
  RemovedBuses removed;
  const BusList all = list_buses();
  removed.first_failure = all.first_failure;
  for (const BusStatus& one : all.buses) {
    if (one.owner.state != BusOwner::State::dead || !one.peers.empty()) continue;
    if (transport::find_protocol(one.info.protocol).remove_route(one.info, transport::Living::spare))
      removed.paths.push_back(one.info.route);
  }
  for (const bus::FoundBus& found : bus::find_buses())
    if (bus::remove_remains(found)) removed.paths.push_back(found.path);
  return removed;
}

}  // namespace ipcm
